//! Durations, sizes, counts and times, short enough for a column.

use std::time::{Duration, SystemTime};

/// Milliseconds as the API gives them: `870ns`, `61µs`, `12.4ms`, `1.20s`, `3m 05s`, `2h 10m`, `3d 4h`.
pub fn milliseconds(ms: f64) -> String {
    nanoseconds(if ms.is_finite() { (ms * 1e6).max(0.0) as u64 } else { 0 })
}

pub fn nanoseconds(ns: u64) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let seconds = (ns + 500_000_000) / 1_000_000_000;
    match ns {
        0 => "0".to_owned(),
        1..1_000 => format!("{ns}ns"),
        // The bounds lie where rounding would print the next unit's first number.
        1_000..9_950 => format!("{:.1}µs", ns as f64 / 1e3),
        9_950..999_500 => format!("{:.0}µs", ns as f64 / 1e3),
        999_500..9_995_000 => format!("{:.2}ms", ns as f64 / 1e6),
        9_995_000..99_950_000 => format!("{:.1}ms", ns as f64 / 1e6),
        99_950_000..999_500_000 => format!("{:.0}ms", ns as f64 / 1e6),
        999_500_000..9_995_000_000 => format!("{:.2}s", ns as f64 / 1e9),
        9_995_000_000..59_950_000_000 => format!("{:.1}s", ns as f64 / 1e9),
        _ if seconds < HOUR => format!("{}m {:02}s", seconds / MINUTE, seconds % MINUTE),
        _ if seconds < DAY => format!("{}h {:02}m", seconds / HOUR, seconds % HOUR / MINUTE),
        _ => format!("{}d {:02}h", seconds / DAY, seconds % DAY / HOUR),
    }
}

/// `817 B`, `1.5 KiB`, `12 MiB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut value, mut unit) = (bytes as f64 / 1024.0, 0);
    while value >= 1023.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(value < 9.95);
    format!("{value:.digits$} {}", UNITS[unit])
}

/// `1,234`.
pub fn count(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time of the API (RFC 3339) as so long before `now`: `3s ago`. What cannot be read stays as it is.
pub fn ago(time: &str, now: SystemTime) -> String {
    let Ok(then) = humantime::parse_rfc3339(time) else { return super::printable(time) };
    let seconds = now.duration_since(then).unwrap_or(Duration::ZERO).as_secs();
    match seconds {
        0 => "now".to_owned(),
        1..60 => format!("{seconds}s ago"),
        60..3_600 => format!("{}m ago", seconds / 60),
        3_600..86_400 => format!("{}h ago", seconds / 3_600),
        _ => format!("{}d ago", seconds / 86_400),
    }
}

/// A time of the API as its day and its time of day in UTC, to the millisecond.
pub fn clock(time: &str) -> Option<(String, String)> {
    let time = humantime::format_rfc3339_millis(humantime::parse_rfc3339(time).ok()?).to_string();
    let (day, time) = time.split_once('T')?;
    Some((day.to_owned(), time.trim_end_matches('Z').to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_keep_three_digits_and_never_round_into_the_next_unit() {
        for (ns, text) in [
            (0, "0"),
            (870, "870ns"),
            (1_200, "1.2µs"),
            (61_400, "61µs"),
            (999_499, "999µs"),
            (999_500, "1.00ms"),
            (12_420_000, "12.4ms"),
            (99_949_999, "99.9ms"),
            (99_950_000, "100ms"),
            (999_600_000, "1.00s"),
            (59_949_000_000, "59.9s"),
            (59_950_000_000, "1m 00s"),
            (185_000_000_000, "3m 05s"),
            (7_800_000_000_000, "2h 10m"),
            (273_600_000_000_000, "3d 04h"),
        ] {
            assert_eq!(nanoseconds(ns), text);
        }
        assert_eq!(milliseconds(f64::NAN), "0");
        assert_eq!(milliseconds(-1.0), "0");
    }

    #[test]
    fn sizes_and_counts() {
        for (number, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (10 << 10, "10 KiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(bytes(number), text);
        }
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), text);
        }
    }

    #[test]
    fn times_are_relative_in_lists_and_utc_in_logs() {
        let now = humantime::parse_rfc3339("2026-02-03T04:05:06Z").unwrap();
        assert_eq!(ago("2026-02-03T04:05:06.5Z", now), "now");
        assert_eq!(ago("2026-02-03T04:05:01Z", now), "5s ago");
        assert_eq!(ago("2026-02-03T01:05:06Z", now), "3h ago");
        assert_eq!(ago("soon\u{1b}", now), "soon\\u{1b}");
        assert_eq!(
            clock("2026-02-03T04:05:06.789012345Z").unwrap(),
            ("2026-02-03".into(), "04:05:06.789".into())
        );
    }
}
