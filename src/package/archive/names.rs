//! Names of files in a package: relative, plain, the same on every system.

use std::collections::HashMap;

use unicode_normalization::UnicodeNormalization;

use super::super::diagnostic::quote;
use super::super::error::PackageError;

pub const NAME_BYTES_MAX: usize = 1024;
pub const COMPONENT_BYTES_MAX: usize = 255;
pub const DEPTH_MAX: usize = 32;

/// Whether a name may stand in a package: `folder/file.txt`.
///
/// # Errors
/// What is wrong with it, as the end of a sentence.
pub fn check(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("it is empty");
    }
    if name.len() > NAME_BYTES_MAX {
        return Err("it is longer than 1024 bytes");
    }
    if name.contains('\0') {
        return Err("it holds a NUL");
    }
    if name.chars().any(char::is_control) {
        return Err("it holds a control character");
    }
    if name.contains('\\') {
        return Err("it holds a backslash");
    }
    if name.starts_with('/') {
        return Err("it is absolute");
    }
    if name.as_bytes().get(1) == Some(&b':') && name.as_bytes()[0].is_ascii_alphabetic() {
        return Err("it names a drive");
    }
    for (depth, component) in name.split('/').enumerate() {
        match component {
            "" => return Err("it has an empty part"),
            ".." => return Err("it leaves the package"),
            "." => return Err("it has a part `.`"),
            _ if component.len() > COMPONENT_BYTES_MAX => {
                return Err("a part of it is longer than 255 bytes");
            }
            _ if depth == DEPTH_MAX => return Err("it is nested more than 32 deep"),
            _ => {}
        }
    }
    Ok(())
}

/// Whether a file is left out of packages: caches, version control and what editors and systems leave behind.
pub fn is_ignored(name: &str) -> bool {
    name.split('/').any(|component| {
        matches!(
            component,
            ".git"
                | ".hg"
                | ".svn"
                | ".gitignore"
                | ".gitattributes"
                | ".gitmodules"
                | ".hgignore"
                | "__pycache__"
                | ".venv"
                | ".spanglass"
                | ".pytest_cache"
                | ".mypy_cache"
                | ".ruff_cache"
                | ".tox"
                | ".nox"
                | ".idea"
                | ".vscode"
                | ".DS_Store"
                | "__MACOSX"
                | "Thumbs.db"
                | "desktop.ini"
        ) || [".pyc", ".pyo", ".swp"].iter().any(|suffix| component.ends_with(suffix))
            || component.ends_with('~')
    })
}

/// Most bytes that the names of all files and folders may have together.
const ALL_NAMES_BYTES_MAX: usize = 4 << 20;

/// Finds names that would be one and the same on some system, or a file where another name needs a folder.
#[derive(Default)]
pub struct Collisions {
    /// By folded name: what it is, and how it was written first, if that differs.
    seen: HashMap<Box<str>, (Kind, Option<Box<str>>)>,
    bytes: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    /// Named as such, or only as a part of another name.
    Folder,
}

impl Collisions {
    pub fn add_file(&mut self, name: &str) -> Result<(), PackageError> {
        self.add_parents(name)?;
        self.count(name)?;
        let folded = folded(name);
        if let Some((_, other)) = self.seen.get(&folded) {
            return Err(collision(name, other.as_deref().unwrap_or(&folded)));
        }
        let written = (*folded != *name).then(|| name.into());
        self.seen.insert(folded, (Kind::File, written));
        Ok(())
    }

    /// A folder may be named any number of times, always alike.
    pub fn add_folder(&mut self, name: &str) -> Result<(), PackageError> {
        self.add_parents(name)?;
        self.add_one_folder(name, name)?;
        Ok(())
    }

    fn add_parents(&mut self, name: &str) -> Result<(), PackageError> {
        for (end, _) in name.rmatch_indices('/') {
            // The parents of a known folder are known.
            if self.add_one_folder(&name[..end], name)? {
                break;
            }
        }
        Ok(())
    }

    /// Whether the folder was there already.
    fn add_one_folder(&mut self, folder: &str, because_of: &str) -> Result<bool, PackageError> {
        let folded = folded(folder);
        if let Some((kind, other)) = self.seen.get(&folded) {
            let other = other.as_deref().unwrap_or(&folded);
            return match kind {
                Kind::Folder if *other == *folder => Ok(true),
                _ => Err(collision(because_of, other)),
            };
        }
        self.count(folder)?;
        let written = (*folded != *folder).then(|| folder.into());
        self.seen.insert(folded, (Kind::Folder, written));
        Ok(false)
    }

    fn count(&mut self, name: &str) -> Result<(), PackageError> {
        self.bytes += name.len();
        if self.bytes > ALL_NAMES_BYTES_MAX || self.seen.len() >= 2 * super::ENTRIES_MAX {
            return Err(PackageError::TooManyEntries { entries_max: super::ENTRIES_MAX });
        }
        Ok(())
    }
}

fn collision(name: &str, other: &str) -> PackageError {
    PackageError::Collision { name: quote(name), other: quote(other) }
}

/// Case folded and composed. Lower after upper case, for letters such as `ß` and `ſ`.
fn folded(name: &str) -> Box<str> {
    if name.is_ascii() {
        return name.to_ascii_lowercase().into();
    }
    let folded: String = name.nfc().collect::<String>().to_uppercase().to_lowercase();
    folded.nfc().collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_relative_names_are_good() {
        for good in ["a", "a/b.py", "a b/ü.txt", ".hidden", "a..b", "xy:z", "..a"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        let deep = vec!["d"; 33].join("/");
        for bad in [
            "", "/a", "..", "a/../b", "a/..", "./a", "a//b", "a/", "C:a", "c:/a", "a\\b", "..\\a", "a\0",
            "a\nb", &deep,
        ] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
        assert!(check(&"x".repeat(256)).is_err());
    }

    #[test]
    fn names_collide_after_folding_and_as_file_and_folder() {
        let collide = |first: &str, second: &str| {
            let mut seen = Collisions::default();
            seen.add_file(first).unwrap();
            seen.add_file(second).is_err()
        };
        assert!(collide("a", "a"));
        assert!(collide("README", "readme"));
        assert!(collide("é", "e\u{301}"));
        assert!(collide("STRASSE", "straße"));
        assert!(collide("a", "a/b"));
        assert!(collide("a/b", "a"));
        assert!(collide("A/x", "a/y"));
        assert!(!collide("a/x", "a/y"));
        let mut seen = Collisions::default();
        seen.add_folder("a").unwrap();
        seen.add_folder("a").unwrap();
        seen.add_file("a/b").unwrap();
        assert!(seen.add_file("a").is_err());
    }

    #[test]
    fn caches_and_version_control_are_left_out() {
        for ignored in
            [".git/config", "a/__pycache__/b.pyc", ".DS_Store", "x/.venv/bin/python", "b.pyc", ".spanglass/a"]
        {
            assert!(is_ignored(ignored), "{ignored}");
        }
        for kept in ["executor.py", ".env.example", "wheels/a.whl", "requirements.txt", "git/a"] {
            assert!(!is_ignored(kept), "{kept}");
        }
    }
}
