//! Times as the files keep them (nanoseconds since 1970, UTC) and as people read them (RFC 3339).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// 0 for times before 1970.
pub(super) fn unix_ns(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

pub(super) fn system_time(unix_ns: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(u64::try_from(unix_ns).unwrap_or(0))
}

/// RFC 3339 in UTC with nanoseconds: `2026-02-03T04:05:06.000000007Z`. Sorts like the time itself.
pub(super) fn rfc3339(unix_ns: i64) -> String {
    humantime::format_rfc3339_nanos(system_time(unix_ns)).to_string()
}

/// Nanoseconds as milliseconds with their fraction.
pub(super) fn milliseconds(ns: i64) -> f64 {
    ns as f64 / 1e6
}
