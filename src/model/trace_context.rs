//! W3C Trace Context (Recommendation, level 1, with level 2's tolerance for later versions): reading and
//! writing `traceparent`, bounding `tracestate` and `baggage`.

use std::sync::Arc;

use super::ids::{SpanId, TraceId};

/// `tracestate` has at most 32 list members (section 3.3.1.1), and at least 512 characters are propagated.
const TRACESTATE_MEMBERS_MAX: usize = 32;
const TRACESTATE_BYTES_MAX: usize = 8192;
/// W3C Baggage, section 3.3.2: at most 64 members and 8192 bytes need be propagated.
const BAGGAGE_BYTES_MAX: usize = 8192;

/// Where a caller's trace continues here.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceContext {
    pub trace_id: TraceId,
    pub span_id: SpanId,
    /// Bit 0: sampled. Only the bits this version knows (sampled, random) are kept.
    pub flags: u8,
    pub tracestate: Option<Arc<str>>,
    pub baggage: Option<Arc<str>>,
}

pub const FLAG_SAMPLED: u8 = 0x01;
const FLAG_RANDOM: u8 = 0x02;

impl TraceContext {
    /// Reads the headers of a request. Several `traceparent` values, or one that breaks the grammar, count
    /// as none, and then `tracestate` is not looked at; a broken `tracestate` alone is left out.
    pub fn from_headers<'a>(
        traceparent: impl IntoIterator<Item = &'a str>,
        tracestate: impl IntoIterator<Item = &'a str>,
        baggage: impl IntoIterator<Item = &'a str>,
    ) -> Option<TraceContext> {
        let mut parents = traceparent.into_iter();
        let (trace_id, span_id, flags) = parse_traceparent(parents.next()?)?;
        if parents.next().is_some() {
            return None;
        }
        Some(TraceContext {
            trace_id,
            span_id,
            flags,
            tracestate: join_tracestate(tracestate),
            baggage: join_bounded(baggage, BAGGAGE_BYTES_MAX),
        })
    }
}

/// `00-{trace id}-{span id}-{flags}`.
pub fn format_traceparent(trace_id: TraceId, span_id: SpanId, flags: u8) -> String {
    format!("00-{trace_id}-{span_id}-{flags:02x}")
}

fn parse_traceparent(text: &str) -> Option<(TraceId, SpanId, u8)> {
    let text = text.trim_matches([' ', '\t']);
    let mut parts = text.split('-');
    let version = hex_byte(parts.next()?)?;
    let trace_id = TraceId::parse(parts.next()?)?;
    let span_id = SpanId::parse(parts.next()?)?;
    let flags = hex_byte(parts.next()?)?;
    // Version ff is forbidden; version 00 ends after the flags; a later one may go on after a dash.
    if version == 0xff || (version == 0 && parts.next().is_some()) {
        return None;
    }
    Some((trace_id, span_id, flags & (FLAG_SAMPLED | FLAG_RANDOM)))
}

fn hex_byte(text: &str) -> Option<u8> {
    let lower = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if text.len() == 2 && lower { u8::from_str_radix(text, 16).ok() } else { None }
}

fn join_tracestate<'a>(headers: impl IntoIterator<Item = &'a str>) -> Option<Arc<str>> {
    let mut members: Vec<&str> = Vec::new();
    let mut keys: Vec<&str> = Vec::new();
    for member in headers.into_iter().flat_map(|header| header.split(',')) {
        let member = member.trim_matches([' ', '\t']);
        if member.is_empty() {
            continue;
        }
        let (key, value) = member.split_once('=')?;
        if !is_tracestate_key(key) || !is_tracestate_value(value) {
            return None;
        }
        // The newest entry stands first; an older one under the same key says nothing more.
        if keys.contains(&key) {
            continue;
        }
        keys.push(key);
        members.push(member);
    }
    let joined = members.join(",");
    let fits = members.len() <= TRACESTATE_MEMBERS_MAX && joined.len() <= TRACESTATE_BYTES_MAX;
    (fits && !members.is_empty()).then(|| joined.into())
}

fn is_tracestate_key(key: &str) -> bool {
    let simple = |part: &str, longest: usize, digit_first: bool| {
        let mut bytes = part.bytes();
        let first =
            bytes.next().is_some_and(|b| b.is_ascii_lowercase() || (digit_first && b.is_ascii_digit()));
        first
            && part.len() <= longest
            && bytes.all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/'))
    };
    match key.split_once('@') {
        None => simple(key, 256, true),
        Some((tenant, system)) => simple(tenant, 241, true) && simple(system, 14, false),
    }
}

fn is_tracestate_value(value: &str) -> bool {
    let printable = |b: u8| (0x20..=0x7e).contains(&b) && b != b',' && b != b'=';
    !value.is_empty() && value.len() <= 256 && value.bytes().all(printable) && !value.ends_with(' ')
}

fn join_bounded<'a>(headers: impl IntoIterator<Item = &'a str>, bytes_max: usize) -> Option<Arc<str>> {
    let joined = headers.into_iter().map(str::trim).filter(|h| !h.is_empty()).collect::<Vec<_>>().join(",");
    let fits = !joined.is_empty()
        && joined.len() <= bytes_max
        && joined.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    fits.then(|| joined.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn read(parent: &str, state: &[&'static str]) -> Option<TraceContext> {
        TraceContext::from_headers([parent], state.iter().copied(), [])
    }

    #[test]
    fn a_valid_traceparent_is_kept_and_written_again() {
        let context = read(GOOD, &[]).unwrap();
        assert_eq!(format_traceparent(context.trace_id, context.span_id, context.flags), GOOD);
    }

    #[test]
    fn broken_traceparents_start_a_new_trace() {
        let cases = [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-+1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7.01",
        ];
        for case in cases {
            assert_eq!(read(case, &["a=1"]), None, "{case}");
        }
        assert_eq!(TraceContext::from_headers([GOOD, GOOD], [], []), None);
    }

    #[test]
    fn a_later_version_may_carry_more_and_unknown_flags_are_cleared() {
        let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff-what";
        assert_eq!(read(later, &[]).unwrap().flags, 0x03);
        assert_eq!(read("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.x", &[]), None);
    }

    #[test]
    fn tracestate_is_joined_in_order_or_left_out_whole() {
        assert_eq!(read(GOOD, &["a=1, b=2", "c@x=3"]).unwrap().tracestate.as_deref(), Some("a=1,b=2,c@x=3"));
        assert_eq!(read(GOOD, &["a=1,a=2,b=3"]).unwrap().tracestate.as_deref(), Some("a=1,b=3"));
        assert_eq!(read(GOOD, &["A=1"]).unwrap().tracestate, None);
        assert_eq!(read(GOOD, &["a"]).unwrap().tracestate, None);
        assert_eq!(read(GOOD, &[""]).unwrap().tracestate, None);
    }
}
