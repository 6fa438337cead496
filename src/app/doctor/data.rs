//! Checks of what lies on the disk: the data folder, the store in it, plugins and their secrets.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use super::{CHECK_MAX, Check, blocking};
use crate::app::cli::Global;
use crate::app::output;
use crate::config::Settings;
use crate::host::read_secret;
use crate::host::settings::PluginSettings;
use crate::store::{self, DataFolder};

/// With less, there is soon no room for what happens.
const FREE_BYTES_FEW: u64 = 1 << 30;
const FREE_BYTES_TOO_FEW: u64 = 64 << 20;
/// Reading a large ledger takes its time; longer than this nobody wants to wait.
const STORE_MAX: Duration = Duration::from_secs(60);

pub async fn folder(settings: &Settings) -> Vec<Check> {
    let folder = DataFolder::new(&settings.data_dir);
    let looked = blocking(CHECK_MAX, move || look_at_folder(&folder)).await;
    looked.unwrap_or_else(|| vec![too_slow("data folder", CHECK_MAX)])
}

fn look_at_folder(folder: &DataFolder) -> Vec<Check> {
    const NAME: &str = "data folder";
    let path = folder.path();
    let shown = path.display();
    let about = match std::fs::metadata(path) {
        Ok(about) => about,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return vec![future_folder(path)],
        Err(error) => {
            return vec![Check::failed(NAME, format!("{shown}: {error}")).help(format!("ls -ld {shown}"))];
        }
    };
    if !about.is_dir() {
        let help = "name another one: --data-dir DIR";
        return vec![Check::failed(NAME, format!("{shown} is not a folder")).help(help)];
    }
    let mut checks = Vec::new();
    let mode = about.permissions().mode() & 0o777;
    checks.push(match folder.probe_write() {
        Err(error) => {
            Check::failed(NAME, error.to_string()).help(format!("chown -R \"$USER\" {shown}; df -h {shown}"))
        }
        Ok(()) if mode & 0o077 != 0 => {
            Check::warning(NAME, format!("{shown} is open to others (mode {mode:03o})"))
                .help(format!("chmod 700 {shown}"))
        }
        Ok(()) => Check::ok(NAME, shown.to_string()),
    });
    checks.push(match folder.available_bytes() {
        Err(error) => Check::warning("free space", error.to_string()),
        Ok(free) => {
            let detail = format!("{} free", output::bytes(free));
            let help = format!("du -sh {shown}; telemetry.retention in spanglass.yaml limits the ledger");
            match free {
                0..FREE_BYTES_TOO_FEW => Check::failed("free space", detail).help(help),
                FREE_BYTES_TOO_FEW..FREE_BYTES_FEW => Check::warning("free space", detail).help(help),
                _ => Check::ok("free space", detail),
            }
        }
    });
    checks
}

/// A folder that is not there yet is no mistake, if it can be made. Trying is the only way to know.
fn future_folder(path: &Path) -> Check {
    let parent = path.ancestors().skip(1).find(|parent| parent.exists());
    match parent {
        Some(parent) if tempfile::tempdir_in(parent).is_ok() => {
            Check::ok("data folder", format!("{} is not there yet and will be made", path.display()))
        }
        _ => Check::failed("data folder", format!("{} is not there and cannot be made", path.display()))
            .help("name another one: --data-dir DIR"),
    }
}

pub async fn store(settings: &Settings) -> Check {
    const NAME: &str = "store";
    let folder = DataFolder::new(&settings.data_dir);
    if !folder.registry().exists() && !folder.ledger().exists() {
        return Check::ok(NAME, "empty");
    }
    let shown = settings.data_dir.display().to_string();
    let Some(found) = blocking(STORE_MAX, move || store::check(&folder)).await else {
        return too_slow(NAME, STORE_MAX);
    };
    let files = [
        ("registry", &found.registry),
        ("queue of calls", &found.calls),
        ("ledger", &found.ledger),
        ("key-value store", &found.kv),
        ("record of drift", &found.drift),
    ];
    let problem = files.into_iter().find_map(|(what, file)| Some((what, &file.path, file.problems.first()?)));
    if let Some((what, path, problem)) = problem {
        // Of another version of this program: the file itself is sound.
        if problem.contains("schema") {
            return Check::failed(NAME, problem.clone()).help(
                "use the spanglass that wrote it; a server of this version brings an older one up to date",
            );
        }
        let help = match what {
            "ledger" | "key-value store" | "record of drift" => {
                format!("stop the server, then move it away: mv {path} {path}.damaged")
            }
            _ => format!("restore {shown} from a backup, or register the plugins anew in another --data-dir"),
        };
        return Check::failed(NAME, format!("the {what} is damaged: {problem}")).help(help);
    }
    if let [first, ..] = found.missing_packages.as_slice() {
        let more = match found.missing_packages.len() - 1 {
            0 => String::new(),
            more => format!(" (and of {more} more)"),
        };
        return Check::failed(NAME, format!("the package of {first}{more} is missing"))
            .help("register it again: spanglass plugin register PATH");
    }
    let calls = found.ledger_counts.as_ref().map_or(0, |counts| counts.invocations);
    let size = output::bytes(found.ledger.bytes + found.registry.bytes + found.kv.bytes + found.drift.bytes);
    let calls = output::count(usize::try_from(calls).unwrap_or(usize::MAX));
    let schema =
        |file: &store::FileCheck| file.schema.map_or_else(|| "-".to_owned(), |schema| schema.to_string());
    let schemas =
        format!("schema {} (registry), {} (ledger)", schema(&found.registry), schema(&found.ledger));
    let registrations = found.registrations;
    Check::ok(
        NAME,
        format!("sound: {registrations} plugins registered, {calls} calls kept, {size}, {schemas}"),
    )
}

/// Only where folders of plugins are configured.
pub async fn plugin_folders(settings: &Settings) -> Vec<Check> {
    let folders = settings.plugin_dirs.clone();
    let missing = move || folders.into_iter().filter(|folder| !folder.is_dir()).collect::<Vec<_>>();
    let Some(missing) = blocking(CHECK_MAX, missing).await else {
        return vec![too_slow("plugin folders", CHECK_MAX)];
    };
    let check = |folder: std::path::PathBuf| {
        Check::warning("plugin folders", format!("{} is not a folder", folder.display()))
            .help(format!("mkdir -p {}", folder.display()))
    };
    missing.into_iter().map(check).collect()
}

/// Whether each configured secret can be read. Names only, never a value. A live server has an environment of its own:
/// what it runs has its secrets, and what it could not start says what it lacks.
pub async fn secrets(global: &Global, settings: &Settings) -> Vec<Check> {
    let mut plugins = settings.host.plugins.clone();
    plugins.retain(|_, plugin| !plugin.secrets.is_empty());
    if plugins.is_empty() {
        return Vec::new();
    }
    let mut checks = Vec::new();
    for item in super::network::plugins(global, settings).await {
        let Some((name, plugin)) = item["name"].as_str().and_then(|name| plugins.remove_entry(name)) else {
            continue;
        };
        let names: Vec<&str> = plugin.secrets.keys().map(String::as_str).collect();
        let missing = item["cause"].as_str().filter(|cause| cause.contains("secret"));
        checks.push(match missing {
            Some(cause) => Check::failed("secrets", format!("{name}, in the server: {cause}")).help(format!(
                "set it where the server is started; plugins.{name}.secrets says where it looks"
            )),
            None => Check::ok("secrets", format!("{name} has {}, in the server", names.join(", "))),
        });
    }
    checks.extend(own_secrets(plugins).await);
    checks
}

async fn own_secrets(plugins: BTreeMap<String, PluginSettings>) -> Vec<Check> {
    let read = move || {
        let mut checks = Vec::new();
        for (name, plugin) in plugins.iter().filter(|(_, plugin)| !plugin.secrets.is_empty()) {
            let unread =
                plugin.secrets.iter().filter_map(|(secret, source)| read_secret(secret, source).err());
            let mut problems = unread.map(|problem| {
                let help = format!("plugins.{name}.secrets in spanglass.yaml names where it comes from");
                Check::failed("secrets", format!("{name}: {problem}")).help(help)
            });
            let first = problems.next();
            let names: Vec<&str> = plugin.secrets.keys().map(String::as_str).collect();
            checks.push(
                first.unwrap_or_else(|| Check::ok("secrets", format!("{name} has {}", names.join(", ")))),
            );
            checks.extend(problems);
        }
        checks
    };
    blocking(CHECK_MAX, read).await.unwrap_or_else(|| vec![too_slow("secrets", CHECK_MAX)])
}

fn too_slow(name: &'static str, time_max: Duration) -> Check {
    Check::warning(name, format!("it could not be looked at within {} s", time_max.as_secs()))
        .help("is the disk slow, or does it hang?")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::doctor::State;

    #[test]
    fn a_folder_that_others_can_read_is_worth_a_word() {
        let temp = tempfile::tempdir().unwrap();
        let state = |mode| {
            std::fs::set_permissions(temp.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            look_at_folder(&DataFolder::new(temp.path()))[0].state
        };
        assert_eq!(state(0o755), State::Warning);
        assert_eq!(state(0o700), State::Ok);
    }

    #[test]
    fn a_folder_that_is_not_there_can_be_made_or_not() {
        let temp = tempfile::tempdir().unwrap();
        let check = |path: &Path| look_at_folder(&DataFolder::new(path))[0].state;
        assert_eq!(check(&temp.path().join("a/b")), State::Ok);
        let file = temp.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(check(&file), State::Failed);
        assert_eq!(check(Path::new("/proc/nowhere/data")), State::Failed);
    }
}
