//! A runtime in this process whose instances return their input at once: what is left of a call is ours.

use std::sync::Arc;
use std::time::Duration;

use spanglass::model::error::InvokeError;
use spanglass::model::invocation::Usage;
use spanglass::runtimes::{
    BoxFuture, CallEnd, CallRequest, DeploymentSpec, Guest, Instance, Launcher, Runtime, StartListener,
};

pub struct InstantRuntime;

impl Runtime for InstantRuntime {
    /// Manifests know no other kind.
    fn name(&self) -> &'static str {
        "python"
    }

    fn deploy(&self, _spec: Arc<DeploymentSpec>) -> Result<Arc<dyn Launcher>, InvokeError> {
        Ok(Arc::new(InstantLauncher))
    }
}

struct InstantLauncher;

impl Launcher for InstantLauncher {
    fn launch<'a>(
        &'a self,
        _listener: &'a mut StartListener<'_>,
    ) -> BoxFuture<'a, Result<Box<dyn Instance>, InvokeError>> {
        Box::pin(std::future::ready(Ok(Box::new(InstantInstance) as Box<dyn Instance>)))
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

struct InstantInstance;

impl Instance for InstantInstance {
    fn call<'a>(
        &'a mut self,
        request: CallRequest,
        _guest: &'a mut dyn Guest,
    ) -> BoxFuture<'a, Result<CallEnd, InvokeError>> {
        let bytes = request.input.get().len() as u64;
        let usage = Usage {
            cpu: Duration::from_micros(1),
            memory_peak_bytes: 10 << 20,
            input_bytes: bytes,
            output_bytes: bytes,
        };
        Box::pin(std::future::ready(Ok(CallEnd { output: Some(request.input), usage })))
    }

    fn reusable(&mut self) -> bool {
        true
    }

    fn pid(&self) -> Option<u32> {
        None
    }

    fn stop(self: Box<Self>, _grace: Duration) -> BoxFuture<'static, Result<(), String>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
