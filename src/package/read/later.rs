//! Keys that are checked, but on which this build does not act: each that asks for something gets a note.

use crate::model::name::PluginName;

use super::super::codes;
use super::super::diagnostic::{Diagnostic, quote};
use super::super::manifest::{Dependency, SandboxTier};
use super::super::reader::{Field, Reader, Section};
use super::entry::version_requirement;

const LIST_MAX: usize = 100;

pub fn dependencies(reader: &mut Reader<'_>, top: &Section<'_>) -> Vec<Dependency> {
    let mut dependencies: Vec<Dependency> = Vec::new();
    let Some(field) = top.get("dependencies") else { return dependencies };
    for item in reader.list(&field, LIST_MAX) {
        if item.node.as_str().is_some() {
            let help =
                "write `- {name: core-utils, version: ^2.3.0}`; Python packages belong in requirements.txt";
            reader.error(
                codes::WRONG_TYPE,
                &item,
                format!("`{}` must be a mapping, not a text", item.path),
                help,
            );
            continue;
        }
        let Some(section) = reader.section(&item, &["name", "version", "required"]) else { continue };
        let name = reader.required(&section, "name", "name the plugin that is needed");
        let name = name.and_then(|field| plugin_name(reader, &field));
        let version = match section.get("version") {
            Some(field) => version_requirement(reader, &field),
            None => Some(semver::VersionReq::STAR),
        };
        let required = section.get("required").is_none_or(|field| reader.boolean(&field).unwrap_or(true));
        let (Some(name), Some(version)) = (name, version) else { continue };
        if dependencies.iter().any(|known| known.name == name) {
            reader.error(
                codes::REPEATED,
                &item,
                format!("the dependency `{name}` is listed twice"),
                "remove one",
            );
        }
        dependencies.push(Dependency { name, version, required });
    }
    dependencies
}

fn plugin_name(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<PluginName> {
    let text = reader.verbatim(field)?;
    match PluginName::parse(text) {
        Ok(name) => Some(name),
        Err(error) => {
            let message = format!("{} is not a plugin name", quote(text));
            reader.error(codes::INVALID_NAME, field, message, error.to_string());
            None
        }
    }
}

/// What is asked for is kept: whoever registers the plugin must refuse it if it cannot be given.
pub fn sandbox(reader: &mut Reader<'_>, top: &Section<'_>) -> SandboxTier {
    let Some(field) = top.get("sandbox") else { return SandboxTier::S0 };
    let Some(section) = reader.section(&field, &["min_tier"]) else { return SandboxTier::S0 };
    let Some(field) = section.get("min_tier") else { return SandboxTier::S0 };
    let tiers: Vec<(&str, SandboxTier)> =
        SandboxTier::ALL.iter().map(|tier| (tier.as_str(), *tier)).collect();
    let Some(tier) = reader.choice(&field, &tiers) else { return SandboxTier::S0 };
    if tier > SandboxTier::S0 {
        let message = format!(
            "this build has no sandbox: a plugin that asks for {} is refused at register",
            tier.as_str()
        );
        let problem = Diagnostic::warning(codes::SANDBOX_MISSING, field.place(), field.path.clone(), message);
        reader.report(problem.help("`min_tier: S0` runs it without isolation"));
    }
    tier
}

pub fn permissions(reader: &mut Reader<'_>, top: &Section<'_>) {
    let Some(field) = top.get("permissions") else { return };
    reader.no_effect(&field);
    let Some(section) = reader.section(&field, &["network", "files"]) else { return };
    if let Some(field) = section.get("network") {
        for item in reader.list(&field, LIST_MAX) {
            let Some(text) = reader.text(&item) else { continue };
            let port =
                text.rsplit_once(':').filter(|(host, _)| !host.is_empty() && !host.contains(['/', ' ']));
            let fits =
                port.is_some_and(|(_, port)| port == "*" || port.parse::<u16>().is_ok_and(|port| port > 0));
            if !fits {
                let message = format!("{} is not a host with a port", quote(text));
                reader.error(codes::INVALID_VALUE, &item, message, "write it as `api.example.com:443`");
            }
        }
    }
    if let Some(field) = section.get("files") {
        for item in reader.list(&field, LIST_MAX) {
            let Some(section) = reader.section(&item, &["path", "access"]) else { continue };
            if let Some(field) = reader.required(&section, "path", "name the file or folder")
                && let Some(path) = reader.text(&field)
                && !path.starts_with('/')
            {
                let message = format!("{} is not an absolute path", quote(path));
                reader.error(codes::INVALID_VALUE, &field, message, "begin it with `/`");
            }
            if let Some(field) = section.get("access") {
                reader.choice(&field, &[("r", ()), ("w", ()), ("rw", ())]);
            }
        }
    }
}
