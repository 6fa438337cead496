//! Query strings of lists, checked: a wrong or unknown parameter is an error that names it, not a list of
//! something else.

use std::time::{Duration, SystemTime};

use crate::model::error::{FieldError, InvokeError};
use crate::model::kind::ErrorKind;
use crate::model::units;
use crate::store;

/// Longest text to search for.
const SEARCH_BYTES_MAX: usize = 1_024;

/// The parameters of a request, each of which must be asked for.
pub struct Query {
    pairs: Vec<(String, String)>,
    errors: Vec<FieldError>,
}

impl Query {
    pub fn new(raw: Option<&str>) -> Query {
        let pairs = form_urlencoded::parse(raw.unwrap_or_default().as_bytes());
        let pairs = pairs.map(|(key, value)| (key.into_owned(), value.into_owned()));
        Query { pairs: pairs.collect(), errors: Vec::new() }
    }

    /// Takes a parameter as text; an empty one counts as absent.
    pub fn text(&mut self, name: &str) -> Option<String> {
        let place = self.pairs.iter().position(|(key, _)| key == name)?;
        let (_, value) = self.pairs.remove(place);
        (!value.is_empty()).then_some(value)
    }

    /// Takes a parameter that `parse` must understand.
    pub fn parsed<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = self.text(name)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(message) => {
                self.errors.push(FieldError { pointer: name.into(), message });
                None
            }
        }
    }

    /// A text to search for.
    pub fn search(&mut self) -> Option<String> {
        self.parsed("q", |text| match text.len() {
            0..=SEARCH_BYTES_MAX => Ok(text.to_owned()),
            bytes => Err(format!("it has {bytes} bytes; at most {SEARCH_BYTES_MAX} can be searched for")),
        })
    }

    pub fn limit(&mut self) -> usize {
        let parse = |text: &str| match text.parse() {
            Ok(limit @ 1..=super::LIST_MAX) => Ok(limit),
            _ => Err(format!("{text:?} is not a whole number from 1 to {}", super::LIST_MAX)),
        };
        self.parsed("limit", parse).unwrap_or(super::LIST_DEFAULT)
    }

    /// The place after which a page begins, as the list has spelled it.
    pub fn cursor<T>(&mut self, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        self.parsed("cursor", |text| parse(text).ok_or_else(|| store::Error::BadCursor.to_string()))
    }

    /// A time, written as RFC 3339 or as so long ago (`5m`).
    pub fn time(&mut self, name: &str) -> Option<SystemTime> {
        self.parsed(name, |text| parse_time(text, SystemTime::now()))
    }

    /// Every parameter has been taken and was understood.
    pub fn end(mut self) -> Result<(), InvokeError> {
        for (key, _) in self.pairs {
            self.errors.push(FieldError { pointer: key, message: "there is no such parameter".into() });
        }
        let Some(first) = self.errors.first() else { return Ok(()) };
        let detail = format!("the query is not valid: {}: {}", first.pointer, first.message);
        let mut error = InvokeError::new(ErrorKind::InvalidInput, detail);
        error.fields = self.errors;
        Err(error)
    }
}

/// RFC 3339, or a duration that counts back from `now`.
pub fn parse_time(text: &str, now: SystemTime) -> Result<SystemTime, String> {
    match units::parse_duration(text) {
        Ok(ago) => Ok(now.checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH)),
        Err(_) => parse_rfc3339(text).ok_or_else(|| {
            format!("{text:?} is neither a time as 2026-01-31T12:00:00Z nor a duration as 5m")
        }),
    }
}

/// humantime takes a capital Z only: the offset is cut off, and counted afterwards.
pub fn parse_rfc3339(text: &str) -> Option<SystemTime> {
    let (local, offset_minutes) = match text.strip_suffix(['Z', 'z']) {
        Some(local) => (local, 0),
        None => {
            let (local, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
            (local, parse_offset(offset)?)
        }
    };
    // humantime stops at the first Z, whatever comes behind it.
    let zoned = local.contains(['Z', 'z']);
    let local = (!zoned).then(|| format!("{}Z", local.to_ascii_uppercase()))?;
    let time = humantime::parse_rfc3339(&local).ok()?;
    let offset = Duration::from_secs(60 * u64::from(offset_minutes.unsigned_abs()));
    if offset_minutes < 0 { time.checked_add(offset) } else { time.checked_sub(offset) }
}

/// `+02:00` in minutes.
fn parse_offset(text: &str) -> Option<i16> {
    let (sign, rest) = text.split_at_checked(1)?;
    let sign = match sign {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let number = |digits: &str, most: i16| -> Option<i16> {
        let plain = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
        digits.parse().ok().filter(|number| plain && *number <= most)
    };
    Some(sign * (number(hours, 23)? * 60 + number(minutes, 59)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_unknown_ones_named() {
        let mut query = Query::new(Some("q=a%20b+c%C3%A4&limit=5&plugni=x"));
        assert_eq!(query.text("q").as_deref(), Some("a b cä"));
        assert_eq!(query.limit(), 5);
        let error = query.end().unwrap_err();
        assert_eq!(error.fields[0].pointer, "plugni");
    }

    #[test]
    fn what_is_searched_for_is_bounded() {
        let mut query = Query::new(Some(&format!("q={}", "a".repeat(SEARCH_BYTES_MAX))));
        assert!(query.search().is_some() && query.end().is_ok());
        let mut query = Query::new(Some(&format!("q={}", "a".repeat(SEARCH_BYTES_MAX + 1))));
        assert!(query.search().is_none());
        assert_eq!(query.end().unwrap_err().fields[0].pointer, "q");
    }

    #[test]
    fn limits_are_bounded() {
        for bad in ["0", "1001", "-1", "x", "1e3"] {
            let mut query = Query::new(Some(&format!("limit={bad}")));
            query.limit();
            assert!(query.end().is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_absolute_or_so_long_ago() {
        let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000);
        let after = |seconds| Ok(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds));
        assert_eq!(parse_time("100s", now), after(900));
        assert_eq!(parse_time("1970-01-01T00:00:01Z", now), after(1));
        assert_eq!(parse_time("1970-01-01t00:00:01.5z", now), parse_time("1970-01-01T00:00:01.5Z", now));
        assert_eq!(parse_time("1970-01-01T02:00:01+02:00", now), after(1));
        assert_eq!(parse_time("1970-01-01T00:00:01-05:30", now), after(19_801));
        assert_eq!(parse_time("1970-01-01T00:00:01-00:00", now), after(1));
        for bad in [
            "yesterday",
            "1970-01-01T00:00:01",
            "1970-01-01T00:00:01+0200",
            "1970-01-01T00:00:01+24:00",
            "1970-01-01T00:00:01+02:60",
            "1970-01-01T00:00:01+-2:00",
            "1970-01-01T00:00:01Z+02:00",
            "ä",
        ] {
            assert!(parse_time(bad, now).is_err(), "{bad}");
        }
    }
}
