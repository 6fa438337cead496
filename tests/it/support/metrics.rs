//! What `/metrics` says, read from the OpenMetrics text.

use std::collections::BTreeMap;

pub type Labels = BTreeMap<String, String>;

#[derive(Clone, Debug)]
pub struct Sample {
    pub name: String,
    pub labels: Labels,
    pub value: f64,
    pub exemplar: Option<Exemplar>,
}

#[derive(Clone, Debug)]
pub struct Exemplar {
    pub labels: Labels,
    pub value: f64,
    pub timestamp: f64,
}

/// One scrape.
#[derive(Clone, Debug)]
pub struct Scrape {
    pub samples: Vec<Sample>,
}

impl Scrape {
    pub fn parse(text: &str) -> Scrape {
        assert!(text.ends_with("# EOF\n"), "the text is cut off");
        let samples = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        Scrape { samples: samples.map(sample).collect() }
    }

    pub fn of<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = &'a Sample> {
        let fits = move |sample: &&Sample| {
            sample.name == name
                && labels.iter().all(|(key, value)| sample.labels.get(*key).is_some_and(|v| v == value))
        };
        self.samples.iter().filter(fits)
    }

    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.of(name, labels).map(|sample| sample.value).sum()
    }

    pub fn has(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.of(name, labels).next().is_some()
    }

    /// The series of `name` that differ from `before`, and by how much.
    pub fn changes(&self, before: &Scrape, name: &str) -> Vec<(Labels, f64)> {
        let old = |labels: &Labels| {
            let found = before.samples.iter().find(|sample| sample.name == name && sample.labels == *labels);
            found.map_or(0.0, |sample| sample.value)
        };
        let changed =
            self.of(name, &[]).map(|sample| (sample.labels.clone(), sample.value - old(&sample.labels)));
        changed.filter(|(_, change)| *change != 0.0).collect()
    }

    /// Where produced + recovered = exported + queued + spooled + dropped does not hold, and all families of
    /// it that are missing.
    pub fn unbalanced(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for signal in ["traces", "logs", "metrics"] {
            let mut term = |name: &str| {
                let name = format!("spanglass_telemetry_{name}");
                if !self.has(&name, &[("signal", signal)]) {
                    wrong.push(format!("{name} of {signal} is missing"));
                }
                self.sum(&name, &[("signal", signal)])
            };
            let come = term("produced_total") + term("recovered_total");
            let gone = [
                term("exported_total"),
                term("queued_records"),
                term("spooled_records"),
                term("dropped_total"),
            ];
            for name in ["last_export_timestamp_seconds", "spool_bytes"] {
                term(name);
            }
            if come != gone.iter().sum::<f64>() {
                wrong.push(format!("{signal}: {come} came, {gone:?} went"));
            }
        }
        wrong
    }
}

/// `name{a="b"} 1 # {trace_id="…"} 0.2 1700000000.1`
fn sample(line: &str) -> Sample {
    let name_end = line.find(['{', ' ']).unwrap();
    let (name, rest) = line.split_at(name_end);
    let (labels, rest) = labels(rest);
    let (value, exemplar) = match rest.split_once(" # ") {
        None => (rest, None),
        Some((value, exemplar)) => (value, Some(exemplar)),
    };
    let exemplar = exemplar.map(|text| {
        let (labels, rest) = self::labels(text);
        let mut numbers = rest.split_whitespace().map(|number| number.parse().unwrap());
        Exemplar { labels, value: numbers.next().unwrap(), timestamp: numbers.next().expect("a timestamp") }
    });
    let value = value.trim().parse().unwrap_or_else(|error| panic!("{error}: {line}"));
    Sample { name: name.to_owned(), labels, value, exemplar }
}

fn labels(text: &str) -> (Labels, &str) {
    let mut labels = Labels::new();
    let Some(mut rest) = text.strip_prefix('{') else { return (labels, text) };
    loop {
        if let Some(rest) = rest.strip_prefix('}') {
            return (labels, rest);
        }
        let (key, after) = rest.split_once("=\"").unwrap();
        let mut value = String::new();
        let mut characters = after.char_indices();
        let end = loop {
            match characters.next().unwrap() {
                (_, '\\') => value.push(match characters.next().unwrap().1 {
                    'n' => '\n',
                    other => other,
                }),
                (at, '"') => break at,
                (_, other) => value.push(other),
            }
        };
        labels.insert(key.trim_start_matches(',').to_owned(), value);
        rest = &after[end + 1..];
    }
}
