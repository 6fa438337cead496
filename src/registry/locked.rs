//! The lock: for each version which version of each plugin that it depends on it uses. As text it is
//! `spanglass.lock`, sorted, so that two of them can be compared line by line.

use std::collections::BTreeMap;
use std::sync::Arc;

use semver::Version;
use serde::{Deserialize, Serialize};

use super::resolve::Choices;

/// What this build writes; another number is of a later build.
const FORMAT: u32 = 1;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Locked {
    entries: BTreeMap<(Arc<str>, Version), Entry>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Entry {
    digest: Arc<str>,
    choices: Choices,
}

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("it is not a lock file: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("it has format {0}, and this build knows {FORMAT}")]
    Format(u32),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    plugins: Vec<FileEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileEntry {
    name: Arc<str>,
    version: Version,
    digest: Arc<str>,
    #[serde(default, skip_serializing_if = "Choices::is_empty")]
    dependencies: Choices,
}

impl Locked {
    pub fn parse(text: &str) -> Result<Locked, LockError> {
        // The number first: what a later format looks like is not known.
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        let head: Head = serde_json::from_str(text)?;
        if head.version != FORMAT {
            return Err(LockError::Format(head.version));
        }
        let file: File = serde_json::from_str(text)?;
        let entry = |one: FileEntry| {
            ((one.name, one.version), Entry { digest: one.digest, choices: one.dependencies })
        };
        Ok(Locked { entries: file.plugins.into_iter().map(entry).collect() })
    }

    pub fn to_text(&self) -> String {
        let entry = |((name, version), entry): (&(Arc<str>, Version), &Entry)| FileEntry {
            name: name.clone(),
            version: version.clone(),
            digest: entry.digest.clone(),
            dependencies: entry.choices.clone(),
        };
        let file = File { version: FORMAT, plugins: self.entries.iter().map(entry).collect() };
        let mut text = serde_json::to_string_pretty(&file).expect("texts and numbers are JSON");
        text.push('\n');
        text
    }

    pub fn choices(&self, name: &str, version: &Version) -> Option<&Choices> {
        self.entries.get(&(name.into(), version.clone())).map(|entry| &entry.choices)
    }

    pub fn set(&mut self, name: Arc<str>, version: Version, digest: Arc<str>, choices: Choices) {
        self.entries.insert((name, version), Entry { digest, choices });
    }

    pub fn remove(&mut self, name: &str, version: &Version) {
        self.entries.remove(&(name.into(), version.clone()));
    }

    /// Forgets whatever is not `there`.
    pub fn retain(&mut self, there: impl Fn(&str, &Version) -> bool) {
        self.entries.retain(|(name, version), _| there(name, version));
    }

    /// The versions that use this one.
    pub fn users<'a>(
        &'a self,
        name: &'a str,
        version: &'a Version,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a Version)> {
        let uses =
            move |(_, entry): &(&(Arc<str>, Version), &Entry)| entry.choices.get(name) == Some(version);
        self.entries.iter().filter(uses).map(|((name, version), _)| (name, version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_sorted_and_comes_back_as_it_was() {
        let mut locked = Locked::default();
        let version = |text: &str| Version::parse(text).unwrap();
        let choices = Choices::from([("core-utils".into(), version("2.3.1"))]);
        locked.set("logger".into(), version("1.10.0"), "sha256:b".into(), choices);
        locked.set("logger".into(), version("1.9.0"), "sha256:a".into(), Choices::new());
        locked.set("core-utils".into(), version("2.3.1"), "sha256:c".into(), Choices::new());
        let text = locked.to_text();
        let (first, rest) = text.split_once("core-utils").unwrap();
        assert!(first.contains("\"version\": 1,") && rest.find("1.9.0") < rest.find("1.10.0"), "{text}");
        assert_eq!(Locked::parse(&text).unwrap(), locked);
        let two_three_one = version("2.3.1");
        let users: Vec<_> = locked.users("core-utils", &two_three_one).map(|(_, version)| version).collect();
        assert_eq!(users, [&version("1.10.0")]);
    }

    #[test]
    fn what_is_no_lock_says_why() {
        let later = Locked::parse(r#"{"version": 2, "plugins": {}}"#).unwrap_err();
        assert_eq!(later.to_string(), "it has format 2, and this build knows 1");
        for bad in ["", "[]", r#"{"version": 1}"#, r#"{"version": 1, "plugins": [{"name": "a"}]}"#] {
            assert!(matches!(Locked::parse(bad), Err(LockError::Malformed(_))), "{bad}");
        }
    }
}
