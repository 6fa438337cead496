//! The configuration file, read key by key, so that every mistake is reported at once; a part that is wrong is
//! left at its default and reading goes on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::host::settings as host;
use crate::package::codes as common;
use crate::package::diagnostic::{Diagnostic, Diagnostics, Place};
use crate::package::yaml::{self, Node};

use super::file::Opened;
use super::layer::{Layer, Said};
use super::notifications::{self, Notification};
use super::reader::{Field, Reader, Section};
use super::report::{Origin, Report};
use super::settings::{Logs, Retention, Spool};
use super::{hosts, mask, plugins, python, telemetry};

pub const KEYS: &[&str] = &[
    "listen",
    "data_dir",
    "plugin_dirs",
    "token_file",
    "allowed_hosts",
    "plugins",
    "telemetry",
    "python",
    "notifications",
];
pub const PLUGIN_DIRS_MAX: usize = 64;
pub const ALLOWED_HOSTS_MAX: usize = 100;

/// What the file says.
#[derive(Debug, Default)]
pub struct Written {
    pub layer: Layer,
    pub allowed_hosts: Vec<String>,
    pub host: host::Settings,
    pub logs: Logs,
    pub retention: Retention,
    pub spool: Spool,
    pub install_timeout: Option<Duration>,
    pub notifications: Vec<Notification>,
    /// Where each key stands, by its path: `telemetry.retention.age`.
    pub places: BTreeMap<String, Place>,
}

/// `None` if there is nothing to go on with, which is reported unless the file is empty.
pub fn read(file: Opened, report: &mut Report) -> Option<Written> {
    let (root, diagnostics) = yaml::parse(&file.name, &file.bytes);
    // A file of comments only: everything is as without it.
    if root.is_none() && diagnostics.sorted().iter().all(|problem| problem.code == common::EMPTY) {
        return None;
    }
    let Some(root) = root else {
        report.set_file(diagnostics);
        return None;
    };
    let mut diagnostics = mask::apply(&root, diagnostics);
    let folder = file.path.parent().unwrap_or(Path::new("")).to_owned();
    let written = if root.is_null() { None } else { top(&root, &folder, &mut diagnostics) };
    report.set_file(diagnostics);
    written
}

fn top(root: &Node, folder: &Path, diagnostics: &mut Diagnostics) -> Option<Written> {
    if root.as_map().is_none() {
        let message = format!("a configuration is a mapping of keys to values, not {}", root.describe());
        let problem = Diagnostic::error(common::WRONG_TYPE, root.place, "", message);
        diagnostics.push(problem.help("it has lines such as `listen: 127.0.0.1:7717`"));
        return None;
    }
    let reader = &mut Reader::new(diagnostics, folder);
    let whole = Field { node: root, key: Place::START, path: String::new() };
    let top = reader.section_or(&whole, KEYS, elsewhere)?;

    let layer = layer(reader, &top);
    let allowed_hosts =
        top.get("allowed_hosts").map(|field| allowed_hosts(reader, &field)).unwrap_or_default();
    let plugins = top.get("plugins").map(|field| plugins::read(reader, &field)).unwrap_or_default();
    let telemetry = top.get("telemetry").map(|field| telemetry::read(reader, &field)).unwrap_or_default();
    let install_timeout = top.get("python").and_then(|field| python::read(reader, &field));
    let notifications =
        top.get("notifications").map(|field| notifications::read(reader, &field)).unwrap_or_default();
    Some(Written {
        layer,
        allowed_hosts,
        host: host::Settings { plugins, capture: telemetry.capture },
        logs: telemetry.logs,
        retention: telemetry.retention,
        spool: telemetry.spool,
        install_timeout,
        notifications,
        places: places(root),
    })
}

/// Keys without a value are left out: they count as absent.
fn places(root: &Node) -> BTreeMap<String, Place> {
    let mut places = BTreeMap::new();
    let mut open = vec![(String::new(), root)];
    while let Some((above, node)) = open.pop() {
        for (key, value) in node.as_map().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
            let path = if above.is_empty() { key.name.clone() } else { format!("{above}.{}", key.name) };
            places.insert(path.clone(), value.place);
            open.push((path, value));
        }
    }
    places
}

fn elsewhere(key: &str) -> Option<&'static str> {
    Some(match key {
        "logs" | "spool" | "capture" | "retention" => "it belongs under `telemetry`",
        "port" | "host" | "address" | "bind" => "did you mean `listen`? it is HOST:PORT",
        "token" | "tokens" => "tokens do not stand in this file: `token_file` names the file that has them",
        "secrets" => "it belongs under `plugins.NAME`",
        "limits" => "it belongs under `plugins.NAME`, or into the plugin's manifest",
        "otlp" | "exporter" | "metrics" | "traces" | "otel" => {
            "export over OTLP is set up with the standard OTEL_* variables, such as OTEL_EXPORTER_OTLP_ENDPOINT"
        }
        _ => return None,
    })
}

fn layer(reader: &mut Reader<'_>, top: &Section<'_>) -> Layer {
    let listen = top.get("listen").and_then(|field| {
        let value = reader.verbatim(&field)?.to_owned();
        Some(Said { value, origin: origin(&field) })
    });
    let plugin_dirs = top.get("plugin_dirs").map(|field| {
        let items = reader.list(&field, PLUGIN_DIRS_MAX);
        Said { value: items.iter().filter_map(|item| reader.path(item)).collect(), origin: origin(&field) }
    });
    let mut path = |key| top.get(key).and_then(|field| path(reader, &field));
    Layer { listen, plugin_dirs, data_dir: path("data_dir"), token_file: path("token_file"), config: None }
}

fn path(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Said<PathBuf>> {
    Some(Said { value: reader.path(field)?, origin: origin(field) })
}

fn origin(field: &Field<'_>) -> Origin {
    Origin::File { key: field.path.clone(), place: field.place() }
}

fn allowed_hosts(reader: &mut Reader<'_>, field: &Field<'_>) -> Vec<String> {
    let mut hosts: Vec<String> = Vec::new();
    for item in reader.list(field, ALLOWED_HOSTS_MAX) {
        let Some(text) = reader.verbatim(&item) else { continue };
        match hosts::parse(text) {
            Ok(host) if !hosts.contains(&host) => hosts.push(host),
            Ok(_) => {}
            Err(problem) => reader.refuse(&item, problem),
        }
    }
    hosts
}
