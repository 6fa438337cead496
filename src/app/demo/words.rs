//! What the demo says to the person in front of it.

use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::release::{GOOD, PLUGIN, Standing, VERSION};
use super::steady::{OTHERS, PAYMENTS};
use super::texts::{READER, TEXTS};
use super::{BURST, BURST_TEXTS};
use crate::app::failure::Failure;
use crate::app::output::{self, Paint, Style};
use crate::config::Settings;
use crate::model::ids::InvocationId;
use crate::telemetry::LogTarget;

pub struct Words {
    style: Style,
    url: String,
    /// The program as it has to be typed to reach this demo.
    program: String,
    data_dir: String,
}

impl Words {
    pub fn new(url: &str, settings: &Settings) -> Words {
        let program = std::env::current_exe()
            .map_or_else(|_| "spanglass".to_owned(), |path| path.display().to_string());
        let data_dir = std::path::absolute(&settings.data_dir).unwrap_or_else(|_| settings.data_dir.clone());
        let usual =
            data_dir == std::path::absolute(Path::new(crate::config::DATA_DIR_DEFAULT)).unwrap_or_default();
        let folder = if usual { String::new() } else { format!(" --data-dir {}", data_dir.display()) };
        Words {
            style: Style::stderr(),
            url: url.to_owned(),
            program: program + &folder,
            data_dir: data_dir.display().to_string(),
        }
    }

    pub fn banner(&self, logs: &LogTarget, standing: &Standing, wait: Duration) -> String {
        let url = &self.url;
        let logs = match logs {
            LogTarget::Stdout => "standard output, a JSON object a line (>/dev/null for quiet)".to_owned(),
            LogTarget::Stderr => "standard error, a JSON object a line".to_owned(),
            LogTarget::Path(path) => path.display().to_string(),
            LogTarget::Off => "off".to_owned(),
        };
        let endpoint = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"]
            .into_iter()
            .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
        let telemetry = endpoint.map_or_else(
            || "kept in the data folder only; set OTEL_EXPORTER_OTLP_ENDPOINT to send it on".to_owned(),
            |endpoint| format!("kept in the data folder and sent to {endpoint}"),
        );
        let calls = format!(
            "{} made; a payment every {} s, a text every {} s and another call every {} s until Ctrl-C",
            BURST + BURST_TEXTS,
            PAYMENTS.as_secs(),
            TEXTS.as_secs_f64(),
            OTHERS.as_secs()
        );
        let mut text = self.heading("spanglass demo");
        self.facts(
            &mut text,
            &[
                ("url", format!("{url}   (metrics: {url}/metrics, routes: {url}/openapi.json)")),
                ("data", format!("{}   (persists; delete it to start anew)", self.data_dir)),
                ("logs", logs),
                ("telemetry", telemetry),
                ("sandbox", "S0: plugins run without isolation for now, as the user that you are".to_owned()),
                ("calls", calls),
                ("release", self.ahead(standing, wait)),
            ],
        );
        text += "\n";
        text += &self.heading("next, in another terminal");
        for next in [
            "top",
            "invoke fraud-score -f amount=950 -f country=FR -f channel=web -f hour=3 -f account_age_days=2 --watch",
            "trace list",
            "logs -f",
        ] {
            let _ = write!(text, "\n  {} {next}", self.program);
        }
        text + "\n"
    }

    fn ahead(&self, standing: &Standing, wait: Duration) -> String {
        let page = self.page();
        match standing {
            Standing::Ahead => {
                let at = humantime::format_rfc3339_seconds(SystemTime::now() + wait).to_string();
                let (_, time) = output::clock(&at).unwrap_or_default();
                let time = time.split('.').next().unwrap_or_default();
                format!("at {time} UTC {PLUGIN} {VERSION} is released; watch {page}")
            }
            Standing::Out => {
                format!("{PLUGIN} {VERSION} has been out since an earlier demo; watch {page}")
            }
            Standing::Withdrawn(how) => format!(
                "{PLUGIN} {VERSION} is {how} since an earlier demo and stays so; to release it again: \
                 {} plugin enable {PLUGIN}@{VERSION}",
                self.program
            ),
            Standing::Overtaken(called) => {
                format!("none: {PLUGIN} {called} takes the calls, {VERSION} would get none")
            }
        }
    }

    pub fn released(&self, standing: &Standing) -> String {
        let happened = match standing {
            Standing::Out => "is released and takes the calls".to_owned(),
            Standing::Overtaken(called) => format!("is released, but {called} keeps the calls"),
            Standing::Withdrawn(how) => format!("is registered, but {how}"),
            Standing::Ahead => "is not there: somebody took it away at once".to_owned(),
        };
        self.paragraph(&format!("{PLUGIN} {VERSION} {happened}"), &[("watch", self.page())])
    }

    pub fn not_released(&self, failure: &Failure) -> String {
        format!("{PLUGIN} {VERSION} could not be released: {failure}")
    }

    /// The first call has failed on the release.
    pub fn what_to_do(&self, failed: &InvocationId) -> String {
        let program = &self.program;
        self.paragraph(
            &format!("{PLUGIN} {VERSION} fails on some payments: {failed} is the first"),
            &[
                ("page", self.page()),
                (
                    "which",
                    format!(
                        "{program} invocation list --plugin {PLUGIN} --version {VERSION} --outcome failed"
                    ),
                ),
                ("why", format!("{program} trace show {failed}")),
                ("compare", format!("{program} replay {failed} --on {GOOD}")),
                ("mend", format!("{program} plugin rollback {PLUGIN}")),
            ],
        )
    }

    pub fn over(&self) -> String {
        let again = format!("{} plugin enable {PLUGIN}@{VERSION}", self.program);
        self.paragraph(&format!("{PLUGIN} {VERSION} gets no calls any more"), &[("again", again)])
    }

    /// The texts that come are not those of the beginning.
    pub fn drifts(&self) -> String {
        self.paragraph(
            &format!("{READER} gets other texts than at the beginning: none of its calls fails, but its data drifts"),
            &[("watch", format!("{}/drift/{READER}", self.url)), ("which", format!("{} drift show {READER}", self.program))],
        )
    }

    pub fn no_drift(&self) -> String {
        self.paragraph(&format!("{READER} gets the texts of the beginning again"), &[])
    }

    fn page(&self) -> String {
        format!("{}/plugins/{PLUGIN}", self.url)
    }

    fn heading(&self, text: &str) -> String {
        format!("\n{}", self.style.paint(Paint::Strong, text))
    }

    fn paragraph(&self, heading: &str, facts: &[(&str, String)]) -> String {
        let mut text = self.heading(heading);
        self.facts(&mut text, facts);
        text + "\n"
    }

    fn facts(&self, text: &mut String, facts: &[(&str, String)]) {
        for (what, value) in facts {
            let _ = write!(text, "\n  {} {value}", self.style.paint(Paint::Accent, &format!("{what:<9}")));
        }
    }
}

#[cfg(test)]
mod tests {
    use semver::Version;

    use super::*;

    fn words() -> Words {
        Words {
            style: Style::plain(100),
            url: "http://127.0.0.1:7717".into(),
            program: "spanglass".into(),
            data_dir: "/data".into(),
        }
    }

    #[test]
    fn the_banner_says_where_the_release_stands() {
        let ahead = |standing: &Standing| words().ahead(standing, Duration::from_secs(30));
        let page = "watch http://127.0.0.1:7717/plugins/fraud-score";
        let announced = ahead(&Standing::Ahead);
        assert!(announced.ends_with(&format!(" UTC fraud-score 1.1.0 is released; {page}")), "{announced}");
        assert_eq!(announced.find(" UTC"), Some("at 06:31:12".len()), "{announced}");
        assert!(ahead(&Standing::Out).ends_with(page));
        let withdrawn = ahead(&Standing::Withdrawn("rolled back"));
        assert!(withdrawn.ends_with("spanglass plugin enable fraud-score@1.1.0"), "{withdrawn}");
        assert!(
            ahead(&Standing::Overtaken(Version::new(1, 2, 0))).contains("fraud-score 1.2.0 takes the calls")
        );
    }
}
