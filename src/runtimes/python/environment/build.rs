//! Builds one environment: a virtual environment without pip, then the packages, then what makes it movable.
//!
//! It is a real virtual environment, not a folder of packages on the path: its Python processes the `.pth` files, and
//! so does each Python that a plugin starts (`sys.executable`, `multiprocessing`, a console script). A virtual
//! environment finds itself by the place of its own `bin/python`, so it may be renamed once the scripts beside that
//! do the same.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::credentials::Credentials;
use super::installer::{self, Installer, Installers, Site};
use super::keep::{About, Keep, KeyLock, remove_tree, size};
use super::process::{self, Command, with_output};
use super::wanted::Wanted;
use super::{InstallError, unavailable, unpack, verdict};
use crate::model::error::InvokeError;
use crate::model::kind::ErrorKind;
use crate::package::wheel::{Places, SCRIPT_HEAD};
use crate::runtimes::python::Interpreter;
use crate::runtimes::worker::path_text;

/// A script that is longer is none of an installer's making.
const SCRIPT_BYTES_MAX: u64 = 64 << 10;

/// Where its lines go: what is said by whom.
pub type Say<'s> = &'s (dyn Fn(&str, &str) + Send + Sync);

pub struct Job<'j> {
    pub keep: &'j Arc<Keep>,
    pub supervisor: &'j Path,
    pub wanted: &'j Wanted,
    pub interpreter: &'j Interpreter,
    pub key: &'j str,
}

/// The environment, ready, with a user's lock; and whether it was there already.
pub async fn build(job: Job<'_>, say: Say<'_>) -> Result<(About, KeyLock, bool), InstallError> {
    let (keep, key) = (job.keep, job.key);
    let locking = |error: io::Error| broken(keep.folder(), &error);
    // Most of the time it is there, and others may be using it.
    if let Some(lock) = keep.try_share(key).map_err(locking)?
        && let Some(about) = keep.ready(key)
    {
        return Ok((about, lock, true));
    }
    let lock = keep.lock(key).await.map_err(locking)?;
    // Another process may have built it meanwhile.
    if let Some(about) = keep.ready(key) {
        return Ok((about, lock.share().map_err(locking)?, true));
    }
    let building = Building(keep.building(key));
    let built = job.build_in(&building.0, say).await;
    // Thousands of files may have to go.
    let removed = blocking(move || drop(building)).await;
    let about = built?;
    removed?;
    Ok((about, lock.share().map_err(locking)?, false))
}

/// Removed however the build ends; what a kill leaves is removed by the next build of the same key, or a sweep.
struct Building(PathBuf);

impl Drop for Building {
    fn drop(&mut self) {
        let _ = remove_tree(&self.0);
    }
}

impl Job<'_> {
    async fn build_in(&self, folder: &Path, say: Say<'_>) -> Result<About, InstallError> {
        let disk = |error: io::Error| broken(folder, &error);
        let (environment, temporary) = (folder.join("environment"), folder.join("temporary"));
        remove_tree(folder).map_err(disk)?;
        fs::create_dir_all(&temporary).map_err(disk)?;
        let installers = Installers::find(self.interpreter).await?;
        let installer = installers.best();
        say(
            "spanglass",
            &format!(
                "building an environment with {} for {}",
                installer.describe(),
                self.machine(&installers)
            ),
        );
        self.make_empty(&installers, &environment, &temporary, say).await?;
        let site_packages = unpack::site_packages(&environment)
            .ok_or_else(|| unavailable("the new virtual environment has no folder for packages"))?;
        match &installer {
            Installer::Unpack => self.unpack(&environment, &site_packages, say).await?,
            installer => self.install(installer, &installers, folder, say).await?,
        }
        let about = About {
            key: self.key.to_owned(),
            installer: installer.describe(),
            python: self.interpreter.version.iter().map(u32::to_string).collect::<Vec<_>>().join("."),
            packages: 0,
            bytes: 0,
        };
        let keep = self.keep.clone();
        let finished = blocking(move || {
            let about = finish(&environment, &site_packages, about)?;
            keep.finish(&environment, &about)?;
            Ok(about)
        });
        let about = finished.await?.map_err(disk)?;
        say("spanglass", &format!("installed {} packages, {} MiB", about.packages, about.bytes >> 20));
        Ok(about)
    }

    fn machine(&self, installers: &Installers) -> String {
        let version: Vec<String> = self.interpreter.version.iter().take(2).map(u32::to_string).collect();
        format!("Python {} on {}", version.join("."), installers.platform)
    }

    /// A virtual environment with nothing in it, and nothing in it that knows its place.
    async fn make_empty(
        &self,
        installers: &Installers,
        environment: &Path,
        temporary: &Path,
        say: Say<'_>,
    ) -> Result<(), InvokeError> {
        let words = ["-I", "-X", "utf8", "-m", "venv", "--without-pip", "--symlinks"];
        let mut argv = vec![path_text(&installers.python)?];
        argv.extend(words.map(String::from));
        argv.push(path_text(environment)?);
        let command = Command { argv, env: installer::pip_environment(true, temporary)? };
        let ended =
            process::run(self.supervisor, command, &Credentials::default(), &|line| say("venv", line))
                .await?;
        if !ended.good {
            let said = ended.lines.last().map_or("", |line| line.as_str());
            let message = format!(
                "no virtual environment can be made with {}: it {} {said}",
                installers.python.display(),
                ended.how
            );
            return Err(with_output(
                "venv",
                &ended,
                unavailable(message).help("install it, for example with `apt install python3-venv`"),
            ));
        }
        make_movable(environment).map_err(|error| broken(environment, &error))
    }

    async fn install(
        &self,
        installer: &Installer,
        installers: &Installers,
        folder: &Path,
        say: Say<'_>,
    ) -> Result<(), InstallError> {
        let disk = |error: io::Error| broken(folder, &error);
        let (requirements, constraints) = (folder.join("requirements.txt"), folder.join("constraints.txt"));
        let lines = self.wanted.lines();
        fs::write(&requirements, &lines).map_err(disk)?;
        let limits = self.wanted.constraints();
        if !limits.is_empty() {
            fs::write(&constraints, limits).map_err(disk)?;
        }
        let site = Site {
            python: &folder.join("environment/bin/python"),
            requirements: &requirements,
            constraints: (!limits.is_empty()).then_some(&constraints),
            temporary: &folder.join("temporary"),
        };
        let command = match installer {
            Installer::Uv(uv) => installer::uv_install(uv, self.wanted, site)?,
            Installer::Pip(pip) => {
                let pip = installer::link_pip(pip, &folder.join("pip")).map_err(disk)?;
                installer::pip_install(&pip, self.wanted, site)?
            }
            Installer::Unpack => return Ok(()),
        };
        let credentials = Credentials::of([lines.as_str(), limits], &command.env);
        let name = installer.name();
        let ended = process::run(self.supervisor, command, &credentials, &|line| say(name, line)).await?;
        if ended.good {
            return Ok(());
        }
        let verdict = verdict::judge(&ended.lines, self.wanted, &self.machine(installers));
        let error = unavailable(credentials.mask(&verdict.message)).help(verdict.help);
        let requirement = verdict.requirement.map(|requirement| credentials.mask(&requirement).into());
        Err(InstallError { error: with_output(name, &ended, error).into(), requirement })
    }

    async fn unpack(
        &self,
        environment: &Path,
        site_packages: &Path,
        say: Say<'_>,
    ) -> Result<(), InstallError> {
        let chosen = unpack::choose(self.wanted, &self.interpreter.version)?;
        let mut bytes = 0;
        for wheel in chosen {
            let (owned, prefix, site_packages) =
                (wheel.clone(), environment.to_owned(), site_packages.to_owned());
            let installed = blocking(move || {
                let scripts = prefix.join("bin");
                let places = Places { site_packages: &site_packages, scripts: &scripts, prefix: &prefix };
                unpack::install(&owned, bytes, places)
            });
            bytes = installed.await??;
            say("unpack", &format!("unpacked {}", wheel.file_name));
        }
        Ok(())
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, InvokeError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| InvokeError::new(ErrorKind::Internal, error.to_string()))
}

fn broken(folder: &Path, error: &io::Error) -> InvokeError {
    let help = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room on the disk of the data folder"
        }
        _ => "look at the rights of the data folder; `spanglass doctor` does",
    };
    unavailable(format!("the environment cannot be built in {}: {error}", folder.display())).help(help)
}

/// Takes out what knows where the environment was made.
fn make_movable(environment: &Path) -> io::Result<()> {
    for entry in fs::read_dir(environment.join("bin"))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        if name.starts_with("activate") {
            fs::remove_file(path)?;
        }
    }
    let place = environment.join("pyvenv.cfg");
    let kept = fs::read_to_string(&place)?;
    let kept = kept.lines().filter(|line| !line.starts_with("command"));
    // uv heeds the word and writes scripts that find their interpreter beside themselves.
    let text: String = kept.chain(["relocatable = true"]).map(|line| format!("{line}\n")).collect();
    fs::write(place, text)
}

/// What is left to do when all packages are in.
fn finish(environment: &Path, site_packages: &Path, mut about: About) -> io::Result<About> {
    for entry in fs::read_dir(environment.join("bin"))? {
        let entry = entry?;
        if entry.file_type()?.is_file() && entry.metadata()?.len() <= SCRIPT_BYTES_MAX {
            move_script(&entry.path(), environment)?;
        }
    }
    let installed = fs::read_dir(site_packages)?.flatten();
    about.packages =
        installed.filter(|entry| entry.file_name().to_string_lossy().ends_with(".dist-info")).count();
    about.bytes = size(environment);
    Ok(about)
}

/// Lets a script find its interpreter beside itself, if it names that of the place where it was made.
fn move_script(path: &Path, environment: &Path) -> io::Result<()> {
    let Ok(text) = String::from_utf8(fs::read(path)?) else { return Ok(()) };
    let made_in = environment.to_string_lossy();
    let mut lines = text.splitn(4, '\n');
    let (first, second) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let rest = if first.starts_with("#!") && first.contains(&*made_in) {
        text.split_once('\n').map(|(_, rest)| rest)
    } else if first == "#!/bin/sh" && second.contains(&*made_in) {
        // How pip names an interpreter whose path is too long for a first line: three lines.
        lines.next();
        lines.next()
    } else {
        None
    };
    let Some(rest) = rest else { return Ok(()) };
    fs::write(path, format!("{SCRIPT_HEAD}{rest}"))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}
