//! The release that goes wrong: `fraud-score` 1.1.0 comes out while the demo runs and fails on some payments, so
//! that there is something to notice, to understand and to roll back. It is registered as anybody would register
//! it, once: what people decide about it afterwards stays, in this demo and in later ones.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rust_embed::RustEmbed;
use semver::Version;

use super::examples;
use crate::app::failure::Failure;
use crate::host::Host;
use crate::model::lifecycle::{Actor, Lifecycle};

#[derive(RustEmbed)]
#[folder = "src/app/demo/fraud-score-1.1.0/"]
#[exclude = "*.pyc"]
struct Files;

pub const PLUGIN: &str = "fraud-score";
/// The version that works.
pub const GOOD: &str = "1.0.0";
const REASON: &str = "scores how fast payments follow each other";

pub const VERSION: Version = Version::new(1, 1, 0);

/// What there is of the release when the demo begins. Its data folder may be an earlier one's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is to be released.
    Ahead,
    /// It takes the calls.
    Out,
    /// Somebody took the calls away from it; the word for how.
    Withdrawn(&'static str),
    /// Another version takes the calls and would keep them.
    Overtaken(Version),
}

/// A version of the plugin, as far as it matters here.
struct Registered {
    version: Version,
    state: Lifecycle,
    held_back: bool,
}

pub fn standing(host: &Host) -> Standing {
    let versions: Vec<Registered> = host
        .registry()
        .versions(PLUGIN)
        .iter()
        .map(|live| Registered {
            version: live.manifest.version.clone(),
            state: live.state(),
            held_back: live.is_held_back(),
        })
        .collect();
    let called = host.registry().route(PLUGIN, None).ok().map(|live| live.manifest.version.clone());
    judge(&versions, called)
}

fn judge(versions: &[Registered], called: Option<Version>) -> Standing {
    let release = versions.iter().find(|registered| registered.version == VERSION);
    match (release, called) {
        (_, Some(called)) if called == VERSION => Standing::Out,
        (_, Some(called)) if called > VERSION => Standing::Overtaken(called),
        (None, _) => Standing::Ahead,
        (Some(release), _) if release.held_back => Standing::Withdrawn("rolled back"),
        (Some(Registered { state: Lifecycle::Failed { .. }, .. }), _) => {
            Standing::Withdrawn("unable to start")
        }
        (Some(Registered { state: Lifecycle::Running, .. }), Some(called)) => Standing::Overtaken(called),
        (Some(_), _) => Standing::Withdrawn("disabled"),
    }
}

/// Waits, then registers it. Returns what became of it.
pub async fn after(wait: Duration, host: &Arc<Host>) -> Result<Standing, Failure> {
    tokio::time::sleep(wait).await;
    // Somebody may have been faster.
    if standing(host) == Standing::Ahead {
        let folder = tempfile::tempdir().map_err(|error| examples::cannot(&error))?;
        unpack(folder.path()).map_err(|error| examples::cannot(&error))?;
        host.register_path(folder.path(), Actor::new("demo").because(REASON)).await?;
    }
    Ok(standing(host))
}

fn unpack(folder: &Path) -> std::io::Result<()> {
    examples::unpack::<Files>(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registered(version: &str, enabled: bool, held_back: bool) -> Registered {
        let state = if enabled { Lifecycle::Running } else { Lifecycle::Registered };
        Registered { version: Version::parse(version).unwrap(), state, held_back }
    }

    #[test]
    fn what_people_decided_about_the_release_stays() {
        let good = || registered("1.0.0", true, false);
        let called = |version: &str| Some(Version::parse(version).unwrap());
        let table = [
            (vec![good()], called("1.0.0"), Standing::Ahead),
            (vec![], None, Standing::Ahead),
            (vec![registered("1.1.0", true, false), good()], called("1.1.0"), Standing::Out),
            (
                vec![registered("1.1.0", true, true), good()],
                called("1.0.0"),
                Standing::Withdrawn("rolled back"),
            ),
            (
                vec![registered("1.1.0", false, false), good()],
                called("1.0.0"),
                Standing::Withdrawn("disabled"),
            ),
            // A range in the configuration.
            (
                vec![registered("1.1.0", true, false), good()],
                called("1.0.0"),
                Standing::Overtaken(Version::new(1, 0, 0)),
            ),
            (
                vec![registered("1.2.0", true, false), good()],
                called("1.2.0"),
                Standing::Overtaken(Version::new(1, 2, 0)),
            ),
        ];
        for (versions, called, expected) in table {
            assert_eq!(judge(&versions, called), expected);
        }
    }
}
