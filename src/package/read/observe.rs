//! `observe`: which values are watched for drift.

use crate::model::field::{FieldPath, FieldPathError, Side, Step};

use super::super::codes;
use super::super::diagnostic::{Diagnostic, quote};
use super::super::observe::{
    self, BASELINE_CALLS, BaselineMode, FIELDS_MAX, LONG_WINDOW, MIN_EFFECT, MIN_SAMPLES, Observe,
    ObservedFields, SAMPLES, STEP, STEPS_MAX, WINDOW,
};
use super::super::reader::{Field, Reader, Section};
use super::super::schema::{Outline, Schema, Told};

const KEYS: &[&str] = &[
    "fields",
    "baseline",
    "baseline_calls",
    "window",
    "step",
    "long_window",
    "min_samples",
    "alpha",
    "min_effect",
    "samples",
];

/// What the manifest says about inputs and outputs.
pub struct Shapes<'a> {
    input: Option<&'a Schema>,
    output: Option<&'a Schema>,
    /// Written as shorthand: extra fields are let pass, but those that matter are listed.
    input_is_listed: bool,
    output_is_listed: bool,
}

impl<'a> Shapes<'a> {
    pub fn new(top: &Section<'_>, input: Option<&'a Schema>, output: Option<&'a Schema>) -> Shapes<'a> {
        let is_listed = |key: &str| top.get(key).is_some();
        Shapes { input, output, input_is_listed: is_listed("input"), output_is_listed: is_listed("output") }
    }

    fn outline(&self, side: Side) -> Option<Outline<'a>> {
        let (schema, is_listed) = match side {
            Side::Input => (self.input?, self.input_is_listed),
            Side::Output => (self.output?, self.output_is_listed),
        };
        Some(Outline::new(schema.document(), is_listed))
    }
}

pub fn observe(reader: &mut Reader<'_>, top: &Section<'_>, shapes: &Shapes<'_>) -> Option<Observe> {
    let field = top.get("observe")?;
    let mut observe = Observe::default();
    if field.node.as_str().is_some() {
        reader.choice(&field, &[("auto", ())])?;
        check_auto(reader, &field, shapes);
        return Some(observe);
    }
    let section = reader.section(&field, KEYS)?;
    match section.get("fields") {
        Some(fields) if fields.node.as_str() == Some("auto") => check_auto(reader, &fields, shapes),
        Some(fields) => observe.fields = ObservedFields::List(self::fields(reader, &fields, shapes)),
        None => check_auto(reader, &field, shapes),
    }
    if let Some(field) = section.get("baseline") {
        let choices = [("auto", BaselineMode::Auto), ("manual", BaselineMode::Manual)];
        observe.baseline = reader.choice(&field, &choices).unwrap_or_default();
    }
    if let Some(field) = section.get("samples") {
        observe.samples = reader.integer(&field, SAMPLES).unwrap_or_default();
    }
    sizes(reader, &section, &mut observe);
    thresholds(reader, &section, &mut observe);
    Some(observe)
}

fn fields(reader: &mut Reader<'_>, field: &Field<'_>, shapes: &Shapes<'_>) -> Vec<FieldPath> {
    let items = reader.list(field, FIELDS_MAX);
    if items.is_empty() && field.node.as_seq().is_some() {
        let message = format!("`{}` is empty", field.path);
        let help = "name fields such as `$.input.amount`, or write `auto` for those of the schemas";
        reader.error(codes::OUT_OF_RANGE, field, message, help);
    }
    let mut paths: Vec<FieldPath> = Vec::new();
    for item in items {
        let Some(text) = reader.text(&item) else { continue };
        match text.parse::<FieldPath>() {
            Ok(path) if paths.contains(&path) => {
                reader.error(codes::REPEATED, &item, format!("`{path}` is listed twice"), "remove one");
            }
            Ok(path) => {
                check_field(reader, &item, &path, shapes);
                paths.push(path);
            }
            Err(error) => wrong_path(reader, &item, text, error),
        }
    }
    paths
}

fn wrong_path(reader: &mut Reader<'_>, item: &Field<'_>, text: &str, error: FieldPathError) {
    let message = format!("{} is not a field of the input or output: {error}", quote(text));
    let (code, help) = match error {
        FieldPathError::TooLong => (codes::OUT_OF_RANGE, "watch a value that lies less deep"),
        _ => (codes::INVALID_VALUE, "write it as `$.input.amount` or `$.output.score`"),
    };
    reader.error(code, item, message, help);
}

/// A field that cannot have values that could be watched.
fn check_field(reader: &mut Reader<'_>, item: &Field<'_>, path: &FieldPath, shapes: &Shapes<'_>) {
    let Some(outline) = shapes.outline(path.side()) else { return };
    let (message, help) = match outline.at(path.steps()) {
        Told::Value(_) => return,
        Told::Hidden => (
            format!("`{path}` is sensitive and will not be watched"),
            "remove it, or the mark `x-sensitive` or `writeOnly` of its schema".to_owned(),
        ),
        Told::Object => (
            format!("`{path}` is an object, whose value cannot be watched"),
            format!("name a field within it: `{path}.…`"),
        ),
        Told::Missing { step, near } => {
            let side = path.side();
            let shorter: Option<FieldPath> = near.and_then(|near| {
                let mut steps = path.steps()[..step].to_vec();
                steps.push(Step::Key(near.into()));
                steps.extend_from_slice(&path.steps()[step + 1..]);
                FieldPath::new(side, steps)
            });
            let help = match shorter {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("name a field that the schema of the {} has", side.as_str()),
            };
            (format!("the schema of the {} has no field `{path}`", side.as_str()), help)
        }
    };
    let problem = Diagnostic::warning(codes::NOT_OBSERVED, item.place(), item.path.clone(), message);
    reader.report(problem.help(help));
}

/// `auto` needs schemas.
fn check_auto(reader: &mut Reader<'_>, field: &Field<'_>, shapes: &Shapes<'_>) {
    let document = |schema: Option<&Schema>| schema.map(|schema| schema.document().clone());
    let (input, output) = (document(shapes.input), document(shapes.output));
    let chosen = observe::auto(input.as_deref(), output.as_deref()).len();
    if chosen > 0 {
        let left_out = observe::left_out(input.as_deref(), output.as_deref());
        if left_out > 0 {
            let message = format!("`auto` watches {chosen} fields and leaves {left_out} out");
            let problem =
                Diagnostic::warning(codes::NOT_OBSERVED, field.place(), field.path.clone(), message);
            reader.report(problem.help("list those that matter as `fields`"));
        }
        return;
    }
    let (message, help) = if input.is_none() && output.is_none() {
        (
            "nothing is watched: without a schema `auto` knows no fields",
            "describe `input` or `output`, or list `fields`",
        )
    } else {
        ("nothing is watched: the schemas name no value that `auto` could choose", "list `fields`")
    };
    let problem = Diagnostic::warning(codes::NOT_OBSERVED, field.place(), field.path.clone(), message);
    reader.report(problem.help(help));
}

fn sizes(reader: &mut Reader<'_>, section: &Section<'_>, observe: &mut Observe) {
    let written = |reader: &mut Reader<'_>, key: &str, range| {
        let field = section.get(key)?;
        let number = reader.integer(&field, range);
        Some((field, number))
    };
    let baseline_calls = written(reader, "baseline_calls", BASELINE_CALLS);
    let step = written(reader, "step", STEP);
    let window = written(reader, "window", WINDOW);
    let long_window = written(reader, "long_window", LONG_WINDOW);
    let min_samples = written(reader, "min_samples", MIN_SAMPLES);
    let all = [&baseline_calls, &step, &window, &long_window, &min_samples];
    // A wrong one must not also be said not to fit the others.
    if all.into_iter().flatten().any(|(_, number)| number.is_none()) {
        return;
    }
    let number =
        |written: &Option<(Field<'_>, Option<u32>)>| written.as_ref().and_then(|(_, number)| *number);
    observe.baseline_calls = number(&baseline_calls).unwrap_or(observe.baseline_calls);
    observe.window = number(&window).unwrap_or(observe.window);
    observe.step = number(&step).unwrap_or(observe.step);
    observe.long_window = number(&long_window).unwrap_or(observe.long_window);
    observe.min_samples = number(&min_samples).unwrap_or(observe.min_samples.min(observe.window));

    let Observe { window: calls, step: every, long_window: long, min_samples: least, .. } = *observe;
    let mut contradiction = |fields: [&Option<(Field<'_>, Option<u32>)>; 2], message: String, help: &str| {
        if let Some((field, _)) = fields.into_iter().flatten().next() {
            reader.error(codes::CONTRADICTION, field, message, help);
        }
    };
    if !calls.is_multiple_of(every) {
        let message =
            format!("`observe.window` is {calls}, which is no multiple of `step`, which is {every}");
        contradiction([&step, &window], message, "windows are made of whole steps: a quarter is usual");
    } else if !long.is_multiple_of(calls) {
        let message =
            format!("`observe.long_window` is {long}, which is no multiple of `window`, which is {calls}");
        contradiction([&long_window, &window], message, "ten times the window is usual");
    } else if long / every > STEPS_MAX {
        let message = format!("`observe.long_window` is {} steps, more than {STEPS_MAX}", long / every);
        contradiction([&long_window, &step], message, "lower it, or raise `step`");
    }
    if least > calls {
        let message = format!("`observe.min_samples` is {least}, but a window has only {calls} calls");
        contradiction([&min_samples, &window], message, "lower it, or raise `window`");
    }
    if least > observe.baseline_calls {
        let message = format!(
            "`observe.min_samples` is {least}, but a baseline has only {} calls",
            observe.baseline_calls
        );
        contradiction([&min_samples, &baseline_calls], message, "lower it, or raise `baseline_calls`");
    }
}

fn thresholds(reader: &mut Reader<'_>, section: &Section<'_>, observe: &mut Observe) {
    if let Some(field) = section.get("alpha")
        && let Some(alpha) = reader.number(&field)
    {
        if !(alpha > 0.0 && alpha < 1.0) {
            let message = format!("`{}` is {alpha}, but must be above 0 and below 1", field.path);
            reader.error(codes::OUT_OF_RANGE, &field, message, "0.01 is usual");
        }
        observe.alpha = alpha;
    }
    if let Some(field) = section.get("min_effect")
        && let Some(effect) = reader.number(&field)
    {
        if !MIN_EFFECT.contains(&effect) {
            let (least, most) = (MIN_EFFECT.start(), MIN_EFFECT.end());
            let message = format!("`{}` is {effect}, outside {least} to {most}", field.path);
            reader.error(codes::OUT_OF_RANGE, &field, message, "0.1 is usual: a noticeable change");
        }
        observe.min_effect = effect;
    }
}
