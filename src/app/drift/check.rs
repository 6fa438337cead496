//! `drift check`: two files of calls, judged as a window is by its baseline. Needs neither a server nor a
//! configuration, so that it works in pipelines and before a release.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::Path;

use serde_json::{Value, json};

use super::chart::{self, Bar};
use super::{percent, score, state};
use crate::app::cli::{DriftCheck, Global};
use crate::app::failure::{EXIT_FOUND, Failure};
use crate::app::output::{self, Cell, Column, Line, Paint, Style, Table, printable};
use crate::drift::batch::{self, Checked, Checks, DEPTH_MAX, FIELDS_MAX, LEFT_OUT_MAX, Which};
use crate::drift::judge::{Thresholds, Verdict};
use crate::drift::lines::LinesError;
use crate::drift::{difference, grown};
use crate::model::kind::ErrorKind;
use crate::model::units::format_bytes;

/// What is taken from a pipe, which can be read only once: it is kept on the disk meanwhile.
const PIPE_BYTES_MAX: u64 = 4 << 30;

pub fn command(global: &Global, check: &DriftCheck) -> Result<(), Failure> {
    let stdin = Path::new("-");
    if check.baseline == stdin && check.current == stdin {
        return Err(Failure::usage("only one of the two can be standard input"));
    }
    let (baseline, current) = (Source::open(&check.baseline)?, Source::open(&check.current)?);
    let &DriftCheck { alpha, min_effect, min_samples, .. } = check;
    // Nobody looks at a file again and again.
    let thresholds = Thresholds { alpha, min_effect, min_samples, looks: 1 };
    let checks = batch::check(&|| baseline.reader(), &|| current.reader(), &check.fields, &thresholds)
        .map_err(|(which, error)| {
            let path = match which {
                Which::Baseline => &check.baseline,
                Which::Current => &check.current,
            };
            wrong(path, error)
        })?;
    for (path, calls) in [(&check.baseline, checks.baseline_calls), (&check.current, checks.current_calls)] {
        if calls == 0 {
            let message = format!("{} has no calls", printable(&path.display().to_string()));
            return Err(Failure::invalid(message).help(LINE_HELP));
        }
    }
    if let Some(field) = checks.absent.first() {
        let message = format!("neither file has a field {}", printable(field));
        return Err(Failure::usage(message).help("without --field all that they have are compared"));
    }
    let drift = checks.fields.iter().any(|field| field.comparison.verdict == Verdict::Exceeds);
    if global.json {
        output::print_json(&document(&checks, drift))?;
    } else {
        output::print(&render(&checks, check, &Style::stdout()))?;
        say_more(&checks, drift, check);
    }
    if drift { Err(Failure::silent(EXIT_FOUND)) } else { Ok(()) }
}

const LINE_HELP: &str = "each line is a call: {\"input\": {…}, \"output\": …}";

/// A file that can be read again.
enum Source<'p> {
    File(&'p Path),
    /// What came through a pipe.
    Kept(File),
}

impl<'p> Source<'p> {
    fn open(path: &'p Path) -> Result<Source<'p>, Failure> {
        let failed = |error: io::Error| unreadable(path, &error);
        if path == Path::new("-") {
            return Source::keep(io::stdin(), path);
        }
        let file = File::open(path).map_err(failed)?;
        let kind = file.metadata().map_err(failed)?.file_type();
        if kind.is_file() {
            return Ok(Source::File(path));
        }
        if kind.is_dir() {
            return Err(unreadable(path, &io::Error::from(io::ErrorKind::IsADirectory)));
        }
        Source::keep(file, path)
    }

    fn keep(pipe: impl Read, path: &Path) -> Result<Source<'p>, Failure> {
        let failed = |error: io::Error| unreadable(path, &error);
        let mut file = tempfile::tempfile().map_err(failed)?;
        let bytes = io::copy(&mut pipe.take(PIPE_BYTES_MAX + 1), &mut file).map_err(failed)?;
        if bytes > PIPE_BYTES_MAX {
            let message = format!("{} has more than {}", path.display(), format_bytes(PIPE_BYTES_MAX));
            return Err(Failure::of_kind(ErrorKind::InputTooLarge, message).help("take a part of its lines"));
        }
        Ok(Source::Kept(file))
    }

    fn reader(&self) -> io::Result<Box<dyn BufRead>> {
        let file = match self {
            Source::File(path) => File::open(path)?,
            Source::Kept(file) => {
                let mut again = file.try_clone()?;
                again.rewind()?;
                again
            }
        };
        Ok(Box::new(BufReader::new(file)))
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::invalid(format!("{} cannot be read: {error}", printable(&path.display().to_string())))
}

fn wrong(path: &Path, error: LinesError) -> Failure {
    let shown = printable(&path.display().to_string());
    match error {
        LinesError::Read(error) => unreadable(path, &error),
        LinesError::TooMany(_) => {
            Failure::invalid(format!("{shown}: {error}")).help("take a part of its lines")
        }
        LinesError::Mistakes(mistakes) => {
            let Some(first) = mistakes.first() else { return Failure::invalid(shown) };
            let mut failure = Failure::invalid(format!("{shown}:{}: {}", first.line, first.message));
            for mistake in mistakes.iter().skip(1) {
                failure = failure.place(&format!("{shown}:{}", mistake.line), &mistake.message);
            }
            failure.help(LINE_HELP)
        }
    }
}

const fn state_of(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Insufficient => "insufficient",
        Verdict::Quiet => "ok",
        Verdict::Exceeds => "alert",
    }
}

// === for programs ===

fn document(checks: &Checks, drift: bool) -> Value {
    json!({
        "drift": drift,
        "baseline_calls": checks.baseline_calls,
        "current_calls": checks.current_calls,
        "judged": checks.fields.len() - count(checks, Verdict::Insufficient),
        "fields_left_out": checks.left_out,
        "fields": checks.fields.iter().map(field_json).collect::<Vec<_>>(),
    })
}

fn field_json(field: &Checked) -> Value {
    let found = &field.comparison;
    let tests = found.tests.iter();
    let tests = tests
        .map(|test| json!({"name": test.name, "pvalue": test.pvalue, "adjusted": test.adjusted}))
        .collect::<Vec<_>>();
    json!({
        "field": field.field,
        "kind": field.bins.kind.as_str(),
        "state": state_of(found.verdict),
        "samples": found.samples,
        "baseline_samples": found.baseline_samples,
        "psi": found.psi,
        "js": found.js,
        "effect": found.effect,
        "pvalue": found.pvalue,
        "null_ratio": found.null_ratio,
        "baseline_null_ratio": share(&field.baseline, field.bins.null()),
        "new_category_ratio": found.new_category_ratio,
        "tests": tests,
        "ks": field.exact.map(|exact| json!({"statistic": exact.ks, "pvalue": exact.ks_pvalue})),
        "wasserstein": field.exact.map(|exact| exact.wasserstein),
        "bins": (0..field.baseline.len()).map(|cell| json!({
            "label": field.bins.label(cell),
            "kind": field.bins.kind_of(cell),
            "baseline_count": field.baseline[cell],
            "current_count": field.current[cell],
        })).collect::<Vec<_>>(),
    })
}

/// `None`: there is nothing to be a share of.
fn share(counts: &[u32], cell: usize) -> Option<f64> {
    let all: f64 = counts.iter().map(|count| f64::from(*count)).sum();
    (all > 0.0).then(|| f64::from(counts[cell]) / all)
}

// === for people ===

fn render(checks: &Checks, check: &DriftCheck, style: &Style) -> String {
    let columns = vec![
        Column::left("FIELD"),
        Column::left("KIND"),
        Column::left("STATE"),
        Column::right("PSI"),
        Column::right("JS"),
        Column::right("P"),
        Column::right("NULL"),
        Column::right("UNSEEN"),
        Column::right("VALUES"),
    ];
    let mut table = Table::new(columns);
    for field in &checks.fields {
        let found = &field.comparison;
        let (before, now) = (percent(share(&field.baseline, field.bins.null())), percent(found.null_ratio));
        table.push(vec![
            Cell::new(Paint::Strong, printable(&field.field)),
            Cell::new(Paint::Dim, field.bins.kind.as_str()),
            state(state_of(found.verdict)),
            score(found.psi).into(),
            score(found.js).into(),
            score(found.pvalue).into(),
            (if before == now || before == "-" { now } else { format!("{before} > {now}") }).into(),
            percent(found.new_category_ratio).into(),
            output::count(found.samples as usize).into(),
        ]);
    }
    let mut out = table.render(style);
    for field in checks.fields.iter().filter(|field| field.comparison.verdict == Verdict::Exceeds) {
        out.push('\n');
        let mut line = Line::default();
        line.push(style, Paint::Strong, &printable(&field.field)).push(style, Paint::Plain, "  ");
        line.push(style, Paint::Dim, &difference(&field.comparison, check.min_effect, check.alpha));
        line.finish(&mut out);
        out += &chart::render(&bars(field), style);
    }
    out
}

fn bars(field: &Checked) -> Vec<Bar> {
    let grown = grown(&field.baseline, &field.current);
    let bar = |cell: usize| {
        let baseline = share(&field.baseline, cell).unwrap_or(0.0);
        let current = share(&field.current, cell).unwrap_or(0.0);
        let label = printable(&field.bins.label(cell));
        Bar { label, baseline, current, grew: grown.contains(&cell) }
    };
    (0..field.baseline.len()).map(bar).collect()
}

fn count(checks: &Checks, verdict: Verdict) -> usize {
    checks.fields.iter().filter(|field| field.comparison.verdict == verdict).count()
}

/// Nothing but nulls; those of a baseline are then not even counted.
fn has_values(counts: &[u32], null: usize) -> bool {
    counts.iter().enumerate().any(|(cell, count)| cell != null && *count > 0)
}

fn say_more(checks: &Checks, drift: bool, check: &DriftCheck) {
    let style = Style::stderr();
    let [current, baseline] = [checks.current_calls, checks.baseline_calls]
        .map(|calls| output::count(usize::try_from(calls).unwrap_or(usize::MAX)));
    let calls = format!("{current} calls beside {baseline}");
    let (fields, unsaid) = (checks.fields.len(), count(checks, Verdict::Insufficient));
    let judged = fields - unsaid;
    if judged == 0 {
        let why = if fields == 0 { "no call has a value that could be compared" } else { "too few values" };
        output::note(&format!("{}: {why}, {calls}", style.paint(Paint::Warning, "nothing was judged")));
    } else {
        let (paint, words) = if drift { (Paint::Bad, "drift") } else { (Paint::Good, "no drift") };
        let found = count(checks, Verdict::Exceeds);
        output::note(&format!("{}: {found} of {judged} fields differ, {calls}", style.paint(paint, words)));
    }
    let mut few = 0;
    for field in checks.fields.iter().filter(|field| field.comparison.verdict == Verdict::Insufficient) {
        let (null, name, found) = (field.bins.null(), printable(&field.field), &field.comparison);
        match (has_values(&field.baseline, null), has_values(&field.current, null)) {
            (false, false) => output::note(&format!("no call has a value of {name}")),
            (false, true) => {
                output::note(&format!("nothing is said of {name}: the baseline has no value of it"));
            }
            (true, _) if found.unsteady => {
                let why = "its baseline varies too much within itself, or only grows; take more calls";
                output::note(&format!("nothing is said of {name}: {why}"));
            }
            (true, _) => few += 1,
        }
    }
    if few > 0 {
        let fields = if few == 1 { "1 field".to_owned() } else { format!("{few} fields") };
        output::note(&format!(
            "nothing is said of {fields}: fewer than {} values on one side (--min-samples)",
            check.min_samples
        ));
    }
    if checks.left_out > 0 {
        let at_least = if checks.left_out >= LEFT_OUT_MAX { "at least " } else { "" };
        output::note(&format!(
            "{at_least}{} fields were not looked at: more than {FIELDS_MAX}, deeper than {DEPTH_MAX} steps, or with too long \
             a name; --field names others",
            output::count(checks.left_out)
        ));
    }
}
