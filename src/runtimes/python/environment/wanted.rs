//! What a plugin asks for, as its files say it, and the key of the environment that holds just that.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::unavailable;
use crate::model::error::InvokeError;
use crate::package::requirements::{LOCK, Lock, Requirement, Requirements, RequirementsError};
use crate::package::wheel::WheelName;
use crate::runtimes::python::Interpreter;

pub const WHEELS: &str = "wheels";
/// More than any package may hold.
const WHEELS_MAX: usize = 2_000;
/// Goes up when an environment is laid out differently: those of before are no longer found.
const LAYOUT: u32 = 1;

/// A plugin's requirements, with all that decides what they come to.
#[derive(Debug)]
pub struct Wanted {
    /// Without a lock they are resolved when the environment is built.
    pub requirements: Option<Requirements>,
    pub lock: Option<Lock>,
    /// By file name. If there are any, nothing else is installed, and no network is used.
    pub wheels: Vec<WheelFile>,
    pub wheels_folder: PathBuf,
}

#[derive(Clone, Debug)]
pub struct WheelFile {
    pub path: PathBuf,
    pub file_name: String,
    /// `None`: it is not named as a wheel is.
    pub name: Option<WheelName>,
    /// In hex.
    pub sha256: String,
}

impl Wanted {
    /// `None`: the plugin needs no environment. Reads all wheels; blocks on the disk.
    pub fn read(folder: &Path) -> Result<Option<Wanted>, InvokeError> {
        let requirements = Requirements::read(folder).map_err(from_mistake)?;
        let lock = Lock::read(folder).map_err(from_mistake)?;
        if requirements.is_none() && lock.as_ref().is_none_or(|lock| lock.entries.is_empty()) {
            return Ok(None);
        }
        if let (Some(requirements), Some(lock)) = (&requirements, &lock)
            && let Err(why) = lock.answers(requirements)
        {
            // Running something else than what was locked is the one thing that a lock is there to prevent.
            return Err(unavailable(format!("{LOCK} does not answer requirements.txt: {why}")).help(
                "run `spanglass plugin package PATH` again, or remove requirements.lock to have the newest that fits",
            ));
        }
        let wheels_folder = folder.join(WHEELS);
        let wheels = list_wheels(&wheels_folder)
            .map_err(|error| unavailable(format!("{WHEELS}/ cannot be read: {error}")))?;
        // The installer runs in another folder than we do.
        let wheels_folder = std::path::absolute(&wheels_folder).unwrap_or(wheels_folder);
        Ok(Some(Wanted { requirements, lock, wheels, wheels_folder }))
    }

    /// What is asked for, or with a lock what it comes to.
    pub fn entries(&self) -> &[Requirement] {
        match (&self.lock, &self.requirements) {
            (Some(lock), _) => &lock.entries,
            (None, Some(requirements)) => &requirements.entries,
            (None, None) => &[],
        }
    }

    /// The author's own words for a package, if he named it.
    pub fn asked(&self, name: &str) -> Option<&Requirement> {
        let asked = self.requirements.iter().flat_map(|requirements| &requirements.entries);
        asked.chain(self.entries()).find(|entry| entry.name == name)
    }

    pub fn is_offline(&self) -> bool {
        !self.wheels.is_empty()
    }

    /// The text for the installer; without a network nothing says where else to look.
    pub fn lines(&self) -> String {
        let options = self.requirements.iter().flat_map(|requirements| &requirements.options);
        match &self.lock {
            Some(lock) if self.is_offline() => without(&lock.flat, &lock.options),
            Some(lock) => options.map(|option| format!("{option}\n")).collect::<String>() + &lock.flat,
            None => match &self.requirements {
                Some(requirements) if self.is_offline() => without(&requirements.flat, &requirements.options),
                Some(requirements) => requirements.flat.clone(),
                None => String::new(),
            },
        }
    }

    /// What limits versions without asking for anything.
    pub fn constraints(&self) -> &str {
        match (&self.lock, &self.requirements) {
            (None, Some(requirements)) => &requirements.constraints,
            _ => "",
        }
    }

    /// Equal for all plugins that need the same: what is asked for, the wheels, and the Python.
    pub fn key(&self, interpreter: &Interpreter) -> String {
        let mut hash = Sha256::new();
        let mut add = |name: &str, value: &str| {
            // With their lengths, so that no two different lists read alike.
            hash.update(format!("{name} {}\n{value}\n", value.len()));
        };
        add("layout", &LAYOUT.to_string());
        add("python", &interpreter.path.to_string_lossy());
        for part in &interpreter.version {
            add("version", &part.to_string());
        }
        add("lines", &self.lines());
        add("constraints", self.constraints());
        for wheel in &self.wheels {
            add("wheel", &wheel.file_name);
            add("sha256", &wheel.sha256);
        }
        hex(&hash.finalize())
    }
}

pub(super) fn from_mistake(mistake: RequirementsError) -> InvokeError {
    let mut error = unavailable(mistake.to_string());
    error.help = mistake.help;
    error
}

/// The wheels of a folder, by name; none if there is no such folder.
pub(super) fn list_wheels(folder: &Path) -> io::Result<Vec<WheelFile>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut wheels = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let Some(file_name) = path.file_name().and_then(|name| name.to_str()).map(str::to_owned) else {
            continue;
        };
        if !file_name.ends_with(".whl") || !path.is_file() {
            continue;
        }
        if wheels.len() == WHEELS_MAX {
            return Err(io::Error::other(format!("it holds more than {WHEELS_MAX} wheels")));
        }
        let sha256 = hash_file(&path)?;
        wheels.push(WheelFile { name: WheelName::parse(&file_name), path, file_name, sha256 });
    }
    wheels.sort_by(|a, b| a.file_name.cmp(&b.file_name));
    Ok(wheels)
}

fn hash_file(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hash.finalize())),
            count => hash.update(&buffer[..count]),
        }
    }
}

/// Whole lines of `text` that are none of `unwanted`.
fn without(text: &str, unwanted: &[String]) -> String {
    let kept = text.lines().filter(|line| !unwanted.iter().any(|unwanted| unwanted == line));
    kept.fold(String::new(), |mut out, line| {
        out.push_str(line);
        out.push('\n');
        out
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interpreter(version: &[u32]) -> Interpreter {
        Interpreter { path: "/usr/bin/python3".into(), version: version.to_vec() }
    }

    fn key(files: &[(&str, &str)]) -> String {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Wanted::read(folder.path()).unwrap().unwrap().key(&interpreter(&[3, 11, 7]))
    }

    #[test]
    fn the_key_is_what_decides_and_nothing_else() {
        let plain = key(&[("requirements.txt", "a==1\n")]);
        assert_eq!(
            plain,
            key(&[("requirements.txt", "# why\r\na==1 # here\r\n\r\n"), ("executor.py", "other")])
        );
        let different = [
            key(&[("requirements.txt", "a==2\n")]),
            key(&[("requirements.txt", "a==1\n--pre\n")]),
            key(&[("requirements.txt", "a==1\n"), ("wheels/a-1-py3-none-any.whl", "x")]),
            key(&[("requirements.txt", "a==1\n"), ("wheels/a-1-py3-none-any.whl", "y")]),
            key(&[("requirements.txt", "a==1\n-c c.txt"), ("c.txt", "b<1")]),
        ];
        for (index, key) in different.iter().enumerate() {
            assert!(*key != plain && !different[..index].contains(key), "{index}");
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("requirements.txt"), "a==1").unwrap();
        let wanted = Wanted::read(folder.path()).unwrap().unwrap();
        assert_ne!(wanted.key(&interpreter(&[3, 11, 7])), wanted.key(&interpreter(&[3, 11, 8])));
    }

    #[test]
    fn a_lock_that_does_not_answer_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("requirements.txt"), "a==1").unwrap();
        std::fs::write(folder.path().join(LOCK), format!("b==1 --hash=sha256:{}", "0".repeat(64))).unwrap();
        let error = Wanted::read(folder.path()).unwrap_err();
        assert!(error.message.contains("does not name `a==1`") && error.help.is_some(), "{error}");
    }

    #[test]
    fn without_requirements_nothing_is_wanted() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Wanted::read(folder.path()).unwrap().is_none());
        std::fs::write(folder.path().join("requirements.txt"), "# none\n").unwrap();
        std::fs::create_dir(folder.path().join(WHEELS)).unwrap();
        std::fs::write(folder.path().join("wheels/data.whl"), "of the plugin").unwrap();
        assert!(Wanted::read(folder.path()).unwrap().is_none());
    }
}
