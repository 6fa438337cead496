//! Behaviour by example: `tests/cases/config/NAME/` holds what people wrote (`spanglass.yaml`, `flags`, `env`, a
//! token file) and `expect.json`, what came of it. `SPANGLASS_BLESS=1` writes the latter anew.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Flags, Sources, load, show};

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/config")
}

/// Lines `NAME=VALUE` of a file that may be absent.
fn pairs(path: &Path) -> Vec<(String, String)> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    text.lines().map(|line| pair(line).unwrap_or_else(|| panic!("{}: {line:?}", path.display()))).collect()
}

fn flags(path: &Path) -> Flags {
    let mut flags = Flags::default();
    for (name, value) in pairs(path) {
        match name.as_str() {
            "--config" => flags.config = Some(value.into()),
            "--listen" => flags.listen = Some(value),
            "--data-dir" => flags.data_dir = Some(value.into()),
            "--plugins" => flags.plugin_dirs.push(value.into()),
            "--token-file" => flags.token_file = Some(value.into()),
            other => panic!("unknown flag {other}"),
        }
    }
    flags
}

/// What a case comes to, with its folder called `CASE`.
fn run(case: &Path) -> Value {
    let environment: BTreeMap<String, String> = pairs(&case.join("env")).into_iter().collect();
    let environment = |name: &str| environment.get(name).map(OsString::from);
    let sources =
        Sources { flags: flags(&case.join("flags")), environment: &environment, folder: case.to_owned() };
    let (settings, report) = match load(&sources) {
        Ok((settings, report)) => (Some(settings), report),
        Err(error) => (None, *error.0),
    };
    assert_eq!(settings.is_some(), report.valid(), "{}", case.display());
    let shown = settings.as_ref().map(show);
    let pictured = report.render(Default::default());
    let everything = format!("{report:?}{report}{pictured}{settings:?}");
    assert!(!everything.contains("hunter2"), "{} shows a secret: {everything}", case.display());
    let result = json!({ "report": report.to_json(), "shown": shown }).to_string();
    let result = result.replace(&*case.to_string_lossy(), "CASE");
    serde_json::from_str(&result).unwrap()
}

#[test]
fn every_case_comes_to_what_it_expects() {
    let mut cases: Vec<PathBuf> =
        fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 20, "{} cases", cases.len());
    let mut failed = Vec::new();
    for case in &cases {
        let expect = case.join("expect.json");
        let text = format!("{}\n", serde_json::to_string_pretty(&run(case)).unwrap());
        assert!(!text.contains("hunter2"), "{} shows a secret: {text}", case.display());
        if std::env::var_os("SPANGLASS_BLESS").is_some() {
            fs::write(&expect, &text).unwrap();
        }
        if fs::read_to_string(&expect).unwrap_or_default() != text {
            failed.push(format!("{}: it is now {text}", case.display()));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
