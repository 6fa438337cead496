//! Where a value stands in a call: `$.input.amount`, `$.output.items[0].price`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Longest path, in bytes: it becomes the value of a label.
pub const PATH_BYTES_MAX: usize = 128;
/// Most steps below the root.
pub const STEPS_MAX: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    Input,
    Output,
}

/// What of a value is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldKind {
    Number,
    Category,
    Boolean,
    /// In characters.
    TextLength,
    ListSize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    Key(Box<str>),
    Index(u32),
}

/// One place in the input or the output. Equal paths are spelled alike.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FieldPath {
    side: Side,
    steps: Arc<[Step]>,
}

impl Side {
    pub const fn as_str(self) -> &'static str {
        match self {
            Side::Input => "input",
            Side::Output => "output",
        }
    }
}

impl FieldKind {
    pub const ALL: [FieldKind; 5] = [
        FieldKind::Number,
        FieldKind::Category,
        FieldKind::Boolean,
        FieldKind::TextLength,
        FieldKind::ListSize,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            FieldKind::Number => "number",
            FieldKind::Category => "category",
            FieldKind::Boolean => "boolean",
            FieldKind::TextLength => "text_length",
            FieldKind::ListSize => "list_size",
        }
    }
}

impl FieldPath {
    /// `None`: it would be too long, or name the whole side.
    pub fn new(side: Side, steps: Vec<Step>) -> Option<FieldPath> {
        let path = FieldPath { side, steps: steps.into() };
        let fits = (1..=STEPS_MAX).contains(&path.steps.len()) && path.to_string().len() <= PATH_BYTES_MAX;
        fits.then_some(path)
    }

    pub const fn side(&self) -> Side {
        self.side
    }

    pub fn steps(&self) -> &[Step] {
        &self.steps
    }
}

/// What is wrong with the text of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldPathError {
    #[error("it does not begin with `$.input` or `$.output`")]
    Root,
    #[error("it names no field below `$.input` or `$.output`")]
    Whole,
    #[error("it has more than {STEPS_MAX} steps or {PATH_BYTES_MAX} bytes")]
    TooLong,
    #[error("byte {0} begins no step: write `.name`, `['a name']` or `[0]`")]
    Step(usize),
}

impl FromStr for FieldPath {
    type Err = FieldPathError;

    fn from_str(text: &str) -> Result<FieldPath, FieldPathError> {
        let (side, mut rest) = [Side::Input, Side::Output]
            .into_iter()
            .find_map(|side| Some((side, text.strip_prefix("$.")?.strip_prefix(side.as_str())?)))
            .filter(|(_, rest)| rest.is_empty() || rest.starts_with(['.', '[']))
            .ok_or(FieldPathError::Root)?;
        if text.len() > PATH_BYTES_MAX {
            return Err(FieldPathError::TooLong);
        }
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, after) = step(rest).ok_or(FieldPathError::Step(text.len() - rest.len()))?;
            steps.push(step);
            rest = after;
        }
        if steps.is_empty() {
            return Err(FieldPathError::Whole);
        }
        FieldPath::new(side, steps).ok_or(FieldPathError::TooLong)
    }
}

/// The first step of a text, and what follows it.
fn step(text: &str) -> Option<(Step, &str)> {
    if let Some(rest) = text.strip_prefix('.') {
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (key, after) = rest.split_at(end);
        return is_plain(key).then(|| (Step::Key(key.into()), after));
    }
    let rest = text.strip_prefix('[')?;
    if let Some(rest) = rest.strip_prefix('\'') {
        let mut key = String::new();
        let mut characters = rest.char_indices();
        loop {
            match characters.next()? {
                (_, '\\') => key.push(characters.next()?.1),
                (at, '\'') => {
                    let after = rest[at + 1..].strip_prefix(']')?;
                    return Some((Step::Key(key.into()), after));
                }
                (_, other) if other.is_control() => return None,
                (_, other) => key.push(other),
            }
        }
    }
    let (digits, after) = rest.split_once(']')?;
    let canonical = digits == "0" || !digits.starts_with(['0', '+']);
    Some((Step::Index(digits.parse().ok().filter(|_| canonical)?), after))
}

/// Whether a key can stand behind a dot.
fn is_plain(key: &str) -> bool {
    !key.is_empty() && !key.chars().any(|c| c.is_control() || c.is_whitespace() || "[]'\"\\*".contains(c))
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "$.{}", self.side.as_str())?;
        for step in &*self.steps {
            match step {
                Step::Key(key) if is_plain(key) && !key.contains('.') => write!(f, ".{key}")?,
                Step::Key(key) => {
                    f.write_str("['")?;
                    for c in key.chars() {
                        if matches!(c, '\'' | '\\') {
                            f.write_str("\\")?;
                        }
                        write!(f, "{c}")?;
                    }
                    f.write_str("']")?;
                }
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_spelled_as_it_is_read() {
        for text in [
            "$.input.amount",
            "$.output.score",
            "$.input.customer.address.city",
            "$.output.items[0].price",
            "$.input['a name']['it\\'s']",
            "$.input['a.b']",
            "$.input.größe",
        ] {
            assert_eq!(text.parse::<FieldPath>().unwrap().to_string(), text);
        }
        let path: FieldPath = "$.input['plain']".parse().unwrap();
        assert_eq!(path, "$.input.plain".parse().unwrap(), "one spelling for one place");
        let path: FieldPath = "$.output.items[12]".parse().unwrap();
        assert_eq!((path.side(), path.steps().len()), (Side::Output, 2));
        assert_eq!(path.steps()[1], Step::Index(12));
    }

    #[test]
    fn what_is_no_path_says_where() {
        let long = format!("$.input.{}", "a".repeat(PATH_BYTES_MAX));
        let deep = format!("$.input{}", ".a".repeat(STEPS_MAX + 1));
        for (text, error) in [
            ("", FieldPathError::Root),
            ("amount", FieldPathError::Root),
            ("$.inputs.a", FieldPathError::Root),
            ("$.config.a", FieldPathError::Root),
            ("$.input", FieldPathError::Whole),
            (&long, FieldPathError::TooLong),
            (&deep, FieldPathError::TooLong),
            ("$.input.", FieldPathError::Step(7)),
            ("$.input.a..b", FieldPathError::Step(9)),
            ("$.input.a b", FieldPathError::Step(7)),
            ("$.input.a[*]", FieldPathError::Step(9)),
            ("$.input.a[01]", FieldPathError::Step(9)),
            ("$.input.a[4294967296]", FieldPathError::Step(9)),
            ("$.input['a]", FieldPathError::Step(7)),
        ] {
            assert_eq!(text.parse::<FieldPath>(), Err(error), "{text}");
        }
    }
}
