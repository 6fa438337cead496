//! A package tried out: deployed in this process only, with stubs in place of the network, for `plugin test`.

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::failure::Failure;
use super::runner::{Keep, Options, Runner};
use crate::config::Settings;
use crate::host::services::StubServices;
use crate::model::ids::TraceId;
use crate::model::invocation::{Completed, Invocation, Origin};
use crate::package::Package;
use crate::package::manifest::Example;
use crate::pipeline::Output;
use crate::runtimes::Convention;
use crate::store::TraceView;
use crate::telemetry::LogTarget;

/// How long a look waits for what was recorded just before it.
const SETTLE_MAX: Duration = Duration::from_secs(1);

pub struct Trial {
    runner: Runner,
    stubs: Arc<StubServices>,
    plugin: Arc<str>,
    /// The unpacked package; removed at the end.
    _folder: TempDir,
}

impl Trial {
    /// Unpacks and deploys. What the calls leave behind lies in the ledger of the data folder, like that of
    /// any call. Blocks on the disk.
    pub fn start(settings: &Settings, package: &Package) -> Result<Trial, Failure> {
        let folder = tempfile::tempdir()
            .map_err(|error| Failure::internal(format!("no temporary folder can be made: {error}")))?;
        let unpacked = folder.path().join("package");
        package.unpack_into(&unpacked)?;
        let stubs = Arc::new(StubServices::default());
        let logs = super::connect::logs(settings, LogTarget::Off);
        let options = Options { services: Some(stubs.clone()), ..Options::new(Keep::Ledger, logs) };
        let runner = Runner::start(settings, options)?;
        let plugin = package.manifest.name.shared();
        runner.host.deploy_transient(package.manifest.clone(), unpacked, Convention::Plugin)?;
        Ok(Trial { runner, stubs, plugin, _folder: folder })
    }

    /// Calls the plugin with the example's input and stubs. One at a time: stubs belong to the running one.
    pub async fn run(&self, example: &Example) -> Completed {
        self.stubs.set(example.http.clone());
        let invocation = Invocation {
            action: example.action.as_str().into(),
            ..Invocation::new(self.plugin.clone(), example.input.clone(), Origin::Local)
        };
        self.runner.host.invoke(invocation, Output::whole()).await
    }

    /// What happened in a call that has ended. Blocks on the disk.
    pub fn trace(&self, id: TraceId) -> Option<TraceView> {
        self.runner.host.settle(SETTLE_MAX);
        self.runner.looking().reader.trace(id).ok().flatten()
    }

    pub async fn finish(self) {
        self.runner.stop().await;
    }
}
