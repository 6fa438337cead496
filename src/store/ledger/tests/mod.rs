//! The ledger with real telemetry before it. Here: the scene; `queries.rs` and `faults.rs` play in it.

mod faults;
mod purge;
mod queries;
mod retention;
mod search;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::model::error::{GuestException, InvokeError};
use crate::model::guest::{GuestEvent, GuestLog, GuestSpan, LogStream, Severity};
use crate::model::ids::{InvocationId, TraceId};
use crate::model::invocation::{Origin, Usage};
use crate::model::kind::{ErrorKind, Outcome};
use crate::model::span_kind::SpanKind;
use crate::telemetry::{
    Begin, Captured, Ending, Finished, Operation, OperationKind, PluginSeries, Settings, Telemetry, ids,
};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// A data folder with a ledger that telemetry writes to.
struct Scene {
    telemetry: Telemetry,
    ledger: Ledger,
    reader: Reader,
    series: Arc<PluginSeries>,
    /// Last: the folder goes after all that writes to it.
    temp: tempfile::TempDir,
}

impl Scene {
    fn new() -> Scene {
        Scene::with(LedgerSettings::default())
    }

    /// Keeps every call, as many as there are.
    fn with(settings: LedgerSettings) -> Scene {
        Scene::thinned(LedgerSettings { rows_per_s_max: u32::MAX, ..settings })
    }

    fn thinned(settings: LedgerSettings) -> Scene {
        let temp = tempfile::tempdir().unwrap();
        let store = Store::open(temp.path(), PATIENCE).unwrap();
        let ledger = Ledger::open(&store, &settings).unwrap();
        let telemetry = Telemetry::start(Settings::default(), vec![Box::new(ledger.sink())]).unwrap();
        let series = telemetry.plugin("echo", "1.2.3", "python", &["invoke"]);
        Scene { reader: ledger.reader(), telemetry, ledger, series, temp }
    }

    fn call(&self) -> Finished {
        self.call_of("echo", Ok(()))
    }

    fn call_of(&self, plugin: &str, result: Result<(), InvokeError>) -> Finished {
        let mut call = self.telemetry.begin(Begin {
            plugin: plugin.into(),
            action: "invoke".into(),
            parent: None,
            origin: Origin::Network,
        });
        if plugin == "echo" {
            call.bind(self.series.clone());
        }
        call.capture_input(Captured { json: r#"{"a":1}"#.into(), truncated: false, redacted: false });
        call.attempt();
        let attempt = call.open("attempt", call.root());
        let execute = call.open("execute", attempt);
        call.set(execute, "process.pid", 77_i64);
        call.guest_log(execute, line("working"));
        call.guest_span(execute, guest_span());
        call.close(execute);
        call.queue_wait(Duration::from_micros(250));
        let usage = Usage {
            cpu: Duration::from_micros(1500),
            memory_peak_bytes: 9 << 20,
            input_bytes: 7,
            output_bytes: 3,
        };
        match result {
            Ok(()) => {
                call.capture_output(Captured { json: "[1,2".into(), truncated: true, redacted: false });
                call.finish(Ending::Replied { usage })
            }
            Err(error) => {
                call.fail(attempt, error.kind, &error.message);
                call.finish(Ending::Failed { error: &error, usage })
            }
        }
    }

    fn flush(&self) {
        assert!(self.telemetry.flush(PATIENCE) && self.ledger.flush(PATIENCE));
    }
}

/// What telemetry hands to its sinks.
pub(super) fn recorded(work: impl FnOnce(&Telemetry)) -> Vec<Record> {
    struct Keep(Arc<Mutex<Vec<Record>>>);
    impl Sink for Keep {
        fn accept(&mut self, batch: &[Record]) {
            self.0.lock().unwrap().extend(batch.iter().cloned());
        }
    }
    let records = Arc::new(Mutex::new(Vec::new()));
    let telemetry = Telemetry::start(Settings::default(), vec![Box::new(Keep(records.clone()))]).unwrap();
    work(&telemetry);
    assert!(telemetry.flush(PATIENCE));
    std::mem::take(&mut *records.lock().unwrap())
}

pub(super) fn line(text: &str) -> GuestLog {
    GuestLog {
        unix_ns: None,
        severity: Severity::Warn,
        stream: LogStream::Stdout,
        body: text.into(),
        logger: None,
        fields: json!({"n": 1, "outcome": "mine"}).as_object().unwrap().clone(),
        code: None,
        span_id: None,
    }
}

fn guest_span() -> GuestSpan {
    GuestSpan {
        span_id: ids::span_id(),
        parent_id: None,
        name: "fetch".into(),
        kind: SpanKind::Client,
        start_unix_ns: u64::MAX,
        end_unix_ns: u64::MAX,
        error: Some("refused".into()),
        attributes: json!({"url.full": "http://x/ä\"", "retries": 2}).as_object().unwrap().clone(),
        events: vec![GuestEvent { unix_ns: 0, name: "dns".into(), attributes: serde_json::Map::new() }],
    }
}

fn failure() -> InvokeError {
    let mut error = InvokeError::new(ErrorKind::PluginError, "50%_off went wrong");
    error.exception =
        Some(Box::new(GuestException { type_name: "ValueError".into(), traceback: "Traceback …".into() }));
    error
}
