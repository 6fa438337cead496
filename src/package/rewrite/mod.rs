//! Changes of a manifest that a person wrote: only the bytes of what changes are replaced, so that comments,
//! order and form of the rest stay. Pure: text in, text out.
//!
//! The new text is read again before it is given away. Whatever YAML has up its sleeve (anchors, aliases, odd
//! indentation), a change that would alter anything else, or itself come out otherwise, is refused.

mod style;

use std::ops::Range;

use semver::Version;
use serde_json::{Map, Value};

use self::style::Style;
use super::yaml::{self, Key, Node, NodeValue};

const EXAMPLES: &str = "examples";
const EXPECT: &str = "expect";
const VERSION: &str = "version";

/// Why a manifest is left as it is.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RewriteError {
    #[error("the manifest cannot be read: {0}")]
    Unreadable(String),
    #[error("there is no example {0}")]
    NoExample(usize),
    /// What anchors and aliases share cannot be changed in one place.
    #[error("{0} is an alias or has an anchor, so that a change would reach further")]
    Shared(String),
    #[error("{0} is not written in a form that can be changed safely")]
    Unsafe(String),
}

impl RewriteError {
    pub fn help(&self) -> &'static str {
        match self {
            RewriteError::Shared(_) => "write the value out where it is used",
            RewriteError::Unsafe(_) => "change it by hand",
            RewriteError::Unreadable(_) | RewriteError::NoExample(_) => {
                "`spanglass plugin validate` says more"
            }
        }
    }
}

/// One change: the `expect` of the example with this index becomes the value.
#[derive(Clone, Debug, PartialEq)]
pub struct Expectation {
    pub index: usize,
    pub expect: Value,
}

/// Replaces the expectations of some examples, and adds those that are absent. `file` is the manifest's name:
/// one that ends in `.json` stays JSON.
///
/// # Errors
/// [`RewriteError`], and nothing is changed.
pub fn set_expectations(file: &str, text: &str, changes: &[Expectation]) -> Result<String, RewriteError> {
    let tree = parsed(file, text)?;
    let examples = tree.get(EXAMPLES).and_then(Node::as_seq).unwrap_or_default();
    let edit = Edit { file, text };
    let mut splices = Vec::new();
    let mut wanted = tree.to_json();
    for change in changes {
        let example = examples.get(change.index).ok_or(RewriteError::NoExample(change.index))?;
        let place = format!("{EXAMPLES}[{}]", change.index);
        edit.refuse_shared(tree.get(EXAMPLES), EXAMPLES)?;
        edit.refuse_shared(Some(example), &place)?;
        edit.refuse_shared(example.get(EXPECT), &format!("{place}.{EXPECT}"))?;
        splices.push(edit.set(example, EXPECT, &change.expect, &place)?);
        wanted[EXAMPLES][change.index][EXPECT] = change.expect.clone();
    }
    edit.apply(splices, &wanted, EXAMPLES)
}

/// Adds an example behind those that are there.
///
/// # Errors
/// [`RewriteError`], and nothing is changed.
pub fn append_example(file: &str, text: &str, example: &Value) -> Result<String, RewriteError> {
    let tree = parsed(file, text)?;
    let edit = Edit { file, text };
    edit.refuse_shared(tree.get(EXAMPLES), EXAMPLES)?;
    let mut wanted = tree.to_json();
    if !wanted[EXAMPLES].is_array() {
        wanted[EXAMPLES] = Value::Array(Vec::new());
    }
    if let Some(list) = wanted[EXAMPLES].as_array_mut() {
        list.push(example.clone());
    }
    let splice = match tree.get(EXAMPLES) {
        Some(list) if list.as_seq().is_some_and(|items| !items.is_empty()) => edit.push(list, example),
        // Nothing there that could be lost.
        _ => edit.set(&tree, EXAMPLES, &Value::Array(vec![example.clone()]), "the manifest")?,
    };
    edit.apply(vec![splice], &wanted, EXAMPLES)
}

/// Replaces the version.
///
/// # Errors
/// [`RewriteError`], and nothing is changed.
pub fn set_version(file: &str, text: &str, version: &Version) -> Result<String, RewriteError> {
    let tree = parsed(file, text)?;
    let edit = Edit { file, text };
    edit.refuse_shared(tree.get(VERSION), VERSION)?;
    let version = Value::from(version.to_string());
    let splice = edit.set(&tree, VERSION, &version, "the manifest")?;
    let mut wanted = tree.to_json();
    wanted[VERSION] = version;
    edit.apply(vec![splice], &wanted, VERSION)
}

fn parsed(file: &str, text: &str) -> Result<Node, RewriteError> {
    let (tree, diagnostics) = yaml::parse(file, text.as_bytes());
    match tree {
        Some(tree) if diagnostics.valid() => Ok(tree),
        _ => {
            let first = diagnostics.sorted().first().map(|problem| problem.message.clone());
            Err(RewriteError::Unreadable(first.unwrap_or_else(|| "it is empty".to_owned())))
        }
    }
}

/// These bytes become that text.
type Splice = (Range<usize>, String);

struct Edit<'a> {
    file: &'a str,
    text: &'a str,
}

impl Edit<'_> {
    fn refuse_shared(&self, node: Option<&Node>, path: &str) -> Result<(), RewriteError> {
        let shared = node.is_some_and(|node| self.text[node.place.start..].starts_with(['*', '&']));
        if shared { Err(RewriteError::Shared(path.to_owned())) } else { Ok(()) }
    }

    /// Sets a key of a mapping.
    fn set(&self, mapping: &Node, key: &str, value: &Value, path: &str) -> Result<Splice, RewriteError> {
        let unsafe_here = || RewriteError::Unsafe(format!("{path}.{key}"));
        let entries = mapping.as_map().ok_or_else(unsafe_here)?;
        if let Some((known, node)) = entries.iter().find(|(known, _)| known.name == key) {
            return self.replace(known, node, value).ok_or_else(unsafe_here);
        }
        let (last_key, last) = match entries.last() {
            Some((key, node)) => (key, node),
            None => {
                let style = Style::flow(self.is_json());
                let at = mapping.place.start + 1;
                return Ok((at..at, style.entry(key, value)));
            }
        };
        let end = self.end_of(last_key, last).ok_or_else(unsafe_here)?;
        if self.is_flow(mapping) {
            let style = Style::flow(self.is_quoted(last_key));
            // Each on a line of its own, if the others are.
            let line = self.line_start(last_key.place.start);
            let before = &self.text[line..last_key.place.start];
            let separator = match before.trim().is_empty() {
                true => format!(",{}{before}", self.line_break()),
                false => ", ".to_owned(),
            };
            return Ok((end..end, separator + &style.entry(key, value)));
        }
        let indentation = column_of(last_key);
        let style = Style::block(indentation, self.line_break());
        // Behind the comment on the last line.
        let at = self.line_end(end);
        Ok((at..at, format!("{}{}", self.new_line(indentation), style.entry(key, value))))
    }

    /// Replaces the value of a key, in the form that it has.
    fn replace(&self, key: &Key, node: &Node, value: &Value) -> Option<Splice> {
        let quoted = self.is_quoted(key);
        if node.place.start >= node.place.end || self.text[node.place.start..node.place.end].trim().is_empty()
        {
            let at = self.colon_after(key)?;
            return Some((at..at, format!(" {}", Style::flow(quoted).value(value))));
        }
        let range = node.place.start..self.end_of(key, node)?;
        let is_block = !self.is_flow(node) && node.as_map().is_some();
        if is_block {
            let indentation = self.text[self.line_start(range.start)..range.start].chars().count();
            return Some((range, Style::block(indentation, self.line_break()).mapping(value)));
        }
        let style = Style::flow(quoted || self.text[range.start + 1..].trim_start().starts_with('"'));
        Some((range, style.value(value)))
    }

    /// Adds an item to a list that has some.
    fn push(&self, list: &Node, value: &Value) -> Splice {
        let last = list.as_seq().and_then(<[Node]>::last).unwrap_or(list);
        let end = self.end_of_node(last);
        if self.is_flow(list) {
            let style = Style::flow(
                self.is_json() || self.text[last.place.start + 1..].trim_start().starts_with('"'),
            );
            let line = self.line_start(last.place.start);
            let before = &self.text[line..last.place.start];
            let separator = match before.trim().is_empty() {
                true => format!(",{}{before}", self.line_break()),
                false => ", ".to_owned(),
            };
            return (end..end, separator + &style.value(value));
        }
        // The list begins with its first dash.
        let indentation = self.text[self.line_start(list.place.start)..list.place.start].chars().count();
        let at = self.line_end(end);
        let style = Style::block(indentation, self.line_break());
        (at..at, format!("{}{}", self.new_line(indentation), style.item(value)))
    }

    fn apply(&self, mut splices: Vec<Splice>, wanted: &Value, path: &str) -> Result<String, RewriteError> {
        splices.sort_by_key(|(range, _)| range.start);
        let mut text = self.text.to_owned();
        for (range, new) in splices.into_iter().rev() {
            text.replace_range(range, &new);
        }
        match parsed(self.file, &text) {
            Ok(tree) if same(&tree.to_json(), wanted) => Ok(text),
            _ => Err(RewriteError::Unsafe(path.to_owned())),
        }
    }

    fn is_json(&self) -> bool {
        self.file.ends_with(".json")
    }

    fn is_quoted(&self, key: &Key) -> bool {
        self.is_json() || self.text[key.place.start..].starts_with('"')
    }

    fn is_flow(&self, node: &Node) -> bool {
        self.text[node.place.start..].starts_with(['{', '['])
    }

    fn colon_after(&self, key: &Key) -> Option<usize> {
        let rest = &self.text[key.place.end..];
        let colon = rest.find(':')?;
        rest[..colon].trim().is_empty().then_some(key.place.end + colon + 1)
    }

    /// Where a value ends, without comments and blank lines behind it.
    fn end_of(&self, key: &Key, node: &Node) -> Option<usize> {
        if node.place.start >= node.place.end { self.colon_after(key) } else { Some(self.end_of_node(node)) }
    }

    fn end_of_node(&self, node: &Node) -> usize {
        if !self.is_flow(node) && !self.text[node.place.start..].starts_with('*') {
            match &node.value {
                NodeValue::Seq(items) if !items.is_empty() => {
                    return self.end_of_node(&items[items.len() - 1]);
                }
                NodeValue::Map(entries) => {
                    if let Some((key, last)) = entries.last() {
                        return self.end_of(key, last).unwrap_or(node.place.end);
                    }
                }
                _ => {}
            }
        }
        node.place.start + self.text[node.place.start..node.place.end].trim_end().len()
    }

    fn line_start(&self, at: usize) -> usize {
        self.text[..at].rfind('\n').map_or(0, |newline| newline + 1)
    }

    fn line_end(&self, at: usize) -> usize {
        let end = self.text[at..].find('\n').map_or(self.text.len(), |newline| at + newline);
        if self.text[..end].ends_with('\r') { end - 1 } else { end }
    }

    fn line_break(&self) -> &'static str {
        if self.text.contains("\r\n") { "\r\n" } else { "\n" }
    }

    fn new_line(&self, indentation: usize) -> String {
        format!("{}{}", self.line_break(), " ".repeat(indentation))
    }
}

fn column_of(key: &Key) -> usize {
    usize::try_from(key.place.column).unwrap_or(1).saturating_sub(1)
}

/// Equal, with whole floats and integers as one: `1.0` may have been written as `1`.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left == right || left.as_f64() == right.as_f64(),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => same_fields(left, right),
        _ => left == right,
    }
}

fn same_fields(left: &Map<String, Value>, right: &Map<String, Value>) -> bool {
    left.len() == right.len()
        && left.iter().all(|(key, value)| right.get(key).is_some_and(|other| same(value, other)))
}

/// A name for an example that no other has.
pub fn free_name<'a>(wanted: &str, taken: impl Iterator<Item = &'a str> + Clone) -> String {
    let mut name = wanted.to_owned();
    let mut number = 2_usize;
    while taken.clone().any(|known| known == name) {
        name = format!("{wanted}-{number}");
        number += 1;
    }
    name
}

/// The value on one line, as a manifest would have it.
pub fn on_one_line(value: &Value) -> String {
    Style::flow(false).value(value)
}
