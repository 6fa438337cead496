//! Which values of the calls of a version are watched for drift, and how closely.

use std::ops::RangeInclusive;

use serde_json::Value;

use crate::model::field::{FieldKind, FieldPath, Side};

use super::manifest::Manifest;
use super::schema::Outline;

/// Most fields of a version: each is a test that costs all others some of their power, and five series.
pub const FIELDS_MAX: usize = 64;
/// How deep `auto` looks.
pub const AUTO_DEPTH_MAX: usize = 4;
/// What `auto` keeps free for the output, so that a wide input does not hide it.
const AUTO_OUTPUT_FIELDS: usize = 16;
/// Fields of a side that are counted to say how many are left out.
const COUNTED_MAX: usize = 1_000;

pub const BASELINE_CALLS: RangeInclusive<u32> = 200..=10_000;
pub const WINDOW: RangeInclusive<u32> = 50..=10_000;
pub const STEP: RangeInclusive<u32> = 10..=10_000;
pub const LONG_WINDOW: RangeInclusive<u32> = 50..=100_000;
pub const MIN_SAMPLES: RangeInclusive<u32> = 20..=10_000;
pub const SAMPLES: RangeInclusive<u32> = 0..=1_000;
pub const MIN_EFFECT: RangeInclusive<f64> = 0.0..=10.0;
/// How many steps the long window may be: counts are kept for each.
pub const STEPS_MAX: u32 = 200;

/// What a version asks to be watched.
#[derive(Clone, Debug, PartialEq)]
pub struct Observe {
    pub fields: ObservedFields,
    pub baseline: BaselineMode,
    /// From so many calls the baseline is made.
    pub baseline_calls: u32,
    /// So many calls are compared with the baseline. A multiple of `step`.
    pub window: u32,
    /// After so many calls they are compared again.
    pub step: u32,
    /// So many calls show what changes slowly. A multiple of `window`.
    pub long_window: u32,
    /// With fewer values nothing is said. At most `window`.
    pub min_samples: u32,
    /// How seldom, as a share, a step may say that something differs although nothing does.
    pub alpha: f64,
    /// The least population stability index (PSI) that is worth a word.
    pub min_effect: f64,
    /// Of so many calls the watched values themselves are kept, each call with the same chance.
    pub samples: u32,
}

impl Default for Observe {
    fn default() -> Observe {
        Observe {
            fields: ObservedFields::Auto,
            baseline: BaselineMode::Auto,
            baseline_calls: 500,
            window: 200,
            step: 50,
            long_window: 2_000,
            min_samples: 200,
            alpha: 0.01,
            min_effect: 0.1,
            samples: 0,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObservedFields {
    /// Those that the schemas name.
    Auto,
    List(Vec<FieldPath>),
}

/// Where the baseline of a version comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BaselineMode {
    /// From its first calls.
    #[default]
    Auto,
    /// Somebody pins it.
    Manual,
}

impl BaselineMode {
    pub const fn as_str(self) -> &'static str {
        match self {
            BaselineMode::Auto => "auto",
            BaselineMode::Manual => "manual",
        }
    }
}

/// A field that is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedField {
    pub path: FieldPath,
    /// What the schema says that it is. `None`: its values have to tell.
    pub hint: Option<FieldKind>,
}

impl Observe {
    /// The fields that are watched: at most [`FIELDS_MAX`], and never one that is sensitive.
    pub fn resolve(&self, manifest: &Manifest) -> Vec<ObservedField> {
        let schema = |side| match side {
            Side::Input => manifest.input_schema.as_deref(),
            Side::Output => manifest.output_schema.as_deref(),
        };
        match &self.fields {
            ObservedFields::Auto => auto(schema(Side::Input), schema(Side::Output)),
            ObservedFields::List(paths) => {
                let outlines = [Side::Input, Side::Output]
                    .map(|side| schema(side).map(|document| Outline::new(document, false)));
                let field = |path: &FieldPath| {
                    let outline = &outlines[usize::from(path.side() == Side::Output)];
                    let hint = match outline {
                        Some(outline) => hint(outline, path)?,
                        None => None,
                    };
                    Some(ObservedField { path: path.clone(), hint })
                };
                paths.iter().filter_map(field).take(FIELDS_MAX).collect()
            }
        }
    }
}

/// `None`: it is sensitive.
fn hint(outline: &Outline<'_>, path: &FieldPath) -> Option<Option<FieldKind>> {
    use super::schema::Told;
    match outline.at(path.steps()) {
        Told::Hidden => None,
        Told::Value(kind) => Some(kind),
        Told::Missing { .. } | Told::Object => Some(None),
    }
}

/// The fields that two schemas name.
pub fn auto(input: Option<&Value>, output: Option<&Value>) -> Vec<ObservedField> {
    let leaves = |side: Side, document: Option<&Value>| -> Vec<ObservedField> {
        let leaves = document.map(|document| Outline::new(document, true).leaves(AUTO_DEPTH_MAX, FIELDS_MAX));
        let field = |(steps, hint)| Some(ObservedField { path: FieldPath::new(side, steps)?, hint });
        leaves.into_iter().flatten().filter_map(field).collect()
    };
    let mut fields = leaves(Side::Input, input);
    let outputs = leaves(Side::Output, output);
    fields.truncate(FIELDS_MAX - outputs.len().min(AUTO_OUTPUT_FIELDS));
    fields.extend(outputs);
    fields.truncate(FIELDS_MAX);
    fields
}

/// How many fields of two schemas `auto` leaves out, for there are too many; up to `COUNTED_MAX` are counted.
pub fn left_out(input: Option<&Value>, output: Option<&Value>) -> usize {
    let count = |document: Option<&Value>| {
        document.map_or(0, |document| Outline::new(document, true).leaves(AUTO_DEPTH_MAX, COUNTED_MAX).len())
    };
    (count(input) + count(output)).saturating_sub(FIELDS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::read;

    fn manifest(text: &str) -> Manifest {
        let text = format!("name: a\nversion: 1.0.0\n{text}");
        let (manifest, diagnostics) = read::read("manifest.yaml", text.as_bytes(), None);
        manifest.unwrap_or_else(|| panic!("{:?}", diagnostics.to_json()))
    }

    fn resolved(text: &str) -> Vec<(String, Option<FieldKind>)> {
        let manifest = manifest(text);
        let fields = manifest.observe.as_ref().unwrap().resolve(&manifest);
        fields.into_iter().map(|field| (field.path.to_string(), field.hint)).collect()
    }

    #[test]
    fn auto_is_every_leaf_of_both_schemas_that_is_not_sensitive() {
        let fields = resolved(
            "input: {amount: number, card: {type: string, x-sensitive: true}, channel: {type: string, enum: [a]}, tags: 'string[]?'}\n\
             output_schema: {type: object, properties: {score: {type: number}, text: {type: string}, ok: {type: boolean}}}\n\
             observe: auto",
        );
        let expected = [
            ("$.input.amount", Some(FieldKind::Number)),
            ("$.input.channel", Some(FieldKind::Category)),
            ("$.input.tags", Some(FieldKind::ListSize)),
            ("$.output.score", Some(FieldKind::Number)),
            ("$.output.text", None),
            ("$.output.ok", Some(FieldKind::Boolean)),
        ];
        assert_eq!(fields, expected.map(|(path, kind)| (path.to_owned(), kind)));
        assert_eq!(
            resolved("input: {a: number}\nobserve: {}"),
            [("$.input.a".to_owned(), Some(FieldKind::Number))]
        );
        assert_eq!(resolved("observe: auto"), []);
    }

    #[test]
    fn a_wide_input_leaves_room_for_the_output() {
        let wide = |side: &str, count: usize| {
            let fields: Vec<String> = (0..count).map(|index| format!("f{index}: number")).collect();
            format!("{side}: {{{}}}\n", fields.join(", "))
        };
        let fields = resolved(&format!("{}{}observe: auto", wide("input", 100), wide("output", 20)));
        assert_eq!(fields.len(), FIELDS_MAX);
        assert_eq!(
            fields.iter().filter(|(path, _)| path.starts_with("$.output.")).count(),
            AUTO_OUTPUT_FIELDS
        );
        let large = manifest(&format!("{}{}observe: auto", wide("input", 100), wide("output", 20)));
        let (input, output) = (&large.input_schema, &large.output_schema);
        assert_eq!(left_out(input.as_deref(), output.as_deref()), 100 + 20 - FIELDS_MAX);
        assert_eq!(left_out(None, output.as_deref()), 0);
        let fields = resolved(&format!("{}{}observe: auto", wide("input", 10), wide("output", 100)));
        assert_eq!(fields.len(), FIELDS_MAX);
    }

    #[test]
    fn a_sensitive_field_is_not_watched_even_if_it_is_named() {
        let fields = resolved(
            "input: {card: {type: object, writeOnly: true}, amount: number}\n\
             observe: {fields: [$.input.card.number, $.input.amount, $.input.else, $.output.score]}",
        );
        let expected =
            [("$.input.amount", Some(FieldKind::Number)), ("$.input.else", None), ("$.output.score", None)];
        assert_eq!(fields, expected.map(|(path, kind)| (path.to_owned(), kind)));
    }
}
