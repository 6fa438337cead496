//! YAML (and JSON, which is YAML) to a tree in which every key and value knows its place. The only file that
//! uses `serde_yaml`, and of it the event parser alone: a typed reader would stop at the first mistake, and an
//! untyped value would have lost the places and the text of its numbers.
//!
//! The text is a stranger's. All bounds are checked while events arrive, so a hostile document is left at the
//! first event that is too much; nothing is expanded before it is counted.

use std::collections::HashMap;
use std::ops::Range;

use serde_json::{Map, Number, Value};
use serde_yaml::granit_parser::{self, Event, Parser, ScalarStyle, Span};

use super::codes;
use super::diagnostic::{Diagnostic, Diagnostics, Place, quote};

/// Largest document, in bytes.
pub const INPUT_BYTES_MAX: usize = 64 << 10;
/// Deepest nesting of lists and mappings.
pub const DEPTH_MAX: usize = 32;
/// Most keys and values, counted after aliases are resolved.
pub const NODES_MAX: usize = 10_000;
/// Most anchors, and most aliases.
pub const ALIASES_MAX: usize = 64;
/// Most bytes of text in all scalars together, counted after aliases are resolved.
pub const SCALAR_BYTES_MAX: usize = 256 << 10;

/// A value with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub value: NodeValue,
    pub place: Place,
    /// A plain (unquoted) scalar as it was written: `1.10` where `value` is the number 1.1.
    pub raw: Option<Box<str>>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum NodeValue {
    Null,
    Bool(bool),
    /// Between `i64::MIN` and `u64::MAX`.
    Int(i128),
    /// Finite.
    Float(f64),
    Str(String),
    Seq(Vec<Node>),
    /// In the order of the file, without duplicates.
    Map(Vec<(Key, Node)>),
}

/// A key of a mapping. Keys are text: `200:` is the key `200`.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    pub name: String,
    pub place: Place,
}

impl Node {
    /// What it is, for messages: `the number 30`, `a list`.
    pub fn describe(&self) -> String {
        match &self.value {
            NodeValue::Null => "nothing".to_owned(),
            NodeValue::Bool(flag) => format!("the boolean `{flag}`"),
            NodeValue::Int(_) | NodeValue::Float(_) => {
                format!("the number {}", quote(self.raw.as_deref().unwrap_or_default()))
            }
            NodeValue::Str(text) => format!("the text {}", quote(text)),
            NodeValue::Seq(_) => "a list".to_owned(),
            NodeValue::Map(_) => "a mapping".to_owned(),
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            NodeValue::Str(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_seq(&self) -> Option<&[Node]> {
        match &self.value {
            NodeValue::Seq(items) => Some(items),
            _ => None,
        }
    }

    pub fn as_map(&self) -> Option<&[(Key, Node)]> {
        match &self.value {
            NodeValue::Map(entries) => Some(entries),
            _ => None,
        }
    }

    pub fn is_null(&self) -> bool {
        self.value == NodeValue::Null
    }

    /// The value under a key of a mapping.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.as_map()?.iter().find(|(name, _)| name.name == key).map(|(_, node)| node)
    }

    /// The same as JSON.
    pub fn to_json(&self) -> Value {
        match &self.value {
            NodeValue::Null => Value::Null,
            NodeValue::Bool(flag) => Value::Bool(*flag),
            NodeValue::Int(number) => match (u64::try_from(*number), i64::try_from(*number)) {
                (Ok(number), _) => Value::from(number),
                (_, Ok(number)) => Value::from(number),
                _ => Value::Null,
            },
            NodeValue::Float(number) => Number::from_f64(*number).map_or(Value::Null, Value::Number),
            NodeValue::Str(text) => Value::String(text.clone()),
            NodeValue::Seq(items) => Value::Array(items.iter().map(Node::to_json).collect()),
            NodeValue::Map(_) => Value::Object(self.to_object()),
        }
    }

    /// The same as a JSON object; empty if it is no mapping.
    pub fn to_object(&self) -> Map<String, Value> {
        let entries = self.as_map().unwrap_or_default();
        entries.iter().map(|(key, node)| (key.name.clone(), node.to_json())).collect()
    }

    /// The place that a JSON pointer (RFC 6901) leads to, or as near to it as the tree goes.
    pub fn place_at(&self, pointer: &str) -> Place {
        let mut node = self;
        for token in pointer.split('/').skip(1) {
            let token = token.replace("~1", "/").replace("~0", "~");
            let next = match &node.value {
                NodeValue::Map(_) => node.get(&token),
                NodeValue::Seq(items) => token.parse().ok().and_then(|index: usize| items.get(index)),
                _ => None,
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        node.place
    }
}

/// Reads one document. `file` is the name to show; a name that ends in `.json` asks for JSON proper.
///
/// The tree is `None` if the text could not be read to its end; the diagnostics then say why. A tree may come
/// with errors too (such as duplicate keys), so that the caller can go on and report its own as well.
pub fn parse(file: &str, bytes: &[u8]) -> (Option<Node>, Diagnostics) {
    if bytes.len() > INPUT_BYTES_MAX {
        let mut diagnostics = Diagnostics::new(file, "");
        let message = format!("the file has {} bytes, more than {INPUT_BYTES_MAX}", bytes.len());
        let help = "keep data in files of their own; this one describes, it does not carry";
        diagnostics.push(Diagnostic::error(codes::TOO_LARGE, Place::START, "", message).help(help));
        return (None, diagnostics);
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => return (None, not_utf8(file, bytes, error.valid_up_to())),
    };
    let mut diagnostics = Diagnostics::new(file, text);
    if let Some(problem) = control_character(text).or_else(|| not_json(file, text)) {
        diagnostics.push(problem);
        return (None, diagnostics);
    }
    let root = Composer::new(text, &mut diagnostics).run();
    match root {
        Ok(root) => (root, diagnostics),
        Err(problem) => {
            diagnostics.push(*problem);
            (None, diagnostics)
        }
    }
}

fn not_utf8(file: &str, bytes: &[u8], offset: usize) -> Diagnostics {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let place = Place::of(&text, offset..offset + char::REPLACEMENT_CHARACTER.len_utf8());
    let mut diagnostics = Diagnostics::new(file, text);
    let message = format!("byte {:#04x} is not UTF-8", bytes[offset]);
    diagnostics.push(Diagnostic::error(codes::NOT_UTF8, place, "", message).help("save the file as UTF-8"));
    diagnostics
}

fn control_character(text: &str) -> Option<Diagnostic> {
    let (offset, character) =
        text.char_indices().find(|(_, c)| c.is_control() && !matches!(c, '\t' | '\n' | '\r'))?;
    let place = Place::of(text, offset..offset + character.len_utf8());
    let message = format!("control character U+{:04X}", u32::from(character));
    let help = "remove it; in a quoted text write it as an escape, such as \"\\u001b\"";
    Some(Diagnostic::error(codes::CONTROL_CHARACTER, place, "", message).help(help))
}

fn not_json(file: &str, text: &str) -> Option<Diagnostic> {
    if !file.ends_with(".json") {
        return None;
    }
    let text_without_mark = text.strip_prefix('\u{feff}').unwrap_or(text);
    let error = serde_json::from_str::<serde::de::IgnoredAny>(text_without_mark).err()?;
    let line_start: usize =
        text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let offset = (line_start + error.column().saturating_sub(1)).min(text.len());
    let said = error.to_string();
    let said = said.split(" at line ").next().unwrap_or_default();
    let place = Place::of(text, offset..text.ceil_char_boundary(offset + 1));
    let problem = Diagnostic::error(codes::SYNTAX, place, "", format!("not valid JSON: {said}"));
    let after_comma = text[..offset].trim_end().ends_with(',') && text[offset..].starts_with(['}', ']']);
    Some(problem.maybe_help(after_comma.then(|| "remove the comma before it".to_owned())))
}

/// Why reading stops. Boxed: the happy path returns a `Result` per event.
type Stop = Box<Diagnostic>;

struct Composer<'a> {
    text: &'a str,
    diagnostics: &'a mut Diagnostics,
    /// Containers that are still open, outermost first.
    open: Vec<Open>,
    root: Option<Node>,
    documents: usize,
    /// Finished nodes with an anchor, and what a copy of each costs.
    anchors: HashMap<usize, (Node, Cost)>,
    aliases: usize,
    total: Cost,
}

/// What a part of the tree adds to the budget.
#[derive(Clone, Copy, Default)]
struct Cost {
    nodes: usize,
    bytes: usize,
    depth: usize,
}

struct Open {
    anchor: usize,
    place: Place,
    cost_before: Cost,
    /// Deepest nesting below, itself included.
    depth: usize,
    content: Content,
}

enum Content {
    Seq(Vec<Node>),
    Map {
        entries: Vec<(Key, Node)>,
        /// The key that waits for its value; `None` inside: a key that was refused.
        pending: Option<Option<Key>>,
        seen: HashMap<String, Place>,
    },
}

impl<'a> Composer<'a> {
    fn new(text: &'a str, diagnostics: &'a mut Diagnostics) -> Composer<'a> {
        Composer {
            text,
            diagnostics,
            open: Vec::new(),
            root: None,
            documents: 0,
            anchors: HashMap::new(),
            aliases: 0,
            total: Cost::default(),
        }
    }

    fn run(mut self) -> Result<Option<Node>, Stop> {
        // The scanner looks ahead of the events; its own limit keeps it from going far.
        let options = granit_parser::options! { emit_comments: false, flow_nesting_limit: 2 * DEPTH_MAX };
        for event in Parser::new_from_str_with_options(self.text, options) {
            let (event, span) = event.map_err(|error| self.syntax(&error))?;
            self.take(event, span)?;
        }
        if self.root.is_none() {
            let problem = Diagnostic::error(codes::EMPTY, Place::START, "", "the file holds nothing");
            return Err(Box::new(problem.help("`spanglass plugin new NAME` writes a working start")));
        }
        Ok(self.root)
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Stop> {
        let place = self.place(span);
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    let problem =
                        Diagnostic::error(codes::MANY_DOCUMENTS, place, "", "a second document begins here");
                    return Err(Box::new(problem.help("keep one document; remove the line `---`")));
                }
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                let tag =
                    tag.as_deref().map(|tag| (tag.core_suffix().unwrap_or("?").to_owned(), tag.original()));
                self.count(place, 1, text.len())?;
                self.anchor(anchor, place)?;
                let node = self.scalar(&text, style, tag, place);
                self.keep(anchor, &node, Cost { nodes: 1, bytes: text.len(), depth: 0 });
                self.add(node, 0)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), "seq", place);
                self.begin(anchor, place, Content::Seq(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), "map", place);
                let content = Content::Map { entries: Vec::new(), pending: None, seen: HashMap::new() };
                self.begin(anchor, place, content)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(place),
            Event::Alias(anchor) => self.alias(anchor, place),
            _ => Ok(()),
        }
    }

    fn begin(&mut self, anchor: usize, place: Place, content: Content) -> Result<(), Stop> {
        let cost_before = self.total;
        self.count(place, 1, 0)?;
        self.anchor(anchor, place)?;
        self.too_deep(place, self.open.len() + 1)?;
        self.open.push(Open { anchor, place, cost_before, depth: 1, content });
        Ok(())
    }

    fn end(&mut self, at: Place) -> Result<(), Stop> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let value = match open.content {
            Content::Seq(items) => NodeValue::Seq(items),
            Content::Map { entries, .. } => NodeValue::Map(entries),
        };
        let mut place = open.place;
        place.end = at.start.max(place.start).min(self.text.len());
        place.end = place.start + self.text[place.start..place.end].trim_end().len();
        if matches!(self.text.as_bytes().get(at.start), Some(b']' | b'}')) {
            place.end = at.start + 1;
        }
        let node = Node { value, place, raw: None };
        let cost = Cost {
            nodes: self.total.nodes - open.cost_before.nodes,
            bytes: self.total.bytes - open.cost_before.bytes,
            depth: open.depth,
        };
        self.keep(open.anchor, &node, cost);
        self.add(node, open.depth)
    }

    fn alias(&mut self, anchor: usize, place: Place) -> Result<(), Stop> {
        self.aliases += 1;
        if self.aliases > ALIASES_MAX {
            return Err(too_much(place, format!("more than {ALIASES_MAX} aliases")));
        }
        let Some((_, cost)) = self.anchors.get(&anchor) else {
            let problem =
                Diagnostic::error(codes::SYNTAX, place, "", "this alias stands inside what it refers to");
            return Err(Box::new(problem));
        };
        let cost = *cost;
        self.count(place, cost.nodes, cost.bytes)?;
        self.too_deep(place, self.open.len() + cost.depth)?;
        let mut node = self.anchors[&anchor].0.clone();
        node.place = place;
        self.add(node, cost.depth)
    }

    /// Puts a finished node where it belongs: into the innermost open container, as key or value.
    fn add(&mut self, node: Node, depth: usize) -> Result<(), Stop> {
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        parent.depth = parent.depth.max(depth + 1);
        match &mut parent.content {
            Content::Seq(items) => items.push(node),
            Content::Map { entries, pending, seen } => match pending.take() {
                None => *pending = Some(key_of(node, seen, self.diagnostics)),
                Some(Some(key)) => entries.push((key, node)),
                Some(None) => {}
            },
        }
        Ok(())
    }

    fn keep(&mut self, anchor: usize, node: &Node, cost: Cost) {
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), cost));
        }
    }

    fn anchor(&self, anchor: usize, place: Place) -> Result<(), Stop> {
        // Every anchored node is kept as a copy; nested anchors would otherwise multiply.
        if anchor > ALIASES_MAX {
            return Err(too_much(place, format!("more than {ALIASES_MAX} anchors")));
        }
        Ok(())
    }

    fn count(&mut self, place: Place, nodes: usize, bytes: usize) -> Result<(), Stop> {
        self.total.nodes += nodes;
        self.total.bytes += bytes;
        if self.total.nodes > NODES_MAX {
            return Err(too_much(place, format!("more than {NODES_MAX} keys and values")));
        }
        if self.total.bytes > SCALAR_BYTES_MAX {
            return Err(too_much(place, format!("more than {SCALAR_BYTES_MAX} bytes of text")));
        }
        Ok(())
    }

    fn too_deep(&self, place: Place, depth: usize) -> Result<(), Stop> {
        if depth <= DEPTH_MAX {
            return Ok(());
        }
        Err(deeper(place))
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        tag: Option<(String, String)>,
        place: Place,
    ) -> Node {
        let plain = style == ScalarStyle::Plain;
        let value = match tag {
            None if plain => plain_value(text),
            None => Ok(NodeValue::Str(text.to_owned())),
            Some((core, _)) if core == "str" => Ok(NodeValue::Str(text.to_owned())),
            Some((core, written)) => {
                let value = plain_value(text);
                let fits = matches!(
                    (core.as_str(), &value),
                    ("null", Ok(NodeValue::Null))
                        | ("bool", Ok(NodeValue::Bool(_)))
                        | ("int", Ok(NodeValue::Int(_)))
                        | ("float", Ok(NodeValue::Float(_)))
                );
                if !fits {
                    self.diagnostics.push(unknown_tag(&written, place));
                }
                value
            }
        };
        let value = value.unwrap_or_else(|message| {
            let problem = Diagnostic::error(codes::NUMBER, place, "", format!("{} {message}", quote(text)));
            self.diagnostics.push(problem.help("put it in quotes if it is meant as text"));
            NodeValue::Null
        });
        let empty = plain && self.text.get(place.start..place.end).is_none_or(str::is_empty);
        let raw = (plain && !empty).then(|| text.into());
        Node { value, place, raw }
    }

    fn refuse_tag(&mut self, tag: Option<&granit_parser::Tag>, core: &str, place: Place) {
        if let Some(tag) = tag
            && tag.core_suffix() != Some(core)
        {
            self.diagnostics.push(unknown_tag(&tag.original(), place));
        }
    }

    fn place(&self, span: Span) -> Place {
        let start = span.start.byte_offset().unwrap_or(self.text.len()).min(self.text.len());
        let end = span.end.byte_offset().unwrap_or(start).clamp(start, self.text.len());
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Place { line: count(span.start.line()), column: count(span.start.col() + 1), start, end }
    }

    fn syntax(&self, error: &granit_parser::ScanError) -> Stop {
        let mark = error.marker();
        let place = self.place(Span::new(*mark, *mark));
        if matches!(error.kind(), granit_parser::ErrorKind::RecursionLimitExceeded) {
            return deeper(place);
        }
        let line_start = self.text[..place.start].rfind('\n').map_or(0, |at| at + 1);
        let indentation = self.text[line_start..].chars().take_while(|c| matches!(c, ' ' | '\t'));
        let (what, help) = match indentation.clone().any(|c| c == '\t') {
            true => ("a tab in the indentation".to_owned(), Some("indent with spaces; YAML forbids tabs")),
            false => syntax_words(error.kind()),
        };
        let problem = Diagnostic::error(codes::SYNTAX, place, "", format!("not valid YAML: {what}"));
        Box::new(problem.maybe_help(help.map(str::to_owned)))
    }
}

/// The commonest mistakes in words that need no knowledge of YAML's grammar.
fn syntax_words(kind: &granit_parser::ErrorKind) -> (String, Option<&'static str>) {
    use granit_parser::ErrorKind as Kind;

    let (what, help) = match kind {
        Kind::TabNotAllowed | Kind::TabInBlockIndentation | Kind::TabInIndentation => {
            ("a tab in the indentation", "indent with spaces; YAML forbids tabs")
        }
        Kind::ExpectedBlockMappingKey | Kind::InvalidIndentation => (
            "this does not belong to the mapping above it",
            "entries of one mapping begin in the same column",
        ),
        Kind::ExpectedBlockSequenceEntry => (
            "this does not belong to the list above it",
            "items of one list begin with `- ` in the same column",
        ),
        Kind::ExpectedFlowMappingSeparator | Kind::UnexpectedEofFlowMapping => {
            ("a `,` or `}` is missing before this", "is a `{` further up not closed?")
        }
        Kind::ExpectedFlowSequenceSeparator | Kind::UnexpectedEofFlowSequence => {
            ("a `,` or `]` is missing before this", "is a `[` further up not closed?")
        }
        Kind::MappingValueNotAllowed => {
            ("a `:` where no key can stand", "a text that holds `: ` needs quotes")
        }
        Kind::SimpleKeyExpected | Kind::InvalidSimpleKey => {
            ("a key without its `:`", "write `key: value`; a text of several lines needs `|` or quotes")
        }
        Kind::UnclosedQuotedScalar | Kind::DocumentIndicatorInQuotedScalar => {
            ("a quote is not closed", "close it; within '…' a quote is written twice")
        }
        Kind::UnknownQuotedScalarEscape | Kind::InvalidQuotedScalarHexEscape => (
            "an escape that does not exist",
            "in \"…\" a backslash begins an escape: write it twice, or use '…'",
        ),
        Kind::UnknownAnchor => ("an alias of nothing", "a text that begins with `*` needs quotes"),
        Kind::UnexpectedCharacter { .. } => {
            ("a text cannot begin with this character", "put the text in quotes")
        }
        other => return (other.to_string(), None),
    };
    (what.to_owned(), Some(help))
}

/// Takes a node as the next key of a mapping; `None` if it can be none, which is reported.
fn key_of(node: Node, seen: &mut HashMap<String, Place>, diagnostics: &mut Diagnostics) -> Option<Key> {
    let place = node.place;
    let name = match (node.raw, node.value) {
        (
            Some(raw),
            NodeValue::Str(_)
            | NodeValue::Null
            | NodeValue::Bool(_)
            | NodeValue::Int(_)
            | NodeValue::Float(_),
        ) => {
            // `<<: *defaults` copies another mapping in, a second meaning of a key.
            if &*raw == "<<" {
                let problem =
                    Diagnostic::error(codes::MERGE_KEY, place, "", "merge keys (`<<`) are not supported");
                diagnostics.push(problem.help("write the keys out"));
                return None;
            }
            String::from(raw)
        }
        (None, NodeValue::Str(text)) => text,
        _ => {
            diagnostics.push(Diagnostic::error(codes::KEY, place, "", "a key must be a text"));
            return None;
        }
    };
    if name.chars().any(char::is_control) {
        diagnostics.push(Diagnostic::error(
            codes::KEY,
            place,
            "",
            format!("the key {} holds a control character", quote(&name)),
        ));
        return None;
    }
    if let Some(first) = seen.get(&name) {
        let problem = Diagnostic::error(
            codes::DUPLICATE_KEY,
            place,
            "",
            format!("the key {} stands here a second time", quote(&name)),
        );
        let help = format!("it was set on line {} already; keep one of the two", first.line);
        diagnostics.push(problem.help(help).related(*first, "first set here"));
        return None;
    }
    seen.insert(name.clone(), place);
    Some(Key { name, place })
}

fn deeper(place: Place) -> Stop {
    Box::new(Diagnostic::error(codes::TOO_DEEP, place, "", format!("nested more than {DEPTH_MAX} deep")))
}

fn too_much(place: Place, what: String) -> Stop {
    Box::new(Diagnostic::error(codes::TOO_MUCH, place, "", what))
}

fn unknown_tag(written: &str, place: Place) -> Diagnostic {
    Diagnostic::error(codes::TAG, place, "", format!("the tag {} is not supported", quote(written)))
        .help("remove the tag; a text that begins with `!` needs quotes")
}

/// The YAML 1.2 core schema: `yes`, `no`, `on` and `off` are texts.
fn plain_value(text: &str) -> Result<NodeValue, &'static str> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(NodeValue::Null),
        "true" | "True" | "TRUE" => return Ok(NodeValue::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(NodeValue::Bool(false)),
        ".nan" | ".NaN" | ".NAN" => return Err("is not a number that JSON has"),
        _ => {}
    }
    let (negative, digits) = match text.as_bytes()[0] {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if matches!(digits, ".inf" | ".Inf" | ".INF") {
        return Err("is not a number that JSON has");
    }
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Ok(NodeValue::Str(text.to_owned()));
    }
    if let Some((radix, digits)) = based(text) {
        return integer(digits, radix, false);
    }
    if digits.bytes().all(|b| b.is_ascii_digit()) {
        return integer(digits, 10, negative);
    }
    if is_float(digits) {
        let number: f64 = text.parse().map_err(|_| "is not a number")?;
        return if number.is_finite() {
            Ok(NodeValue::Float(number))
        } else {
            Err("is too large for a number")
        };
    }
    Ok(NodeValue::Str(text.to_owned()))
}

fn based(text: &str) -> Option<(u32, &str)> {
    let (radix, digits) = match text.get(..2)? {
        "0x" => (16, &text[2..]),
        "0o" => (8, &text[2..]),
        _ => return None,
    };
    (!digits.is_empty() && digits.chars().all(|c| c.is_digit(radix))).then_some((radix, digits))
}

fn integer(digits: &str, radix: u32, negative: bool) -> Result<NodeValue, &'static str> {
    // A float would change the digits in silence.
    const TOO_LARGE: &str = "does not fit in 64 bits";
    let number = i128::from_str_radix(digits, radix).map_err(|_| TOO_LARGE)?;
    let number = if negative { -number } else { number };
    let fits = (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&number);
    if fits { Ok(NodeValue::Int(number)) } else { Err(TOO_LARGE) }
}

/// `1.5`, `.5`, `1.`, `1e3`, without sign.
fn is_float(digits: &str) -> bool {
    let (mantissa, exponent) = match digits.find(['e', 'E']) {
        Some(at) => (&digits[..at], Some(&digits[at + 1..])),
        None => (digits, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let exponent_fits = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !exponent.is_empty() && all_digits(exponent)
    });
    all_digits(whole) && all_digits(fraction) && !(whole.is_empty() && fraction.is_empty()) && exponent_fits
}

/// The bytes of a place.
impl From<Place> for Range<usize> {
    fn from(place: Place) -> Range<usize> {
        place.start..place.end
    }
}

#[cfg(test)]
mod tests;
