//! `plugin dev`: a folder that is worked on. Each save becomes a version on trial, which takes over from the one
//! before once it starts; calls that do not name it never reach it. `work.rs` has the cycle, `version.rs` says
//! what the versions are called, `watch.rs`, `tail.rs` and `terminal.rs` are what happens meanwhile.

use std::fs::File;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use tokio::sync::mpsc;

use crate::app::cli::{Global, PluginDev};
use crate::app::connect::{Need, connect};
use crate::app::failure::{EXIT_USAGE, Failure};
use crate::app::output::printable;
use crate::config::Settings;
use crate::model::kind::ErrorKind;
use crate::package::Package;

mod call;
mod debugger;
mod save;
mod say;
mod stop;
mod tail;
mod terminal;
mod version;
mod watch;
mod work;

use call::Input;
use debugger::Place;
use say::Say;
use stop::Stop;
use terminal::{Key, Terminal};
use watch::Watch;
use work::Work;

pub async fn command(global: &Global, dev: &PluginDev, settings: &Settings) -> Result<(), Failure> {
    let path = dev.path.get();
    let folder = std::fs::canonicalize(path).map_err(|error| {
        Failure::usage(format!("{} cannot be read: {error}", printable(&path.display().to_string())))
    })?;
    let input = Input::of(&dev.input, dev.action.as_deref())?;
    let _turn = alone(&folder)?;
    let stop = Stop::new();
    let mut watch = Watch::start(folder.clone());
    let mut say = Say::new(global.json);
    let package = if dev.once {
        work::load(path).await?
    } else {
        tokio::select! {
            package = first(path, &mut watch, &mut say) => package?,
            exit = stop.told() => return ended(exit),
        }
    };
    let terminal = if global.json || dev.once { None } else { Terminal::take() };
    let modes = terminal.as_ref().map(|terminal| terminal.modes.clone()).unwrap_or_default();
    let debugger = dev.debug.map(|_| Place::open(global.json, modes)).transpose()?;
    let (target, _data) = match (&debugger, dev.debug) {
        (Some(place), Some(at)) => place.target(global, settings, &package.manifest, at)?,
        _ => (connect(global, settings, Need::Host)?, None),
    };
    let console = debugger.as_ref().map(|place| place.console.clone());
    // Without a terminal there are no keys, and standard input is nobody's but a debugger's.
    let keys = terminal.as_ref().map(|_| terminal::keys(stop.clone(), console.clone()));
    if let (None, Some(console)) = (&terminal, console) {
        terminal::pipe_to(console);
    }
    let mut work = Work::new(&target, (path, &folder), &package, input, say, stop.clone());
    let worked = async {
        let worked =
            if dev.once { work.once().await } else { follow(&mut work, &mut watch, keys, &stop).await };
        work.clean_up().await;
        worked
    };
    tokio::select! {
        worked = worked => {
            drop(terminal);
            target.finish().await;
            worked
        }
        exit = stop.insisted() => ended(exit),
    }
}

/// Works until the author has enough.
async fn follow(
    work: &mut Work<'_>,
    watch: &mut Watch,
    mut keys: Option<mpsc::Receiver<Key>>,
    stop: &Stop,
) -> Result<(), Failure> {
    let (target, name, author, say) = work.tailed();
    let lines = tail::follow(target, &name, &author, &say);
    let cycle = async {
        work.begin(keys.is_some()).await?;
        loop {
            tokio::select! {
                () = watch.saved() => work.reload().await?,
                key = next(&mut keys) => work.key(key).await?,
                exit = stop.told() => return Ok(exit),
            }
        }
    };
    let worked = tokio::select! {
        worked = cycle => worked,
        failed = lines => failed.map(|()| 0),
    };
    ended(worked?)
}

async fn next(keys: &mut Option<mpsc::Receiver<Key>>) -> Key {
    match keys {
        Some(keys) => match keys.recv().await {
            Some(key) => key,
            // The terminal has ended; its signal says what that means.
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

/// The first package without a mistake.
async fn first(path: &Path, watch: &mut Watch, say: &mut Say) -> Result<Package, Failure> {
    loop {
        match work::load(path).await {
            Ok(package) => return Ok(package),
            // No change of the folder helps.
            Err(failure) if failure.exit == EXIT_USAGE => return Err(failure),
            Err(failure) => say.refused(&failure, None)?,
        }
        watch.saved().await;
    }
}

/// One at a time for a folder: they would take each other's versions away. Held by the file.
fn alone(folder: &Path) -> Result<File, Failure> {
    let shown = printable(&folder.display().to_string());
    let file =
        File::open(folder).map_err(|error| Failure::usage(format!("{shown} cannot be opened: {error}")))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => {
            let message = format!("another `plugin dev` works on {shown}");
            Err(Failure::of_kind(ErrorKind::Conflict, message).help("end the other one first"))
        }
        // A file system without locks has no others either, as far as can be known.
        _ => Ok(file),
    }
}

fn ended(exit: u8) -> Result<(), Failure> {
    if exit == 0 { Ok(()) } else { Err(Failure::silent(exit)) }
}
