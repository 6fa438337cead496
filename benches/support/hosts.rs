//! A host put together as `serve` does it, with telemetry full or off, and plugins to call.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use semver::Version;
use serde_json::value::RawValue;
use spanglass::drift::Drift;
use spanglass::host::services::StubServices;
use spanglass::host::settings::Capture;
use spanglass::host::{CaptureMode, Host, Parts, Settings};
use spanglass::model::invocation::{Completed, Invocation, Origin};
use spanglass::model::name::PluginName;
use spanglass::package::Package;
use spanglass::package::manifest::Manifest;
use spanglass::pipeline::Output;
use spanglass::registry::Body;
use spanglass::runtimes::python::PythonRuntime;
use spanglass::runtimes::worker::{WorkerSettings, Workers};
use spanglass::runtimes::{Convention, Runtime};
use spanglass::store::{Ledger, LedgerSettings, LedgerStats, Store};
use spanglass::telemetry::settings::Sampler;
use spanglass::telemetry::{self, LogTarget, Telemetry};
use tempfile::TempDir;

use super::PATIENCE;
use super::instant::InstantRuntime;

/// How much is kept and sent of what happens.
#[derive(Clone, Copy, Debug)]
pub enum Watched<'a> {
    /// Calls are recorded and counted, and nobody gets the records: nothing is captured, sampled, written or
    /// sent. The least that a host can do, for replies carry ids and times.
    Off,
    /// Log lines in a file, traces and logs to a collector; no ledger.
    Exported { collector: &'a str },
    /// Ledger with inputs and outputs, log lines in a file, traces and logs to a collector if there is one.
    Full { collector: Option<&'a str> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plugins {
    Python,
    Instant,
}

pub struct Rig {
    pub host: Arc<Host>,
    pub ledger: Option<Arc<Ledger>>,
    pub folder: TempDir,
}

impl Rig {
    pub fn start(watched: Watched<'_>, plugins: Plugins) -> Rig {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data_dir = folder.path().join("data");
        let mut ledger = None;
        let mut settings = telemetry::Settings {
            sampler: Sampler { parent_based: false, ratio: 0.0 },
            ..telemetry::Settings::default()
        };
        let mut capture = Capture { mode: CaptureMode::None, bytes_max: 0 };
        std::fs::create_dir_all(&data_dir).expect("a fresh folder");
        let collector = match watched {
            Watched::Off => None,
            Watched::Exported { collector } => Some(Some(collector)),
            Watched::Full { collector } => {
                let store = Store::open(&data_dir, Duration::ZERO).expect("a fresh folder");
                let opened = Ledger::open(&store, &LedgerSettings::default());
                ledger = Some(Arc::new(opened.expect("a fresh ledger")));
                Some(collector)
            }
        };
        if let Some(collector) = collector {
            let variables =
                |name: &str| collector.filter(|_| name == "OTEL_EXPORTER_OTLP_ENDPOINT").map(str::to_owned);
            settings = telemetry::Settings::from_env(variables).expect("the address is good");
            settings.logs = LogTarget::Path(data_dir.join("log.jsonl"));
            capture = Capture::default();
        }
        let sinks = ledger.iter().map(|ledger| Box::new(ledger.sink()) as Box<dyn telemetry::Sink>);
        let telemetry = Telemetry::start(settings, sinks.collect()).expect("telemetry starts");
        if let Some(ledger) = &ledger {
            ledger.report_to(&telemetry);
        }
        let runtime: Arc<dyn Runtime> = match plugins {
            Plugins::Instant => Arc::new(InstantRuntime),
            Plugins::Python => Arc::new(python(&data_dir)),
        };
        let host = Arc::new(Host::new(Parts {
            series: None,
            drift: Arc::new(Drift::new(telemetry.clone(), None)),
            telemetry,
            store: None,
            ledger: ledger.clone(),
            runtimes: vec![runtime],
            services: Arc::new(StubServices::default()),
            settings: Settings { capture, ..Settings::default() },
        }));
        host.set_ready(true);
        Rig { host, ledger, folder }
    }

    /// Deploys `echo`, which returns its input, for at most so many calls at once.
    pub fn echo(&self, concurrency: u32) {
        let folder = self.folder.path().join("echo");
        write_echo(&folder);
        self.deploy(manifest("echo", concurrency), folder);
    }

    /// Deploys one of the example plugins.
    pub fn example(&self, name: &str) {
        let folder = example(name);
        let package = Package::load(&folder).expect("examples are good packages");
        self.deploy(package.manifest, folder);
    }

    pub fn deploy(&self, manifest: Manifest, folder: PathBuf) {
        let deployed = self.host.deploy_transient(manifest, folder, Convention::Plugin);
        let deployment = deployed.expect("it is a good manifest");
        assert!(matches!(deployment.body, Body::Running(_)), "it is {}", deployment.state());
    }

    /// Waits until all that happened has reached ledger and file.
    pub fn settle(&self) {
        assert!(self.host.settle(PATIENCE), "telemetry and ledger catch up");
    }

    pub fn stats(&self) -> LedgerStats {
        self.ledger.as_ref().map(|ledger| ledger.stats()).unwrap_or_default()
    }

    /// Records that somebody did not get.
    pub fn lost(&self) -> u64 {
        let account = self.host.telemetry().accounting();
        assert!(account.balances(), "{account:?}");
        let dropped = account.traces.dropped.iter().sum::<u64>() + account.logs.dropped.iter().sum::<u64>();
        let stats = self.stats();
        dropped + stats.dropped_queue_full + stats.dropped_io + stats.dropped_refusals
    }

    pub async fn stop(self) {
        self.host.stop().await;
        self.host.telemetry().shutdown(PATIENCE);
        if let Some(ledger) = &self.ledger {
            ledger.close(PATIENCE);
        }
    }
}

pub fn python(data_dir: &Path) -> PythonRuntime {
    PythonRuntime::new(workers(data_dir), None)
}

pub fn workers(data_dir: &Path) -> Arc<Workers> {
    Workers::new(WorkerSettings {
        data_dir: data_dir.to_owned(),
        supervisor: std::env::current_exe().expect("the path of this program"),
        stray_logs: Arc::new(|_, _| {}),
    })
}

/// The Python whose packages a bench may use: `SPANGLASS_BENCH_PYTHON`, or `python3` of the search path.
pub fn interpreter() -> PathBuf {
    std::env::var_os("SPANGLASS_BENCH_PYTHON").map_or_else(|| "python3".into(), PathBuf::from)
}

pub fn write_echo(folder: &Path) {
    std::fs::create_dir_all(folder).expect("a folder of its own");
    std::fs::write(folder.join("executor.py"), "def invoke(input_data):\n    return input_data\n")
        .expect("a file of its own");
}

pub fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins").join(name)
}

/// No schemas, and so many instances as calls.
pub fn manifest(name: &str, concurrency: u32) -> Manifest {
    let name = PluginName::parse(name).expect("it is a name");
    let mut manifest = Manifest::minimal(name, Version::new(1, 0, 0), "executor.py:invoke".into());
    manifest.limits.concurrency = concurrency;
    manifest.limits.instances_max = concurrency;
    manifest
}

pub fn invocation(plugin: &Arc<str>, input: &Arc<RawValue>) -> Invocation {
    Invocation::new(plugin.clone(), input.clone(), Origin::Local)
}

/// One call, which must succeed.
pub async fn call(host: &Arc<Host>, plugin: &Arc<str>, input: &Arc<RawValue>) -> Completed {
    let completed = host.invoke(invocation(plugin, input), Output::whole()).await;
    if let Err(error) = &completed.result {
        panic!("the call failed: {error:?}");
    }
    completed
}

/// A JSON object of 1 KiB: text, numbers, a list, some nesting.
pub fn input_1k() -> Arc<RawValue> {
    let item = |index: u32| serde_json::json!({"sku": format!("A-{index:04}"), "count": index, "price": 12.5 + f64::from(index)});
    let mut value = serde_json::json!({
        "order": "01890a5d-ac96-774b-bcce-b302099a8057",
        "customer": {"name": "Ada Lovelace", "city": "London", "premium": true, "since": 1843},
        "items": (0..12).map(item).collect::<Vec<_>>(),
        "text": "",
    });
    let missing = 1024 - value.to_string().len();
    value["text"] = "the quick brown fox. ".chars().cycle().take(missing).collect::<String>().into();
    let text = value.to_string();
    assert_eq!(text.len(), 1024);
    Arc::from(RawValue::from_string(text).expect("it is JSON"))
}
