//! `invocation wait` and `invocation cancel`: the two things that one can do about a call that is under way.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Fetched, fetch, print_body, text};
use crate::app::failure::{EXIT_UNREACHABLE, Failure};
use crate::app::invoke::escaped;
use crate::app::output::{self, Bounds, Paint, Style, printable};
use crate::app::target::Target;
use crate::model::kind::ErrorKind;
use crate::model::units::format_duration;

/// How long one request waits, when the command waits for longer.
const STEP: Duration = Duration::from_secs(30);

/// Prints the output of a call once it has ended; a call that failed fails the command with its own kind.
pub async fn wait(target: &Target, id: &str, longest: Option<Duration>, json: bool) -> Result<(), Failure> {
    let begun = Instant::now();
    loop {
        let left = longest.map_or(STEP, |longest| longest.saturating_sub(begun.elapsed()));
        let step = format_duration(Duration::from_millis(
            u64::try_from(left.min(STEP).as_millis()).unwrap_or_default(),
        ));
        // Without a server nothing will end: one look is enough.
        let query = if target.url().is_some() { format!("?wait={step}") } else { String::new() };
        let fetched = fetch(target, &format!("/v1/invocations/{}{query}", escaped(id))).await?;
        if fetched.document["state"] == "done" {
            return show_end(&fetched, json);
        }
        if target.url().is_none() {
            return Err(Failure::no_server_runs(id));
        }
        if longest.is_some_and(|longest| begun.elapsed() >= longest) {
            let state = text(&fetched.document, "state");
            let waited = format_duration(longest.unwrap_or_default());
            let message = format!("invocation {} is still {state} after {waited}", printable(id));
            return Err(Failure::of_kind(ErrorKind::Timeout, message)
                .help("it goes on by itself: wait again, or cancel it with 'spanglass invocation cancel'"));
        }
    }
}

pub async fn cancel(target: &Target, id: &str, json: bool) -> Result<(), Failure> {
    let path = format!("/v1/invocations/{}/cancel", escaped(id));
    let (status, bytes) = target.send(Method::POST, &path, None).await?.bytes().await?;
    if json && status.is_success() {
        return print_body(&bytes);
    }
    let document: Value = serde_json::from_slice(&bytes).map_err(|_| {
        Failure::internal(format!("the server answered {status} with something that is not JSON"))
    })?;
    if !status.is_success() {
        return Err(Failure::problem(document));
    }
    let style = Style::stderr();
    output::note(&format!("{} {}", style.paint(Paint::Warning, "cancelled"), printable(id)));
    Ok(())
}

fn show_end(fetched: &Fetched, json: bool) -> Result<(), Failure> {
    let document = &fetched.document;
    let failed = document["error"]["kind"].as_str().map(|kind| {
        Failure::problem(json!({
            "kind": kind,
            "detail": document["error"]["message"],
            "blame": document["error"]["blame"],
            "exception": document["error"]["exception"],
            "invocation_id": document["invocation_id"],
            "trace_id": document["trace_id"],
        }))
    });
    if json {
        print_body(&fetched.bytes)?;
        return failed.map_or(Ok(()), |failure| Err(Failure::silent(failure.exit)));
    }
    if let Some(failure) = failed {
        return Err(failure);
    }
    output::print(&output::pretty(&document["output"], &Style::stdout(), Bounds::ALL))?;
    if document["output_truncated"] == true {
        output::note("the output was kept in part only");
    }
    Ok(())
}

impl Failure {
    /// A call waits for a server that is not there.
    fn no_server_runs(id: &str) -> Failure {
        let message = format!("invocation {} has not ended, and no server is running", printable(id));
        Failure::new(EXIT_UNREACHABLE, "unreachable", message)
            .help("'spanglass serve' runs what waits in the queue")
    }
}
