//! Messages to a program: without a shell, alerts as JSON on its input, a few facts in its environment. It has a
//! process group of its own, which is killed when its time is over.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::{Refused, message};
use crate::alerting::alert::{Alert, State};

pub async fn run(arguments: &[String], alerts: &[Alert], timeout: Duration) -> Result<(), Refused> {
    let refused = |why: String| Refused { why, for_good: false };
    let Some((program, arguments)) = arguments.split_first() else {
        return Err(Refused { why: "there is no program".into(), for_good: true });
    };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.process_group(0).kill_on_drop(true);
    if let [alert, ..] = alerts {
        let state = if alert.state == State::Resolved { "resolved" } else { "firing" };
        command
            .env("SPANGLASS_ALERT_STATUS", message::status(alerts))
            .env("SPANGLASS_ALERT_COUNT", alerts.len().to_string())
            .env("SPANGLASS_ALERT_STATE", state)
            .env("SPANGLASS_ALERT_RULE", &alert.rule)
            .env("SPANGLASS_ALERT_SEVERITY", &alert.severity)
            .env("SPANGLASS_ALERT_PLUGIN", alert.plugin.as_deref().unwrap_or_default())
            .env("SPANGLASS_ALERT_VERSION", alert.version.as_deref().unwrap_or_default())
            // A text may come from a plugin; the environment takes no NUL.
            .env("SPANGLASS_ALERT_SUMMARY", alert.summary.replace('\0', " "));
    }
    let mut child = command.spawn().map_err(|error| refused(format!("it does not start: {error}")))?;
    let group = Group(child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)));
    let input = child.stdin.take();
    let body = message::webhook(alerts).to_string();
    let ends = async {
        if let Some(mut input) = input {
            // It need not read.
            let _ = input.write_all(body.as_bytes()).await;
            drop(input);
        }
        child.wait().await
    };
    let ended = tokio::time::timeout(timeout, ends).await;
    drop(group);
    match ended {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(refused(format!("it ended with {status}"))),
        Ok(Err(error)) => Err(refused(format!("it cannot be waited for: {error}"))),
        Err(_) => {
            let _ = child.wait().await;
            Err(refused("it did not end in time and was killed".into()))
        }
    }
}

/// Kills what is left of a process group, also when the task is given up.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // What has ended by itself is no longer there.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}
