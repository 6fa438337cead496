//! `demo`: example plugins, a server and real calls, so that a newcomer sees traces within a minute. What it
//! does is what anybody can do by hand; nothing in it is staged but the calls' inputs (`traffic.rs`), the
//! loopback service that `http-request` talks to (`upstream.rs`), and a release that goes wrong (`release.rs`).

use std::future::Future;
use std::io::IsTerminal;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::cli::{Demo, Global};
use super::connect;
use super::failure::Failure;
use super::output;
use super::serve::{Server, bind, stop_signal};
use crate::config::{Flags, ListenAddress, Settings};
use crate::host::Host;
use crate::model::invocation::{Completed, Invocation, Origin};
use crate::pipeline::Output;
use crate::telemetry::LogTarget;

mod examples;
mod release;
mod steady;
mod texts;
mod traffic;
mod upstream;
mod words;

use steady::Steady;
use texts::READER;
use traffic::{Planned, Traffic};
use words::Words;

/// Calls of the burst, and how many of them run at once.
const BURST: u32 = 120;
/// Texts of the burst: what is usual is known from the beginning.
const BURST_TEXTS: u32 = 200;
const BURST_AT_ONCE: usize = 4;
/// So many ports after the usual one are tried when it is taken.
const PORTS_TRIED: u16 = 50;

pub async fn command(
    global: &Global,
    demo: &Demo,
    mut settings: Settings,
    flags: Flags,
) -> Result<(), Failure> {
    let quiet = global.json;
    let listener = listen(&mut settings, demo.listen.listen.is_some(), quiet).await?;
    let logs = connect::logs(&settings, LogTarget::Stdout);
    let mut server = Server::start(settings.clone(), flags, listener, logs.clone()).await?;
    server.announce(global.json)?;
    let host = server.runner.host.clone();
    let (url, duration) = (server.url.clone(), demo.duration);
    let progress = Progress::new(quiet || (logs == LogTarget::Stdout && std::io::stdout().is_terminal()));

    progress.say("registering the example plugins");
    let skipped = examples::register(&host).await?;
    for skipped in skipped.iter().filter(|_| !quiet) {
        output::note(&format!("skipped the example {}: {}", skipped.plugin, skipped.why));
    }
    server.deploy().await?;
    let upstream = upstream::start().await?;

    let stop = async move {
        match duration {
            Some(duration) => tokio::select! {
                () = stop_signal() => {}
                () = tokio::time::sleep(duration) => {}
            },
            None => stop_signal().await,
        }
    };
    let (stopped, mut stopping) = tokio::sync::watch::channel(false);
    let serving = tokio::spawn(server.run(async move {
        stop.await;
        let _ = stopped.send(true);
    }));
    let calls = async {
        let mut traffic = Traffic::new(demo.seed, upstream);
        traffic.leave_out(|plugin| skipped.iter().any(|skipped| skipped.plugin == plugin));
        let fresh = Traffic::new(demo.seed, traffic.upstream().to_owned());
        burst(&host, &mut traffic, &progress).await;
        progress.end();
        let words = Words::new(&url, &settings);
        let said = |text: String| {
            if !quiet {
                output::note(&text);
            }
        };
        let standing = release::standing(&host);
        said(words.banner(&logs, &standing, demo.release_after));
        if !demo.no_open {
            open_browser(&url);
        }
        let steady = Steady { host: &host, words: &words, said: &said };
        steady.run(traffic, &fresh, standing, demo.release_after).await;
    };
    tokio::select! {
        () = calls => {}
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
    serving.await.map_err(|_| Failure::internal("the server panicked"))?
}

/// The wanted port or, if nobody asked for a certain one, the next that is free.
async fn listen(settings: &mut Settings, asked: bool, quiet: bool) -> Result<TcpListener, Failure> {
    let first = bind(settings).await;
    let (Err(failure), false) = (&first, asked || !settings.listen.is_loopback()) else { return first };
    let usual = settings.listen.port();
    for port in (1..=PORTS_TRIED).filter_map(|step| usual.checked_add(step)) {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if let (Ok(listener), Ok(listen)) =
            (TcpListener::bind(address).await, ListenAddress::parse(&address.to_string()))
        {
            if !quiet {
                output::note(&format!("port {usual} is taken: serving on {port} instead"));
            }
            settings.listen = listen;
            return Ok(listener);
        }
    }
    Err(Failure::internal(failure.to_string()))
}

/// A first load of all kinds of calls.
async fn burst(host: &Arc<Host>, traffic: &mut Traffic, progress: &Progress) {
    progress.count(u64::from(BURST + BURST_TEXTS), "making the first calls");
    let mut running = JoinSet::new();
    let mixed = (0..BURST).map(|_| traffic.next()).collect::<Vec<_>>();
    let texts = (0..BURST_TEXTS).map(|_| Planned { plugin: READER, input: traffic.text() });
    // Texts first: what the others left behind is then on top of every list.
    for planned in texts.collect::<Vec<_>>().into_iter().chain(mixed) {
        if running.len() >= BURST_AT_ONCE {
            running.join_next().await;
            progress.step();
        }
        running.spawn(call(host.clone(), planned));
    }
    while running.join_next().await.is_some() {
        progress.step();
    }
}

fn call(host: Arc<Host>, planned: Planned) -> impl Future<Output = Completed> + Send {
    let input = serde_json::value::to_raw_value(&planned.input).expect("a JSON value is JSON");
    let invocation = Invocation::new(planned.plugin, input, Origin::Local);
    async move { host.invoke(invocation, Output::whole()).await }
}

/// Only where a person sits in front of it.
fn open_browser(url: &str) {
    let display = ["DISPLAY", "WAYLAND_DISPLAY"].into_iter().any(|name| std::env::var_os(name).is_some());
    if display && std::io::stderr().is_terminal() {
        // A machine without xdg-open has the URL in the banner.
        let _ = std::process::Command::new("xdg-open")
            .arg(url)
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn();
    }
}

/// What is going on, on standard error: a bar on a terminal, lines elsewhere.
struct Progress {
    bar: Option<ProgressBar>,
    hidden: bool,
}

impl Progress {
    fn new(hidden: bool) -> Progress {
        let bar = (!hidden && std::io::stderr().is_terminal()).then(ProgressBar::no_length);
        Progress { bar, hidden }
    }

    fn say(&self, what: &'static str) {
        match &self.bar {
            Some(bar) => {
                bar.set_style(
                    ProgressStyle::with_template("{spinner} {msg}").expect("the template is valid"),
                );
                bar.enable_steady_tick(Duration::from_millis(100));
                bar.set_message(what);
            }
            None if !self.hidden => output::note(what),
            None => {}
        }
    }

    fn count(&self, length: u64, what: &'static str) {
        self.say(what);
        if let Some(bar) = &self.bar {
            let template = "{spinner} {msg} {wide_bar:.cyan} {pos}/{len}";
            bar.set_style(ProgressStyle::with_template(template).expect("the template is valid"));
            bar.set_length(length);
        }
    }

    fn step(&self) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
