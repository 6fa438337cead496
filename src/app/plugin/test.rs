//! `plugin test`: runs the examples of a manifest in this process, one after the other, and judges them.
//! Requests that a plugin makes through the host are answered by the example's stubs, never by the network.
//! With `--update` what came becomes what is expected.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::manifest_file::ManifestFile;
use crate::app::examples::{Actual, Difference, judge};
use crate::app::expectation::{self, Renewal};
use crate::app::failure::{EXIT_FOUND, Failure};
use crate::app::output::{self, Paint, Style, printable};
use crate::app::trial::Trial;
use crate::config::Settings;
use crate::model::guest::LogStream;
use crate::model::ids::TraceId;
use crate::package::Package;
use crate::package::manifest::Example;
use crate::package::rewrite::{self, Expectation};

/// Lines that a failed example printed.
const LINES_MAX: usize = 20;

pub async fn command(path: &Path, update: bool, json: bool, settings: &Settings) -> Result<(), Failure> {
    let package = Package::load(path)?;
    // First: whoever cannot have the manifest changed need not wait for the examples.
    let file = update.then(|| ManifestFile::of(path, &package)).transpose()?;
    let begun = Instant::now();
    let mut results = if package.manifest.examples.is_empty() {
        Vec::new()
    } else {
        let trial = Trial::start(settings, &package)?;
        let ran = run(&trial, &package, json).await;
        trial.finish().await;
        ran?
    };
    if let Some(file) = &file {
        renew(file, &package, &mut results)?;
    }
    let failed = results.iter().filter(|result| result.state() == State::Failed).count();
    if json {
        let examples: Vec<Value> = results.iter().map(ExampleResult::to_json).collect();
        let mut document = json!({"passed": results.len() - failed, "failed": failed, "examples": examples});
        if update {
            let updated = results.iter().filter(|result| result.state() == State::Updated).count();
            document["passed"] = (results.len() - failed - updated).into();
            document["updated"] = updated.into();
        }
        output::print_json(&document)?;
    } else {
        let style = Style::stdout();
        if let Some(file) = &file {
            output::print(&changes(file, &package, &results, &style))?;
        }
        output::print(&summary(&results, begun.elapsed(), &style))?;
    }
    if failed == 0 { Ok(()) } else { Err(Failure::silent(EXIT_FOUND)) }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Passed,
    Failed,
    /// Its expectation in the manifest is now what came.
    Updated,
}

struct ExampleResult {
    name: String,
    action: String,
    /// None: it passed.
    differences: Vec<Difference>,
    /// What the example would expect, had it been written after this call.
    renewal: Renewal,
    updated: bool,
    duration_ms: f64,
    trace_id: String,
    /// What a failed one printed.
    lines: Vec<String>,
}

impl ExampleResult {
    fn state(&self) -> State {
        match (self.updated, self.differences.is_empty()) {
            (true, _) => State::Updated,
            (false, true) => State::Passed,
            (false, false) => State::Failed,
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "action": self.action,
            "state": match self.state() {
                State::Passed => "passed",
                State::Failed => "failed",
                State::Updated => "updated",
            },
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
    let output: Value;
    let actual = match &completed.result {
        Ok(written) => {
            let written = written.as_ref().map_or("null", |output| output.get());
            output = serde_json::from_str(written)
                .map_err(|error| Failure::internal(format!("the output is not JSON: {error}")))?;
            Actual::Output(&output)
        }
        Err(error) => Actual::Failed { kind: error.kind, message: &error.message },
    };
    let differences = judge(example.expect.as_ref(), actual);
    let renewal = expectation::renew(example.expect.as_ref(), !differences.is_empty(), actual);
    let meta = completed.meta;
    let lines = if differences.is_empty() { Vec::new() } else { printed(trial, meta.trace_id) };
    Ok(ExampleResult {
        name: example.name.clone(),
        action: example.action.clone(),
        differences,
        renewal,
        updated: false,
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

/// Writes into the manifest what may be taken over.
fn renew(file: &ManifestFile, package: &Package, results: &mut [ExampleResult]) -> Result<(), Failure> {
    let changes: Vec<Expectation> = results
        .iter()
        .enumerate()
        .filter_map(|(index, result)| match &result.renewal {
            Renewal::Write(expect) => Some(Expectation { index, expect: expect.clone() }),
            Renewal::Keep | Renewal::Refuse(_) => None,
        })
        .collect();
    if changes.is_empty() {
        return Ok(());
    }
    let text = rewrite::set_expectations(package.manifest_name, &package.manifest_text, &changes);
    file.replace(&text.map_err(|error| file.unchangeable(&error))?)?;
    for change in changes {
        results[change.index].updated = true;
    }
    Ok(())
}

/// What `--update` did, as a list of what went and what came.
fn changes(file: &ManifestFile, package: &Package, results: &[ExampleResult], style: &Style) -> String {
    let mut out = String::new();
    for (result, example) in results.iter().zip(&package.manifest.examples) {
        let line = |paint, sign: &str, value: &Value| {
            format!(
                "  {}\n",
                style.paint(paint, &printable(&format!("{sign} {}", rewrite::on_one_line(value))))
            )
        };
        match &result.renewal {
            Renewal::Write(expect) => {
                out += &format!("\nupdated {} in {}\n", printable(&result.name), file.shown());
                if let Some(old) = &example.expect {
                    out += &line(Paint::Bad, "-", &expectation::written(old));
                }
                out += &line(Paint::Good, "+", expect);
            }
            Renewal::Refuse(why) => out += &format!("\nnot updated {}: {why}\n", printable(&result.name)),
            Renewal::Keep => {}
        }
    }
    out
}

fn summary(results: &[ExampleResult], took: Duration, style: &Style) -> String {
    let mut out = String::new();
    let failed: Vec<&ExampleResult> =
        results.iter().filter(|result| result.state() == State::Failed).collect();
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
    let updated = results.iter().filter(|result| result.updated).count();
    let passed = results.len() - failed.len() - updated;
    let updated = if updated == 0 { String::new() } else { format!("{updated} updated; ") };
    let took = style.ascii(output::milliseconds(took.as_secs_f64() * 1e3));
    let failed = failed.len();
    out + &format!("\ntest result: {word}. {passed} passed; {failed} failed; {updated}finished in {took}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(name: &str, differences: Vec<Difference>) -> ExampleResult {
        ExampleResult {
            name: name.into(),
            action: "invoke".into(),
            differences,
            renewal: Renewal::Keep,
            updated: false,
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
