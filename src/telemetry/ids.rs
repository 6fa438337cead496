//! Makes up ids. Trace and span ids are random; an invocation's id is a UUIDv7 whose first 60 bits are the
//! time of creation (RFC 9562, section 6.2, method 3), so that ids sort as calls began.

use uuid::Uuid;

use crate::model::ids::{InvocationId, SpanId, TraceId};

const NS_PER_MS: u64 = 1_000_000;

pub fn trace_id() -> TraceId {
    loop {
        if let Some(id) = TraceId::from_bytes(fastrand::u128(..).to_ne_bytes()) {
            return id;
        }
    }
}

pub fn span_id() -> SpanId {
    loop {
        if let Some(id) = SpanId::from_bytes(fastrand::u64(..).to_ne_bytes()) {
            return id;
        }
    }
}

/// The time of creation of an invocation that begins now.
pub fn now_unix_ns() -> u64 {
    super::clock::unix_ns()
}

pub fn invocation_id(created_at_unix_ns: u64) -> InvocationId {
    let ms = created_at_unix_ns / NS_PER_MS;
    // 12 bits hold the part of a millisecond that has passed, in steps of 244 ns.
    let fraction = (created_at_unix_ns % NS_PER_MS) * 4096 / NS_PER_MS;
    let high = ms << 16 | 0x7000 | fraction;
    let low = fastrand::u64(..) >> 2 | 1 << 63;
    InvocationId::new(Uuid::from_u64_pair(high, low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invocation_ids_are_version_7_and_sort_by_time() {
        let now = 1_790_000_000_123_456_789;
        let (first, later) = (invocation_id(now), invocation_id(now + 1_000));
        assert!(first < later);
        let uuid = Uuid::from_bytes(*first.as_bytes());
        assert_eq!(uuid.get_version_num(), 7);
        assert_eq!(uuid.get_variant(), uuid::Variant::RFC4122);
        assert_eq!(uuid.get_timestamp().unwrap().to_unix().0, now / 1_000_000_000);
    }

    #[test]
    fn ids_differ() {
        let ids: std::collections::HashSet<_> = (0..10_000).map(|_| span_id()).collect();
        assert_eq!(ids.len(), 10_000);
        assert_ne!(trace_id(), trace_id());
    }
}
