//! The routes within this process, for commands that find no server.

use std::path::{Path, PathBuf};

use axum::Router;

use super::failure::Failure;
use super::runner::{Keep, Options, Runner};
use crate::api::{Api, Looking, ledger_router, router};
use crate::config;
use crate::model::invocation::Origin;
use crate::store::calls::CallsReader;
use crate::store::{DataFolder, Reader};
use crate::telemetry::LogTarget;

pub enum Local {
    /// Everything: this process owns the data folder while the command runs.
    Host { runner: Runner, router: Router },
    /// What happened, read from the ledger of a folder that somebody else may own.
    Ledger { data_dir: PathBuf, router: Router },
}

impl Local {
    pub fn host(settings: &config::Settings, logs: LogTarget) -> Result<Local, Failure> {
        let runner = Runner::start(settings, Options::new(Keep::Everything, logs))?;
        runner.host.restore()?;
        Ok(Local::of(runner))
    }

    /// The routes of a host that has been filled already.
    pub fn of(runner: Runner) -> Local {
        runner.host.set_ready(true);
        let api =
            Api { host: runner.host.clone(), looking: runner.looking(), origin: Origin::Local, about: None };
        Local::Host { router: router(api), runner }
    }

    pub fn ledger(settings: &config::Settings) -> Local {
        let folder = DataFolder::new(&settings.data_dir);
        let (reader, calls) = (Reader::new(&folder), CallsReader::new(&folder));
        let router = ledger_router(Looking { reader, calls, host: None });
        Local::Ledger { data_dir: settings.data_dir.clone(), router }
    }

    pub fn router(&self) -> Router {
        match self {
            Local::Host { router, .. } | Local::Ledger { router, .. } => router.clone(),
        }
    }

    pub fn data_dir(&self) -> &Path {
        match self {
            Local::Host { runner, .. } => runner.data_dir(),
            Local::Ledger { data_dir, .. } => data_dir,
        }
    }

    pub async fn finish(self) {
        if let Local::Host { runner, router } = self {
            drop(router);
            runner.stop().await;
        }
    }
}
