//! What one call showed of its fields. Taken while its values are at hand, counted when it has ended.

use serde_json::Value;

use super::baseline::FieldBaseline;
use super::bins::{Datum, Kept, Mark, NOTHING, category, find};
use crate::model::field::{FieldKind, FieldPath, Side};
use crate::model::ids::{InvocationId, TraceId};
use crate::model::text::truncate;

/// Stands for a text that holds a secret.
const HIDDEN: &str = "***";
/// Longest text that is taken into the reservoir, in bytes.
pub(super) const RAW_BYTES_MAX: usize = 256;

/// Which call it was.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub invocation_id: InvocationId,
    pub trace_id: TraceId,
    pub at_unix_ms: u64,
}

/// Values of one call.
pub struct Sighting {
    /// What it was seen through. If that has changed in the meantime, it counts for nothing.
    pub(super) epoch: u64,
    pub(super) what: What,
    /// The values themselves, if they are asked for.
    pub(super) raw: Option<Vec<Value>>,
}

pub(super) enum What {
    /// There are no bins yet.
    Learnt(Vec<Option<Learnt>>),
    Counted {
        /// Of each field.
        marks: Vec<Mark>,
        /// Categories that the baseline does not have.
        unseen: Vec<(usize, Box<str>)>,
    },
}

/// What outlives the call's values.
pub(super) struct Learnt {
    pub(super) kept: Kept,
    /// A text as a category.
    pub(super) text: Option<Box<str>>,
}

/// How values are looked at: the paths of a version's fields, inputs first.
pub(super) struct Paths {
    paths: Vec<FieldPath>,
    inputs: usize,
    raw: bool,
}

/// How they are looked at now.
#[derive(Clone, Copy)]
pub(super) struct View<'v> {
    /// Without a baseline values are learnt.
    pub(super) fields: Option<&'v [FieldBaseline]>,
    /// Whether a text holds what nobody may keep.
    pub(super) hides: &'v dyn Fn(&str) -> bool,
}

// === impl Paths ===

impl Paths {
    /// `raw`: the values themselves are wanted, too.
    pub(super) fn new(mut paths: Vec<FieldPath>, raw: bool) -> Paths {
        paths.sort_by_key(FieldPath::side);
        let inputs = paths.iter().filter(|path| path.side() == Side::Input).count();
        Paths { paths, inputs, raw }
    }

    pub(super) fn all(&self) -> &[FieldPath] {
        &self.paths
    }

    pub(super) fn len(&self) -> usize {
        self.paths.len()
    }

    pub(super) fn of(&self, side: Side) -> std::ops::Range<usize> {
        match side {
            Side::Input => 0..self.inputs,
            Side::Output => self.inputs..self.paths.len(),
        }
    }

    /// A look at an input.
    pub(super) fn input(&self, epoch: u64, view: View<'_>, input: &Value) -> Sighting {
        let fields = self.len();
        let what = match view.fields {
            Some(_) => What::Counted { marks: vec![Mark::NOTHING; fields], unseen: Vec::new() },
            None => What::Learnt((0..fields).map(|_| None).collect()),
        };
        let raw = self.raw.then(|| vec![Value::Null; fields]);
        let mut sighting = Sighting { epoch, what, raw };
        self.look(&mut sighting, view, Side::Input, input);
        sighting
    }

    /// Whether an output is still to be looked at. Of a streamed one the first chunk is what counts: chunks of one call
    /// are no calls.
    pub(super) fn await_output(&self, sighting: &Sighting) -> bool {
        self.of(Side::Output).next().is_some_and(|a_field| match &sighting.what {
            What::Counted { marks, .. } => marks[a_field].cell == NOTHING,
            What::Learnt(learnt) => learnt[a_field].is_none(),
        })
    }

    pub(super) fn output(&self, sighting: &mut Sighting, view: View<'_>, output: &Value) {
        if self.await_output(sighting) {
            self.look(sighting, view, Side::Output, output);
        }
    }

    fn look(&self, sighting: &mut Sighting, view: View<'_>, side: Side, root: &Value) {
        for at in self.of(side) {
            let value = find(&self.paths[at], root);
            let (datum, hidden) = match value.map_or(Datum::Null, Datum::of) {
                Datum::Text(text) if (view.hides)(text) => (Datum::Text(HIDDEN), true),
                datum => (datum, false),
            };
            match (&mut sighting.what, view.fields) {
                (What::Counted { marks, unseen }, Some(fields)) => {
                    let bins = &fields[at].bins;
                    marks[at] = bins.mark(datum);
                    if let Datum::Text(text) = datum
                        && bins.kind == FieldKind::Category
                        && usize::from(marks[at].cell) == bins.other()
                    {
                        unseen.push((at, category(text).into_owned().into()));
                    }
                }
                (What::Learnt(learnt), _) => learnt[at] = Some(Learnt::of(datum)),
                (What::Counted { .. }, None) => {}
            }
            if let Some(raw) = &mut sighting.raw {
                raw[at] = match value {
                    Some(_) if hidden => HIDDEN.into(),
                    value => value.map_or(Value::Null, raw_of),
                };
            }
        }
    }
}

impl Learnt {
    fn of(datum: Datum<'_>) -> Learnt {
        let text = match datum {
            Datum::Text(text) => Some(category(text).into_owned().into()),
            _ => None,
        };
        Learnt { kept: datum.keep(), text }
    }
}

/// Scalars, and texts up to a length: the rest has no place among samples.
fn raw_of(value: &Value) -> Value {
    match value {
        Value::Number(_) | Value::Bool(_) => value.clone(),
        Value::String(text) => truncate(text, RAW_BYTES_MAX).into(),
        Value::Null | Value::Array(_) | Value::Object(_) => Value::Null,
    }
}
