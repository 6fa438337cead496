//! Which call or trace is meant: a whole id, the beginning of one, the id of the other sort, or `last`.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;

use super::{query, text};
use crate::app::failure::Failure;
use crate::app::output::printable;
use crate::app::target::Target;
use crate::model::kind::ErrorKind;

const LAST: &str = "last";
const PREFIX_MIN: usize = 4;
/// Traces are looked for among so many of the newest, calls among so many of their time.
const LOOKED_AT: usize = 1000;
/// The id of a call begins with its time in milliseconds, in so many digits.
const TIME_DIGITS: usize = 12;
const TRACE_DIGITS: usize = 32;
const UUID_CHARACTERS: usize = 36;
/// Between the clock of an id and that of the list.
const SLACK: Duration = Duration::from_secs(1);
const NAMED_MAX: usize = 5;

/// The id of the call that is meant. What is no beginning of an id stays as it is: the server says what is wrong with it.
pub async fn invocation(target: &Target, meant: &str) -> Result<String, Failure> {
    if meant == LAST {
        return newest(target, "invocations", "invocation_id").await;
    }
    let Some(prefix) = prefix(meant, UUID_CHARACTERS) else { return Ok(meant.to_owned()) };
    if prefix.len() == TRACE_DIGITS {
        return only(first_call(target, &prefix).await?.into_iter().collect(), "call", meant);
    }
    let mut found = invocations(target, &prefix).await?;
    if found.is_empty() {
        // Of a trace, its first call.
        for trace in traces(target, &prefix).await? {
            found.extend(first_call(target, &trace).await?);
        }
    }
    only(found, "call", meant)
}

/// The id of the trace that is meant.
pub async fn trace(target: &Target, meant: &str) -> Result<String, Failure> {
    if meant == LAST {
        return newest(target, "traces", "trace_id").await;
    }
    if meant.len() == UUID_CHARACTERS && meant.contains('-') {
        return trace_of(target, meant).await;
    }
    let Some(prefix) = prefix(meant, TRACE_DIGITS) else { return Ok(meant.to_owned()) };
    let mut found = traces(target, &prefix).await?;
    if found.is_empty() {
        for call in invocations(target, &prefix).await? {
            found.push(trace_of(target, &call).await?);
        }
    }
    only(found, "trace", meant)
}

/// The digits of what can only be the beginning of an id.
fn prefix(meant: &str, whole: usize) -> Option<String> {
    let hex = meant.chars().all(|character| character.is_ascii_hexdigit() || character == '-');
    let digits: String = meant.chars().filter(char::is_ascii_hexdigit).collect();
    (hex && digits.len() >= PREFIX_MIN && meant.len() < whole).then(|| digits.to_ascii_lowercase())
}

async fn invocations(target: &Target, prefix: &str) -> Result<Vec<String>, Failure> {
    let Some((since, until)) = times(prefix) else { return Ok(Vec::new()) };
    let asked = [("since", since.as_str()), ("until", until.as_str())];
    let listed = target.get(&format!("/v1/invocations?{}", query(&asked, Some(LOOKED_AT)))).await?;
    let found = starting(&listed, "invocation_id", prefix);
    if !listed["next"].is_null() {
        return Err(ambiguous("call", prefix, &found));
    }
    Ok(found)
}

async fn traces(target: &Target, prefix: &str) -> Result<Vec<String>, Failure> {
    let listed = target.get(&format!("/v1/traces?{}", query(&[], Some(LOOKED_AT)))).await?;
    Ok(starting(&listed, "trace_id", prefix))
}

/// The times between which calls began whose ids begin so.
fn times(prefix: &str) -> Option<(String, String)> {
    let time = |fill: char| {
        let digits: String = prefix.chars().chain(std::iter::repeat(fill)).take(TIME_DIGITS).collect();
        UNIX_EPOCH.checked_add(Duration::from_millis(u64::from_str_radix(&digits, 16).ok()?))
    };
    let (since, until) = (time('0')?.checked_sub(SLACK)?, time('f')?.checked_add(SLACK)?);
    // Beyond this RFC 3339 has no years: the beginning of a trace's id.
    let last = UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    let shown = |time| humantime::format_rfc3339_millis(time).to_string();
    (until < last).then(|| (shown(since), shown(until)))
}

fn starting(listed: &Value, member: &str, prefix: &str) -> Vec<String> {
    let items = listed["items"].as_array().into_iter().flatten();
    let ids = items.map(|item| text(item, member));
    ids.filter(|id| id.replace('-', "").starts_with(prefix)).map(str::to_owned).collect()
}

async fn trace_of(target: &Target, invocation: &str) -> Result<String, Failure> {
    let call = target.get(&format!("/v1/invocations/{}", crate::app::invoke::escaped(invocation))).await?;
    Ok(text(&call, "trace_id").to_owned())
}

async fn first_call(target: &Target, trace: &str) -> Result<Option<String>, Failure> {
    let trace = target.get(&format!("/v1/traces/{trace}")).await?;
    let spans = trace["spans"].as_array().into_iter().flatten();
    let mut ids = spans.filter_map(|span| span["attributes"]["spanglass.invocation.id"].as_str());
    Ok(ids.next().map(str::to_owned))
}

async fn newest(target: &Target, what: &str, member: &str) -> Result<String, Failure> {
    let listed = target.get(&format!("/v1/{what}?{}", query(&[], Some(1)))).await?;
    let newest = listed["items"][0][member].as_str().map(str::to_owned);
    newest.ok_or_else(|| Failure::of_kind(ErrorKind::NotFound, format!("there are no {what} yet")))
}

fn only(mut found: Vec<String>, what: &str, meant: &str) -> Result<String, Failure> {
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => {
            let message = format!("no {what} is known whose id begins with {}", printable(meant));
            Err(Failure::of_kind(ErrorKind::NotFound, message)
                .help(format!("of traces the newest {LOOKED_AT} are looked through; a whole id finds all")))
        }
        _ => Err(ambiguous(what, meant, &found)),
    }
}

fn ambiguous(what: &str, meant: &str, found: &[String]) -> Failure {
    let some: Vec<&str> = found.iter().take(NAMED_MAX).map(String::as_str).collect();
    let message = format!("more than one {what} has an id that begins with {}", printable(meant));
    Failure::usage(message).help(format!("some of them: {}", some.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_beginning_of_an_id_is_looked_for() {
        assert_eq!(prefix("01a220E3-ec98", UUID_CHARACTERS).as_deref(), Some("01a220e3ec98"));
        assert_eq!(prefix("01a", UUID_CHARACTERS), None);
        assert_eq!(prefix("fraud-score", UUID_CHARACTERS), None);
        assert_eq!(prefix("01a220e3-ec98-7055-9dc2-d33c56ad55ea", UUID_CHARACTERS), None);
        assert_eq!(prefix("4bf92f3577b34da6a3ce929d0e0e4736", TRACE_DIGITS), None);
    }

    #[test]
    fn the_beginning_of_a_call_is_a_time() {
        let (since, until) = times("01a220e3ec98").unwrap();
        assert_eq!(since, "2026-11-28T06:42:16.880Z");
        assert_eq!(until, "2026-11-28T06:42:18.880Z");
        let (since, until) = times("01a220e3").unwrap();
        assert!(since.as_str() < "2026-11-28T06:41:17Z" && until.as_str() > "2026-11-28T06:42:22Z");
        assert_eq!(times("ffff"), None);
    }

    #[test]
    fn what_is_not_unique_is_not_guessed() {
        let ids = |count: usize| (0..count).map(|id| format!("01a{id}")).collect::<Vec<_>>();
        assert_eq!(only(ids(1), "call", "01a").unwrap(), "01a0");
        assert_eq!(only(ids(0), "call", "01a").unwrap_err().exit, 7);
        let failure = only(ids(9), "call", "01a").unwrap_err();
        assert_eq!(failure.exit, 2);
    }
}
