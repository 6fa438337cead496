//! Which lines the picture of a trace has, and in which order. Large traces are cut here, leaves first, and
//! what is left out is counted.

use std::collections::{HashSet, VecDeque};

use serde_json::Value;

use super::bar::Timeline;
use super::forest::{Event, Forest, Log, Role};
use super::notes;
use crate::app::output::{Paint, count, nanoseconds, printable};
use crate::telemetry::names::{attribute, event};

/// So many spans are shown of one trace, and so many children of one span.
const SPANS_MAX: usize = 400;
const CHILDREN_MAX: usize = 40;
/// Of the children beyond the first ones, the failed and the slow are the ones to see.
const CHILDREN_CHOSEN: usize = 10;
/// Log lines and events of one span; the last ones are always among them.
const TEXTS_MAX: usize = 60;
const TEXTS_LAST: usize = 20;
const TRACEBACK_LINES_MAX: usize = 16;
/// A tree that begins so many lengths after the ones before it gets a timeline of its own.
const GAP_FACTOR: i64 = 4;
const GAP_NS_MIN: i64 = 1_000_000_000;

pub struct Plan {
    pub rows: Vec<Row>,
    pub shown: usize,
    pub hidden: usize,
}

pub struct Row {
    /// For each level, whether it goes on below this line; the last is the line's own.
    pub rails: Vec<bool>,
    pub what: What,
}

pub enum What {
    Span(Box<SpanRow>),
    /// The wait between two attempts.
    Backoff {
        start: i64,
        end: i64,
        line: Timeline,
    },
    Text(Text),
    /// Spans that are not shown.
    More(String),
    /// A new timeline begins, so long after the one before.
    Axis {
        line: Timeline,
        after: Option<i64>,
    },
    /// A heading of lines that belong to no span.
    Heading(&'static str),
}

pub struct SpanRow {
    pub label: String,
    pub role: Role,
    pub failed: bool,
    pub start: i64,
    pub end: i64,
    pub notes: Vec<(Paint, String)>,
    /// Other spans hang from it.
    pub open: bool,
    pub line: Timeline,
}

/// A line under a span: of its log, an event, its error.
#[derive(Clone, Debug)]
pub struct Text {
    pub tag: String,
    pub paint: Paint,
    pub text: String,
    /// ns since the timeline began.
    pub offset: Option<u64>,
    /// What does not fit on the screen is cut, not continued on the next line.
    pub cut: bool,
}

enum Item {
    Span(usize),
    Backoff {
        end: i64,
    },
    Text(Text),
    /// Shown unless something below said the same.
    Traceback(Vec<Text>),
    Error(Text),
}

/// `wide`: there is room beside the bars for notes; else each takes a line.
pub fn plan(forest: &Forest<'_>, depth_max: usize, wide: bool) -> Plan {
    let mut walk = Walk {
        forest,
        wide,
        visible: visible(forest, depth_max),
        said: HashSet::new(),
        plan: Plan { rows: Vec::new(), shown: 0, hidden: 0 },
    };
    walk.all();
    walk.plan
}

/// Which spans are shown. Level by level, so that what lies deep does not displace what lies high.
fn visible(forest: &Forest<'_>, depth_max: usize) -> Vec<bool> {
    let mut visible = vec![false; forest.spans.len()];
    let mut left = SPANS_MAX;
    let mut queue = VecDeque::new();
    let mut offer = |children: &[usize], depth: usize, queue: &mut VecDeque<(usize, usize)>| {
        for child in choose(forest, children) {
            if left > 0 {
                left -= 1;
                visible[child] = true;
                queue.push_back((child, depth));
            }
        }
    };
    offer(&forest.roots, 0, &mut queue);
    while let Some((place, depth)) = queue.pop_front() {
        if depth < depth_max {
            offer(&forest.spans[place].children, depth + 1, &mut queue);
        }
    }
    visible
}

fn choose(forest: &Forest<'_>, children: &[usize]) -> Vec<usize> {
    if children.len() <= CHILDREN_MAX {
        return children.to_vec();
    }
    let (first, rest) = children.split_at(CHILDREN_MAX - CHILDREN_CHOSEN);
    let mut rest = rest.to_vec();
    rest.sort_by_key(|place| {
        let span = &forest.spans[*place];
        (!span.failed, std::cmp::Reverse(span.duration_ns()))
    });
    rest.truncate(CHILDREN_CHOSEN);
    first.iter().copied().chain(rest).collect()
}

struct Walk<'f, 't> {
    forest: &'f Forest<'t>,
    wide: bool,
    visible: Vec<bool>,
    /// Error messages that stand in the picture already.
    said: HashSet<String>,
    plan: Plan,
}

impl Walk<'_, '_> {
    fn all(&mut self) {
        let forest = self.forest;
        let roots: Vec<usize> = forest.roots.iter().copied().filter(|place| self.visible[*place]).collect();
        let mut before: Option<Timeline> = None;
        for group in groups(forest, &roots) {
            let line = self.timeline(&roots[group.clone()]);
            let after = before.map(|before| line.start.saturating_sub(before.end));
            self.push(&[], What::Axis { line, after });
            before = Some(line);
            for root in &roots[group] {
                self.span(*root, &mut Vec::new(), line);
            }
        }
        self.more(&forest.roots, &mut Vec::new());
        if !forest.loose_logs.is_empty() {
            self.push(&[], What::Heading("log lines outside of these spans"));
            let start = before.map_or(forest.loose_logs[0].at, |line| line.start);
            let texts = forest.loose_logs.iter().map(|log| (log.at, log_line(log, start))).collect();
            for (_, text) in bounded(texts) {
                self.push(&[false], What::Text(text));
            }
        }
    }

    fn span(&mut self, place: usize, rails: &mut Vec<bool>, line: Timeline) {
        let span = &self.forest.spans[place];
        let items = self.items(place, line);
        let hides = span.children.iter().any(|child| !self.visible[*child]);
        let branches = |item: &Item| matches!(item, Item::Span(_) | Item::Backoff { .. });
        let last_branch = items.iter().rposition(|(_, item)| branches(item));
        self.plan.shown += 1;
        let row = SpanRow {
            label: notes::label(span),
            role: span.role,
            failed: span.failed,
            start: span.start,
            end: span.end,
            notes: notes::notes(span, self.kind_of(place).filter(|_| self.wide)),
            open: last_branch.is_some() || hides,
            line,
        };
        self.push(rails, What::Span(Box::new(row)));
        for (index, (at, item)) in items.into_iter().enumerate() {
            rails.push(hides || last_branch.is_some_and(|last| index < last));
            match item {
                Item::Span(child) => self.span(child, rails, line),
                Item::Backoff { end } => self.push(rails, What::Backoff { start: at, end, line }),
                Item::Traceback(lines) => self.traceback(place, lines, rails),
                Item::Error(text) => self.error(place, text, rails),
                Item::Text(text) => self.push(rails, What::Text(text)),
            }
            rails.pop();
        }
        self.more(&self.forest.spans[place].children, rails);
    }

    /// The same exception passes through several spans; it is shown where it began.
    fn traceback(&mut self, place: usize, lines: Vec<Text>, rails: &[bool]) {
        let last = lines.last().map(|line| line.text.clone()).unwrap_or_default();
        // The span's message is the end of it most of the time.
        let message = printable(self.forest.spans[place].message.unwrap_or_default());
        if last.contains(&message) {
            self.said.insert(message);
        }
        if self.said.insert(format!("traceback: {last}")) {
            for line in lines {
                self.push(rails, What::Text(line));
            }
        }
    }

    /// The message of a failed span, once; with its kind, where that has no place beside the bar.
    fn error(&mut self, place: usize, mut text: Text, rails: &[bool]) {
        let kind = self.kind_of(place).filter(|_| !self.wide);
        let new = self.said.insert(text.text.clone());
        let raised = self.forest.spans[place].events.iter().any(|one| one.name == event::EXCEPTION);
        text.text = match kind {
            Some(kind) if new && !text.text.is_empty() => format!("{kind}: {}", text.text),
            Some(kind) if !raised => kind,
            None if new => text.text,
            _ => return,
        };
        if !text.text.is_empty() {
            self.push(rails, What::Text(text));
        }
    }

    /// The kind of a failure at the span that it comes from; those above only pass it on.
    fn kind_of(&self, place: usize) -> Option<String> {
        let kind = |place: usize| {
            let span = &self.forest.spans[place];
            span.text(attribute::ERROR_TYPE).filter(|_| span.failed)
        };
        let own = kind(place)?;
        let below = self.forest.spans[place].children.iter().any(|child| kind(*child) == Some(own));
        (!below).then(|| printable(own))
    }

    /// What hangs from a span, by time; its error is the last word.
    fn items(&mut self, place: usize, line: Timeline) -> Vec<(i64, Item)> {
        let span = &self.forest.spans[place];
        let mut texts: Vec<(i64, Text)> =
            span.logs.iter().map(|log| (log.at, log_line(log, line.start))).collect();
        let mut items = Vec::new();
        for one in &span.events {
            match one.name {
                event::INVOCATION_RETRIED => {
                    items.push((one.at, Item::Backoff { end: self.backoff_end(place, one) }))
                }
                event::EXCEPTION => items.push((one.at, Item::Traceback(traceback(one)))),
                _ => texts.push((one.at, event_line(one, line.start))),
            }
        }
        texts.sort_by_key(|(at, _)| *at);
        items.extend(bounded(texts).into_iter().map(|(at, text)| (at, Item::Text(text))));
        let children = span.children.iter().filter(|child| self.visible[**child]);
        items.extend(children.map(|child| (self.forest.spans[*child].start, Item::Span(*child))));
        items.sort_by_key(|(at, _)| *at);
        if span.failed && !notes::tells_failure(span) {
            let message = printable(span.message.unwrap_or_default());
            let text =
                Text { tag: String::new(), paint: Paint::Bad, text: message, offset: None, cut: false };
            items.push((span.end, Item::Error(text)));
        }
        items
    }

    /// A wait lasts until the next attempt begins; where there is none, as long as it was said to.
    fn backoff_end(&self, place: usize, retried: &Event<'_>) -> i64 {
        let children = &self.forest.spans[place].children;
        let starts = children.iter().map(|child| &self.forest.spans[*child]);
        let next = starts.filter(|child| child.role == Role::Attempt).map(|child| child.start);
        let said = retried.attribute("backoff_ms").and_then(Value::as_f64).unwrap_or(0.0);
        next.filter(|start| *start >= retried.at)
            .min()
            .unwrap_or(retried.at.saturating_add((said * 1e6) as i64))
    }

    fn more(&mut self, children: &[usize], rails: &mut Vec<bool>) {
        let forest = self.forest;
        let hidden: Vec<_> = children
            .iter()
            .filter(|child| !self.visible[**child])
            .map(|child| &forest.spans[*child])
            .collect();
        if hidden.is_empty() {
            return;
        }
        let all: usize = hidden.iter().map(|span| span.count).sum();
        self.plan.hidden += all;
        let durations = || hidden.iter().map(|span| span.duration_ns());
        let (least, most) = (durations().min().unwrap_or(0), durations().max().unwrap_or(0));
        let failed = hidden.iter().filter(|span| span.failed).count();
        let mut text = format!("{} more span{}", count(all), if all == 1 { "" } else { "s" });
        text += &match (nanoseconds(least), nanoseconds(most)) {
            (least, most) if least == most => format!(" of {most}"),
            (least, most) => format!(" of {least} to {most}"),
        };
        if failed > 0 {
            text += &format!(", {} failed", count(failed));
        }
        rails.push(false);
        self.push(rails, What::More(text));
        rails.pop();
    }

    /// From the first begin to the last end. What lies further from its root than the root is long does not
    /// squeeze the others: it is drawn at the edge.
    fn timeline(&self, roots: &[usize]) -> Timeline {
        let spans = &self.forest.spans;
        let mut line: Option<Timeline> = None;
        let mut include = |start: i64, end: i64| {
            let all = line.get_or_insert(Timeline { start, end });
            *all = Timeline { start: all.start.min(start), end: all.end.max(end) };
        };
        let mut stack: Vec<(usize, usize)> = roots.iter().map(|root| (*root, *root)).collect();
        while let Some((place, root)) = stack.pop() {
            let (span, root_span) = (&spans[place], &spans[root]);
            let slack = root_span.end.saturating_sub(root_span.start);
            let (from, to) = (root_span.start.saturating_sub(slack), root_span.end.saturating_add(slack));
            include(span.start.clamp(from, to), span.end.clamp(from, to));
            stack.extend(
                span.children.iter().filter(|child| self.visible[**child]).map(|child| (*child, root)),
            );
        }
        line.unwrap_or(Timeline { start: 0, end: 0 })
    }

    fn push(&mut self, rails: &[bool], what: What) {
        self.plan.rows.push(Row { rails: rails.to_vec(), what });
    }
}

/// Runs of roots that share a timeline.
fn groups(forest: &Forest<'_>, roots: &[usize]) -> Vec<std::ops::Range<usize>> {
    let mut groups: Vec<std::ops::Range<usize>> = Vec::new();
    let (mut start, mut end) = (0, 0);
    for (index, root) in roots.iter().enumerate() {
        let span = &forest.spans[*root];
        let gap = span.start.saturating_sub(end);
        let near = gap <= GAP_NS_MIN.max(end.saturating_sub(start).saturating_mul(GAP_FACTOR));
        match groups.last_mut().filter(|_| near) {
            Some(group) => group.end = index + 1,
            None => {
                groups.push(index..index + 1);
                (start, end) = (span.start, span.end);
            }
        }
        end = end.max(span.end);
    }
    groups
}

fn log_line(log: &Log<'_>, start: i64) -> Text {
    let tag = match log.stream {
        "stdout" => "out".to_owned(),
        "stderr" => "err".to_owned(),
        "sdk" => printable(&log.severity.to_lowercase()),
        other => printable(other),
    };
    let paint = match log.severity {
        "ERROR" | "FATAL" => Paint::Bad,
        "WARN" => Paint::Warning,
        "DEBUG" | "TRACE" => Paint::Dim,
        _ => Paint::Plain,
    };
    Text { tag, paint, text: printable(log.body.trim_end()), offset: Some(offset(log.at, start)), cut: false }
}

fn event_line(event: &Event<'_>, start: i64) -> Text {
    let offset = Some(offset(event.at, start));
    if event.name == event::METRIC
        && let Some(name) = event.text(attribute::METRIC_NAME)
    {
        let value = event.attribute(attribute::METRIC_VALUE).unwrap_or(&Value::Null);
        let text = format!("{} = {value}", printable(name));
        return Text { tag: "metric".into(), paint: Paint::Plain, text, offset, cut: false };
    }
    let text = format!("{} {}", printable(event.name), notes::pairs(event.attributes));
    Text { tag: "event".into(), paint: Paint::Plain, text: text.trim_end().to_owned(), offset, cut: false }
}

/// The end of a traceback tells most.
fn traceback(event: &Event<'_>) -> Vec<Text> {
    let line = |text: String| Text { tag: String::new(), paint: Paint::Dim, text, offset: None, cut: true };
    let whole = event.text(attribute::EXCEPTION_STACKTRACE).unwrap_or_default().trim_end();
    if whole.is_empty() {
        let part = |key| printable(event.text(key).unwrap_or_default());
        return vec![line(format!(
            "{}: {}",
            part(attribute::EXCEPTION_TYPE),
            part(attribute::EXCEPTION_MESSAGE)
        ))];
    }
    let lines: Vec<&str> = whole.lines().collect();
    let skipped = lines.len().saturating_sub(TRACEBACK_LINES_MAX);
    let mut shown: Vec<Text> = lines[skipped..].iter().map(|text| line(printable(text))).collect();
    if let Some(last) = shown.last_mut() {
        last.paint = Paint::Bad;
    }
    if skipped > 0 {
        shown.insert(0, line(format!("({} lines of the traceback before)", count(skipped))));
    }
    shown
}

fn offset(at: i64, start: i64) -> u64 {
    at.saturating_sub(start).max(0).unsigned_abs()
}

/// The first and the last of many lines.
fn bounded(mut texts: Vec<(i64, Text)>) -> Vec<(i64, Text)> {
    if texts.len() <= TEXTS_MAX {
        return texts;
    }
    let last = texts.split_off(texts.len() - TEXTS_LAST);
    let hidden = texts.split_off(TEXTS_MAX - TEXTS_LAST);
    let text = format!("({} more lines)", count(hidden.len()));
    texts.push((hidden[0].0, Text { tag: String::new(), paint: Paint::Dim, text, offset: None, cut: false }));
    texts.extend(last);
    texts
}
