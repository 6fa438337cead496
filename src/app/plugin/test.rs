//! `plugin test`: runs the examples of a manifest in this process, one after the other, and judges them.
//! Requests that a plugin makes through the host are answered by the example's stubs, never by the network.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::app::connect;
use crate::app::examples::{Actual, Difference, judge};
use crate::app::failure::{EXIT_FOUND, Failure};
use crate::app::local::Local;
use crate::app::output::{self, Paint, Style, printable};
use crate::app::runner::{Keep, Options, Runner};
use crate::app::target::Target;
use crate::config::Settings;
use crate::host::services::StubServices;
use crate::model::kind::ErrorKind;
use crate::package::Package;
use crate::package::manifest::Example;
use crate::runtimes::Convention;
use crate::telemetry::LogTarget;

/// Lines that a failed example printed.
const LINES_MAX: usize = 20;

pub async fn command(path: &Path, json: bool, settings: &Settings) -> Result<(), Failure> {
    let package = Package::load(path)?;
    let begun = Instant::now();
    let mut results = Vec::new();
    if !package.manifest.examples.is_empty() {
        let stage = Stage::set(&package, settings)?;
        let ran = stage.run(&package, json, &mut results).await;
        stage.clear().await;
        ran?;
    }
    let failed = results.iter().filter(|result| !result.differences.is_empty()).count();
    if json {
        let examples: Vec<Value> = results.iter().map(ExampleResult::to_json).collect();
        let document = json!({"passed": results.len() - failed, "failed": failed, "examples": examples});
        output::print_json(&document)?;
    } else {
        output::print(&summary(&results, begun.elapsed(), &Style::stdout()))?;
    }
    if failed == 0 { Ok(()) } else { Err(Failure::silent(EXIT_FOUND)) }
}

struct ExampleResult {
    name: String,
    action: String,
    /// None: it passed.
    differences: Vec<Difference>,
    duration_ms: f64,
    trace_id: Option<String>,
    /// What a failed one printed.
    lines: Vec<String>,
}

impl ExampleResult {
    fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "action": self.action,
            "state": if self.differences.is_empty() { "passed" } else { "failed" },
            "differences": self.differences.iter().map(Difference::to_json).collect::<Vec<_>>(),
            "duration_ms": self.duration_ms,
            "trace_id": self.trace_id,
        })
    }
}

/// A host for one plugin, which nobody else can call.
struct Stage {
    target: Target,
    stubs: Arc<StubServices>,
    /// Holds the unpacked files until the workers have ended.
    folder: tempfile::TempDir,
}

impl Stage {
    fn set(package: &Package, settings: &Settings) -> Result<Stage, Failure> {
        let folder = tempfile::tempdir()
            .map_err(|error| Failure::internal(format!("a temporary folder cannot be made: {error}")))?;
        let files = folder.path().join(package.manifest.name.as_str());
        package.unpack_into(&files)?;
        let stubs = Arc::new(StubServices::default());
        let logs = connect::logs(settings, LogTarget::Off);
        // The traces stay in the ledger, so that a failed example can be looked at afterwards.
        let options = Options { services: stubs.clone(), ..Options::new(Keep::Ledger, logs) };
        let runner = Runner::start(settings, options)?;
        runner.host.deploy_transient(package.manifest.clone(), files, Convention::Plugin)?;
        Ok(Stage { target: Target::Local(Box::new(Local::of(runner))), stubs, folder })
    }

    async fn run(
        &self,
        package: &Package,
        json: bool,
        results: &mut Vec<ExampleResult>,
    ) -> Result<(), Failure> {
        let examples = &package.manifest.examples;
        let style = Style::stdout();
        if !json {
            output::print(&format!("running {} examples of {}\n", examples.len(), package.manifest.name))?;
        }
        for example in examples {
            if !json {
                output::print(&format!("test {} ... ", printable(&example.name)))?;
            }
            let result = self.run_one(package, example).await?;
            if !json {
                let passed = result.differences.is_empty();
                let word =
                    if passed { style.paint(Paint::Good, "ok") } else { style.paint(Paint::Bad, "FAILED") };
                output::print(&format!("{word}\n"))?;
            }
            results.push(result);
        }
        Ok(())
    }

    async fn run_one(&self, package: &Package, example: &Example) -> Result<ExampleResult, Failure> {
        self.stubs.set(example.http.clone());
        let body = format!(
            "{{\"input\":{},\"action\":{}}}",
            example.input.get(),
            Value::from(example.action.as_str())
        );
        let path = format!("/v1/plugins/{}/invoke?mode=sync", package.manifest.name);
        let begun = Instant::now();
        let answer = self.target.send(Method::POST, &path, Some(Bytes::from(body))).await?;
        let (status, bytes) = answer.bytes().await?;
        let document: Value = serde_json::from_slice(&bytes).map_err(|_| {
            Failure::internal(format!("the host answered {status} with something that is not JSON"))
        })?;
        let actual = if status.is_success() {
            Actual::Output(&document["data"])
        } else {
            Actual::Failed {
                kind: document["kind"].as_str().and_then(ErrorKind::parse).unwrap_or(ErrorKind::Internal),
                message: document["detail"].as_str().unwrap_or_default(),
            }
        };
        let differences = judge(example.expect.as_ref(), actual);
        let meta = if status.is_success() { &document["meta"] } else { &document };
        let trace_id = meta["trace_id"].as_str().map(str::to_owned);
        let lines = match &trace_id {
            Some(trace_id) if !differences.is_empty() => self.lines_of(trace_id).await,
            _ => Vec::new(),
        };
        let took = begun.elapsed().as_secs_f64() * 1e3;
        Ok(ExampleResult {
            name: example.name.clone(),
            action: example.action.clone(),
            differences,
            duration_ms: meta["duration_ms"].as_f64().unwrap_or((took * 1e3).round() / 1e3),
            trace_id,
            lines,
        })
    }

    /// What the plugin printed. Without it, the report is only shorter.
    async fn lines_of(&self, trace_id: &str) -> Vec<String> {
        let Ok(trace) = self.target.get(&format!("/v1/traces/{trace_id}")).await else { return Vec::new() };
        let logs = trace["logs"].as_array().into_iter().flatten();
        let printed = logs.filter(|log| log["stream"] != "host").filter_map(|log| log["body"].as_str());
        let mut lines: Vec<String> = printed.map(printable).collect();
        let skipped = lines.len().saturating_sub(LINES_MAX);
        lines.drain(..skipped);
        lines
    }

    async fn clear(self) {
        let Stage { target, folder, .. } = self;
        target.finish().await;
        drop(folder);
    }
}

fn summary(results: &[ExampleResult], took: Duration, style: &Style) -> String {
    let mut out = String::new();
    let failed: Vec<&ExampleResult> =
        results.iter().filter(|result| !result.differences.is_empty()).collect();
    if !failed.is_empty() {
        out += "\nfailures:\n";
    }
    for result in &failed {
        out += &format!("\n{} {}\n", style.paint(Paint::Bad, style.glyph("✗", "x")), printable(&result.name));
        for difference in &result.differences {
            let place = if difference.pointer.is_empty() {
                String::new()
            } else {
                format!("{}: ", difference.pointer)
            };
            out += &format!("  {}\n", printable(&format!("{place}{}", difference.message)));
        }
        for line in &result.lines {
            out += &format!("  {} {line}\n", style.paint(Paint::Dim, "|"));
        }
        if let Some(trace_id) = &result.trace_id {
            out += &format!(
                "  {} spanglass trace show {}\n",
                style.paint(Paint::Accent, "trace:"),
                printable(trace_id)
            );
        }
    }
    let word =
        if failed.is_empty() { style.paint(Paint::Good, "ok") } else { style.paint(Paint::Bad, "FAILED") };
    let passed = results.len() - failed.len();
    let took = style.ascii(output::milliseconds(took.as_secs_f64() * 1e3));
    out + &format!("\ntest result: {word}. {passed} passed; {} failed; finished in {took}\n", failed.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(name: &str, differences: Vec<Difference>) -> ExampleResult {
        ExampleResult {
            name: name.into(),
            action: "invoke".into(),
            differences,
            duration_ms: 1.5,
            trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736".into()),
            lines: vec!["scored 0.4".into()],
        }
    }

    #[test]
    fn the_report_reads_like_that_of_cargo() {
        let difference = Difference { pointer: "/score".into(), message: "expected 0.5, got 0.4".into() };
        let results = [result("good", Vec::new()), result("bad", vec![difference])];
        assert_eq!(
            summary(&results, Duration::from_millis(1234), &Style::plain(80)),
            "\nfailures:\n\n✗ bad\n  /score: expected 0.5, got 0.4\n  | scored 0.4\n  \
             trace: spanglass trace show 4bf92f3577b34da6a3ce929d0e0e4736\n\n\
             test result: FAILED. 1 passed; 1 failed; finished in 1.23s\n"
        );
        assert!(
            summary(&results[..1], Duration::ZERO, &Style::plain(80)).contains("ok. 1 passed; 0 failed;")
        );
        assert_eq!(results[1].to_json()["state"], "failed");
    }
}
