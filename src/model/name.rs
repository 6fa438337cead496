//! Plugin names and tags.

use std::fmt;
use std::sync::Arc;

/// A plugin's name: `^[a-z0-9][a-z0-9-]{0,63}$`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PluginName(Arc<str>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a plugin name has 1 to 64 characters of a-z, 0-9 and -, and begins with a letter or digit")]
pub struct InvalidName;

impl PluginName {
    pub const LENGTH_MAX: usize = 64;

    pub fn parse(text: &str) -> Result<PluginName, InvalidName> {
        let bytes = text.as_bytes();
        let fits = (1..=Self::LENGTH_MAX).contains(&bytes.len())
            && bytes[0] != b'-'
            && bytes.iter().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if fits { Ok(PluginName(text.into())) } else { Err(InvalidName) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn shared(&self) -> Arc<str> {
        self.0.clone()
    }
}

impl fmt::Display for PluginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PluginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rule_exactly() {
        for good in ["a", "0", "http-request", "a--b", "a-", &"x".repeat(64)] {
            assert!(PluginName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "A", "a_b", "a.b", "ä", "a b", "a/b", &"x".repeat(65)] {
            assert_eq!(PluginName::parse(bad), Err(InvalidName), "{bad}");
        }
    }
}
