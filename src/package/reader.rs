//! The tools with which a tree is read, of a manifest as of a configuration: each takes a field, reports what is
//! wrong with it, and goes on. What one kind of file says in its own way is its [`Dialect`].

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::model::units::{self, UnitError};

use super::codes;
use super::diagnostic::{Diagnostic, Diagnostics, Place, nearest, quote};
use super::yaml::{Key, Node, NodeValue};

pub struct Reader<'a> {
    pub diagnostics: &'a mut Diagnostics,
    pub dialect: &'static Dialect,
}

/// What one kind of file says in its own way.
pub struct Dialect {
    /// Whether keys `x-…` are free in every mapping, or only at the top.
    pub free_below_top: bool,
    /// Marks that stand in a path without quotes, beside letters and digits.
    pub plain_marks: &'static [char],
    /// How to write a size that cannot be read.
    pub size_help: fn(&UnitError) -> String,
    /// How to write a duration that cannot be read.
    pub duration_help: fn(&UnitError) -> String,
    /// How to write a text as a list.
    pub list_help: fn(&str) -> Option<String>,
}

impl Dialect {
    /// `limits.timeout`, `actions["a b"]`.
    pub fn join(&self, path: &str, key: &str) -> String {
        let key: String = key.chars().take(64).collect();
        let is_plain = |c: char| c.is_alphanumeric() || self.plain_marks.contains(&c);
        match (path.is_empty(), !key.is_empty() && key.chars().all(is_plain)) {
            (true, true) => key,
            (false, true) => format!("{path}.{key}"),
            (_, false) => format!("{path}[{key:?}]"),
        }
    }
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
    pub place: Place,
    pub path: String,
    dialect: &'static Dialect,
}

impl<'n> Section<'n> {
    /// The field of a key; a key without a value counts as absent.
    pub fn get(&self, key: &str) -> Option<Field<'n>> {
        self.get_or_null(key).filter(|field| !field.node.is_null())
    }

    pub fn get_or_null(&self, key: &str) -> Option<Field<'n>> {
        let (key, node) = self.entries.iter().find(|(name, _)| name.name == key)?;
        Some(Field { node, key: key.place, path: self.dialect.join(&self.path, &key.name) })
    }
}

impl Reader<'_> {
    pub fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// An error about a field's value.
    pub fn error(
        &mut self,
        code: &'static str,
        field: &Field<'_>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.report(Diagnostic::error(code, field.place(), field.path.clone(), message).help(help));
    }

    /// The note on what this build does not act upon.
    pub fn no_effect(&mut self, field: &Field<'_>) {
        let message = format!("`{}` is understood, but has no effect yet", field.path);
        self.report(Diagnostic::note(codes::NO_EFFECT, field.key, field.path.clone(), message));
    }

    fn wrong_type(&mut self, field: &Field<'_>, expected: &str, help: Option<String>) {
        let message = format!("`{}` must be {expected}, not {}", field.path, field.node.describe());
        self.report(
            Diagnostic::error(codes::WRONG_TYPE, field.place(), field.path.clone(), message).maybe_help(help),
        );
    }

    /// A mapping; unknown keys are reported, `x-…` is free where the dialect says so.
    pub fn section<'n>(&mut self, field: &Field<'n>, known: &[&str]) -> Option<Section<'n>> {
        self.section_or(field, known, |_| None)
    }

    /// The same; `elsewhere` knows what people look for in the wrong place or under another name.
    pub fn section_or<'n>(
        &mut self,
        field: &Field<'n>,
        known: &[&str],
        elsewhere: fn(&str) -> Option<&'static str>,
    ) -> Option<Section<'n>> {
        let section = self.mapping(field)?;
        let has_free = self.dialect.free_below_top || section.path.is_empty();
        for (key, _) in section.entries {
            let is_free = has_free && key.name.starts_with("x-");
            if !known.contains(&key.name.as_str()) && !is_free {
                self.unknown_key(key, &section.path, known, elsewhere(&key.name));
            }
        }
        Some(section)
    }

    /// A mapping with any keys.
    pub fn mapping<'n>(&mut self, field: &Field<'n>) -> Option<Section<'n>> {
        let Some(entries) = field.node.as_map() else {
            self.wrong_type(field, "a mapping", None);
            return None;
        };
        let place = entries.first().map_or(field.key, |(key, _)| key.place);
        let place = if field.path.is_empty() { place } else { field.key };
        Some(Section { entries, place, path: field.path.clone(), dialect: self.dialect })
    }

    fn unknown_key(&mut self, key: &Key, path: &str, known: &[&str], elsewhere: Option<&str>) {
        let message = match path {
            "" => format!("unknown key {}", quote(&key.name)),
            path => format!("unknown key {} in `{path}`", quote(&key.name)),
        };
        let help = match (elsewhere, nearest(&key.name, known.iter().copied())) {
            (Some(help), _) => help.to_owned(),
            (None, Some(near)) => format!("did you mean `{near}`?"),
            (None, None) if known.len() <= 12 => format!("keys here are {}", known.join(", ")),
            (None, None) => "keys of your own begin with `x-`".to_owned(),
        };
        let path = self.dialect.join(path, &key.name);
        self.report(Diagnostic::error(codes::UNKNOWN_KEY, key.place, path, message).help(help));
    }

    /// A required key of a section.
    pub fn required<'n>(&mut self, section: &Section<'n>, key: &str, help: &str) -> Option<Field<'n>> {
        if let Some(field) = section.get(key) {
            return Some(field);
        }
        let path = section.dialect.join(&section.path, key);
        let (place, message) = match section.get_or_null(key) {
            Some(empty) => (empty.key, format!("`{path}` has no value")),
            None => (section.place, format!("`{path}` is missing")),
        };
        self.report(Diagnostic::error(codes::MISSING_KEY, place, path, message).help(help));
        None
    }

    pub fn text<'n>(&mut self, field: &Field<'n>) -> Option<&'n str> {
        if let Some(text) = field.node.as_str() {
            return Some(text);
        }
        let help = field.node.raw.as_deref().map(|raw| format!("put it in quotes: \"{raw}\""));
        self.wrong_type(field, "a text", help);
        None
    }

    /// A text of bounded length for people.
    pub fn prose(&mut self, field: &Field<'_>, characters_max: usize) -> Option<String> {
        let text = self.text(field)?;
        let characters = text.chars().count();
        if characters > characters_max {
            let message = format!("`{}` has {characters} characters, more than {characters_max}", field.path);
            self.error(codes::OUT_OF_RANGE, field, message, "shorten it");
            return None;
        }
        Some(text.to_owned())
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
            let help = quoted.then(|| "write the number without quotes".to_owned());
            self.wrong_type(field, "a whole number", help);
            return None;
        };
        match u32::try_from(number) {
            Ok(number) if range.contains(&number) => Some(number),
            _ => {
                let below = number < i128::from(*range.start());
                self.outside(field, number, range.start(), range.end(), below);
                None
            }
        }
    }

    /// A number, whole or not.
    pub fn number(&mut self, field: &Field<'_>) -> Option<f64> {
        match field.node.value {
            NodeValue::Float(number) => Some(number),
            // Exact below 2^53, and nothing here is asked to be as large.
            NodeValue::Int(number) => Some(number as f64),
            _ => {
                self.wrong_type(field, "a number", None);
                None
            }
        }
    }

    /// A share: above 0, at most 1.
    pub fn ratio(&mut self, field: &Field<'_>) -> Option<f64> {
        let number = self.number(field)?;
        if number > 0.0 && number <= 1.0 {
            return Some(number);
        }
        let percent =
            (number > 1.0 && number <= 100.0).then(|| format!("{number} percent is {}", number / 100.0));
        let message = format!("`{}` is {number}, but must be above 0 and at most 1", field.path);
        self.error(
            codes::OUT_OF_RANGE,
            field,
            message,
            percent.unwrap_or_else(|| "use a share such as 0.5".to_owned()),
        );
        None
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
                self.outside(field, said, least, most, bytes < *range.start());
                None
            }
            Err(error) => {
                let message = format!("`{}` is not a size: {error}", field.path);
                self.error(codes::INVALID_SIZE, field, message, (self.dialect.size_help)(&error));
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
                self.outside(field, said, least, most, duration < *range.start());
                None
            }
            Err(error) => {
                let message = format!("`{}` is not a duration: {error}", field.path);
                self.error(codes::INVALID_DURATION, field, message, (self.dialect.duration_help)(&error));
                None
            }
        }
    }

    fn outside(
        &mut self,
        field: &Field<'_>,
        said: impl Display,
        least: impl Display,
        most: impl Display,
        below: bool,
    ) {
        let message = format!("`{}` is {said}, outside {least} to {most}", field.path);
        let help = if below { format!("use at least {least}") } else { format!("use at most {most}") };
        self.error(codes::OUT_OF_RANGE, field, message, help);
    }

    /// One word of a closed set.
    pub fn choice<T: Copy>(&mut self, field: &Field<'_>, choices: &[(&str, T)]) -> Option<T> {
        let text = self.verbatim_or_word(field)?;
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

    /// A text, or the plain word of a boolean, null or number, for sets of words.
    fn verbatim_or_word<'n>(&mut self, field: &Field<'n>) -> Option<&'n str> {
        match field.node.raw.as_deref() {
            Some(raw) => Some(raw),
            None => self.text(field),
        }
    }

    /// The items of a list.
    pub fn list<'n>(&mut self, field: &Field<'n>, items_max: usize) -> Vec<Field<'n>> {
        let Some(items) = field.node.as_seq() else {
            let help = field.node.as_str().and_then(self.dialect.list_help);
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
            (
                key.name.as_str(),
                Field { node, key: key.place, path: section.dialect.join(&section.path, &key.name) },
            )
        };
        section.entries.iter().map(entry).collect()
    }
}
