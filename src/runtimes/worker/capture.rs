//! What a worker prints, as log lines: split, bounded, counted. Bytes are data; they are never looked into.

use std::collections::VecDeque;

use serde_json::Map;

use super::dropped;
use crate::model::guest::{GuestLog, LogStream, Severity};

/// A longer line is cut.
pub const LINE_BYTES_MAX: usize = 8 << 10;
/// Lines and bytes kept of one call, stdout and stderr together.
pub const LINES_MAX: u64 = 10_000;
pub const BYTES_MAX: u64 = 4 << 20;
/// So many lines of a call are read as they come; the others together with those that follow soon.
const LINES_AT_ONCE_MAX: u64 = 64;
/// The last lines of stderr, kept for the message about a crash.
const TAIL_LINES_MAX: usize = 20;
const TAIL_LINE_BYTES_MAX: usize = 512;

/// Splits both streams of one call into lines.
#[derive(Debug, Default)]
pub struct Capture {
    stdout: Line,
    stderr: Line,
    lines: u64,
    bytes: u64,
    /// What was fed, kept or not.
    fed: u64,
    stdout_lines_dropped: u64,
    stderr_lines_dropped: u64,
    lines_cut: u64,
    stderr_tail: VecDeque<String>,
}

/// A line that has not ended yet.
#[derive(Debug, Default)]
struct Line {
    bytes: Vec<u8>,
    /// Something has been read since the last line ended.
    open: bool,
    cut: bool,
}

impl Capture {
    pub fn feed(&mut self, stream: LogStream, mut bytes: &[u8], log: &mut dyn FnMut(GuestLog)) {
        self.fed += bytes.len() as u64;
        if self.lines == LINES_MAX {
            bytes = self.skip_lines(stream, bytes);
        }
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            self.extend(stream, &bytes[..end]);
            self.end_line(stream, log);
            bytes = &bytes[end + 1..];
        }
        if !bytes.is_empty() {
            self.extend(stream, bytes);
        }
    }

    /// Ends a call: lines without an end are lines too. Tells what was cut off and starts anew.
    pub fn finish(&mut self, log: &mut dyn FnMut(GuestLog), mut count: impl FnMut(&'static str, u64)) {
        self.end_lines(log);
        let counts = [
            (dropped::STDOUT_LINES, &mut self.stdout_lines_dropped),
            (dropped::STDERR_LINES, &mut self.stderr_lines_dropped),
            (dropped::LINES_CUT, &mut self.lines_cut),
        ];
        for (what, number) in counts {
            match std::mem::take(number) {
                0 => {}
                number => count(what, number),
            }
        }
        self.lines = 0;
        self.bytes = 0;
        self.fed = 0;
        self.stderr_tail.clear();
    }

    /// Whether the call has printed so much that nobody will miss the moment of each line.
    pub fn is_busy(&self) -> bool {
        self.lines > LINES_AT_ONCE_MAX
    }

    /// Whether nothing more of what is printed will be kept, or nothing that was printed ends a line.
    pub fn is_flooded(&self) -> bool {
        self.lines == LINES_MAX || self.fed > BYTES_MAX
    }

    pub fn end_lines(&mut self, log: &mut dyn FnMut(GuestLog)) {
        for stream in [LogStream::Stdout, LogStream::Stderr] {
            if self.line(stream).open {
                self.end_line(stream, log);
            }
        }
    }

    /// The last lines of stderr in this call.
    pub fn stderr_tail(&self) -> impl Iterator<Item = &str> {
        self.stderr_tail.iter().map(String::as_str)
    }

    /// Counts lines that nobody will see, in a flood, without looking at each. The last ones are left: they
    /// may belong to a message about a crash.
    fn skip_lines<'a>(&mut self, stream: LogStream, bytes: &'a [u8]) -> &'a [u8] {
        let Some(end) = memchr::memrchr_iter(b'\n', bytes).nth(TAIL_LINES_MAX) else { return bytes };
        let (skipped, rest) = bytes.split_at(end + 1);
        *self.dropped(stream) += memchr::memchr_iter(b'\n', skipped).count() as u64;
        *self.line(stream) = Line::default();
        rest
    }

    fn dropped(&mut self, stream: LogStream) -> &mut u64 {
        if stream == LogStream::Stderr {
            &mut self.stderr_lines_dropped
        } else {
            &mut self.stdout_lines_dropped
        }
    }

    fn line(&mut self, stream: LogStream) -> &mut Line {
        if stream == LogStream::Stderr { &mut self.stderr } else { &mut self.stdout }
    }

    fn extend(&mut self, stream: LogStream, bytes: &[u8]) {
        let line = self.line(stream);
        line.open = true;
        let room = LINE_BYTES_MAX - line.bytes.len();
        line.cut |= bytes.len() > room;
        line.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn end_line(&mut self, stream: LogStream, log: &mut dyn FnMut(GuestLog)) {
        let mut line = std::mem::take(self.line(stream));
        let body = to_text(&line);
        if stream == LogStream::Stderr {
            if self.stderr_tail.len() == TAIL_LINES_MAX {
                self.stderr_tail.pop_front();
            }
            let tail = crate::model::text::truncate(&body, TAIL_LINE_BYTES_MAX);
            self.stderr_tail.push_back(tail.to_owned());
        }
        if self.lines == LINES_MAX || self.bytes + body.len() as u64 > BYTES_MAX {
            *self.dropped(stream) += 1;
        } else {
            self.lines += 1;
            self.bytes += body.len() as u64;
            self.lines_cut += u64::from(line.cut);
            log(captured(stream, body));
        }
        // Keep the memory for the next line.
        line.bytes.clear();
        *self.line(stream) = Line { bytes: line.bytes, open: false, cut: false };
    }
}

fn to_text(line: &Line) -> String {
    let mut bytes = line.bytes.as_slice();
    if line.cut {
        // The cut may have gone through a character.
        if let Err(error) = std::str::from_utf8(bytes)
            && error.error_len().is_none()
        {
            bytes = &bytes[..error.valid_up_to()];
        }
    } else if let Some(without) = bytes.strip_suffix(b"\r") {
        bytes = without;
    }
    String::from_utf8_lossy(bytes).into_owned()
}

fn captured(stream: LogStream, body: String) -> GuestLog {
    let severity = if stream == LogStream::Stderr { Severity::Warn } else { Severity::Info };
    GuestLog {
        unix_ns: None,
        severity,
        stream,
        body,
        logger: None,
        fields: Map::new(),
        code: None,
        span_id: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capture(parts: &[&[u8]]) -> (Vec<String>, Vec<(&'static str, u64)>) {
        let (mut lines, mut counts) = (Vec::new(), Vec::new());
        let mut capture = Capture::default();
        for part in parts {
            capture.feed(LogStream::Stdout, part, &mut |log| lines.push(log.body));
        }
        capture.finish(&mut |log| lines.push(log.body), |what, count| counts.push((what, count)));
        (lines, counts)
    }

    #[test]
    fn lines_are_put_together_from_parts_and_the_last_needs_no_end() {
        let (lines, counts) = capture(&[b"a", b"b\nc\r\n", b"", b"\nd"]);
        assert_eq!(lines, ["ab", "c", "", "d"]);
        assert_eq!(counts, []);
    }

    #[test]
    fn invalid_bytes_are_replaced_and_control_characters_kept() {
        let (lines, _) = capture(&[b"\x1b[31m\xff\0\n"]);
        assert_eq!(lines, ["\x1b[31m\u{fffd}\0"]);
    }

    #[test]
    fn a_long_line_is_cut_at_a_character_and_counted_once() {
        let long = "ä".repeat(LINE_BYTES_MAX);
        let (lines, counts) = capture(&[b"x", long.as_bytes(), b"\nshort\n"]);
        assert_eq!(lines[0].len(), LINE_BYTES_MAX - 1);
        assert_eq!(lines[1], "short");
        assert_eq!(counts, [(dropped::LINES_CUT, 1)]);
    }

    #[test]
    fn lines_beyond_either_bound_are_counted_exactly() {
        let (lines, counts) = capture(&[&b"x\n".repeat(LINES_MAX as usize + 7)]);
        assert_eq!(lines.len() as u64, LINES_MAX);
        assert_eq!(counts, [(dropped::STDOUT_LINES, 7)]);

        // However it comes in parts.
        let flood = b"x\nyy\n".repeat(LINES_MAX as usize * 4);
        for size in [1000, 16 << 10] {
            let (lines, counts) = capture(&flood.chunks(size).collect::<Vec<_>>());
            assert_eq!(lines.len() as u64, LINES_MAX);
            assert_eq!(counts, [(dropped::STDOUT_LINES, LINES_MAX * 7)]);
        }

        let line = [vec![b'y'; LINE_BYTES_MAX], vec![b'\n']].concat();
        let fit = BYTES_MAX as usize / LINE_BYTES_MAX;
        let (lines, counts) = capture(&[&line.repeat(fit + 3)]);
        assert_eq!(lines.len(), fit);
        assert_eq!(counts, [(dropped::STDOUT_LINES, 3)]);
    }
}
