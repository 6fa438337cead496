//! Whether what the settings name is there, as far as can be told without starting anything: folders of plugins,
//! plugins, and secrets, of which only the presence counts.

use std::fs;
use std::path::Path;

use crate::host::read_secret;
use crate::host::settings::PluginSettings;
use crate::package::diagnostic::Severity;

use super::report::{Problem, Report};
use super::settings::Settings;
use super::{codes, file};

/// Adds to the report what a start in this environment would stumble over. What only a disabled plugin misses is a
/// warning: nothing asks for it.
pub fn survey(settings: &Settings, report: &mut Report) {
    for folder in &settings.plugin_dirs {
        if let Err(error) = fs::read_dir(folder) {
            let predicate =
                format!("names {}, which cannot be read: {}", folder.display(), file::reason(&error));
            let help = format!("mkdir -p {}", folder.display());
            report.say(
                &settings.origins.plugin_dirs,
                Severity::Error,
                Problem::new(codes::PLUGIN_MISSING, predicate, help),
            );
        }
    }
    for (name, plugin) in &settings.host.plugins {
        let severity = if plugin.enabled { Severity::Error } else { Severity::Warning };
        for (key, problem) in missing(plugin) {
            let origin = settings.origins.of(&format!("plugins.{name}.{key}"));
            report.say(&origin, severity, problem);
        }
    }
}

/// By the key below the plugin's.
fn missing(plugin: &PluginSettings) -> Vec<(String, Problem)> {
    let mut missing = Vec::new();
    if let Some((path, error)) = plugin.path.as_deref().and_then(|path| Some((path, unreadable(path)?))) {
        let predicate = format!("names {}, which cannot be read: {}", path.display(), file::reason(&error));
        let help = "name the folder or zip of the plugin; relative paths begin at the folder of this file";
        missing.push(("path".to_owned(), Problem::new(codes::PLUGIN_MISSING, predicate, help)));
    }
    for (secret, source) in &plugin.secrets {
        // Read as a start would, and forgotten at once.
        if let Err(reason) = read_secret(secret, source) {
            let problem = Problem::new(
                codes::SECRET_MISSING,
                format!("names a source that gives nothing: {reason}"),
                "set the variable or write the file, with the rights of whoever starts the server",
            );
            missing.push((format!("secrets.{secret}"), problem));
        }
    }
    missing
}

fn unreadable(path: &Path) -> Option<std::io::Error> {
    fs::metadata(path)
        .and_then(
            |about| {
                if about.is_dir() { fs::read_dir(path).map(drop) } else { fs::File::open(path).map(drop) }
            },
        )
        .err()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::super::{Flags, Sources, load};
    use super::*;

    #[test]
    fn what_is_named_and_missing_is_said_with_its_line() {
        let temp = tempfile::tempdir().unwrap();
        let text = "plugin_dirs: [here, nowhere]\nplugins:\n  a:\n    path: gone\n    secrets:\n      \
                    KEY: {env: SPANGLASS_NO_SUCH_VARIABLE}\n      OTHER: {file: value}\n  b:\n    enabled: false\n    \
                    secrets: {KEY: {file: gone}}\n  c:\n    path: here\n";
        fs::write(temp.path().join("spanglass.yaml"), text).unwrap();
        fs::write(temp.path().join("value"), "hunter2").unwrap();
        fs::create_dir(temp.path().join("here")).unwrap();
        let environment = |_: &str| None::<OsString>;
        let sources =
            Sources { flags: Flags::default(), environment: &environment, folder: temp.path().to_owned() };
        let (settings, mut report) = load(&sources).unwrap();
        survey(&settings, &mut report);
        let mut said: Vec<_> = report
            .iter()
            .filter(|found| found.severity != Severity::Note)
            .map(|found| (found.place.line, found.code, found.severity, found.path.as_str()))
            .collect();
        said.sort_by_key(|(line, ..)| *line);
        assert_eq!(
            said,
            [
                (1, codes::PLUGIN_MISSING, Severity::Error, "plugin_dirs"),
                (4, codes::PLUGIN_MISSING, Severity::Error, "plugins.a.path"),
                (6, codes::SECRET_MISSING, Severity::Error, "plugins.a.secrets.KEY"),
                (10, codes::SECRET_MISSING, Severity::Warning, "plugins.b.secrets.KEY"),
            ]
        );
        assert!(!report.valid());
        assert!(!format!("{report:?}{}", report.to_json()).contains("hunter2"));
    }
}
