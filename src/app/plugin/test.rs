//! `plugin test`: runs the examples of a manifest in this process, one after the other, and judges them.
//! Requests that a plugin makes through the host are answered by the example's stubs, never by the network.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::app::examples::{Actual, Difference, judge};
use crate::app::failure::{EXIT_FOUND, Failure};
use crate::app::output::{self, Paint, Style, printable};
use crate::app::trial::Trial;
use crate::config::Settings;
use crate::model::guest::LogStream;
use crate::model::ids::TraceId;
use crate::package::Package;
use crate::package::manifest::Example;

/// Lines that a failed example printed.
const LINES_MAX: usize = 20;

pub async fn command(path: &Path, json: bool, settings: &Settings) -> Result<(), Failure> {
    let package = Package::load(path)?;
    let begun = Instant::now();
    let results = if package.manifest.examples.is_empty() {
        Vec::new()
    } else {
        let trial = Trial::start(settings, &package)?;
        let ran = run(&trial, &package, json).await;
        trial.finish().await;
        ran?
    };
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
    trace_id: String,
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

async fn run(trial: &Trial, package: &Package, json: bool) -> Result<Vec<ExampleResult>, Failure> {
    let mut results = Vec::new();
    let examples = &package.manifest.examples;
    let style = Style::stdout();
    if !json {
        output::print(&format!("running {} examples of {}\n", examples.len(), package.manifest.name))?;
    }
    for example in examples {
        if !json {
            output::print(&format!("test {} ... ", printable(&example.name)))?;
        }
        let result = run_one(trial, example).await?;
        if !json {
            let passed = result.differences.is_empty();
            let word =
                if passed { style.paint(Paint::Good, "ok") } else { style.paint(Paint::Bad, "FAILED") };
            output::print(&format!("{word}\n"))?;
        }
        results.push(result);
    }
    Ok(results)
}

async fn run_one(trial: &Trial, example: &Example) -> Result<ExampleResult, Failure> {
    let completed = trial.run(example).await;
    let differences = match &completed.result {
        Ok(output) => {
            let output = output.as_ref().map_or("null", |output| output.get());
            let output: Value = serde_json::from_str(output)
                .map_err(|error| Failure::internal(format!("the output is not JSON: {error}")))?;
            judge(example.expect.as_ref(), Actual::Output(&output))
        }
        Err(error) => {
            judge(example.expect.as_ref(), Actual::Failed { kind: error.kind, message: &error.message })
        }
    };
    let meta = completed.meta;
    let lines = if differences.is_empty() { Vec::new() } else { printed(trial, meta.trace_id) };
    Ok(ExampleResult {
        name: example.name.clone(),
        action: example.action.clone(),
        differences,
        duration_ms: (meta.duration.as_secs_f64() * 1e6).round() / 1e3,
        trace_id: meta.trace_id.to_string(),
        lines,
    })
}

/// What the plugin printed during a call. Where it cannot be read, the report is only shorter.
fn printed(trial: &Trial, trace_id: TraceId) -> Vec<String> {
    let logs = trial.trace(trace_id).map(|trace| trace.logs).unwrap_or_default();
    let printed = logs.iter().filter(|log| log.stream != LogStream::Host.as_str());
    let mut lines: Vec<String> = printed.map(|log| printable(&log.body)).collect();
    let skipped = lines.len().saturating_sub(LINES_MAX);
    lines.drain(..skipped);
    lines
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
        let trace = style.paint(Paint::Accent, "trace:");
        out += &format!("  {trace} spanglass trace show {}\n", result.trace_id);
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
            trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".into(),
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
