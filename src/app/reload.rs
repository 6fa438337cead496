//! Follows the configuration, the token file and the secrets of a server: what has changed is taken over within
//! a second or at SIGHUP; what is wrong changes nothing, and is said.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use super::output;
use crate::api::Guard;
use crate::config::{Flags, Settings};
use crate::host::{Folders, Host};
use crate::telemetry::events::{ConfigLoadFailed, ConfigLoaded, SecretsRefreshed};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What follows the configuration.
pub struct Reloading {
    pub flags: Flags,
    pub settings: Settings,
    pub host: Arc<Host>,
    pub guard: Guard,
    pub folders: watch::Sender<Folders>,
}

/// Size and time of a file; `None`: it cannot be read.
type Mark = Option<(u64, SystemTime, u64)>;

impl Reloading {
    /// Until it is dropped.
    pub async fn run(mut self) {
        use tokio::signal::unix::{SignalKind, signal};
        let mut hangup = signal(SignalKind::hangup()).ok();
        let mut seen = self.marks();
        let mut last_problems = Vec::new();
        loop {
            let asked = tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => false,
                Some(()) = async { match &mut hangup { Some(hangup) => hangup.recv().await, None => None } } => true,
            };
            let marks = self.marks();
            if asked || marks != seen {
                seen = marks;
                self.reload().await;
            }
            let (refreshed, problems) = self.host.refresh_secrets().await;
            for name in refreshed {
                self.host.telemetry().emit(SecretsRefreshed { plugin: name.as_str() });
            }
            // Once, not every second.
            if problems != last_problems {
                for message in &problems {
                    self.failed(&format!("changed secrets are not taken over: {message}"));
                }
                last_problems = problems;
            }
        }
    }

    fn marks(&self) -> Vec<Mark> {
        let files = [self.settings.file.clone(), self.settings.token_file.clone()];
        files.into_iter().map(|file| file.and_then(|file| mark(&file))).collect()
    }

    async fn reload(&mut self) {
        let flags = self.flags.clone();
        let read = tokio::task::spawn_blocking(move || super::load(flags)).await;
        let next = match read {
            Ok(Ok(Ok((settings, _)))) => settings,
            Ok(Ok(Err(error))) => return self.failed(&error.0.render(Default::default())),
            Ok(Err(failure)) => return self.failed(&failure.to_string()),
            Err(_) => return self.failed("reading it panicked"),
        };
        if let Err(error) = self.host.reload(next.host.clone()).await {
            return self.failed(&error.to_string());
        }
        self.guard.set_tokens(next.tokens.iter().map(|token| token.reveal().to_owned()).collect());
        let folders = super::serve::folders(&next);
        self.folders.send_if_modified(|known| {
            let changed = *known != folders;
            *known = folders;
            changed
        });
        if let Some(alerting) = self.host.alerting() {
            alerting.set_targets(super::serve::notification_targets(&next));
        }
        let later = needs_restart(&self.settings, &next);
        if !later.is_empty() {
            output::note(&format!("changed, and used from the next start on: {}", later.join(", ")));
        }
        let path = next.file.as_ref().map(|path| path.display().to_string());
        self.host.telemetry().emit(ConfigLoaded { path: path.as_deref() });
        // What waits for the next start is compared with what is used now.
        self.settings = Settings {
            listen: self.settings.listen.clone(),
            data_dir: self.settings.data_dir.clone(),
            ..next
        };
    }

    fn failed(&self, message: &str) {
        let path = self.settings.file.as_ref().map_or_else(String::new, |path| path.display().to_string());
        self.host.telemetry().emit(ConfigLoadFailed { path: &path, message });
    }
}

fn mark(path: &PathBuf) -> Mark {
    use std::os::unix::fs::MetadataExt;
    let about = std::fs::metadata(path).ok()?;
    Some((about.len(), about.modified().ok()?, about.ino()))
}

/// What only a start takes over.
fn needs_restart(before: &Settings, next: &Settings) -> Vec<&'static str> {
    let changed = [
        ("listen", before.listen != next.listen),
        ("data_dir", before.data_dir != next.data_dir),
        ("allowed_hosts", before.allowed_hosts != next.allowed_hosts),
        ("telemetry.logs", before.logs != next.logs),
        ("telemetry.retention", before.retention != next.retention),
    ];
    changed.into_iter().filter_map(|(name, changed)| changed.then_some(name)).collect()
}
