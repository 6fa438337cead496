//! What to look at when something seems missing: telemetry's accounting, the ledger, the disk, what `doctor` finds.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::Json;
use axum::extract::State;
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;

use super::{Api, Problem};
use crate::model::kind::ErrorKind;
use crate::model::lifecycle::Lifecycle;
use crate::runtimes::BoxFuture;
use crate::store::LedgerAccount;
use crate::telemetry::accounting::{DropReason, Signal, SignalAccount};
use crate::telemetry::names::SANDBOX_TIER;

/// Counting the rows of a large ledger takes a while; the numbers of a moment ago do as well.
const COUNTS_AGE_MAX: Duration = Duration::from_secs(10);
/// What doctor has found stays true for so long.
const CHECKS_AGE_MAX: Duration = Duration::from_secs(15);
/// Telemetry that waits for a collector longer than this is worth a word.
const EXPORT_AGE_MAX: Duration = Duration::from_secs(60);
/// With less free space the next large batch may fail.
const AVAILABLE_BYTES_FEW: u64 = 256 << 20;

/// What only the server as a whole knows of itself.
pub struct About {
    pub started_at: SystemTime,
    pub data_dir: PathBuf,
    /// Where traces are sent; without what is secret in it.
    pub endpoint: Option<String>,
    pub spool_bytes_max: u64,
    pub ledger_bytes_max: u64,
    pub ledger_age_max: Duration,
    pub doctor: Doctor,
    kept: Kept,
}

/// Runs the checks of `spanglass doctor` that are quick: a list of `{name, state, detail, help}`.
pub type Doctor = Arc<dyn Fn() -> BoxFuture<'static, Vec<Value>> + Send + Sync>;

/// Answers that are good for a moment. One request at a time makes them; the others wait for it.
#[derive(Default)]
struct Kept {
    account: Mutex<Option<(Instant, LedgerAccount)>>,
    checks: Mutex<Option<(Instant, Vec<Value>)>>,
}

impl About {
    pub fn new(data_dir: PathBuf, doctor: Doctor) -> About {
        About {
            started_at: SystemTime::now(),
            data_dir,
            endpoint: None,
            spool_bytes_max: 0,
            ledger_bytes_max: 0,
            ledger_age_max: Duration::ZERO,
            doctor,
            kept: Kept::default(),
        }
    }
}

pub async fn health(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    let about = about(&api)?;
    let account = account(&api, about).await;
    let host = &api.host;
    let accounting = host.telemetry().accounting();
    let accounts = Signal::ALL.map(|signal| (signal, *accounting.get(signal)));
    let waiting_for = host.not_ready();
    let ledger = host.ledger_stats().unwrap_or_default();
    let available = host.available_bytes();
    let feed = host.feed().counts();
    let mut problems: Vec<String> = Vec::new();
    problems.extend(waiting_for.iter().map(|what| format!("not ready: waiting for {what}")));
    if !ledger.writable {
        problems.push("the ledger cannot be written: what happens now is not kept".into());
    }
    if let Some(available) = available.filter(|available| *available < AVAILABLE_BYTES_FEW) {
        problems.push(format!("the disk is nearly full: {} MiB are left", available >> 20));
    }
    if about.endpoint.is_some() {
        problems.extend(accounts.iter().filter_map(|(signal, account)| backlog(*signal, account)));
    }
    for told in host.alerting().map(|alerting| alerting.listing().notifications).unwrap_or_default() {
        if let Some(error) = told.last_error.filter(|_| told.undelivered) {
            problems.push(format!("an alert was not delivered to {} {}: {error}", told.kind, told.target));
        }
    }
    for live in host.registry().all() {
        if let Lifecycle::Failed { stage, cause } = live.state() {
            let (name, version) = (&live.manifest.name, &live.manifest.version);
            problems.push(format!("{name} {version} has failed ({}): {cause}", stage.as_str()));
        }
    }
    Ok(Json(json!({
        "status": if problems.is_empty() { "ok" } else { "degraded" },
        "problems": problems,
        "version": env!("CARGO_PKG_VERSION"),
        "started_at": time(about.started_at),
        "uptime_s": about.started_at.elapsed().unwrap_or_default().as_secs_f64(),
        "data_dir": about.data_dir.display().to_string(),
        "sandbox": SANDBOX_TIER,
        "ready": waiting_for.is_empty(),
        "waiting_for": waiting_for,
        "telemetry": {
            "endpoint": about.endpoint,
            "signals": accounts.iter().map(|(signal, account)| signal_json(*signal, account)).collect::<Vec<_>>(),
            "spool_bytes_max": about.spool_bytes_max,
        },
        "ledger": {
            "writable": ledger.writable,
            "file_bytes": ledger.file_bytes,
            "bytes_max": about.ledger_bytes_max,
            "age_max_s": about.ledger_age_max.as_secs_f64(),
            "received": ledger.received,
            "written": ledger.written,
            "queued_records": ledger.queued_records,
            "dropped": counted([
                ("queue_full", ledger.dropped_queue_full),
                ("io", ledger.dropped_io),
                ("refusals", ledger.dropped_refusals),
                ("sampled", ledger.sampled),
            ]),
            "invocations": account.invocations,
            "logs": account.logs,
            "oldest": account.oldest,
            "sampled_until": account.sampled_until,
            "seen": account.seen,
            "plugins": account.plugins,
        },
        "disk": {"available_bytes": available.unwrap_or_default()},
        "stream": {"clients": feed.readers, "missed": feed.missed},
    })))
}

pub async fn doctor(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    let about = about(&api)?;
    let mut kept = about.kept.checks.lock().await;
    let checks = match &*kept {
        Some((at, checks)) if at.elapsed() < CHECKS_AGE_MAX => checks.clone(),
        _ => {
            let checks = (about.doctor)().await;
            *kept = Some((Instant::now(), checks.clone()));
            checks
        }
    };
    Ok(Json(json!({"checks": checks})))
}

fn about(api: &Api) -> Result<&About, Problem> {
    api.about
        .as_deref()
        .ok_or_else(|| Problem::new(ErrorKind::NotFound, "only a running server knows this of itself"))
}

async fn account(api: &Api, about: &About) -> LedgerAccount {
    let mut kept = about.kept.account.lock().await;
    if let Some((at, account)) = &*kept
        && at.elapsed() < COUNTS_AGE_MAX
    {
        return account.clone();
    }
    let reader = api.looking.reader.clone();
    // A ledger that cannot be read is said elsewhere; the rest of the answer is worth having.
    let account = super::blocking(move || reader.account().unwrap_or_default()).await.unwrap_or_default();
    *kept = Some((Instant::now(), account.clone()));
    account
}

/// Records that wait although there is somebody to take them.
fn backlog(signal: Signal, account: &SignalAccount) -> Option<String> {
    let last = Duration::try_from_secs_f64(account.last_export_unix_seconds).unwrap_or_default();
    let since = SystemTime::UNIX_EPOCH.checked_add(last)?.elapsed().unwrap_or_default();
    let waiting = account.queued + account.spooled;
    let late = waiting > 0 && since > EXPORT_AGE_MAX && signal != Signal::Metrics;
    late.then(|| format!("{waiting} records of {} wait for the collector", signal.as_str()))
}

fn signal_json(signal: Signal, account: &SignalAccount) -> Value {
    let dropped = DropReason::ALL.map(|reason| (reason.as_str(), account.dropped[reason as usize]));
    let last = account.last_export_unix_seconds;
    let last = (last > 0.0).then(|| SystemTime::UNIX_EPOCH + Duration::from_secs_f64(last));
    json!({
        "signal": signal.as_str(),
        "produced": account.produced,
        "recovered": account.recovered,
        "exported": account.exported,
        "queued": account.queued,
        "spooled": account.spooled,
        "dropped": counted(dropped),
        "last_export_at": last.map(time),
        "spool_bytes": account.spool_bytes,
    })
}

/// Those that are not zero.
fn counted<'a>(counts: impl IntoIterator<Item = (&'a str, u64)>) -> Map<String, Value> {
    let some = counts.into_iter().filter(|(_, count)| *count > 0);
    some.map(|(name, count)| (name.to_owned(), count.into())).collect()
}

fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}
