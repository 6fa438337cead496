//! Bins that were pinned once: a value becomes the number of a cell, and all that is kept of it is that the cell
//! counts one more. So windows are counts that can be added, in any order and over replicas, and one outlier moves
//! nothing.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::field::{FieldKind, FieldPath, Step};
use crate::model::text::truncate;

/// The cells after the regular ones: `other`, `null`, `invalid`.
pub const SPECIAL: usize = 3;
/// Ranges for numbers: deciles.
pub const RANGES: usize = 10;
/// A number that took at most so many values has a cell for each.
pub const VALUES_MAX: usize = 20;
/// Categories that have a cell of their own.
pub const CATEGORIES_MAX: usize = 63;
/// Longest name of a category, in bytes.
pub const CATEGORY_BYTES_MAX: usize = 64;
/// So much of the beginning and of the end of a long text tells it apart.
const HASHED_BYTES: usize = 512;
/// Most cells of a field.
pub const CELLS_MAX: usize = CATEGORIES_MAX + SPECIAL;
/// The cell of a field that a call had nothing to say about.
pub const NOTHING: u8 = u8::MAX;

/// A value, as far as drift looks at it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Datum<'a> {
    /// Null or absent.
    Null,
    Number(f64),
    Text(&'a str),
    Boolean(bool),
    /// How many items.
    List(usize),
    Object,
}

/// A value that has been counted.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    /// [`NOTHING`]: the call had none.
    pub cell: u8,
    /// Not a number: it is counted by something else.
    pub number: f64,
}

/// What is kept of a value until there are bins for it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Kept {
    #[serde(rename = "-")]
    Null,
    #[serde(rename = "n")]
    Number(f64),
    /// A hash of the category, and the length in characters.
    #[serde(rename = "t")]
    Text(u64, u32),
    #[serde(rename = "b")]
    Boolean(bool),
    #[serde(rename = "l")]
    List(u32),
    #[serde(rename = "o")]
    Object,
}

/// The regular cells of a field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cells {
    /// Ascending and different. A value's cell is the number of edges below it, so each range has its upper edge.
    Ranges { edges: Vec<f64> },
    /// Ascending and different.
    Values { values: Vec<f64> },
    /// The commonest first.
    Categories { names: Vec<String> },
}

/// How the values of one field are counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bins {
    pub kind: FieldKind,
    pub cells: Cells,
}

/// Where the cells of each field stand in one list of counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    starts: Vec<usize>,
}

impl<'a> Datum<'a> {
    /// The value at a place; `Null` if there is no such place.
    pub fn at(path: &FieldPath, root: &'a Value) -> Datum<'a> {
        find(path, root).map_or(Datum::Null, Datum::of)
    }

    pub fn of(value: &'a Value) -> Datum<'a> {
        match value {
            Value::Null => Datum::Null,
            Value::Bool(value) => Datum::Boolean(*value),
            // -0 and 0 are one number.
            Value::Number(number) => Datum::Number(number.as_f64().unwrap_or(f64::NAN) + 0.0),
            Value::String(text) => Datum::Text(text),
            Value::Array(items) => Datum::List(items.len()),
            Value::Object(_) => Datum::Object,
        }
    }

    pub fn keep(self) -> Kept {
        match self {
            Datum::Null => Kept::Null,
            Datum::Number(number) if number.is_finite() => Kept::Number(number),
            Datum::Number(_) | Datum::Object => Kept::Object,
            Datum::Text(text) => Kept::Text(hash(&category(text)), characters(text) as u32),
            Datum::Boolean(value) => Kept::Boolean(value),
            Datum::List(items) => Kept::List(u32::try_from(items).unwrap_or(u32::MAX)),
        }
    }
}

/// The value at a place.
pub fn find<'v>(path: &FieldPath, root: &'v Value) -> Option<&'v Value> {
    path.steps().iter().try_fold(root, |value, step| match (step, value) {
        (Step::Key(key), Value::Object(map)) => map.get(&**key),
        (Step::Index(index), Value::Array(items)) => items.get(*index as usize),
        _ => None,
    })
}

/// What a text is as a category: a long one its beginning and a hash of it, for texts often begin alike.
pub fn category(text: &str) -> Cow<'_, str> {
    if text.len() <= CATEGORY_BYTES_MAX {
        return text.into();
    }
    let kept = truncate(text, CATEGORY_BYTES_MAX - "…0123456789abcdef".len());
    // A megabyte would take a millisecond: its length, beginning and end tell texts apart as well.
    let end = text.ceil_char_boundary(text.len().saturating_sub(HASHED_BYTES));
    let parts = [truncate(text, HASHED_BYTES), &text[end..], &text.len().to_string()].map(hash);
    format!("{kept}…{:016x}", parts.into_iter().fold(0_u64, |all, part| all.rotate_left(21) ^ part)).into()
}

/// The length of a text. Beyond what fits a float's digits nobody counts.
pub fn characters(text: &str) -> f64 {
    if text.is_ascii() { text.len() as f64 } else { text.chars().count() as f64 }
}

/// FNV-1a (Fowler, Noll, Vo): the same in every build, because it is kept over restarts.
fn hash(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

impl Mark {
    pub const NOTHING: Mark = Mark { cell: NOTHING, number: f64::NAN };
}

impl Cells {
    pub const fn regular(&self) -> usize {
        match self {
            Cells::Ranges { edges } => edges.len() + 1,
            Cells::Values { values } => values.len(),
            Cells::Categories { names } => names.len(),
        }
    }

    /// Whether they stand in the order of what is in them.
    pub const fn are_ordered(&self) -> bool {
        matches!(self, Cells::Ranges { .. } | Cells::Values { .. })
    }

    /// `None`: of no regular cell.
    fn of_number(&self, number: f64) -> Option<usize> {
        match self {
            // Without branches: ten compares cost less than one that is foreseen wrongly.
            Cells::Ranges { edges } => Some(edges.iter().map(|edge| usize::from(*edge < number)).sum()),
            Cells::Values { values } => values.iter().position(|value| *value == number),
            Cells::Categories { .. } => None,
        }
    }
}

impl Bins {
    pub const fn cells(&self) -> usize {
        self.cells.regular() + SPECIAL
    }

    pub const fn other(&self) -> usize {
        self.cells.regular()
    }

    pub const fn null(&self) -> usize {
        self.cells.regular() + 1
    }

    pub const fn invalid(&self) -> usize {
        self.cells.regular() + 2
    }

    pub fn cell_of(&self, datum: Datum<'_>) -> u8 {
        self.mark(datum).cell
    }

    /// Where a value lies, and the number that it is counted by.
    pub fn mark(&self, datum: Datum<'_>) -> Mark {
        let number =
            |number: f64| Mark { cell: self.cells.of_number(number).unwrap_or(self.other()) as u8, number };
        let cell = match (self.kind, datum) {
            (_, Datum::Null) => self.null(),
            (FieldKind::Number, Datum::Number(value)) if value.is_finite() => return number(value),
            (FieldKind::TextLength, Datum::Text(text)) => return number(characters(text)),
            (FieldKind::ListSize, Datum::List(items)) => return number(items as f64),
            (FieldKind::Boolean, Datum::Boolean(value)) => {
                self.category(if value { "true" } else { "false" })
            }
            (FieldKind::Category, Datum::Text(text)) => self.category(&category(text)),
            _ => self.invalid(),
        };
        Mark { cell: cell as u8, number: f64::NAN }
    }

    pub fn cell_of_kept(&self, kept: Kept) -> u8 {
        let number = |number: f64| self.cells.of_number(number).unwrap_or(self.other());
        let cell = match (self.kind, kept) {
            (_, Kept::Null) => self.null(),
            (FieldKind::Number, Kept::Number(value)) => number(value),
            (FieldKind::TextLength, Kept::Text(_, characters)) => number(f64::from(characters)),
            (FieldKind::ListSize, Kept::List(items)) => number(f64::from(items)),
            (FieldKind::Boolean, Kept::Boolean(value)) => self.category(if value { "true" } else { "false" }),
            (FieldKind::Category, Kept::Text(hashed, _)) => match &self.cells {
                Cells::Categories { names } => {
                    names.iter().position(|name| hash(name) == hashed).unwrap_or(names.len())
                }
                _ => self.invalid(),
            },
            _ => self.invalid(),
        };
        cell as u8
    }

    fn category(&self, wanted: &str) -> usize {
        let Cells::Categories { names } = &self.cells else { return self.invalid() };
        // The commonest come first.
        names.iter().position(|name| name == wanted).unwrap_or(names.len())
    }

    /// What a cell holds, in words.
    pub fn label(&self, cell: usize) -> String {
        match self.special(cell) {
            Some("other") if self.kind == FieldKind::Category => return "unseen categories".into(),
            Some("other") => return "unseen values".into(),
            Some("null") => return "null or absent".into(),
            Some(_) => return "of another type".into(),
            None => {}
        }
        match &self.cells {
            Cells::Ranges { edges } => match (cell.checked_sub(1).map(|below| edges[below]), edges.get(cell))
            {
                (None, Some(to)) => format!("up to {}", short(*to)),
                (Some(from), Some(to)) => format!("{} to {}", short(from), short(*to)),
                (Some(from), None) => format!("more than {}", short(from)),
                (None, None) => "any".into(),
            },
            Cells::Values { values } => short(values[cell]),
            Cells::Categories { names } => names[cell].clone(),
        }
    }

    /// `range`, `value`, `category`, `other`, `null` or `invalid`.
    pub fn kind_of(&self, cell: usize) -> &'static str {
        self.special(cell).unwrap_or(match &self.cells {
            Cells::Ranges { .. } => "range",
            Cells::Values { .. } => "value",
            Cells::Categories { .. } => "category",
        })
    }

    fn special(&self, cell: usize) -> Option<&'static str> {
        ["other", "null", "invalid"].get(cell.checked_sub(self.other())?).copied()
    }

    /// Whether it can have been written by this program: what is read from outside is not believed.
    pub fn is_sound(&self) -> bool {
        let ascends = |numbers: &[f64]| {
            numbers.iter().all(|number| number.is_finite()) && numbers.is_sorted_by(|one, next| one < next)
        };
        self.cells() <= CELLS_MAX
            && match &self.cells {
                Cells::Ranges { edges } => ascends(edges),
                Cells::Values { values } => ascends(values),
                Cells::Categories { names } => names.iter().all(|name| name.len() <= CATEGORY_BYTES_MAX),
            }
    }
}

/// A number as people read it: four digits are enough to tell ranges apart.
fn short(number: f64) -> String {
    let size = number.abs();
    if number == 0.0 || (1e-3..1e6).contains(&size) {
        let decimals = if size >= 1_000.0 || number.fract() == 0.0 {
            0
        } else if size >= 1.0 {
            2
        } else {
            4
        };
        let text = format!("{number:.decimals$}");
        let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
        return text.to_owned();
    }
    format!("{number:.3e}")
}

impl Layout {
    pub fn new<'a>(bins: impl IntoIterator<Item = &'a Bins>) -> Layout {
        let mut starts = vec![0];
        for bins in bins {
            starts.push(starts[starts.len() - 1] + bins.cells());
        }
        Layout { starts }
    }

    /// Cells of all fields.
    pub fn cells(&self) -> usize {
        self.starts[self.starts.len() - 1]
    }

    pub fn fields(&self) -> usize {
        self.starts.len() - 1
    }

    pub fn start(&self, field: usize) -> usize {
        self.starts[field]
    }

    /// The counts of one field among those of all.
    pub fn of<'c>(&self, field: usize, counts: &'c [u32]) -> &'c [u32] {
        &counts[self.starts[field]..self.starts[field + 1]]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn numbers(cells: Cells) -> Bins {
        Bins { kind: FieldKind::Number, cells }
    }

    #[test]
    fn a_value_lies_below_its_upper_edge_or_on_it() {
        let bins = numbers(Cells::Ranges { edges: vec![1.0, 2.5] });
        let cells = [-1e308, 1.0, 1.0001, 2.5, 1e308].map(|value| bins.cell_of(Datum::Number(value)));
        assert_eq!(cells, [0, 0, 1, 1, 2]);
        assert_eq!(
            (0..6).map(|cell| bins.label(cell)).collect::<Vec<_>>().join(" | "),
            "up to 1 | 1 to 2.5 | more than 2.5 | unseen values | null or absent | of another type"
        );
    }

    #[test]
    fn what_does_not_belong_has_its_own_cells() {
        let bins = numbers(Cells::Values { values: vec![0.0, 7.0] });
        let root = json!({"a": 7, "b": null, "c": "7", "d": -0.0, "e": 8, "f": [1], "g": true});
        let cell = |key: &str| {
            let datum = Datum::of(root.get(key).unwrap_or(&Value::Null));
            let cell = bins.cell_of(datum);
            assert_eq!(cell, bins.cell_of_kept(datum.keep()), "{key}: whether it was kept or not");
            bins.kind_of(usize::from(cell))
        };
        assert_eq!(
            ["a", "b", "c", "d", "e", "f", "g", "h"].map(cell),
            ["value", "null", "invalid", "value", "other", "invalid", "invalid", "null"]
        );
        assert_eq!(bins.kind_of(usize::from(bins.cell_of(Datum::Number(f64::NAN)))), "invalid");
    }

    #[test]
    fn categories_are_cut_and_the_rest_is_other() {
        let long = "x".repeat(CATEGORY_BYTES_MAX);
        let (longer, another) = (format!("{long}y"), format!("{long}z"));
        let names = vec!["a".into(), long.clone(), category(&longer).into_owned()];
        assert!(names[2].len() <= CATEGORY_BYTES_MAX, "{}", names[2]);
        let bins = Bins { kind: FieldKind::Category, cells: Cells::Categories { names } };
        let texts = [("a", 0), (&*long, 1), (&*longer, 2), (&*another, 3), ("b", 3), ("", 3)];
        for (text, cell) in texts {
            assert_eq!(bins.cell_of(Datum::Text(text)), cell, "{text}");
            assert_eq!(bins.cell_of_kept(Datum::Text(text).keep()), cell, "{text}");
        }
        assert_eq!(bins.label(3), "unseen categories");
    }

    #[test]
    fn places_are_found_or_are_null() {
        let root = json!({"a": {"b": [{"c": 5}]}, "text": "x"});
        let at = |path: &str| Datum::at(&path.parse().unwrap(), &root);
        assert_eq!(at("$.input.a.b[0].c"), Datum::Number(5.0));
        assert_eq!(at("$.input.a.b"), Datum::List(1));
        for absent in ["$.input.a.b[1].c", "$.input.x", "$.input.text.x", "$.input.a[0]"] {
            assert_eq!(at(absent), Datum::Null, "{absent}");
        }
    }

    #[test]
    fn lengths_are_in_characters() {
        let bins = Bins { kind: FieldKind::TextLength, cells: Cells::Ranges { edges: vec![3.0] } };
        assert_eq!(["größ", "abc", "ä"].map(|text| bins.cell_of(Datum::Text(text))), [1, 0, 0]);
    }
}
