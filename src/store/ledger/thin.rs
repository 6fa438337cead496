//! Thins out floods before they cost anything: of a plugin that is called faster than so many times a second, a sample
//! of the calls gets rows, and each is counted. What a trace's calls share decides, its id, so that the calls of one
//! trace are kept or left out together, as far as their plugins are equally busy.
//!
//! Lines come before the call that they belong to has ended. Those of a call that is not part of the sample are held
//! until then: it may fail, or be slow.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::ids::{InvocationId, TraceId};
use crate::telemetry::{LogRecord, Record, RecordingData};

use super::class::{Class, Pace};

/// So many plugins are looked at by themselves; beyond, all begin anew.
const PLUGINS_MAX: usize = 4_096;
/// Lines, and bytes of them, that wait for the end of their call.
const HELD_LINES_MAX: usize = 4_096;
const HELD_BYTES_MAX: usize = 4 << 20;
const WINDOW: Duration = Duration::from_secs(1);
/// So many seconds of the rate failed and slow calls may have at once: what breaks in a burst is looked for call by call.
const FAILED_BURST_S: f64 = 8.0;

/// Failed and slow calls are rarer than others, and worth more: their shares of the rate have their own room.
fn share(class: Class) -> f64 {
    match class {
        Class::Failed => 0.5,
        Class::Slow => 0.1,
        _ => 1.0,
    }
}

/// What becomes of a record.
#[derive(Debug)]
pub(super) enum Verdict {
    Keep(Class),
    /// The call has ended and is kept: these lines of it come before it.
    KeepWith(Class, Vec<LogRecord>),
    /// No row. So many lines that were held go with it.
    LeaveOut {
        lines: u64,
    },
    /// Not yet decided; so many lines of other calls had to make room.
    Hold {
        lines: u64,
    },
}

/// Judges records in their order.
pub(super) struct Thinner {
    /// Rows a second that a plugin's ordinary calls may have.
    rate: f64,
    plugins: HashMap<Arc<str>, Plugin>,
    held: Held,
}

struct Plugin {
    pace: Pace,
    began: Instant,
    /// Rows that failed and slow calls may have beyond their sample.
    spare: f64,
    /// Calls of this second and of the one before, by class.
    now: [u32; 3],
    before: [u32; 3],
}

#[derive(Default)]
struct Held {
    calls: HashMap<InvocationId, Vec<LogRecord>>,
    order: VecDeque<InvocationId>,
    lines: usize,
    bytes: usize,
}

impl Thinner {
    pub fn new(rate: u32) -> Thinner {
        Thinner { rate: f64::from(rate), plugins: HashMap::new(), held: Held::default() }
    }

    pub fn judge(&mut self, record: &Record, now: Instant) -> Verdict {
        match record {
            Record::Invocation(call) => self.call(call, now),
            Record::Log(line) => self.line(line, now),
            Record::Operation(_) => Verdict::Keep(Class::Operations),
        }
    }

    fn call(&mut self, call: &RecordingData, now: Instant) -> Verdict {
        let rate = self.rate;
        let plugin = self.plugin(&call.plugin, now);
        let slow = plugin.pace.is_slow(call.duration);
        let class = Class::of(call.error.as_ref().map(|error| error.kind), slow);
        plugin.now[class as usize] += 1;
        let keeps = plugin.keeps(call.trace_id, class, rate) || plugin.spares(class);
        let lines = self.held.take(call.invocation_id);
        match (keeps, lines) {
            (true, None) => Verdict::Keep(class),
            (true, Some(lines)) => Verdict::KeepWith(class, lines),
            (false, lines) => Verdict::LeaveOut { lines: lines.map_or(0, |lines| lines.len() as u64) },
        }
    }

    fn line(&mut self, line: &LogRecord, now: Instant) -> Verdict {
        let of_call = line.ids.as_ref().and_then(|ids| Some((ids.trace_id, ids.invocation_id?)));
        let (Some((trace, invocation)), Some(name)) = (of_call, &line.plugin) else {
            return Verdict::Keep(Class::Outside);
        };
        let rate = self.rate;
        let keeps = self.plugin(name, now).keeps(trace, Class::Ordinary, rate);
        // Lines of one call stay in their order.
        if keeps && !self.held.calls.contains_key(&invocation) {
            return Verdict::Keep(Class::Lines);
        }
        Verdict::Hold { lines: self.held.put(invocation, line.clone()) }
    }

    fn plugin(&mut self, name: &Arc<str>, now: Instant) -> &mut Plugin {
        if self.plugins.len() >= PLUGINS_MAX && !self.plugins.contains_key(name) {
            self.plugins.clear();
        }
        let rate = self.rate;
        let plugin = self.plugins.entry(name.clone()).or_insert_with(|| Plugin {
            pace: Pace::default(),
            began: now,
            spare: rate * FAILED_BURST_S,
            now: [0; 3],
            before: [0; 3],
        });
        plugin.turn(now, rate);
        plugin
    }
}

impl Plugin {
    fn turn(&mut self, now: Instant, rate: f64) {
        let passed = now.saturating_duration_since(self.began);
        if passed >= WINDOW {
            let filled = passed.as_secs_f64() * rate * share(Class::Failed);
            self.spare = (self.spare + filled).min(rate * FAILED_BURST_S);
            self.before = if passed < 2 * WINDOW { self.now } else { [0; 3] };
            self.now = [0; 3];
            self.began = now;
        }
    }

    /// Whether a call that is not part of the sample gets a row all the same.
    fn spares(&mut self, class: Class) -> bool {
        let spares = matches!(class, Class::Failed | Class::Slow) && self.spare >= 1.0;
        self.spare -= f64::from(u8::from(spares));
        spares
    }

    /// The sample is as large as the rate allows, by how many calls there were in the second before, or are by now.
    fn keeps(&self, trace: TraceId, class: Class, rate: f64) -> bool {
        let most = |calls: &dyn Fn(&[u32; 3]) -> u32| f64::from(calls(&self.now).max(calls(&self.before)));
        if most(&|calls| calls.iter().sum()) <= rate {
            return true;
        }
        let (calls, room) = (most(&|calls| calls[class as usize]), rate * share(class));
        calls <= room || place(trace) < room / calls
    }
}

/// Where a trace stands between 0 and 1.
fn place(trace: TraceId) -> f64 {
    f64::from(lot(trace.as_bytes())) / 65_536.0
}

/// A number that a trace draws once. Ids of others may be anything but random: their bytes are mixed.
pub(super) fn lot(trace: &[u8; 16]) -> u16 {
    let (low, high) = trace.split_at(8);
    let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    let mixed = (number(low) ^ number(high).rotate_left(23)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ mixed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93) >> 48) as u16
}

impl Held {
    /// Returns how many lines had to go for it.
    fn put(&mut self, invocation: InvocationId, line: LogRecord) -> u64 {
        let bytes = bytes(&line);
        self.lines += 1;
        self.bytes += bytes;
        let lines = self.calls.entry(invocation).or_default();
        if lines.is_empty() {
            self.order.push_back(invocation);
        }
        lines.push(line);
        let mut gone = 0;
        while self.lines > HELD_LINES_MAX || self.bytes > HELD_BYTES_MAX {
            let Some(oldest) = self.order.front().copied() else { break };
            gone += self.take(oldest).map_or(0, |lines| lines.len() as u64);
        }
        gone
    }

    fn take(&mut self, invocation: InvocationId) -> Option<Vec<LogRecord>> {
        let lines = self.calls.remove(&invocation)?;
        self.lines -= lines.len();
        self.bytes -= lines.iter().map(bytes).sum::<usize>();
        // It is near the front: calls end about as they began.
        if let Some(at) = self.order.iter().position(|held| *held == invocation) {
            self.order.remove(at);
        }
        Some(lines)
    }
}

fn bytes(line: &LogRecord) -> usize {
    size_of::<LogRecord>() + line.body.len() + 64 * line.fields.len()
}

#[cfg(test)]
mod tests;
