//! JSON log lines: one object a line, flat keys. They are written by a thread of their own, over a bounded
//! channel, so that a terminal that nobody reads stops nobody.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use super::background;
use super::metrics::Metrics;
use super::names::log;
use super::record::{LogRecord, Value, id_text};
use super::settings::LogTarget;

/// Chunks of lines that may wait for the writer.
const CHUNKS_MAX: usize = 64;
/// A chunk goes to the writer at this size, or when everything drained has been rendered.
const CHUNK_BYTES: usize = 64 << 10;
/// The longest line. Fields that do not fit are left out and counted in `dropped_fields`.
pub const LINE_BYTES_MAX: usize = 64 << 10;

/// The telemetry thread's side: renders and passes on.
pub(super) struct LogLines {
    chunk: Vec<u8>,
    lines: u64,
    sender: SyncSender<Chunk>,
    finished: Receiver<()>,
    metrics: Arc<Metrics>,
}

struct Chunk {
    bytes: Vec<u8>,
    lines: u64,
}

impl LogLines {
    /// `None` for the target `off`.
    pub fn start(target: &LogTarget, metrics: Arc<Metrics>) -> io::Result<Option<LogLines>> {
        let output = match target {
            LogTarget::Off => return Ok(None),
            LogTarget::Stdout => Output::Stdout,
            LogTarget::Stderr => Output::Stderr,
            LogTarget::Path(path) => Output::File(OpenOptions::new().create(true).append(true).open(path)?),
        };
        LogLines::start_with(output, metrics).map(Some)
    }

    fn start_with(output: Output, metrics: Arc<Metrics>) -> io::Result<LogLines> {
        let (sender, chunks) = sync_channel(CHUNKS_MAX);
        let (done, finished) = sync_channel(1);
        let counted = metrics.clone();
        std::thread::Builder::new().name("log-lines".into()).spawn(move || {
            background::step_back();
            write_all(output, &chunks, &counted);
            let _ = done.try_send(());
        })?;
        Ok(LogLines { chunk: Vec::new(), lines: 0, sender, finished, metrics })
    }

    pub fn line(&mut self, record: &LogRecord) {
        write_line(&mut self.chunk, record);
        self.lines += 1;
        if self.chunk.len() >= CHUNK_BYTES {
            self.pass_on();
        }
    }

    /// Hands the rendered lines to the writer; drops them if it is stuck.
    pub fn pass_on(&mut self) {
        if self.lines == 0 {
            return;
        }
        let capacity = self.chunk.len().min(CHUNK_BYTES);
        let chunk = Chunk {
            bytes: std::mem::replace(&mut self.chunk, Vec::with_capacity(capacity)),
            lines: std::mem::take(&mut self.lines),
        };
        match self.sender.try_send(chunk) {
            Ok(()) => {}
            Err(TrySendError::Full(chunk) | TrySendError::Disconnected(chunk)) => {
                self.metrics.log_lines_dropped("writer_stuck", chunk.lines);
            }
        }
    }

    /// Waits until everything is written, at most until the deadline.
    pub fn finish(mut self, deadline: Instant) {
        self.pass_on();
        let LogLines { sender, finished, .. } = self;
        drop(sender);
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        // Too late, or the writer is gone: either way there is nothing left to do.
        let _: Result<(), RecvTimeoutError> = finished.recv_timeout(left);
    }
}

enum Output {
    Stdout,
    Stderr,
    File(File),
    #[cfg(test)]
    Test(Box<dyn Write + Send>),
}

fn write_all(mut output: Output, chunks: &Receiver<Chunk>, metrics: &Metrics) {
    while let Ok(chunk) = chunks.recv() {
        let written = match &mut output {
            Output::Stdout => write_and_flush(&mut io::stdout().lock(), &chunk.bytes),
            Output::Stderr => write_and_flush(&mut io::stderr().lock(), &chunk.bytes),
            Output::File(file) => write_and_flush(file, &chunk.bytes),
            #[cfg(test)]
            Output::Test(writer) => write_and_flush(writer, &chunk.bytes),
        };
        if written.is_err() {
            metrics.log_lines_dropped("write_failed", chunk.lines);
        }
    }
}

fn write_and_flush(output: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    output.write_all(bytes)?;
    output.flush()
}

/// Appends one line.
pub(super) fn write_line(out: &mut Vec<u8>, record: &LogRecord) {
    let start = out.len();
    out.extend_from_slice(b"{\"timestamp\":\"");
    write_timestamp(out, record.unix_ns);
    out.push(b'"');
    write_field(out, log::SEVERITY_TEXT, &record.severity.as_str().into());
    write_field(out, log::SEVERITY_NUMBER, &(record.severity as u32).into());
    write_field(out, log::BODY, &Value::Text(record.body.clone()));
    if let Some(name) = record.event_name {
        write_field(out, log::EVENT_NAME, &name.into());
    }
    if let Some(ids) = &record.ids {
        write_key(out, log::TRACE_ID);
        let _ = write!(out, "\"{}\"", ids.trace_id);
        write_key(out, log::SPAN_ID);
        let _ = write!(out, "\"{}\"", ids.span_id);
    }
    let mut dropped = record.dropped_fields;
    // Room for what follows the last field.
    let limit = start + LINE_BYTES_MAX - 40;
    record.each_attribute(|key, value| {
        let before = out.len();
        write_field(out, key, value);
        if out.len() > limit {
            out.truncate(before);
            dropped += 1;
        }
    });
    if dropped > 0 {
        write_field(out, log::DROPPED_FIELDS, &dropped.into());
    }
    out.extend_from_slice(b"}\n");
}

fn write_field(out: &mut Vec<u8>, key: &str, value: &Value) {
    write_key(out, key);
    match value {
        Value::Text(text) => write_text(out, text),
        Value::Id(id) => write_text(out, id_text(*id, &mut [0; uuid::fmt::Hyphenated::LENGTH])),
        Value::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        Value::Int(value) => {
            let _ = write!(out, "{value}");
        }
        // JSON has no NaN and no infinity.
        Value::Float(value) if value.is_finite() => {
            let _ = write!(out, "{value}");
        }
        Value::Float(value) => write_text(out, &value.to_string()),
    }
}

fn write_key(out: &mut Vec<u8>, key: &str) {
    out.push(b',');
    write_text(out, key);
    out.push(b':');
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    // Into memory, of a text: neither can fail.
    let _ = serde_json::to_writer(&mut *out, text);
}

/// RFC 3339 in UTC with nanoseconds.
fn write_timestamp(out: &mut Vec<u8>, unix_ns: u64) {
    let time = std::time::UNIX_EPOCH + Duration::from_nanos(unix_ns);
    let _ = write!(out, "{}", humantime::format_rfc3339_nanos(time));
}

#[cfg(test)]
mod tests;
