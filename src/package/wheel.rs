//! Wheels (PEP 427), as far as a pure one can be installed by copying its files. Read with the strict reader of
//! packages; nothing of a wheel is run, and no file of it lands outside of where wheels may write.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::archive::{Contents, names};
use super::diagnostic::quote;
use super::error::PackageError;
use super::requirements::normalized;

/// Texts of a wheel that are read whole, such as its list of files.
const TEXT_BYTES_MAX: usize = 16 << 20;
/// Scripts of one wheel.
const SCRIPTS_MAX: usize = 1_000;

/// Begins a Python script that finds the interpreter beside itself, wherever its folder was moved to. For a shell it
/// is a command, for Python a text that nobody uses.
pub const SCRIPT_HEAD: &str =
    "#!/bin/sh\n'''exec' \"$(dirname -- \"$(realpath -- \"$0\")\")/python\" \"$0\" \"$@\"\n' '''\n";

#[derive(Debug, thiserror::Error)]
pub enum WheelError {
    #[error(transparent)]
    Package(#[from] PackageError),
    #[error("{0}")]
    Damaged(String),
    #[error("{} cannot be written: {cause}", path.display())]
    Write { path: PathBuf, cause: io::Error },
}

/// What the name of a wheel's file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WheelName {
    /// As PEP 503 spells it.
    pub name: String,
    pub version: String,
    pub pythons: Vec<String>,
    pub abis: Vec<String>,
    pub platforms: Vec<String>,
}

impl WheelName {
    /// `None`: it is not the name of a wheel.
    pub fn parse(file_name: &str) -> Option<WheelName> {
        let parts: Vec<&str> = file_name.strip_suffix(".whl")?.split('-').collect();
        let (name, version, tags) = match parts.as_slice() {
            [name, version, tags @ ..] if tags.len() == 3 => (name, version, tags),
            [name, version, build, tags @ ..]
                if tags.len() == 3 && build.starts_with(|c: char| c.is_ascii_digit()) =>
            {
                (name, version, tags)
            }
            _ => return None,
        };
        let set = |text: &str| text.split('.').map(str::to_owned).collect();
        let good = |text: &str| {
            !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "._+!".contains(c))
        };
        (good(name) && good(version)).then(|| WheelName {
            name: normalized(name),
            version: (*version).to_owned(),
            pythons: set(tags[0]),
            abis: set(tags[1]),
            platforms: set(tags[2]),
        })
    }

    /// Whether it is for any machine, and for a Python of this version.
    pub fn is_pure_for(&self, version: &[u32]) -> bool {
        let any = |list: &[String], word: &str| list.iter().any(|entry| entry == word);
        let (Some(major), Some(minor)) = (version.first(), version.get(1)) else { return false };
        let fits = |tag: &String| {
            let digits = tag.strip_prefix("py").or_else(|| tag.strip_prefix("cp")).unwrap_or_default();
            let Some(rest) = digits.strip_prefix(&major.to_string()) else { return false };
            rest.is_empty() || rest.parse().is_ok_and(|oldest: u32| oldest <= *minor)
        };
        any(&self.abis, "none") && any(&self.platforms, "any") && self.pythons.iter().any(fits)
    }
}

/// A wheel whose files are what its list of files says.
#[derive(Debug)]
pub struct Wheel {
    files: Contents,
    /// Such as `requests-2.31.0.dist-info`.
    info: String,
}

/// Where the files of wheels go.
#[derive(Clone, Copy, Debug)]
pub struct Places<'p> {
    pub site_packages: &'p Path,
    pub scripts: &'p Path,
    /// The root of the environment, for files that are neither.
    pub prefix: &'p Path,
}

impl Wheel {
    /// Reads every file once.
    pub fn open(path: &Path) -> Result<Wheel, WheelError> {
        let mut files = Contents::list(path)?;
        let infos: Vec<&str> = files
            .names()
            .filter_map(|name| name.split_once('/'))
            .filter(|(folder, file)| *file == "RECORD" && folder.ends_with(".dist-info"))
            .map(|(folder, _)| folder)
            .collect();
        let [info] = infos.as_slice() else {
            return Err(WheelError::Damaged("it has no list of its files (one *.dist-info/RECORD)".into()));
        };
        let info = (*info).to_owned();
        files.hash()?;
        let wheel = Wheel { files, info };
        wheel.check_record()?;
        Ok(wheel)
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.total_size()
    }

    /// Copies the files to their places and writes the scripts that the wheel declares.
    pub fn install(&self, places: Places<'_>) -> Result<(), WheelError> {
        let data = format!("{}.data/", self.info.trim_end_matches(".dist-info"));
        for name in self.files.names() {
            let place = match name.strip_prefix(&*data).map(|rest| rest.split_once('/')) {
                None | Some(Some(("purelib" | "platlib", _))) => {
                    let name = name
                        .strip_prefix(&*data)
                        .map_or(name, |rest| rest.split_once('/').map_or(rest, |(_, rest)| rest));
                    Place { path: places.site_packages.join(name), replaces: true, script: false }
                }
                Some(Some(("scripts", name))) => {
                    Place { path: places.scripts.join(name), replaces: false, script: true }
                }
                Some(Some(("data", name))) => {
                    Place { path: places.prefix.join(name), replaces: false, script: false }
                }
                // Headers are for building, which nobody does here.
                Some(_) => continue,
            };
            self.copy(name, &place)?;
        }
        self.write_scripts(places.scripts)
    }

    /// Whether each file is in the list of files, with its digest, and nothing in there is missing.
    fn check_record(&self) -> Result<(), WheelError> {
        let record = format!("{}/RECORD", self.info);
        let text = self.text(&record)?.unwrap_or_default();
        let damaged = |name: &str, what: &str| WheelError::Damaged(format!("{} {what}", quote(name)));
        let mut listed = std::collections::HashSet::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let (name, digest) =
                record_line(line).ok_or_else(|| damaged(line, "is no line of a list of files"))?;
            // The reader of packages leaves out caches; so does this.
            if names::is_ignored(&name) {
                continue;
            }
            let Some(sha256) = self.files.sha256_of(&name) else {
                return Err(damaged(&name, "is listed but missing"));
            };
            let unsigned = name == record || name.starts_with(&format!("{record}."));
            match digest.strip_prefix("sha256=") {
                Some(digest) if *digest == base64_url(&sha256) => {}
                None if unsigned => {}
                _ => return Err(damaged(&name, "is not what the list of files says (sha256)")),
            }
            listed.insert(name);
        }
        let unlisted = self.files.names().find(|name| !listed.contains(*name) && !name.starts_with(&record));
        unlisted.map_or(Ok(()), |name| Err(damaged(name, "is not in the list of files")))
    }

    fn copy(&self, name: &str, place: &Place) -> Result<(), WheelError> {
        let write = |cause| WheelError::Write { path: place.path.clone(), cause };
        let mut out = place.create(self.files.is_program(name)).map_err(write)?;
        if place.script {
            // Scripts are texts that begin with `#!python`, whichever Python that will be.
            let text = self.files.read(name, TEXT_BYTES_MAX)?.unwrap_or_default();
            let rest = text.strip_prefix(b"#!python".as_slice());
            let after =
                rest.and_then(|rest| rest.iter().position(|byte| *byte == b'\n').map(|end| &rest[end + 1..]));
            return match after {
                Some(after) => {
                    out.write_all(SCRIPT_HEAD.as_bytes()).and_then(|()| out.write_all(after)).map_err(write)
                }
                None => out.write_all(&text).map_err(write),
            };
        }
        Ok(self.files.copy_file(name, &mut out)?)
    }

    /// The commands of `entry_points.txt`.
    fn write_scripts(&self, folder: &Path) -> Result<(), WheelError> {
        let Some(text) = self.text(&format!("{}/entry_points.txt", self.info))? else { return Ok(()) };
        let mut section = "";
        let mut written = 0;
        for line in
            text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';']))
        {
            if line.starts_with('[') {
                section = line;
                continue;
            }
            if !matches!(section, "[console_scripts]" | "[gui_scripts]") {
                continue;
            }
            let Some(script) = Script::parse(line) else {
                return Err(WheelError::Damaged(format!("its script {} cannot be read", quote(line))));
            };
            written += 1;
            if written > SCRIPTS_MAX {
                return Err(WheelError::Damaged(format!("it has more than {SCRIPTS_MAX} scripts")));
            }
            let path = folder.join(script.name);
            let place = Place { path: path.clone(), replaces: false, script: true };
            let write = |cause| WheelError::Write { path: path.clone(), cause };
            let mut out = place.create(true).map_err(write)?;
            out.write_all(script.text().as_bytes()).map_err(write)?;
        }
        Ok(())
    }

    fn text(&self, name: &str) -> Result<Option<String>, WheelError> {
        let Some(bytes) = self.files.read(name, TEXT_BYTES_MAX)? else { return Ok(None) };
        let damaged = |_| WheelError::Damaged(format!("{} is not UTF-8", quote(name)));
        String::from_utf8(bytes).map(Some).map_err(damaged)
    }
}

struct Place {
    path: PathBuf,
    /// Two wheels may bring the same module, and the later one wins, as with pip. Nothing else is replaced: above
    /// all no link to the interpreter is written through.
    replaces: bool,
    script: bool,
}

impl Place {
    fn create(&self, program: bool) -> io::Result<File> {
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        if self.replaces && fs::symlink_metadata(&self.path).is_ok_and(|found| !found.is_dir()) {
            fs::remove_file(&self.path)?;
        }
        let mode = if program || self.script { 0o755 } else { 0o644 };
        OpenOptions::new().write(true).create_new(true).mode(mode).open(&self.path)
    }
}

/// `name = module:attribute`.
struct Script<'l> {
    name: &'l str,
    module: &'l str,
    attribute: &'l str,
}

impl Script<'_> {
    fn parse(line: &str) -> Option<Script<'_>> {
        let (name, target) = line.split_once('=')?;
        let target = target.split('[').next()?.trim();
        let (module, attribute) = target.split_once(':')?;
        let (name, module, attribute) = (name.trim(), module.trim(), attribute.trim());
        let dotted = |text: &str| {
            text.split('.').all(|part| {
                part.starts_with(|c: char| c.is_alphabetic() || c == '_')
                    && part.chars().all(|c| c.is_alphanumeric() || c == '_')
            })
        };
        let plain = names::check(name).is_ok() && !name.contains('/');
        (plain && dotted(module) && dotted(attribute)).then_some(Script { name, module, attribute })
    }

    fn text(&self) -> String {
        let (module, attribute) = (self.module, self.attribute);
        let first = attribute.split('.').next().unwrap_or(attribute);
        format!("{SCRIPT_HEAD}import sys\nfrom {module} import {first}\nsys.exit({attribute}())\n")
    }
}

/// Name and digest of a line of `RECORD`, which is CSV.
fn record_line(line: &str) -> Option<(String, String)> {
    if let Some(quoted) = line.strip_prefix('"') {
        let mut name = String::new();
        let mut rest = quoted;
        loop {
            let (part, after) = rest.split_once('"')?;
            name.push_str(part);
            match after.strip_prefix('"') {
                Some(more) => {
                    name.push('"');
                    rest = more;
                }
                None => return Some((name, after.strip_prefix(',')?.split(',').next()?.to_owned())),
            }
        }
    }
    let mut fields = line.split(',');
    Some((fields.next()?.to_owned(), fields.next()?.to_owned()))
}

/// Without padding.
fn base64_url(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::with_capacity(bytes.len() * 4 / 3 + 3);
    for group in bytes.chunks(3) {
        let word =
            group.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..=group.len() {
            out.push(char::from(LETTERS[(word >> (18 - 6 * place) & 63) as usize]));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    #[test]
    fn names_of_wheels_are_read_and_judged() {
        let pure = |name: &str| WheelName::parse(name).map(|wheel| wheel.is_pure_for(&[3, 11, 7]));
        for (name, expected) in [
            ("a-1.0-py3-none-any.whl", Some(true)),
            ("a-1.0-py2.py3-none-any.whl", Some(true)),
            ("a-1.0-1-py3-none-any.whl", Some(true)),
            ("a-1.0-py39-none-any.whl", Some(true)),
            ("a-1.0-py311-none-any.whl", Some(true)),
            ("a-1.0-py312-none-any.whl", Some(false)),
            ("a-1.0-py2-none-any.whl", Some(false)),
            ("a-1.0-cp311-cp311-manylinux_2_17_x86_64.whl", Some(false)),
            ("a-1.0-py3-none-linux_x86_64.whl", Some(false)),
            ("a-1.0.tar.gz", None),
            ("a-1.0-py3.whl", None),
            ("../a-1.0-py3-none-any.whl", None),
        ] {
            assert_eq!(pure(name), expected, "{name}");
        }
        let wheel = WheelName::parse("Foo_Bar.x-1.0+local-py3-none-any.whl").unwrap();
        assert_eq!((wheel.name.as_str(), wheel.version.as_str()), ("foo-bar-x", "1.0+local"));
    }

    #[test]
    fn lists_of_files_are_csv() {
        let read = |line| record_line(line).unwrap();
        assert_eq!(read("a/b.py,sha256=x,1"), ("a/b.py".into(), "sha256=x".into()));
        assert_eq!(read("\"a,\"\"b\",sha256=x,1"), ("a,\"b".into(), "sha256=x".into()));
        assert_eq!(read("a/RECORD,,"), ("a/RECORD".into(), String::new()));
        assert_eq!((record_line("a"), record_line("\"a")), (None, None));
        assert_eq!(base64_url(&Sha256::digest(b"V=1\n")).len(), 43);
        assert_eq!([base64_url(b"f"), base64_url(b"fo"), base64_url(b"foo>?")], ["Zg", "Zm8", "Zm9vPj8"]);
    }

    /// A wheel of these files; what is not in the list of files begins with `!`.
    fn wheel(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a-1.0-py3-none-any.whl");
        let mut zip = zip::ZipWriter::new(File::create(&path).unwrap());
        let mut record = String::new();
        let options = zip::write::SimpleFileOptions::default();
        for (name, text) in files {
            let listed = !name.starts_with('!');
            let name = name.trim_start_matches('!');
            zip.start_file(name, options).unwrap();
            zip.write_all(text.as_bytes()).unwrap();
            if listed {
                record += &format!("{name},sha256={},{}\n", base64_url(&Sha256::digest(text)), text.len());
            }
        }
        zip.start_file("a-1.0.dist-info/RECORD", options).unwrap();
        zip.write_all(format!("{record}a-1.0.dist-info/RECORD,,\n").as_bytes()).unwrap();
        zip.finish().unwrap();
        (folder, path)
    }

    fn install(path: &Path) -> (tempfile::TempDir, Result<(), WheelError>) {
        let root = tempfile::tempdir().unwrap();
        let (site_packages, scripts) = (root.path().join("lib"), root.path().join("bin"));
        fs::create_dir(&scripts).unwrap();
        fs::write(root.path().join("real"), "untouched").unwrap();
        std::os::unix::fs::symlink(root.path().join("real"), scripts.join("python")).unwrap();
        let places = Places { site_packages: &site_packages, scripts: &scripts, prefix: root.path() };
        let installed = Wheel::open(path).and_then(|wheel| wheel.install(places));
        (root, installed)
    }

    #[test]
    fn files_go_where_wheels_say() {
        let (_folder, path) = wheel(&[
            ("a/__init__.py", "def main(): return 0"),
            ("a/data.txt", "d"),
            ("a-1.0.data/purelib/b.py", "b"),
            ("a-1.0.data/scripts/tool", "#!python\nprint(1)\n"),
            ("a-1.0.data/data/share/x", "x"),
            ("a-1.0.data/headers/x.h", "x"),
            ("a-1.0.dist-info/entry_points.txt", "[console_scripts]\ncli = a:main [extra]\n[other]\nx = y\n"),
        ]);
        let (root, installed) = install(&path);
        installed.unwrap();
        let read = |name: &str| fs::read_to_string(root.path().join(name)).unwrap();
        assert_eq!(
            (read("lib/a/data.txt"), read("lib/b.py"), read("share/x")),
            ("d".into(), "b".into(), "x".into())
        );
        assert_eq!(read("bin/tool"), format!("{SCRIPT_HEAD}print(1)\n"));
        assert!(read("bin/cli").ends_with("from a import main\nsys.exit(main())\n"));
        assert!(!root.path().join("x.h").exists());
    }

    #[test]
    fn a_wheel_that_lies_is_refused() {
        for (files, why) in [
            (&[("!a/x.py", "x")][..], "is not in the list of files"),
            (&[("a-1.0.data/scripts/python", "#!python\n")], "cannot be written"),
            (&[("a-1.0.data/data/bin/python", "x")], "cannot be written"),
            (&[("a-1.0.dist-info/entry_points.txt", "[console_scripts]\n../x = a:b")], "cannot be read"),
            (
                &[("a-1.0.dist-info/entry_points.txt", "[console_scripts]\nx = a:b();import os")],
                "cannot be read",
            ),
            (&[("../x.py", "x")], "leaves the package"),
            (&[("/x.py", "x")], "absolute"),
        ] {
            let (_folder, path) = wheel(files);
            let (root, installed) = install(&path);
            let error = installed.unwrap_err().to_string();
            assert!(error.contains(why), "{files:?}: {error}");
            assert_eq!(fs::read_to_string(root.path().join("real")).unwrap(), "untouched");
        }
        let (_folder, path) = wheel(&[("a/x.py", "unchanged")]);
        let text = fs::read(&path).unwrap();
        let at = text.windows(9).position(|window| window == b"unchanged");
        // Compressed texts of this size are stored or not, as the writer likes.
        if let Some(at) = at {
            let mut changed = text.clone();
            changed[at] = b'U';
            fs::write(&path, changed).unwrap();
            assert!(Wheel::open(&path).is_err());
        }
        fs::write(&path, "no zip").unwrap();
        assert!(Wheel::open(&path).is_err());
    }
}
