//! Two files of calls, compared as a baseline and one window: what `drift check` says. The bins are those of a running
//! version, so that both say the same.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::io::BufRead;

use serde_json::Value;

use super::baseline::{Baseline, FieldBaseline};
use super::bins::{self, Bins, Datum, Kept};
use super::calibrate::block_calls;
use super::capture::Capture;
use super::judge::{Compared, Comparison, Thresholds, Verdict, compare};
use super::lines::{self, LINES_MAX, LinesError, Row};
use super::statistics::{kolmogorov_smirnov, wasserstein};
use crate::model::field::{FieldKind, FieldPath, Side, Step};

/// Fields that are found in files: one more would cost all others some of their power.
pub const FIELDS_MAX: usize = 64;
/// How deep they are looked for.
pub const DEPTH_MAX: usize = 4;
/// Fields that are left out are counted up to so many.
pub const LEFT_OUT_MAX: usize = 10_000;
/// Values of a field that are kept one by one; beyond them the file is read again.
const KEPT_MAX: usize = 100_000;

/// Opens a file, each time from its beginning.
pub type Opener<'a> = &'a dyn Fn() -> std::io::Result<Box<dyn BufRead>>;

/// One field of two files.
#[derive(Debug)]
pub struct Checked {
    pub field: String,
    pub bins: Bins,
    pub baseline: Vec<u32>,
    pub current: Vec<u32>,
    pub comparison: Comparison,
    /// Of numbers that can be ordered one by one, if there are enough of them.
    pub exact: Option<Exact>,
}

/// What needs the values themselves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exact {
    /// Two-sample Kolmogorov-Smirnov statistic, and its asymptotic p-value.
    pub ks: f64,
    pub ks_pvalue: f64,
    /// In standard deviations of the baseline.
    pub wasserstein: f64,
}

/// Fields that were found, or asked for.
#[derive(Debug)]
pub struct Checks {
    pub fields: Vec<Checked>,
    pub baseline_calls: u64,
    pub current_calls: u64,
    /// Different fields that were not looked at: there are too many, or they lie too deep, or have too long a name.
    pub left_out: usize,
    /// Fields that were asked for and that neither file has.
    pub absent: Vec<String>,
}

/// Which of the files it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    Baseline,
    Current,
}

/// `wanted`: only these fields; empty: all that are found.
pub fn check(
    baseline: Opener<'_>,
    current: Opener<'_>,
    wanted: &[FieldPath],
    thresholds: &Thresholds,
) -> Result<Checks, (Which, LinesError)> {
    let of = |which: Which| move |error: LinesError| (which, error);
    let mut table = Table::new(wanted);
    let baseline_calls = table.read(baseline).map_err(of(Which::Baseline))?;
    let mut other = Table { finder: table.finder.take(), ..Table::new(&table.paths) };
    let current_calls = other.read(current).map_err(of(Which::Current))?;
    // What only the current file has stands beside nothing.
    for path in &other.paths[table.paths.len()..] {
        table.add(path.clone());
    }
    let absent = (0..table.paths.len()).filter(|at| !(table.present[*at] || other.present[*at]));
    let absent = absent.map(|at| table.paths[at].to_string()).collect();
    let pinned: Vec<FieldBaseline> = table.pin(baseline).map_err(of(Which::Baseline))?;
    let bins: Vec<Bins> = pinned.iter().map(|field| field.bins.clone()).collect();
    let counts = other.counts(&bins, current).map_err(of(Which::Current))?;
    let compared: Vec<Compared<'_>> = pinned
        .iter()
        .zip(&counts)
        .map(|(field, blocks)| Compared {
            baseline: &field.counts,
            current: &blocks.sum,
            ordered: field.bins.cells.are_ordered(),
            dispersion: field.dispersion,
        })
        .collect();
    // They are looked at once.
    let comparisons = compare(&compared, &Thresholds { looks: 1, ..*thresholds });
    let fields = pinned.into_iter().zip(counts).zip(comparisons).enumerate().map(
        |(at, ((field, counts), comparison))| Checked {
            // An asymptotic p-value of a handful of values says nothing.
            exact: (comparison.verdict != Verdict::Insufficient)
                .then(|| exact(&field.bins, table.capture.kept(at), other.capture.kept(at)))
                .flatten(),
            field: field.field,
            bins: field.bins,
            baseline: field.counts,
            current: counts.sum,
            comparison,
        },
    );
    let left_out = other.finder.as_ref().map_or(0, |finder| finder.left_out.len());
    Ok(Checks { fields: fields.collect(), baseline_calls, current_calls, left_out, absent })
}

/// A baseline from a file, of the fields of a version.
pub fn baseline_from(
    reader: impl BufRead,
    fields: &[(FieldPath, Option<FieldKind>)],
    lines_max: usize,
) -> Result<Baseline, LinesError> {
    let mut capture = Capture::new(fields.iter().map(|(_, hint)| *hint), lines_max);
    let calls = lines::read(reader, lines_max as u64, |row| {
        for (at, (path, _)) in fields.iter().enumerate() {
            if let Some(datum) = datum(path, &row) {
                capture.add(at, datum);
            }
        }
    })?;
    Ok(Baseline::of(&capture, fields.iter().map(|(path, _)| path.to_string()), calls))
}

/// The value of a field in a row; `None`: the call failed, and there is no output to look at.
fn datum<'r>(path: &FieldPath, row: &'r Row) -> Option<Datum<'r>> {
    let side = row.of(path.side());
    let failed = path.side() == Side::Output && side.is_null();
    (!failed).then(|| Datum::at(path, side))
}

/// The fields of a file and what is learnt of them.
struct Table {
    paths: Vec<FieldPath>,
    capture: Capture,
    /// Whether a call had the field, be it as null.
    present: Vec<bool>,
    /// Fields come as they are found.
    finder: Option<Finder>,
    inputs: usize,
    outputs: usize,
}

/// What was found already, by its hash: to spell each field of each call would take longer than all the rest.
#[derive(Default)]
struct Finder {
    seed: RandomState,
    known: HashSet<u64>,
    left_out: HashSet<u64>,
}

struct Counted {
    sum: Vec<u32>,
    blocks: Vec<Vec<u32>>,
    /// Values of a block, and how many the last one has.
    block: usize,
    in_block: usize,
}

impl Table {
    fn new(wanted: &[FieldPath]) -> Table {
        let mut paths: Vec<FieldPath> = Vec::new();
        for path in wanted {
            if !paths.contains(path) {
                paths.push(path.clone());
            }
        }
        Table {
            capture: Capture::new(paths.iter().map(|_| None), KEPT_MAX),
            present: vec![false; paths.len()],
            finder: wanted.is_empty().then(Finder::default),
            paths,
            inputs: 0,
            outputs: 0,
        }
    }

    fn read(&mut self, open: Opener<'_>) -> Result<u64, LinesError> {
        lines::read(open()?, LINES_MAX, |row| self.take(&row))
    }

    fn take(&mut self, row: &Row) {
        if let Some(mut finder) = self.finder.take() {
            for (side, value) in [(Side::Input, &row.input), (Side::Output, &row.output)] {
                self.find(&mut finder, side, value, u64::from(side == Side::Output), &mut Vec::new());
            }
            self.finder = Some(finder);
        }
        for (at, path) in self.paths.iter().enumerate() {
            if let Some(datum) = datum(path, row) {
                self.present[at] |= datum != Datum::Null || bins::find(path, row.of(path.side())).is_some();
                self.capture.add(at, datum);
            }
        }
        self.inputs += 1;
        self.outputs += usize::from(!row.output.is_null());
    }

    /// Adds the fields that a value has and that are not known yet. `place`: the hash of the steps.
    fn find<'v>(
        &mut self,
        finder: &mut Finder,
        side: Side,
        value: &'v Value,
        place: u64,
        steps: &mut Vec<&'v str>,
    ) {
        if let Value::Object(map) = value
            && steps.len() < DEPTH_MAX
        {
            for (key, value) in map {
                steps.push(key);
                let place = finder.seed.hash_one((place, key));
                self.find(finder, side, value, place, steps);
                steps.pop();
            }
            return;
        }
        // What is null says nothing about what it would be, and a call is no field.
        if value.is_null() || steps.is_empty() || finder.known.contains(&place) {
            return;
        }
        let is_object = value.is_object();
        let path = (!is_object && self.paths.len() < FIELDS_MAX)
            .then(|| FieldPath::new(side, steps.iter().map(|key| Step::Key((*key).into())).collect()));
        match path.flatten() {
            Some(path) => {
                finder.known.insert(place);
                self.add(path);
            }
            None if finder.left_out.len() < LEFT_OUT_MAX => {
                finder.left_out.insert(place);
            }
            None => {}
        }
    }

    /// A field that no call before has had.
    fn add(&mut self, path: FieldPath) {
        let missed = if path.side() == Side::Input { self.inputs } else { self.outputs };
        self.capture.add_field(None);
        self.capture.add_nulls(self.paths.len(), missed);
        self.present.push(false);
        self.paths.push(path);
    }

    fn pin(&self, open: Opener<'_>) -> Result<Vec<FieldBaseline>, LinesError> {
        let bins: Vec<Bins> = (0..self.paths.len()).map(|at| self.capture.bins(at)).collect();
        let counts = self.counts(&bins, open)?;
        let fields = self.paths.iter().zip(bins).zip(counts);
        Ok(fields
            .map(|((path, bins), counted)| FieldBaseline::new(path.to_string(), bins, &counted.blocks))
            .collect())
    }

    /// Counts all values: those that were kept, or else the file's, read once more.
    fn counts(&self, bins: &[Bins], open: Opener<'_>) -> Result<Vec<Counted>, LinesError> {
        let block = block_calls(self.inputs);
        let mut counts: Vec<Counted> = bins.iter().map(|bins| Counted::new(bins, block)).collect();
        let kept: Option<Vec<&[Kept]>> = (0..bins.len()).map(|at| self.capture.kept(at)).collect();
        let Some(kept) = kept else {
            lines::read(open()?, LINES_MAX, |row| {
                for ((path, bins), counted) in self.paths.iter().zip(bins).zip(&mut counts) {
                    if let Some(datum) = datum(path, &row) {
                        counted.add(bins.cell_of(datum));
                    }
                }
            })?;
            return Ok(counts);
        };
        for ((values, bins), counted) in kept.into_iter().zip(bins).zip(&mut counts) {
            values.iter().for_each(|value| counted.add(bins.cell_of_kept(*value)));
        }
        Ok(counts)
    }
}

impl Counted {
    fn new(bins: &Bins, block: usize) -> Counted {
        Counted { sum: vec![0; bins.cells()], blocks: Vec::new(), block, in_block: 0 }
    }

    fn add(&mut self, cell: u8) {
        if self.in_block == 0 {
            self.blocks.push(vec![0; self.sum.len()]);
        }
        self.in_block = (self.in_block + 1) % self.block;
        self.sum[usize::from(cell)] += 1;
        if let Some(block) = self.blocks.last_mut() {
            block[usize::from(cell)] += 1;
        }
    }
}

fn exact(bins: &Bins, baseline: Option<&[Kept]>, current: Option<&[Kept]>) -> Option<Exact> {
    let numbers = |kept: &[Kept]| -> Vec<f64> {
        let number = |kept: &Kept| match kept {
            Kept::Number(number) => Some(*number),
            _ => None,
        };
        kept.iter().filter_map(number).collect()
    };
    if bins.kind != FieldKind::Number {
        return None;
    }
    let (baseline, current) = (numbers(baseline?), numbers(current?));
    let ks = kolmogorov_smirnov::asymptotic(&baseline, &current)?;
    let wasserstein = wasserstein::normed_distance(&baseline, &current)?;
    Some(Exact { ks: ks.statistic, ks_pvalue: ks.pvalue, wasserstein })
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;
    use crate::drift::bins::RANGES;

    fn file(rows: impl IntoIterator<Item = Value>) -> String {
        rows.into_iter().fold(String::new(), |mut text, row| {
            let _ = writeln!(text, "{row}");
            text
        })
    }

    fn checked(baseline: &str, current: &str, wanted: &[FieldPath]) -> Checks {
        let open = |text: &str| {
            let bytes = text.as_bytes().to_vec();
            move || -> std::io::Result<Box<dyn BufRead>> { Ok(Box::new(std::io::Cursor::new(bytes.clone()))) }
        };
        check(&open(baseline), &open(current), wanted, &Thresholds::default()).unwrap()
    }

    fn rows(calls: usize, shift: f64) -> String {
        file((0..calls).map(|at| {
            let amount = (at * 7_919 % 1_000) as f64 + shift;
            let output =
                if at % 10 == 0 { Value::Null } else { serde_json::json!({"score": amount / 1_000.0}) };
            let (country, tags) = (["FR", "DE", "IT"][at % 3], vec![0; at % 40]);
            serde_json::json!({
                "input": {"amount": amount, "who": {"country": country}, "tags": tags},
                "output": output,
            })
        }))
    }

    #[test]
    fn fields_are_found_and_judged() {
        let same = checked(&rows(1_000, 0.0), &rows(600, 0.0), &[]);
        let names: Vec<&str> = same.fields.iter().map(|field| &*field.field).collect();
        assert_eq!(names, ["$.input.amount", "$.input.who.country", "$.input.tags", "$.output.score"]);
        assert!(same.fields.iter().all(|field| field.comparison.verdict == Verdict::Quiet));
        let outputs = &same.fields[3].comparison;
        assert_eq!((outputs.baseline_samples, outputs.samples), (900, 540), "a failed call has no output");
        let moved = checked(&rows(1_000, 0.0), &rows(600, 300.0), &[]);
        let exceeding: Vec<&str> = moved
            .fields
            .iter()
            .filter(|field| field.comparison.verdict == Verdict::Exceeds)
            .map(|field| &*field.field)
            .collect();
        assert_eq!(exceeding, ["$.input.amount", "$.output.score"]);
    }

    #[test]
    fn only_what_is_asked_for() {
        let wanted = ["$.output.score", "$.input.absent", "$.output.score"].map(|text| text.parse().unwrap());
        let checks = checked(&rows(500, 0.0), &rows(500, 0.0), &wanted);
        assert_eq!(checks.fields.len(), 2, "named twice it is one");
        assert_eq!(checks.fields[1].comparison.verdict, Verdict::Insufficient, "it has never been there");
        assert_eq!(checks.absent, ["$.input.absent"]);
        let null = file((0..300).map(|_| serde_json::json!({"input": {"absent": null}})));
        assert_eq!(checked(&null, &null, &wanted[1..2]).absent, [""; 0], "it is there, as null");
    }

    /// What the baseline never has is not judged, but seen.
    #[test]
    fn a_field_of_the_current_file_only_is_listed() {
        let of =
            |value: Value| file((0..300).map(move |_| serde_json::json!({"input": {"a": 1, "b": value}})));
        let checks = checked(&of(Value::Null), &of(7.into()), &[]);
        let names: Vec<&str> = checks.fields.iter().map(|field| &*field.field).collect();
        assert_eq!(names, ["$.input.a", "$.input.b"]);
        let found = &checks.fields[1].comparison;
        assert_eq!((found.verdict, found.baseline_samples), (Verdict::Insufficient, 0));
        assert_eq!((found.samples, checks.fields[1].exact), (300, None));
    }

    #[test]
    fn a_million_keys_are_no_fields() {
        let wide = file((0..300).map(|at| {
            let keys = (0..300).map(|key| (format!("key-{at}-{key}"), Value::from(key)));
            serde_json::json!({"input": keys.collect::<serde_json::Map<_, _>>(), "output": 1})
        }));
        let checks = checked(&wide, &wide, &[]);
        assert_eq!((checks.fields.len(), checks.left_out), (FIELDS_MAX, LEFT_OUT_MAX));
        let row = |key: usize| {
            let keys = (0..FIELDS_MAX + 2).map(|key| (format!("k{key}"), Value::from(key)));
            let mut input: serde_json::Map<_, _> = keys.collect();
            input.insert("deep".into(), serde_json::json!({"b": {"c": {"d": {"e": key}}}}));
            input.insert("x".repeat(200), key.into());
            serde_json::json!({"input": input})
        };
        let wide = file((0..300).map(row));
        assert_eq!(checked(&wide, &wide, &[]).left_out, 2 + 1 + 1, "each once");
    }

    /// Beyond what is kept the file is read twice, and the counts are those of all its lines.
    #[test]
    fn large_files_are_counted_exactly() {
        let calls = KEPT_MAX + 5_000;
        let rows = file((0..calls).map(|at| serde_json::json!({"input": {"a": at * 7 % calls}})));
        let checks = checked(&rows, &rows, &[]);
        let field = &checks.fields[0];
        assert_eq!(field.baseline.iter().map(|count| *count as usize).sum::<usize>(), calls);
        assert_eq!(field.baseline, field.current);
        assert!(field.bins.cells.regular() == RANGES, "{:?}", field.bins);
    }
}
