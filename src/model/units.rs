//! Quantities as Kubernetes writes them (`512Mi`, `100M`) and durations (`200ms`, `30s`, `5m`, `24h`, `30d`).
//! Every value that the two parsers take is printed again by the two formatters in its shortest exact form.

use std::time::Duration;

/// Why a quantity or a duration cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    #[error("it is empty")]
    Empty,
    #[error("`{0}` does not begin with a number")]
    NoNumber(String),
    #[error("`{0}` has no unit")]
    NoUnit(String),
    #[error("`{0}` is not a unit of size")]
    UnknownSize(String),
    #[error("`{0}` is not a unit of time")]
    UnknownTime(String),
    #[error("`{0}` is not a whole number of bytes")]
    PartOfByte(String),
    #[error("`{0}` is finer than a nanosecond")]
    TooFine(String),
    #[error("`{0}` is too large")]
    TooLarge(String),
}

impl UnitError {
    /// How to write it instead.
    pub fn help(&self) -> String {
        match self {
            UnitError::UnknownSize(unit) => match likely_size(unit) {
                Some(right) => format!("did you mean `{right}`?"),
                None => {
                    "sizes are bytes with Ki, Mi, Gi, Ti (powers of 1024) or k, M, G, T (powers of 1000), \
                         such as `512Mi`"
                        .to_owned()
                }
            },
            UnitError::UnknownTime(unit) => match likely_time(unit) {
                Some(right) => format!("did you mean `{right}`?"),
                None => "units of time are ms, s, m, h and d, such as `200ms` or `24h`".to_owned(),
            },
            UnitError::NoUnit(number) => {
                format!("write the unit: `{number}s` for seconds, `{number}ms`, `{number}m`")
            }
            UnitError::Empty | UnitError::NoNumber(_) => "write a number with its unit".to_owned(),
            UnitError::PartOfByte(_) => {
                "use a smaller unit: `1536Ki` instead of `1.5Mi` and the like".to_owned()
            }
            UnitError::TooFine(_) | UnitError::TooLarge(_) => "use another unit".to_owned(),
        }
    }
}

// Largest first, so that the first exact fit is the longest unit.
const SIZES: &[(&str, u64)] = &[
    ("Ei", 1 << 60),
    ("E", 1_000_000_000_000_000_000),
    ("Pi", 1 << 50),
    ("P", 1_000_000_000_000_000),
    ("Ti", 1 << 40),
    ("T", 1_000_000_000_000),
    ("Gi", 1 << 30),
    ("G", 1_000_000_000),
    ("Mi", 1 << 20),
    ("M", 1_000_000),
    ("Ki", 1 << 10),
    ("k", 1_000),
    ("", 1),
];

const TIMES: &[(&str, u64)] = &[
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Bytes: `512Mi`, `1Gi`, `64Ki`, `100M`, `1k`, `500`; decimals such as `1.5Mi` where they give whole bytes.
///
/// # Errors
/// [`UnitError`] when the text is no number with a known unit, or does not fit in 64 bits.
pub fn parse_bytes(text: &str) -> Result<u64, UnitError> {
    let (number, unit) = split(text)?;
    let Some((_, scale)) = SIZES.iter().find(|(name, _)| *name == unit) else {
        return Err(UnitError::UnknownSize(unit.to_owned()));
    };
    scaled(number, *scale).map_err(|problem| match problem {
        Inexact::TooFine => UnitError::PartOfByte(text.to_owned()),
        Inexact::TooLarge => UnitError::TooLarge(text.to_owned()),
    })
}

/// Durations: `200ms`, `30s`, `5m`, `24h`, `30d`, also `us` and `ns`, decimals such as `1.5s`, and several parts
/// such as `1h30m`.
///
/// # Errors
/// [`UnitError`] when a part is no number with a known unit, or the sum is above 584 years.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let mut rest = text.trim();
    let mut total_ns: u64 = 0;
    loop {
        let (number, tail) = split(rest)?;
        let unit = &tail[..tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len())];
        if unit.is_empty() {
            return Err(UnitError::NoUnit(number.to_owned()));
        }
        let Some((_, scale)) = TIMES.iter().find(|(name, _)| *name == unit) else {
            return Err(UnitError::UnknownTime(unit.to_owned()));
        };
        let part_ns = scaled(number, *scale).map_err(|problem| match problem {
            Inexact::TooFine => UnitError::TooFine(text.to_owned()),
            Inexact::TooLarge => UnitError::TooLarge(text.to_owned()),
        })?;
        total_ns = total_ns.checked_add(part_ns).ok_or_else(|| UnitError::TooLarge(text.to_owned()))?;
        rest = &tail[unit.len()..];
        if rest.is_empty() {
            return Ok(Duration::from_nanos(total_ns));
        }
    }
}

/// The shortest text that [`parse_bytes`] reads as exactly this.
pub fn format_bytes(bytes: u64) -> String {
    shortest(bytes, SIZES)
}

/// The shortest text that [`parse_duration`] reads as exactly this; above 584 years, whole seconds.
pub fn format_duration(duration: Duration) -> String {
    let Ok(ns) = u64::try_from(duration.as_nanos()) else {
        return format!("{}s", duration.as_secs());
    };
    if ns == 0 {
        return "0s".to_owned();
    }
    let whole = shortest(ns, TIMES);
    let decimal = format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000);
    let decimal = format!("{}s", decimal.trim_end_matches('0').trim_end_matches('.'));
    if ns > 1_000_000_000 && decimal.len() < whole.len() { decimal } else { whole }
}

/// A number (digits, at most one point) and what follows it.
fn split(text: &str) -> Result<(&str, &str), UnitError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(UnitError::Empty);
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.contains('.') {
        return Err(UnitError::NoNumber(text.to_owned()));
    }
    Ok((number, unit.trim_start()))
}

enum Inexact {
    TooFine,
    TooLarge,
}

/// `number * scale`, exactly. Integers only: a float would make `0.1s` something else than 100 ms.
fn scaled(number: &str, scale: u64) -> Result<u64, Inexact> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.parse().map_err(|_| Inexact::TooLarge)?;
    let whole = whole.checked_mul(scale).ok_or(Inexact::TooLarge)?;
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() {
        return Ok(whole);
    }
    if fraction.len() > 18 {
        return Err(Inexact::TooFine);
    }
    let part: u128 = fraction.parse().map_err(|_| Inexact::TooFine)?;
    let divisor = 10u128.pow(u32::try_from(fraction.len()).map_err(|_| Inexact::TooFine)?);
    let product = part * u128::from(scale);
    if !product.is_multiple_of(divisor) {
        return Err(Inexact::TooFine);
    }
    let part = u64::try_from(product / divisor).map_err(|_| Inexact::TooLarge)?;
    whole.checked_add(part).ok_or(Inexact::TooLarge)
}

fn shortest(value: u64, units: &[(&str, u64)]) -> String {
    let exact = units.iter().filter(|(_, scale)| value >= *scale && value.is_multiple_of(*scale));
    exact
        .map(|(unit, scale)| format!("{}{unit}", value / scale))
        .min_by_key(String::len)
        .unwrap_or_else(|| value.to_string())
}

fn likely_size(unit: &str) -> Option<&'static str> {
    Some(match unit.to_ascii_lowercase().as_str() {
        "b" | "byte" | "bytes" => return None,
        "k" | "kb" => "k",
        "kib" | "ki" => "Ki",
        "m" | "mb" => "M",
        "mib" | "mi" => "Mi",
        "g" | "gb" => "G",
        "gib" | "gi" => "Gi",
        "t" | "tb" => "T",
        "tib" | "ti" => "Ti",
        _ => return None,
    })
}

fn likely_time(unit: &str) -> Option<&'static str> {
    Some(match unit.trim().to_ascii_lowercase().as_str() {
        "msec" | "msecs" | "millis" | "millisecond" | "milliseconds" => "ms",
        "s" | "sec" | "secs" | "second" | "seconds" => "s",
        "m" | "min" | "mins" | "minute" | "minutes" => "m",
        "h" | "hr" | "hrs" | "hour" | "hours" => "h",
        "d" | "day" | "days" => "d",
        "µs" | "μs" | "usec" | "micros" => "us",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_exactly() {
        let cases: &[(&str, u64)] = &[
            ("0", 0),
            ("500", 500),
            ("1k", 1_000),
            ("64Ki", 65_536),
            ("100M", 100_000_000),
            ("512Mi", 512 << 20),
            ("1.5Mi", 3 << 19),
            ("1Gi", 1 << 30),
            (" 2 Gi ", 2 << 30),
            ("15Ei", 15 << 60),
            ("18446744073709551615", u64::MAX),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_bytes(text), Ok(*bytes), "{text}");
        }
    }

    #[test]
    fn wrong_sizes_name_the_fault_and_the_remedy() {
        assert_eq!(parse_bytes("1MB").unwrap_err().help(), "did you mean `M`?");
        assert_eq!(parse_bytes("1MiB").unwrap_err().help(), "did you mean `Mi`?");
        assert_eq!(parse_bytes("1K").unwrap_err().help(), "did you mean `k`?");
        assert_eq!(parse_bytes("500m").unwrap_err().to_string(), "`m` is not a unit of size");
        assert_eq!(parse_bytes("0.3Ki").unwrap_err(), UnitError::PartOfByte("0.3Ki".into()));
        for text in ["16Ei", "18446744073709551616", "99999999999999999999999"] {
            assert_eq!(parse_bytes(text), Err(UnitError::TooLarge(text.into())));
        }
        for text in ["", " ", "Mi", "-1", "+1", "1.", ".5", "1.2.3", "1e3", "٣"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_read_exactly() {
        let cases = [
            ("0s", Duration::ZERO),
            ("200ms", Duration::from_millis(200)),
            ("30s", Duration::from_secs(30)),
            ("1.5s", Duration::from_millis(1500)),
            ("0.1s", Duration::from_millis(100)),
            ("5m", Duration::from_secs(300)),
            ("1h30m", Duration::from_secs(5400)),
            ("24h", Duration::from_secs(86_400)),
            ("30d", Duration::from_secs(30 * 86_400)),
        ];
        for (text, duration) in cases {
            assert_eq!(parse_duration(text), Ok(duration), "{text}");
        }
    }

    #[test]
    fn wrong_durations_name_the_fault_and_the_remedy() {
        assert_eq!(parse_duration("30").unwrap_err().to_string(), "`30` has no unit");
        assert_eq!(parse_duration("30sec").unwrap_err().help(), "did you mean `s`?");
        assert_eq!(parse_duration("5 minutes").unwrap_err().help(), "did you mean `m`?");
        assert_eq!(parse_duration("1h30").unwrap_err().to_string(), "`30` has no unit");
        for text in ["", "s", "-1s", "1y", "1,5s", "1..5s", "0.1ns", "99999999999d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_printed_is_short_and_reads_back() {
        for (bytes, text) in
            [(0, "0"), (999, "999"), (1000, "1k"), (1024, "1Ki"), (512 << 20, "512Mi"), (1536, "1536")]
        {
            assert_eq!(format_bytes(bytes), text);
        }
        for (text, printed) in [
            ("1500ms", "1.5s"),
            ("60s", "1m"),
            ("90s", "90s"),
            ("24h", "1d"),
            ("0.1s", "100ms"),
            ("0ms", "0s"),
            ("1001ms", "1001ms"),
        ] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), printed, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_value_survives_printing(value: u64) {
            proptest::prop_assert_eq!(parse_bytes(&format_bytes(value)), Ok(value));
            let duration = Duration::from_nanos(value);
            proptest::prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }
    }
}
