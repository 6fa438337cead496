//! The spans of a trace document as trees. Whatever the document says (parents that are missing, that are
//! their own children, ids given twice), every span gets exactly one place, and nothing runs in circles.

use std::collections::HashMap;
use std::time::UNIX_EPOCH;

use serde_json::{Map, Value};

use crate::telemetry::names::{attribute, event, log, span};

/// A trace, read.
pub struct Forest<'t> {
    /// In the order of the document.
    pub spans: Vec<Span<'t>>,
    /// Spans with no parent here, by their start.
    pub roots: Vec<usize>,
    /// Log lines that no span here claims.
    pub loose_logs: Vec<Log<'t>>,
}

pub struct Span<'t> {
    pub id: &'t str,
    pub name: &'t str,
    pub role: Role,
    /// ns since the Unix epoch.
    pub start: i64,
    pub end: i64,
    pub failed: bool,
    pub message: Option<&'t str>,
    pub attributes: Option<&'t Map<String, Value>>,
    pub events: Vec<Event<'t>>,
    pub logs: Vec<Log<'t>>,
    /// Its parent is said to be one that is not here.
    pub orphan: bool,
    /// By their start.
    pub children: Vec<usize>,
    /// Itself and all that is below.
    pub count: usize,
    /// Of an attempt, from 1.
    pub number: Option<u64>,
}

/// What a span stands for, which decides how it is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Invoke,
    Attempt,
    Queue,
    Prepare,
    Execute,
    /// Any other step of the host.
    Host,
    /// A step that the plugin told of.
    Guest,
    /// A request to somewhere else.
    Request,
}

#[derive(Clone)]
pub struct Event<'t> {
    pub name: &'t str,
    pub at: i64,
    pub attributes: Option<&'t Map<String, Value>>,
}

#[derive(Clone)]
pub struct Log<'t> {
    pub at: i64,
    pub stream: &'t str,
    pub severity: &'t str,
    pub body: &'t str,
}

impl<'t> Forest<'t> {
    pub fn read(trace: &'t Value) -> Forest<'t> {
        let documents = trace.get("spans").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let earliest = documents.iter().filter_map(|span| time(span.get("start")?)).min().unwrap_or(0);
        let mut spans: Vec<Span<'t>> = documents.iter().map(|span| Span::read(span, earliest)).collect();
        let ids = index(&spans);
        let parents: Vec<Option<usize>> = documents
            .iter()
            .zip(&mut spans)
            .map(|(document, span)| span.claim_parent(document, &ids))
            .collect();
        let (roots, order) = connect(&mut spans, parents);
        count(&mut spans, &order);
        assign_roles(&mut spans, &order);
        place_exceptions(&mut spans);
        let mut forest = Forest { spans, roots, loose_logs: Vec::new() };
        forest.attach_logs(trace, &ids, earliest);
        forest
    }

    /// A log line that the tree shows by itself (how the call ended, that it was tried again) is left out.
    fn attach_logs(&mut self, trace: &'t Value, ids: &HashMap<&'t str, usize>, earliest: i64) {
        for document in trace.get("logs").and_then(Value::as_array).into_iter().flatten() {
            let line = Log {
                at: document.get(log::TIMESTAMP).and_then(time).unwrap_or(earliest),
                stream: text(document, log::STREAM),
                severity: text(document, log::SEVERITY_TEXT),
                body: text(document, log::BODY),
            };
            let drawn = [event::INVOCATION_FINISHED, event::INVOCATION_RETRIED];
            let place = document.get(log::SPAN_ID).and_then(Value::as_str).and_then(|id| ids.get(id));
            match place {
                Some(_) if drawn.contains(&text(document, log::EVENT_NAME)) && line.stream == "host" => {}
                Some(place) => self.spans[*place].logs.push(line),
                None => self.loose_logs.push(line),
            }
        }
    }
}

impl<'t> Span<'t> {
    fn read(document: &'t Value, earliest: i64) -> Span<'t> {
        let start = document.get("start").and_then(time).unwrap_or(earliest);
        let ms = document.get("duration_ms").and_then(Value::as_f64).unwrap_or(0.0);
        let message = document.get("status_message").and_then(Value::as_str);
        let events = document.get("events").and_then(Value::as_array).into_iter().flatten();
        Span {
            id: text(document, "span_id"),
            name: text(document, "name"),
            role: if text(document, "kind") == "client" { Role::Request } else { Role::Host },
            start,
            end: start.saturating_add((ms.max(0.0) * 1e6) as i64),
            failed: text(document, "status") == "error",
            message: message.filter(|message| !message.is_empty()),
            attributes: document.get("attributes").and_then(Value::as_object),
            events: events.map(|event| Event::read(event, start)).collect(),
            logs: Vec::new(),
            orphan: false,
            children: Vec::new(),
            count: 1,
            number: None,
        }
    }

    pub fn attribute(&self, key: &str) -> Option<&'t Value> {
        self.attributes?.get(key)
    }

    pub fn text(&self, key: &str) -> Option<&'t str> {
        self.attribute(key)?.as_str()
    }

    pub fn duration_ns(&self) -> u64 {
        self.end.saturating_sub(self.start).unsigned_abs()
    }

    /// The place of the parent that the document names.
    fn claim_parent(&mut self, document: &'t Value, ids: &HashMap<&'t str, usize>) -> Option<usize> {
        let parent = document.get("parent_span_id").or_else(|| document.get("parent_id"))?.as_str()?;
        let place = ids.get(parent).copied();
        self.orphan = place.is_none();
        place
    }

    /// The role by name, for a span that is none of a plugin's.
    fn host_role(&self) -> Role {
        match self.name {
            name if name.starts_with(span::INVOKE_PREFIX) && self.attribute(attribute::OUTCOME).is_some() => {
                Role::Invoke
            }
            span::ATTEMPT => Role::Attempt,
            span::QUEUE => Role::Queue,
            span::PREPARE => Role::Prepare,
            span::EXECUTE => Role::Execute,
            _ => self.role,
        }
    }
}

impl<'t> Event<'t> {
    fn read(document: &'t Value, start: i64) -> Event<'t> {
        Event {
            name: text(document, "name"),
            at: document.get("time").and_then(time).unwrap_or(start),
            attributes: document.get("attributes").and_then(Value::as_object),
        }
    }

    pub fn attribute(&self, key: &str) -> Option<&'t Value> {
        self.attributes?.get(key)
    }

    pub fn text(&self, key: &str) -> Option<&'t str> {
        self.attribute(key)?.as_str()
    }
}

/// The first span with an id has it.
fn index<'t>(spans: &[Span<'t>]) -> HashMap<&'t str, usize> {
    let mut ids = HashMap::with_capacity(spans.len());
    for (place, span) in spans.iter().enumerate() {
        if !span.id.is_empty() {
            ids.entry(span.id).or_insert(place);
        }
    }
    ids
}

/// Gives each span its children. Returns the roots, and all spans in an order in which parents come first.
/// Spans that are their own ancestors are cut open at the earliest of them.
fn connect(spans: &mut [Span<'_>], parents: Vec<Option<usize>>) -> (Vec<usize>, Vec<usize>) {
    let mut by_start: Vec<usize> = (0..spans.len()).collect();
    by_start.sort_by_key(|place| (spans[*place].start, *place));
    let mut offered = vec![Vec::new(); spans.len()];
    for place in &by_start {
        if let Some(parent) = parents[*place] {
            offered[parent].push(*place);
        }
    }
    let mut reached = vec![false; spans.len()];
    let mut roots = Vec::new();
    let mut order = Vec::with_capacity(spans.len());
    // Roots by nature first; whatever they do not lead to hangs in a circle.
    let natural = by_start.iter().filter(|place| parents[**place].is_none());
    for root in natural.chain(&by_start) {
        if std::mem::replace(&mut reached[*root], true) {
            continue;
        }
        roots.push(*root);
        let mut next = order.len();
        order.push(*root);
        while let Some(place) = order.get(next).copied() {
            next += 1;
            for child in std::mem::take(&mut offered[place]) {
                if !std::mem::replace(&mut reached[child], true) {
                    spans[place].children.push(child);
                    order.push(child);
                }
            }
        }
    }
    roots.sort_by_key(|place| (spans[*place].start, *place));
    (roots, order)
}

fn count(spans: &mut [Span<'_>], order: &[usize]) {
    for place in order.iter().rev() {
        let below: usize = spans[*place].children.iter().map(|child| spans[*child].count).sum();
        spans[*place].count += below;
    }
}

/// What stands below `execute` is the plugin's, until another call begins.
fn assign_roles(spans: &mut [Span<'_>], order: &[usize]) {
    let mut in_guest = vec![false; spans.len()];
    for place in order {
        let host = spans[*place].host_role();
        let role = match host {
            Role::Invoke | Role::Request => host,
            _ if in_guest[*place] && !spans[*place].name.starts_with(span::CALL_PREFIX) => Role::Guest,
            _ => host,
        };
        spans[*place].role = role;
        let below = matches!(role, Role::Execute | Role::Guest | Role::Request);
        let mut attempts = 0;
        for child in spans[*place].children.clone() {
            in_guest[child] = below || (in_guest[*place] && role != Role::Invoke);
            if spans[child].name == span::ATTEMPT && !in_guest[child] {
                attempts += 1;
                let said = spans[child].attribute(attribute::ATTEMPT).and_then(Value::as_u64);
                spans[child].number = Some(said.unwrap_or(attempts));
            }
        }
    }
}

/// What a plugin raised stands at the call; it is shown at the step that raised it, the last failed one.
fn place_exceptions(spans: &mut [Span<'_>]) {
    for place in 0..spans.len() {
        if spans[place].role != Role::Invoke {
            continue;
        }
        let mut step = place;
        let failed = |spans: &[Span<'_>], child: &usize| {
            spans[*child].failed && matches!(spans[*child].role, Role::Attempt | Role::Execute)
        };
        while let Some(child) = spans[step].children.iter().rfind(|child| failed(spans, child)) {
            step = *child;
        }
        if step != place {
            let raised = |event: &Event<'_>| event.name == event::EXCEPTION;
            let (raised, others) = std::mem::take(&mut spans[place].events).into_iter().partition(raised);
            spans[place].events = others;
            let raised: Vec<Event<'_>> = raised;
            spans[step].events.extend(raised);
        }
    }
}

fn text<'t>(document: &'t Value, member: &str) -> &'t str {
    document.get(member).and_then(Value::as_str).unwrap_or_default()
}

/// ns since the Unix epoch.
fn time(value: &Value) -> Option<i64> {
    let time = humantime::parse_rfc3339(value.as_str()?).ok()?;
    i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_nanos()).ok()
}
