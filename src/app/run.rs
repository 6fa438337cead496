//! `run`: any function of a Python file, called once and seen as one trace. No manifest, no server, nothing
//! registered.

use std::path::{Path, PathBuf};

use serde_json::Map;

use super::cli::{Global, Run};
use super::failure::Failure;
use super::invoke::{CallBody, Request, raw, send, whole_input};
use super::local::Local;
use super::runner::{Keep, Options, Runner};
use super::target::Target;
use crate::config::Settings;
use crate::model::kind::ErrorKind;
use crate::model::name::PluginName;
use crate::package::manifest::Manifest;
use crate::runtimes::Convention;
use crate::telemetry::LogTarget;

pub async fn command(global: &Global, run: &Run, settings: &Settings) -> Result<(), Failure> {
    let script = Script::find(&run.target)?;
    let input = match whole_input(&run.input)? {
        Some(input) => input,
        // As text: the worker knows the function's annotations.
        None => {
            let text = |(key, text): &(String, String)| (key.clone(), text.clone().into());
            raw(&run.input.fields.iter().map(text).collect::<Map<_, _>>().into())?
        }
    };
    let logs = super::connect::logs(settings, LogTarget::Off);
    let runner = Runner::start(settings, Options::new(Keep::Ledger, logs))?;
    let mut manifest = script.manifest();
    if let Some(timeout) = run.timeout {
        manifest.limits.timeout = timeout;
    }
    let name = manifest.name.to_string();
    runner.host.deploy_transient(manifest, script.folder, Convention::Function)?;
    let target = Target::Local(Box::new(Local::of(runner)));
    // Who runs a single function wants to see what it did; a program that reads JSON has to ask for it.
    let watch = run.watch || !global.json;
    let body = CallBody { input, action: None, version: None, timeout: None };
    let request = Request { plugin: name, body, stream: run.stream, watch, idempotency_key: None };
    let called = send(&target, &request, global.json).await;
    target.finish().await;
    called
}

/// What `FILE.py[:FUNCTION]` means.
struct Script {
    folder: PathBuf,
    file: String,
    function: Option<String>,
}

impl Script {
    fn find(target: &str) -> Result<Script, Failure> {
        // A file of the whole name comes first: names may hold colons.
        let (path, function) = match target.rsplit_once(':') {
            Some((path, function)) if !Path::new(target).exists() => (path, Some(function.to_owned())),
            _ => (target, None),
        };
        let whole = std::fs::canonicalize(path).map_err(|error| {
            Failure::of_kind(ErrorKind::NotFound, format!("{path} cannot be opened: {error}"))
                .help("spanglass run FILE.py:FUNCTION runs one function of a Python file")
        })?;
        if !whole.is_file() || whole.extension().is_none_or(|extension| extension != "py") {
            return Err(Failure::usage(format!("{path} is not a Python file"))
                .help("spanglass run takes a .py file; a folder with a manifest is a plugin: spanglass plugin register"));
        }
        let (Some(folder), Some(file)) = (whole.parent(), whole.file_name().and_then(|file| file.to_str()))
        else {
            return Err(Failure::usage(format!("{path} has a name that cannot be used")));
        };
        Ok(Script { folder: folder.to_owned(), file: file.to_owned(), function })
    }

    fn manifest(&self) -> Manifest {
        let entrypoint = match &self.function {
            Some(function) => format!("{}:{function}", self.file),
            None => self.file.clone(),
        };
        Manifest::minimal(self.name(), semver::Version::new(0, 0, 0), entrypoint)
    }

    /// The file's name, as far as it can be a plugin's.
    fn name(&self) -> PluginName {
        let stem = self.file.trim_end_matches(".py").to_ascii_lowercase();
        let fitting = |character: char| if character.is_ascii_alphanumeric() { character } else { '-' };
        let name: String = stem.chars().map(fitting).take(PluginName::LENGTH_MAX).collect();
        let fallback = || PluginName::parse("script").expect("it follows the rule");
        PluginName::parse(name.trim_matches('-')).unwrap_or_else(|_| fallback())
    }
}
