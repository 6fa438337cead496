//! Assembly: a host with its store, ledger, series, telemetry and runtimes, started in order and stopped in reverse.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::failure::Failure;
use crate::api::Looking;
use crate::config;
use crate::drift::Drift;
use crate::host::services::LiveServices;
use crate::host::{Host, Parts};
use crate::pipeline::GuestServices;
use crate::pipeline::mask::Mask;
use crate::runtimes::Runtime;
use crate::runtimes::process::ProcessRuntime;
use crate::runtimes::python::{PythonRuntime, PythonSettings};
use crate::runtimes::worker::{WorkerSettings, Workers};
use crate::store::calls::CallsReader;
use crate::store::drift::DriftStore;
use crate::store::series::{Series, SeriesSettings};
use crate::store::{self, DataFolder, Ledger, LedgerSettings, Reader, Store};
use crate::telemetry::{self, LogTarget, SpoolSettings, Telemetry};

/// How long a command waits for the data folder's owner to end.
const OWNER_WAIT: Duration = Duration::from_secs(10);
/// What is left of telemetry gets so long to be delivered at the end.
const TELEMETRY_GRACE: Duration = Duration::from_secs(5);
const LEDGER_GRACE: Duration = Duration::from_secs(5);

pub struct Runner {
    pub host: Arc<Host>,
    ledger: Option<Arc<Ledger>>,
    series: Option<Arc<Series>>,
    drift: Arc<Drift>,
    data_dir: PathBuf,
}

/// What a runner keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Registrations and what happened: it owns the data folder.
    Everything,
    /// What happened, in a ledger that somebody else may own.
    Ledger,
}

pub struct Options {
    pub keep: Keep,
    pub logs: LogTarget,
    /// In place of those of a serving host.
    pub services: Option<Arc<dyn GuestServices>>,
}

impl Options {
    pub fn new(keep: Keep, logs: LogTarget) -> Options {
        Options { keep, logs, services: None }
    }
}

impl Runner {
    pub fn start(settings: &config::Settings, options: Options) -> Result<Runner, Failure> {
        let data_dir = &settings.data_dir;
        let ledger_settings = LedgerSettings {
            age_max: settings.retention.age,
            bytes_max: settings.retention.bytes_max,
            ..LedgerSettings::default()
        };
        let (store, ledger, series) = match options.keep {
            Keep::Everything => {
                let store = Arc::new(Store::open(data_dir, OWNER_WAIT)?);
                let ledger = Ledger::open(&store, &ledger_settings)?;
                let kept = SeriesSettings::with_age(settings.retention.age);
                let series = Series::open(&store, &kept)?;
                (Some(store), Some(Arc::new(ledger)), Some(Arc::new(series)))
            }
            // A call must not fail because what happened cannot be written down.
            Keep::Ledger => match Ledger::join(&DataFolder::new(data_dir), &ledger_settings) {
                Ok(ledger) => (None, Some(Arc::new(ledger)), None),
                Err(error) => {
                    super::output::note(&format!("warning: nothing is kept of this call: {error}"));
                    (None, None, None)
                }
            },
        };
        // Of the folder's owner alone: two processes would send the same records.
        let spool = store.is_some().then(|| spool(settings));
        let telemetry = start_telemetry(options.logs, spool, ledger.as_deref(), series.as_deref())?;
        let runtimes = runtimes(settings, &telemetry)?;
        let kept = match store.as_ref().map(|store| DriftStore::open(store)).transpose() {
            // Written by a newer program: what is there must not be lost.
            Err(error @ (store::Error::SchemaTooNew { .. } | store::Error::SchemaTooOld { .. })) => {
                return Err(error.into());
            }
            Err(error) => {
                super::output::note(&format!("warning: nothing is kept of drift: {error}"));
                None
            }
            Ok(kept) => kept,
        };
        let drift = Arc::new(Drift::new(telemetry.clone(), kept));
        let live = || Arc::new(LiveServices::new(store.clone()));
        let services = options.services.unwrap_or_else(|| live());
        let host = Host::new(Parts {
            telemetry,
            store,
            ledger: ledger.clone(),
            series: series.clone(),
            drift: drift.clone(),
            runtimes,
            services,
            settings: settings.host.clone(),
        });
        Ok(Runner { host: Arc::new(host), ledger, series, drift, data_dir: data_dir.clone() })
    }

    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The reading side, for routes.
    pub fn looking(&self) -> Looking {
        let folder = DataFolder::new(&self.data_dir);
        let reader = self.ledger.as_ref().map_or_else(|| Reader::new(&folder), |ledger| ledger.reader());
        Looking { reader, calls: CallsReader::new(&folder), host: Some(self.host.clone()) }
    }

    /// In reverse: workers, telemetry, ledger.
    pub async fn stop(self) {
        self.host.stop().await;
        let Runner { host, ledger, series, drift, .. } = self;
        let end = move || {
            // While there is telemetry to tell.
            drift.close();
            host.telemetry().shutdown(TELEMETRY_GRACE);
            if let Some(ledger) = ledger {
                ledger.close(LEDGER_GRACE);
            }
            if let Some(series) = series {
                series.close();
            }
        };
        // Both block, each within its bound.
        let _ = tokio::task::spawn_blocking(end).await;
    }
}

fn spool(settings: &config::Settings) -> SpoolSettings {
    SpoolSettings {
        folder: DataFolder::new(&settings.data_dir).spool(),
        bytes_max: settings.spool.bytes_max,
        age_max: settings.spool.age,
    }
}

fn start_telemetry(
    logs: LogTarget,
    spool: Option<SpoolSettings>,
    ledger: Option<&Ledger>,
    series: Option<&Series>,
) -> Result<Telemetry, Failure> {
    let environment = telemetry::Settings::from_env(|name| std::env::var(name).ok());
    let mut settings = environment.map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Failure::invalid(problems.join("\n"))
    })?;
    settings.logs = logs;
    settings.spool = spool;
    let sinks = ledger.map(|ledger| Box::new(ledger.sink()) as Box<dyn telemetry::Sink>).into_iter();
    let sinks = sinks.chain(series.map(|series| Box::new(series.sink()) as Box<dyn telemetry::Sink>));
    let telemetry =
        Telemetry::start(settings, sinks.collect()).map_err(|error| Failure::internal(error.to_string()))?;
    if let Some(ledger) = ledger {
        ledger.report_to(&telemetry);
    }
    if let Some(series) = series {
        series.report_to(&telemetry);
    }
    Ok(telemetry)
}

fn runtimes(settings: &config::Settings, telemetry: &Telemetry) -> Result<Vec<Arc<dyn Runtime>>, Failure> {
    let program = std::env::current_exe()
        .map_err(|error| Failure::internal(format!("the path of this program is not known: {error}")))?;
    let telemetry = telemetry.clone();
    let workers = Workers::new(WorkerSettings {
        data_dir: absolute(&settings.data_dir)?,
        supervisor: program,
        stray_logs: Arc::new(move |spec, log| {
            let manifest = &spec.manifest;
            let actions: Vec<&str> = manifest.action_names().collect();
            let version = manifest.version.to_string();
            let series =
                telemetry.plugin(manifest.name.as_str(), &version, manifest.runtime.as_str(), &actions);
            let mask = Mask::new(spec.secrets.iter().map(|(_, secret)| secret));
            telemetry.guest_log(&series, mask.log(log));
        }),
    });
    let python = PythonSettings { install_timeout: settings.install_timeout, ..PythonSettings::default() };
    let python = PythonRuntime::with(workers.clone(), python);
    Ok(vec![Arc::new(python), Arc::new(ProcessRuntime::new(workers))])
}

/// Workers have another working folder.
fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| Failure::internal(format!("{}: {error}", path.display())))
}
