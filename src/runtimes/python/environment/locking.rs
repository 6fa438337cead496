//! Writes `requirements.lock` and `wheels/` into a plugin's folder, for `plugin package`.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::credentials::Credentials;
use super::installer::{self, Installers};
use super::process::{self, Command, with_output};
use super::wanted::{self, WHEELS, Wanted, WheelFile};
use super::{unavailable, verdict};
use crate::model::error::InvokeError;
use crate::model::kind::ErrorKind;
use crate::package::archive::PACKAGE_BYTES_MAX;
use crate::package::requirements::{LOCK, Lock, Requirements, RequirementsError, header, normalized};
use crate::runtimes::python::Interpreter;
use crate::runtimes::worker::path_text;

/// What pip reports of an installation that it only tried.
const REPORT_BYTES_MAX: u64 = 64 << 20;

pub struct LockSettings {
    /// The Python to lock for; `None`: `python3` of the search path.
    pub python: Option<PathBuf>,
    /// Under which installers run.
    pub supervisor: PathBuf,
    pub with_wheels: bool,
}

/// What stands in the folder now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locked {
    pub packages: usize,
    /// Whether the lock that was there still answered.
    pub kept: bool,
    /// How many wheels there are, if there are any, and their bytes.
    pub wheels: Option<(usize, u64)>,
}

/// Brings lock and wheels of a folder up to date; `None`: the plugin has no requirements.
pub async fn lock_package(
    folder: &Path,
    settings: &LockSettings,
    say: &(dyn Fn(&str) + Send + Sync),
) -> Result<Option<Locked>, InvokeError> {
    let requirements = Requirements::read(folder).map_err(mistaken)?;
    let lock = Lock::read(folder).map_err(mistaken)?;
    if requirements.is_none() && lock.is_none() {
        return Ok(None);
    }
    let answers = match (&lock, &requirements) {
        (Some(lock), Some(requirements)) => lock.answers(requirements),
        (Some(_), None) => Ok(()),
        (None, _) => Err("there is none".to_owned()),
    };
    let program = settings.python.as_deref().unwrap_or(Path::new("python3"));
    let mut maker = None;
    if let (Err(why), Some(requirements)) = (&answers, &requirements) {
        say(&format!("writing {LOCK}: {why}"));
        let maker = maker.insert(Maker::new(program, settings, say).await?);
        let text = maker.resolve(folder, requirements).await?;
        // What could not be read again must not stand in the way of the next try.
        maker.write(LOCK, &text)?;
        Lock::read(maker.work.path()).map_err(wanted::from_mistake)?;
        write_bytes(&folder.join(LOCK), text.as_bytes())?;
    }
    let lock = Lock::read(folder).map_err(mistaken)?;
    let Some(lock) = lock else { return Err(unavailable(format!("{LOCK} is gone"))) };
    let wheels_folder = folder.join(WHEELS);
    let list = || wanted::list_wheels(&wheels_folder).map_err(|error| broken(&wheels_folder, &error));
    let mut wheels = list()?;
    if settings.with_wheels && !holds_exactly(&wheels, &lock) {
        let maker = match maker {
            Some(maker) => maker,
            None => Maker::new(program, settings, say).await?,
        };
        say(&format!("fetching {} wheels", lock.entries.len()));
        maker.fetch(requirements.as_ref(), &lock, &wheels_folder).await?;
        wheels = list()?;
    }
    if !wheels.is_empty() {
        check_wheels(&wheels, &lock)?;
    }
    let sizes = wheels.iter().filter_map(|wheel| Some(wheel.path.metadata().ok()?.len()));
    let bytes: u64 = sizes.sum();
    if bytes > PACKAGE_BYTES_MAX {
        return Err(too_large(&wheels, bytes));
    }
    Ok(Some(Locked {
        packages: lock.entries.len(),
        kept: answers.is_ok(),
        wheels: (!wheels.is_empty()).then_some((wheels.len(), bytes)),
    }))
}

/// Whether the wheels are those of the lock and no others.
fn holds_exactly(wheels: &[WheelFile], lock: &Lock) -> bool {
    let known = |wheel: &WheelFile| lock.entries.iter().any(|entry| entry.sha256.contains(&wheel.sha256));
    check_wheels(wheels, lock).is_ok() && wheels.iter().all(known)
}

/// Whether there is a wheel for all that is locked.
fn check_wheels(wheels: &[WheelFile], lock: &Lock) -> Result<(), InvokeError> {
    for entry in lock.entries.iter().filter(|entry| !entry.conditional) {
        if !wheels.iter().any(|wheel| entry.sha256.contains(&wheel.sha256)) {
            let message = format!("{WHEELS}/ does not hold `{}` with a digest of the lock", entry.text);
            let help = "fetch the wheels anew with --with-wheels, or remove the folder";
            return Err(unavailable(message).help(help));
        }
    }
    Ok(())
}

fn too_large(wheels: &[WheelFile], bytes: u64) -> InvokeError {
    let size = |wheel: &WheelFile| wheel.path.metadata().map_or(0, |about| about.len());
    let mut largest: Vec<(u64, &str)> =
        wheels.iter().map(|wheel| (size(wheel), wheel.file_name.as_str())).collect();
    largest.sort_unstable_by(|a, b| b.cmp(a));
    let largest: Vec<String> =
        largest.iter().take(3).map(|(bytes, name)| format!("{name} ({} MiB)", bytes >> 20)).collect();
    let message = format!(
        "the wheels take {} MiB, and a package may have {} MiB; the largest are {}",
        bytes >> 20,
        PACKAGE_BYTES_MAX >> 20,
        largest.join(", ")
    );
    let error = InvokeError::new(ErrorKind::InvalidInput, message);
    error.help("remove wheels/ and package without --with-wheels: they are fetched where the plugin runs")
}

/// A folder to work in, and what there is to work with.
struct Maker<'m> {
    settings: &'m LockSettings,
    say: &'m (dyn Fn(&str) + Send + Sync),
    interpreter: Interpreter,
    installers: Installers,
    work: tempfile::TempDir,
}

impl<'m> Maker<'m> {
    async fn new(
        program: &Path,
        settings: &'m LockSettings,
        say: &'m (dyn Fn(&str) + Send + Sync),
    ) -> Result<Maker<'m>, InvokeError> {
        let interpreter = Interpreter::find(program).await?;
        let installers = Installers::find(&interpreter).await?;
        let work = tempfile::tempdir().map_err(|error| broken(&std::env::temp_dir(), &error))?;
        fs::create_dir(work.path().join("temporary")).map_err(|error| broken(work.path(), &error))?;
        Ok(Maker { settings, say, interpreter, installers, work })
    }

    fn temporary(&self) -> PathBuf {
        self.work.path().join("temporary")
    }

    fn machine(&self) -> String {
        let version: Vec<String> = self.interpreter.version.iter().take(2).map(u32::to_string).collect();
        format!("Python {} on {}", version.join("."), self.installers.platform)
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf, InvokeError> {
        let path = self.work.path().join(name);
        fs::write(&path, text).map_err(|error| broken(&path, &error))?;
        Ok(path)
    }

    /// The lock's text. With `wheels/` only these are chosen from.
    async fn resolve(&self, folder: &Path, requirements: &Requirements) -> Result<String, InvokeError> {
        let wheels_folder = folder.join(WHEELS);
        let wheels = wanted::list_wheels(&wheels_folder).map_err(|error| broken(&wheels_folder, &error))?;
        let wheels_folder = fs::canonicalize(&wheels_folder).unwrap_or(wheels_folder);
        // Those that are about to be replaced say nothing about what is wanted.
        let wanted = Wanted { requirements: Some(requirements.clone()), lock: None, wheels, wheels_folder };
        let wanted = if self.settings.with_wheels { Wanted { wheels: Vec::new(), ..wanted } } else { wanted };
        let lines = self.write("requirements.txt", &wanted.lines())?;
        let constraints = self.write("constraints.txt", wanted.constraints())?;
        let body = match (&self.installers.uv, &self.installers.pip) {
            (Some(uv), _) => {
                let out = self.work.path().join("compiled.txt");
                let mut argv = vec![path_text(&uv.program)?, "pip".into(), "compile".into()];
                argv.extend(
                    ["--generate-hashes", "--no-header", "--no-annotate", "--quiet"].map(String::from),
                );
                argv.extend(["--python".into(), path_text(&self.installers.python)?]);
                argv.extend(["--output-file".into(), path_text(&out)?]);
                argv.extend(installer::uv_words(wanted.is_offline()).map(String::from));
                self.add_places(&mut argv, &wanted, &constraints)?;
                argv.push(path_text(&lines)?);
                let env = installer::uv_environment(wanted.is_offline(), &self.temporary())?;
                self.run("uv", Command { argv, env }, &wanted).await?;
                fs::read_to_string(&out).map_err(|error| broken(&out, &error))?
            }
            (None, Some(pip)) => {
                let out = self.work.path().join("report.json");
                let mut argv = self.pip(pip, "install").await?;
                argv.extend(["--dry-run", "--ignore-installed", "--quiet", "--report"].map(String::from));
                argv.push(path_text(&out)?);
                argv.extend(installer::pip_words(wanted.is_offline()).map(String::from));
                self.add_places(&mut argv, &wanted, &constraints)?;
                argv.extend(["-r".into(), path_text(&lines)?]);
                let env = installer::pip_environment(wanted.is_offline(), &self.temporary())?;
                self.run("pip", Command { argv, env }, &wanted).await?;
                from_report(&out)?
            }
            (None, None) => {
                let message = format!("{LOCK} cannot be written: there is neither uv nor pip");
                return Err(unavailable(message)
                    .help("install uv, or pip, for example with `apt install python3-pip`"));
            }
        };
        Ok(header(requirements) + &body)
    }

    /// Fetches the wheels of a lock and puts them in place of those that are there.
    async fn fetch(
        &self,
        requirements: Option<&Requirements>,
        lock: &Lock,
        wheels_folder: &Path,
    ) -> Result<(), InvokeError> {
        let wanted = Wanted {
            requirements: requirements.cloned(),
            lock: Some(lock.clone()),
            wheels: Vec::new(),
            wheels_folder: wheels_folder.to_owned(),
        };
        let lines = self.write("locked.txt", &wanted.lines())?;
        let pip = match &self.installers.pip {
            Some(pip) => pip.clone(),
            None => self.bring_pip(&wanted).await?,
        };
        let fetched = self.work.path().join("fetched");
        let mut argv = self.pip(&pip, "download").await?;
        // The lock is whole: nothing is left to resolve. What has no wheel would have to be built where it runs.
        argv.extend(["--only-binary", ":all:", "--require-hashes", "--no-deps", "--dest"].map(String::from));
        argv.push(path_text(&fetched)?);
        argv.extend(installer::pip_words(false).map(String::from));
        argv.extend(["-r".into(), path_text(&lines)?]);
        let env = installer::pip_environment(false, &self.temporary())?;
        self.run("pip", Command { argv, env }, &wanted).await?;
        let disk = |error: io::Error| broken(wheels_folder, &error);
        let wheels = wanted::list_wheels(&fetched).map_err(disk)?;
        let bytes: u64 = wheels.iter().filter_map(|wheel| Some(wheel.path.metadata().ok()?.len())).sum();
        if bytes > PACKAGE_BYTES_MAX {
            return Err(too_large(&wheels, bytes));
        }
        fs::create_dir_all(wheels_folder).map_err(disk)?;
        for old in wanted::list_wheels(wheels_folder).map_err(disk)? {
            if !wheels.iter().any(|wheel| wheel.file_name == old.file_name && wheel.sha256 == old.sha256) {
                fs::remove_file(&old.path).map_err(disk)?;
            }
        }
        for wheel in &wheels {
            let place = wheels_folder.join(&wheel.file_name);
            if !place.exists() {
                let bytes = fs::read(&wheel.path).map_err(disk)?;
                write_bytes(&place, &bytes)?;
            }
        }
        Ok(())
    }

    /// uv downloads nothing into a folder, but it can bring pip, which does.
    async fn bring_pip(&self, wanted: &Wanted) -> Result<PathBuf, InvokeError> {
        let Some(uv) = &self.installers.uv else {
            let message = "wheels cannot be fetched: there is neither uv nor pip";
            return Err(unavailable(message).help("install pip, for example with `apt install python3-pip`"));
        };
        let place = self.work.path().join("brought");
        let mut argv = vec![path_text(&uv.program)?, "pip".into(), "install".into(), "--target".into()];
        argv.push(path_text(&place)?);
        argv.extend(["--python".into(), path_text(&self.installers.python)?]);
        argv.extend(installer::uv_words(false).map(String::from));
        argv.push("pip".into());
        let env = installer::uv_environment(false, &self.temporary())?;
        self.run("uv", Command { argv, env }, wanted).await?;
        Ok(place)
    }

    /// A command line of pip, in an environment that holds nothing, so that nothing counts as installed.
    async fn pip(&self, pip: &Path, verb: &str) -> Result<Vec<String>, InvokeError> {
        let environment = self.work.path().join("environment");
        let pip_folder = self.work.path().join("pip");
        if !environment.exists() {
            let mut argv = vec![path_text(&self.installers.python)?];
            argv.extend(["-I", "-X", "utf8", "-m", "venv", "--without-pip", "--symlinks"].map(String::from));
            argv.push(path_text(&environment)?);
            let env = installer::pip_environment(true, &self.temporary())?;
            let credentials = Credentials::default();
            let ended =
                process::run(&self.settings.supervisor, Command { argv, env }, &credentials, &|_| {}).await?;
            if !ended.good {
                let message =
                    format!("no virtual environment can be made with {}", self.installers.python.display());
                let help = "install it, for example with `apt install python3-venv`";
                return Err(with_output("venv", &ended, unavailable(message).help(help)));
            }
        }
        let linked = if pip_folder.exists() {
            pip_folder
        } else {
            installer::link_pip(pip, &pip_folder).map_err(|error| broken(&pip_folder, &error))?
        };
        let python = environment.join("bin/python");
        installer::run_pip(&python, &linked, verb)
    }

    fn add_places(
        &self,
        argv: &mut Vec<String>,
        wanted: &Wanted,
        constraints: &Path,
    ) -> Result<(), InvokeError> {
        if wanted.is_offline() {
            argv.extend(["--find-links".into(), path_text(&wanted.wheels_folder)?]);
        }
        if !wanted.constraints().is_empty() {
            argv.extend(["--constraint".into(), path_text(constraints)?]);
        }
        Ok(())
    }

    async fn run(&self, name: &str, command: Command, wanted: &Wanted) -> Result<(), InvokeError> {
        let lines = wanted.lines();
        let credentials = Credentials::of([lines.as_str(), wanted.constraints()], &command.env);
        let ended = process::run(&self.settings.supervisor, command, &credentials, self.say).await?;
        if ended.good {
            return Ok(());
        }
        let verdict = verdict::judge(&ended.lines, wanted, &self.machine());
        Err(with_output(name, &ended, unavailable(credentials.mask(&verdict.message)).help(verdict.help)))
    }
}

/// A lock of what pip would install. It knows the digest of one file of each, the one for this machine.
fn from_report(path: &Path) -> Result<String, InvokeError> {
    #[derive(Deserialize)]
    struct Report {
        install: Vec<Item>,
    }
    #[derive(Deserialize)]
    struct Item {
        download_info: Download,
        is_direct: bool,
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    struct Download {
        url: String,
        archive_info: Option<Archive>,
    }
    #[derive(Deserialize)]
    struct Archive {
        hash: Option<String>,
        hashes: Option<std::collections::BTreeMap<String, String>>,
    }
    #[derive(Deserialize)]
    struct Metadata {
        name: String,
        version: String,
    }
    let size = fs::metadata(path).map_err(|error| broken(path, &error))?.len();
    if size > REPORT_BYTES_MAX {
        return Err(unavailable(format!("pip reports {size} bytes, more than {REPORT_BYTES_MAX}")));
    }
    let text = fs::read_to_string(path).map_err(|error| broken(path, &error))?;
    let report: Report = serde_json::from_str(&text).map_err(|error| {
        unavailable(format!("what pip reports cannot be read: {error}")).help("install uv, or a newer pip")
    })?;
    let mut lines: Vec<(String, String)> = Vec::new();
    for item in report.install {
        let (name, version) = (normalized(&item.metadata.name), &item.metadata.version);
        let archive = item.download_info.archive_info.as_ref();
        let digest = archive.and_then(|archive| archive.hashes.as_ref()?.get("sha256").cloned());
        let old =
            || archive.and_then(|archive| archive.hash.as_ref()?.strip_prefix("sha256=").map(str::to_owned));
        let Some(digest) = digest.or_else(old) else {
            return Err(unavailable(format!(
                "`{name}=={version}` comes from where there is no digest to lock"
            )));
        };
        let what = match item.is_direct {
            true => format!("{name} @ {}", without_credentials(&item.download_info.url)),
            false => format!("{name}=={version}"),
        };
        lines.push((name, format!("{what} \\\n    --hash=sha256:{digest}\n")));
    }
    lines.sort();
    Ok(lines.into_iter().map(|(_, line)| line).collect())
}

fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find('/').unwrap_or(rest.len());
    let host = rest[..end].rsplit_once('@').map_or(&rest[..end], |(_, host)| host);
    format!("{scheme}://{host}{}", &rest[end..])
}

/// As a whole or not at all.
fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), InvokeError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let write = || {
        let mut file = tempfile::Builder::new()
            .prefix(".lock-")
            .permissions(fs::Permissions::from_mode(0o666))
            .tempfile_in(folder)?;
        io::Write::write_all(&mut file, bytes)?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(|error| broken(path, &error))
}

/// It is the author who is asked to mend it.
fn mistaken(mistake: RequirementsError) -> InvokeError {
    InvokeError { kind: ErrorKind::InvalidInput, ..wanted::from_mistake(mistake) }
}

fn broken(path: &Path, error: &io::Error) -> InvokeError {
    unavailable(format!("{}: {error}", path.display()))
}
