//! The tools with which sections of the file are read: each takes a field, reports what is wrong with it, and
//! goes on. The same ways and words as in manifests.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::model::units::{self, UnitError};
use crate::package::codes;
use crate::package::diagnostic::{Diagnostic, Diagnostics, Place, nearest, quote};
use crate::package::yaml::{Key, Node, NodeValue};

use super::paths;
use super::report::Problem;

pub struct Reader<'a> {
    pub diagnostics: &'a mut Diagnostics,
    /// Where relative paths begin: the file's folder.
    pub folder: &'a Path,
}

/// A value under a key, with the path that leads to it.
#[derive(Clone)]
pub struct Field<'n> {
    pub node: &'n Node,
    /// Where its key stands; for an item of a list, where it begins.
    pub key: Place,
    pub path: String,
}

impl Field<'_> {
    pub fn place(&self) -> Place {
        self.node.place
    }
}

/// A mapping whose keys have been checked.
pub struct Section<'n> {
    entries: &'n [(Key, Node)],
    path: String,
}

impl<'n> Section<'n> {
    /// The field of a key; a key without a value counts as absent.
    pub fn get(&self, key: &str) -> Option<Field<'n>> {
        let (key, node) = self.entries.iter().find(|(name, node)| name.name == key && !node.is_null())?;
        Some(Field { node, key: key.place, path: join(&self.path, &key.name) })
    }
}

/// `limits.timeout`, `plugins["a b"]`.
pub fn join(path: &str, key: &str) -> String {
    let key: String = key.chars().take(64).collect();
    let plain = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'));
    match (path.is_empty(), plain) {
        (true, true) => key,
        (false, true) => format!("{path}.{key}"),
        (_, false) => format!("{path}[{key:?}]"),
    }
}

impl Reader<'_> {
    /// An error about a field's value.
    pub fn error(
        &mut self,
        code: &'static str,
        field: &Field<'_>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.diagnostics.push(Diagnostic::error(code, field.place(), field.path.clone(), message).help(help));
    }

    /// The same, said of the field by name.
    pub fn refuse(&mut self, field: &Field<'_>, problem: Problem) {
        self.diagnostics.push(problem.about(
            &field.path,
            field.place(),
            crate::package::diagnostic::Severity::Error,
        ));
    }

    /// The note on what this build does not act upon.
    pub fn no_effect(&mut self, field: &Field<'_>) {
        let message = format!("`{}` is understood, but has no effect yet", field.path);
        self.diagnostics.push(Diagnostic::note(codes::NO_EFFECT, field.key, field.path.clone(), message));
    }

    fn wrong_type(&mut self, field: &Field<'_>, expected: &str, help: Option<String>) {
        let message = format!("`{}` must be {expected}, not {}", field.path, field.node.describe());
        let problem = Diagnostic::error(codes::WRONG_TYPE, field.place(), field.path.clone(), message);
        self.diagnostics.push(problem.maybe_help(help));
    }

    /// A mapping; unknown keys are reported. `elsewhere` knows what people look for in the wrong place.
    pub fn section<'n>(
        &mut self,
        field: &Field<'n>,
        known: &[&str],
        elsewhere: fn(&str) -> Option<&'static str>,
    ) -> Option<Section<'n>> {
        let section = self.mapping(field)?;
        for (key, _) in section.entries {
            let free = section.path.is_empty() && key.name.starts_with("x-");
            if !known.contains(&key.name.as_str()) && !free {
                self.unknown_key(key, &section.path, known, elsewhere(&key.name));
            }
        }
        Some(section)
    }

    fn mapping<'n>(&mut self, field: &Field<'n>) -> Option<Section<'n>> {
        let Some(entries) = field.node.as_map() else {
            self.wrong_type(field, "a mapping", None);
            return None;
        };
        Some(Section { entries, path: field.path.clone() })
    }

    fn unknown_key(&mut self, key: &Key, path: &str, known: &[&str], elsewhere: Option<&str>) {
        let message = match path {
            "" => format!("unknown key {}", quote(&key.name)),
            path => format!("unknown key {} in `{path}`", quote(&key.name)),
        };
        let help = match (elsewhere, nearest(&key.name, known.iter().copied())) {
            (Some(help), _) => help.to_owned(),
            (None, Some(near)) => format!("did you mean `{near}`?"),
            (None, None) => format!("keys here are {}", known.join(", ")),
        };
        self.diagnostics.push(
            Diagnostic::error(codes::UNKNOWN_KEY, key.place, join(path, &key.name), message).help(help),
        );
    }

    pub fn text<'n>(&mut self, field: &Field<'n>) -> Option<&'n str> {
        if let Some(text) = field.node.as_str() {
            return Some(text);
        }
        let help = field.node.raw.as_deref().map(|raw| format!("put it in quotes: \"{raw}\""));
        self.wrong_type(field, "a text", help);
        None
    }

    /// A text, or a plain number as it was written: `1.10` stays `1.10`.
    pub fn verbatim<'n>(&mut self, field: &Field<'n>) -> Option<&'n str> {
        match (&field.node.value, field.node.raw.as_deref()) {
            (NodeValue::Int(_) | NodeValue::Float(_), Some(raw)) => Some(raw),
            _ => self.text(field),
        }
    }

    pub fn boolean(&mut self, field: &Field<'_>) -> Option<bool> {
        if let NodeValue::Bool(flag) = field.node.value {
            return Some(flag);
        }
        self.wrong_type(field, "`true` or `false`", None);
        None
    }

    pub fn integer(&mut self, field: &Field<'_>, range: RangeInclusive<u32>) -> Option<u32> {
        let NodeValue::Int(number) = field.node.value else {
            let quoted = field.node.as_str().is_some_and(|text| text.parse::<i64>().is_ok());
            self.wrong_type(
                field,
                "a whole number",
                quoted.then(|| "write the number without quotes".to_owned()),
            );
            return None;
        };
        match u32::try_from(number) {
            Ok(number) if range.contains(&number) => Some(number),
            _ => {
                let below = number < i128::from(*range.start());
                self.outside(
                    field,
                    &number.to_string(),
                    &range.start().to_string(),
                    &range.end().to_string(),
                    below,
                );
                None
            }
        }
    }

    /// A size in bytes: a quantity such as `1Mi` or a whole number.
    pub fn bytes(&mut self, field: &Field<'_>, range: RangeInclusive<u64>) -> Option<u64> {
        let parsed = match (&field.node.value, field.node.raw.as_deref()) {
            (NodeValue::Str(text), _) => units::parse_bytes(text),
            (NodeValue::Int(_), Some(raw)) => units::parse_bytes(raw),
            _ => {
                self.wrong_type(field, "a size", Some("write it as `512Mi`".to_owned()));
                return None;
            }
        };
        match parsed {
            Ok(bytes) if range.contains(&bytes) => Some(bytes),
            Ok(bytes) => {
                let [said, least, most] = [bytes, *range.start(), *range.end()].map(units::format_bytes);
                self.outside(field, &said, &least, &most, bytes < *range.start());
                None
            }
            Err(error) => {
                let message = format!("`{}` is not a size: {error}", field.path);
                self.error(codes::INVALID_SIZE, field, message, error.help());
                None
            }
        }
    }

    pub fn duration(&mut self, field: &Field<'_>, range: RangeInclusive<Duration>) -> Option<Duration> {
        let parsed = match (&field.node.value, field.node.raw.as_deref()) {
            (NodeValue::Str(text), _) => units::parse_duration(text),
            (NodeValue::Int(_) | NodeValue::Float(_), Some(raw)) => Err(UnitError::NoUnit(raw.to_owned())),
            _ => {
                self.wrong_type(field, "a duration", Some("write it as `30s`".to_owned()));
                return None;
            }
        };
        match parsed {
            Ok(duration) if range.contains(&duration) => Some(duration),
            Ok(duration) => {
                let [said, least, most] =
                    [duration, *range.start(), *range.end()].map(units::format_duration);
                self.outside(field, &said, &least, &most, duration < *range.start());
                None
            }
            Err(error) => {
                let message = format!("`{}` is not a duration: {error}", field.path);
                self.error(codes::INVALID_DURATION, field, message, error.help());
                None
            }
        }
    }

    fn outside(&mut self, field: &Field<'_>, said: &str, least: &str, most: &str, below: bool) {
        let message = format!("`{}` is {said}, outside {least} to {most}", field.path);
        let help = if below { format!("use at least {least}") } else { format!("use at most {most}") };
        self.error(codes::OUT_OF_RANGE, field, message, help);
    }

    /// One word of a closed set.
    pub fn choice<T: Copy>(&mut self, field: &Field<'_>, choices: &[(&str, T)]) -> Option<T> {
        // A word such as `off` or `none` may be a boolean or null to YAML, but never here.
        let text = match field.node.raw.as_deref() {
            Some(raw) => raw,
            None => self.text(field)?,
        };
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text) {
            return Some(*value);
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let message = format!("`{}` cannot be {}", field.path, quote(text));
        let help = match nearest(text, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("it is one of {}", names.join(", ")),
        };
        self.error(codes::UNKNOWN_CHOICE, field, message, help);
        None
    }

    /// A path, relative ones against the file's folder.
    pub fn path(&mut self, field: &Field<'_>) -> Option<PathBuf> {
        let text = self.verbatim(field)?;
        match paths::check(Path::new(text)) {
            Ok(path) => Some(paths::resolve(path, self.folder)),
            Err(problem) => {
                self.refuse(field, problem);
                None
            }
        }
    }

    /// The items of a list.
    pub fn list<'n>(&mut self, field: &Field<'n>, items_max: usize) -> Vec<Field<'n>> {
        let Some(items) = field.node.as_seq() else {
            let text = field.node.as_str().filter(|text| text.len() < 60 && !text.contains(char::is_control));
            let help = text.map(|text| format!("write it as a list: [{text}]"));
            self.wrong_type(field, "a list", help);
            return Vec::new();
        };
        if items.len() > items_max {
            let message = format!("`{}` has {} items, more than {items_max}", field.path, items.len());
            self.error(codes::OUT_OF_RANGE, field, message, "remove some");
        }
        let item = |(index, node): (usize, &'n Node)| Field {
            node,
            key: node.as_map().and_then(|entries| entries.first()).map_or(node.place, |(key, _)| key.place),
            path: format!("{}[{index}]", field.path),
        };
        items.iter().take(items_max).enumerate().map(item).collect()
    }

    /// The entries of a mapping with free keys, as fields.
    pub fn entries<'n>(&mut self, field: &Field<'n>) -> Vec<(&'n str, Field<'n>)> {
        let Some(section) = self.mapping(field) else { return Vec::new() };
        let entry = |(key, node): &'n (Key, Node)| {
            (key.name.as_str(), Field { node, key: key.place, path: join(&section.path, &key.name) })
        };
        section.entries.iter().map(entry).collect()
    }
}

/// For sections in which nothing is looked for by mistake.
pub fn nowhere(_: &str) -> Option<&'static str> {
    None
}
