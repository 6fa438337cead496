//! `serve`: a socket in front of the host, from the first bind to the last drain.

use std::future::Future;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::cli::Global;
use super::connect::{self, ServerFile};
use super::connections;
use super::doctor;
use super::failure::Failure;
use super::output;
use super::reload::Reloading;
use super::runner::{Keep, Options, Runner};
use crate::alerting::Target;
use crate::api::{About, Api, Doctor, Guard, guarded};
use crate::config::{Flags, Notification, Settings};
use crate::host::{FolderWatch, Folders, Host};
use crate::model::invocation::Origin;
use crate::model::lifecycle::Lifecycle;
use crate::sandbox::orphans;
use crate::telemetry::events::{ServerStarted, ServerStopped};
use crate::telemetry::{self, LogTarget};

/// Calls under way get so long to end when the server stops.
const DRAIN: Duration = Duration::from_secs(10);

/// A server that listens.
pub struct Server {
    pub url: String,
    pub runner: Runner,
    listener: TcpListener,
    settings: Settings,
    flags: Flags,
    guard: Guard,
    started: Instant,
    /// What follows the plugin folders and the configuration.
    followers: Vec<JoinHandle<()>>,
}

impl Server {
    /// Binds first: a port that is taken is found out before anything is started.
    pub async fn start(
        settings: Settings,
        flags: Flags,
        listener: TcpListener,
        logs: LogTarget,
    ) -> Result<Server, Failure> {
        let address =
            listener.local_addr().map_err(|error| Failure::internal(format!("the socket: {error}")))?;
        let url = format!("http://{}", shown(address));
        let runner = Runner::start(&settings, Options::new(Keep::Everything, logs))?;
        let guard = Guard::new(
            settings.tokens.iter().map(|token| token.reveal().to_owned()).collect(),
            settings.allowed_hosts.iter().cloned(),
        );
        let (started, followers) = (Instant::now(), Vec::new());
        let server = Server { url, runner, listener, settings, flags, guard, started, followers };
        write_server_file(&server.settings.data_dir, &server.url)?;
        Ok(server)
    }

    /// The first line that programs read.
    pub fn announce(&self, json: bool) -> Result<(), Failure> {
        let data_dir = self.settings.data_dir.display().to_string();
        if json {
            output::print_json(&json!({"event": "listening", "url": self.url, "data_dir": data_dir}))?;
        }
        let (url, data_dir) = (self.url.as_str(), data_dir.as_str());
        self.runner.host.telemetry().emit(ServerStarted { url, data_dir });
        Ok(())
    }

    /// Makes callable what was registered before and what lies in the folders of the configuration, and
    /// follows these.
    pub async fn deploy(&mut self) -> Result<(), Failure> {
        let host = self.runner.host.clone();
        let restored = tokio::task::spawn_blocking({
            let host = host.clone();
            move || host.restore()
        });
        restored.await.map_err(|_| Failure::internal("deploying the registered plugins panicked"))??;
        let folders = watch::Sender::new(folders(&self.settings));
        let mut plugins = FolderWatch::new(host.clone(), &folders.borrow());
        plugins.take_all().await;
        check_found(&host, &self.settings)?;
        self.followers.push(tokio::spawn(plugins.run(folders.subscribe())));
        let reloading = Reloading {
            flags: self.flags.clone(),
            settings: self.settings.clone(),
            host: host.clone(),
            guard: self.guard.clone(),
            folders,
        };
        self.followers.push(tokio::spawn(reloading.run()));
        if let Some(alerting) = host.alerting() {
            alerting.set_targets(notification_targets(&self.settings));
        }
        self.followers.push(tokio::spawn(host.clone().tell_alerts()));
        self.followers.push(tokio::spawn(host.clone().judge_alerts()));
        self.followers.push(tokio::spawn(host.clone().judge_drift()));
        host.set_ready(true);
        host.start_queue();
        Ok(())
    }

    /// Serves until `stop` is ready, then ends in good order.
    pub async fn run(self, stop: impl Future<Output = ()> + Send + 'static) -> Result<(), Failure> {
        let Server { runner, listener, settings, flags, guard, started, followers, .. } = self;
        let about = Some(Arc::new(about(&settings, flags)));
        let api =
            Api { host: runner.host.clone(), looking: runner.looking(), origin: Origin::Network, about };
        let host = runner.host.clone();
        let (stopped, mut stopping) = tokio::sync::watch::channel(false);
        let stop = async move {
            stop.await;
            followers.iter().for_each(JoinHandle::abort);
            host.set_ready(false);
            // Those who follow would keep their connections for ever.
            host.feed().close();
            stopped.send_replace(true);
        };
        let cut_off = runner.host.clone();
        let drained = async move {
            // An error says that the server is gone, and with it all that could be drained.
            let _ = stopping.wait_for(|stopping| *stopping).await;
            tokio::select! {
                () = tokio::time::sleep(DRAIN) => {}
                // Whoever asks twice does not want to wait.
                () = stop_signal() => {}
            }
            output::note("some calls are still running and are cut off");
            cut_off.cut_off();
        };
        let mut drained = std::pin::pin!(drained.shared());
        connections::serve(listener, guarded(api, guard), stop, drained.clone()).await;
        // Asynchronous calls have no connection that would wait for them.
        tokio::select! {
            () = runner.host.queue_drained() => {}
            () = &mut drained => {}
        }
        end(runner, &settings, started).await;
        Ok(())
    }

    /// Ends what was started, for a server that never served.
    pub async fn end(self) {
        end(self.runner, &self.settings, self.started).await;
    }
}

pub async fn command(global: &Global, settings: Settings, flags: Flags) -> Result<(), Failure> {
    // A server may lose a supervisor and go on for months.
    orphans::adopt();
    let listener = bind(&settings).await?;
    let logs = connect::logs(&settings, LogTarget::Stdout);
    check_folders(&settings)?;
    let mut server = Server::start(settings, flags, listener, logs).await?;
    server.announce(global.json)?;
    if !global.json {
        output::note(&format!("spanglass serves on {}  (Ctrl-C stops it)", server.url));
    }
    if let Err(failure) = server.deploy().await {
        server.end().await;
        return Err(failure);
    }
    server.run(stop_signal()).await
}

/// What the server can say of itself.
fn about(settings: &Settings, flags: Flags) -> About {
    let environment = telemetry::Settings::from_env(|name| std::env::var(name).ok()).ok();
    let endpoint = environment.and_then(|settings| settings.otlp.traces.map(|endpoint| endpoint.address()));
    let doctor: Doctor = Arc::new(move || Box::pin(doctor::quick(flags.clone())));
    let data_dir = std::path::absolute(&settings.data_dir).unwrap_or_else(|_| settings.data_dir.clone());
    let mut about = About::new(data_dir, doctor);
    about.endpoint = endpoint;
    about.spool_bytes_max = settings.spool.bytes_max;
    about.ledger_bytes_max = settings.retention.bytes_max;
    about.ledger_age_max = settings.retention.age;
    about
}

/// Whom the configuration wants to be told of alerts.
pub fn notification_targets(settings: &Settings) -> Vec<Target> {
    let target = |notification: &Notification| match notification {
        Notification::Webhook(url) => Target::Webhook(url.reveal().to_owned()),
        Notification::Slack(url) => Target::Slack(url.reveal().to_owned()),
        Notification::Command(arguments) => Target::Command(arguments.clone()),
    };
    settings.notifications.iter().map(target).collect()
}

async fn end(runner: Runner, settings: &Settings, started: Instant) {
    let _ = std::fs::remove_file(settings.data_dir.join(ServerFile::NAME));
    runner.host.telemetry().emit(ServerStopped { uptime: started.elapsed() });
    runner.stop().await;
}

/// Before anything is announced: a folder that is not there is a slip of the pen.
fn check_folders(settings: &Settings) -> Result<(), Failure> {
    for folder in &settings.plugin_dirs {
        std::fs::read_dir(folder).map_err(|error| {
            Failure::invalid(format!("the plugin folder {} cannot be read: {error}", folder.display()))
        })?;
    }
    Ok(())
}

pub async fn bind(settings: &Settings) -> Result<TcpListener, Failure> {
    let listen = settings.listen.as_str();
    let cannot = |error: std::io::Error| {
        let help = "another server may have the port: '--listen 127.0.0.1:0' picks a free one";
        Failure::of_kind(
            crate::model::kind::ErrorKind::Conflict,
            format!("cannot listen on {listen}: {error}"),
        )
        .help(help)
    };
    let addresses = settings.listen.resolve().map_err(cannot)?;
    TcpListener::bind(&addresses[..]).await.map_err(cannot)
}

/// Ready at the first SIGINT or SIGTERM.
pub async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// Where the configuration says that plugins are.
pub fn folders(settings: &Settings) -> Folders {
    let named =
        settings.host.plugins.iter().filter_map(|(name, plugin)| Some((name.clone(), plugin.path.clone()?)));
    Folders { folders: settings.plugin_dirs.clone(), named: named.collect() }
}

/// Says what was found and cannot be registered. That is fatal only for what the configuration calls required.
fn check_found(host: &Host, settings: &Settings) -> Result<(), Failure> {
    if let Some(problem) = host.lock_problem() {
        output::note(&format!("warning: spanglass.lock {problem}; dependencies were chosen anew"));
    }
    let refusals = host.refusals();
    for (path, refusal) in &refusals {
        let help = refusal.help.as_ref().map_or_else(String::new, |help| format!(" ({help})"));
        output::note(&format!("warning: {} is left out: {}{help}", path.display(), refusal.message));
    }
    for (name, plugin) in settings.host.plugins.iter().filter(|(_, plugin)| plugin.required) {
        let why_not = match host.registry().route(name, None) {
            Ok(live) if matches!(live.state(), Lifecycle::Running) => continue,
            Ok(live) => format!("{name} {} is {}", live.manifest.version, live.state()),
            Err(error) => error.message,
        };
        let path = plugin.path.as_ref().and_then(|path| std::path::absolute(path).ok());
        let why =
            path.and_then(|path| refusals.get(&path)).map_or(why_not, |refusal| refusal.message.clone());
        return Err(Failure::invalid(format!("the plugin {name} is required and takes no calls: {why}")));
    }
    Ok(())
}

fn shown(address: SocketAddr) -> SocketAddr {
    let mut shown = address;
    if address.ip().is_unspecified() {
        let loopback =
            if address.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() };
        shown.set_ip(loopback);
    }
    shown
}

/// Written beside and renamed: who reads it sees a whole file.
fn write_server_file(data_dir: &Path, url: &str) -> Result<(), Failure> {
    let file = ServerFile { url: url.to_owned(), pid: std::process::id() };
    let path = data_dir.join(ServerFile::NAME);
    let temporary = path.with_extension("json.new");
    let write = || {
        let mut out = std::fs::OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&temporary)?;
        serde_json::to_writer(&mut out, &file)?;
        out.write_all(b"\n")?;
        std::fs::rename(&temporary, &path)
    };
    write().map_err(|error| Failure::internal(format!("{} cannot be written: {error}", path.display())))
}
