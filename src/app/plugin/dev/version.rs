//! The versions under which an author's saves are registered: pre-releases of the manifest's version, which
//! name the author, so that nobody mistakes them for another's. Pure, but for [`Author::here`].

use std::path::Path;

use semver::{Prerelease, Version};
use sha2::{Digest, Sha256};

use crate::app::failure::Failure;
use crate::app::plugin::changes;
use crate::model::text::truncate;

const WORD: &str = "dev";
const USER_BYTES_MAX: usize = 24;
const ANONYMOUS: &str = "author";

/// Whose saves they are: a person at work on one folder. A SemVer identifier such as `ada-1f2e`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author(String);

impl Author {
    /// The same each time on this machine, so that what a killed run left behind is known for one's own.
    pub fn here(folder: &Path) -> Author {
        let machine = rustix::system::uname();
        Author::of(&changes::user(), machine.nodename().to_bytes(), folder)
    }

    fn of(user: &str, machine: &[u8], folder: &Path) -> Author {
        let user: String = user.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let user = truncate(user.trim_matches('-'), USER_BYTES_MAX);
        let mut hasher = Sha256::new();
        hasher.update(machine);
        hasher.update([0]);
        hasher.update(folder.as_os_str().as_encoded_bytes());
        let place = hasher.finalize();
        let user = if user.is_empty() { ANONYMOUS } else { user };
        Author(format!("{user}-{:02x}{:02x}", place[0], place[1]))
    }

    /// The version of a save: `1.2.0-dev.ada-1f2e.3`, or with a pre-release `1.2.0-rc.1.dev.ada-1f2e.3`.
    pub fn version(&self, of: &Version, number: u64) -> Result<Version, Failure> {
        let own = format!("{WORD}.{}.{number}", self.0);
        let pre = if of.pre.is_empty() { own } else { format!("{}.{own}", of.pre) };
        let pre = Prerelease::new(&pre).map_err(|error| {
            Failure::internal(format!("{pre:?} cannot be the pre-release of a version: {error}"))
        })?;
        Ok(Version { pre, build: of.build.clone(), ..Version::new(of.major, of.minor, of.patch) })
    }

    /// The number of a version that is a save of this author's.
    pub fn number_of(&self, version: &Version) -> Option<u64> {
        let (before, number) = version.pre.rsplit_once('.')?;
        let (before, author) = before.rsplit_once('.')?;
        let word = before.rsplit('.').next()?;
        if author == self.0 && word == WORD { number.parse().ok() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn author(user: &str) -> Author {
        Author::of(user, b"machine", Path::new("/plugins/greet"))
    }

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    #[test]
    fn saves_are_pre_releases_of_the_version_and_known_again() {
        let ada = author("ada");
        for (release, number) in [("1.2.0", 1), ("1.2.0-rc.1", 12), ("1.2.0+built.007", 3)] {
            let save = ada.version(&version(release), number).unwrap();
            assert!(save.pre.ends_with(&format!("dev.{}.{number}", ada.0)), "{save}");
            assert_eq!(version(&save.to_string()), save);
            assert_eq!(ada.number_of(&save), Some(number));
            assert_eq!(author("bob").number_of(&save), None);
            assert_eq!(ada.number_of(&version(release)), None);
        }
        assert_eq!(ada.number_of(&version(&format!("1.0.0-{}.1", ada.0))), None, "without the word");
    }

    #[test]
    fn any_name_becomes_an_identifier() {
        for user in ["", "007", "Ärger", "a.b c@d", "---", &"x".repeat(500)] {
            let save = author(user).version(&version("1.0.0"), 1).unwrap();
            assert!(save.to_string().len() < 60, "{save}");
        }
        assert_ne!(author("ada"), Author::of("ada", b"machine", Path::new("/plugins/other")));
    }
}
