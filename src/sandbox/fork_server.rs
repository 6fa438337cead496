//! The runner's side of a fork server: a worker that has loaded what all its like need, and copies itself when
//! asked. Its copies are its own children; what they leave behind becomes the supervisor's, as everything does.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use super::control::Control;
use super::launcher::{Child, Ends, Error, Parent, Supervisor};
use super::wire::ToForkServer;

/// Dropping the last handle, the children's included, tells the process to end.
#[derive(Debug)]
pub struct ForkServer {
    control: Arc<Control>,
    /// For what copies use and leave behind; and it must live as long as they do.
    supervisor: Arc<Supervisor>,
}

impl ForkServer {
    /// The handle, and what the process must get as [`super::launcher::SpawnSpec::control`]. Needs a tokio
    /// runtime, in which a task then reads the socket until the process ends.
    pub fn new(supervisor: &Arc<Supervisor>) -> std::io::Result<(Arc<ForkServer>, OwnedFd)> {
        let (control, other) = Control::pair()?;
        let (reader, sweeper) = (control.clone(), Arc::downgrade(supervisor));
        tokio::spawn(async move {
            let sweep = || {
                if let Some(supervisor) = sweeper.upgrade() {
                    supervisor.sweep();
                }
            };
            reader.read(sweep).await;
        });
        Ok((Arc::new(ForkServer { control, supervisor: supervisor.clone() }), other))
    }

    /// Makes a copy, in the folder `cwd`, which may use so much memory with all that it starts. Dropping the future
    /// before its end kills what was made.
    pub async fn fork(
        self: &Arc<Self>,
        cwd: PathBuf,
        ends: Ends,
        memory_bytes_max: u64,
    ) -> Result<Child, Error> {
        let forked = self.control.start(|seq| ToForkServer::Fork { seq, cwd }, &ends.borrowed()).await?;
        match forked {
            Some(Ok(started)) => {
                let fate = self.supervisor.watch(started.pid, memory_bytes_max).await?;
                Ok(Child::new(started, fate, Parent::ForkServer(self.clone())))
            }
            Some(Err(cause)) => Err(Error::NotStarted { program: "a copy of the worker".into(), cause }),
            None => Err(Error::ForkServerGone),
        }
    }

    pub fn alive(&self) -> bool {
        self.control.alive()
    }
}

impl Drop for ForkServer {
    fn drop(&mut self) {
        self.control.close();
    }
}
