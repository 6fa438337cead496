//! What is run, and with what: `runtime`, `entrypoint`, `actions`, `requires`.

use std::collections::BTreeMap;

use semver::{Version, VersionReq};

use crate::model::invocation::DEFAULT_ACTION;

use super::super::codes;
use super::super::diagnostic::{Diagnostic, nearest, quote};
use super::super::manifest::{Action, Requires, RuntimeKind};
use super::super::reader::{Field, Reader, Section};
use super::{Files, entrypoint};

const ACTIONS_MAX: usize = 64;
/// Runtimes that have a name, but are not in this build.
const RUNTIMES_ELSEWHERE: &[&str] = &["wasm", "http", "mcp", "dify", "native"];

pub struct Entry {
    pub runtime: Option<RuntimeKind>,
    pub entrypoint: Option<String>,
    pub actions: BTreeMap<String, Action>,
}

pub fn read(reader: &mut Reader<'_>, top: &Section<'_>, files: Option<&Files<'_>>) -> Entry {
    let written = top.get("entrypoint");
    let runtime = runtime(reader, top, written.as_ref());
    let entrypoint = match (runtime, &written) {
        (Some(RuntimeKind::Python), Some(field)) => entrypoint::python(reader, field, files),
        (Some(RuntimeKind::Python), None) => entrypoint::default_python(reader, top, files),
        (Some(RuntimeKind::Process), _) => entrypoint::process(reader, top, files),
        (None, _) => None,
    };
    let actions = actions(reader, top, runtime, entrypoint.as_deref(), files);
    Entry { runtime, entrypoint, actions }
}

fn runtime(
    reader: &mut Reader<'_>,
    top: &Section<'_>,
    entrypoint: Option<&Field<'_>>,
) -> Option<RuntimeKind> {
    let has: Vec<&str> = RuntimeKind::ALL.iter().map(|kind| kind.as_str()).collect();
    let Some(field) = top.get("runtime") else {
        let Some(entrypoint) = entrypoint else { return Some(RuntimeKind::Python) };
        let text = reader.text(entrypoint)?;
        let file = text.rsplit_once(':').map_or(text, |(file, _)| file);
        // A module with a function is a slip in a Python entry point more often than an executable.
        let suffix =
            file.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map_or("", |(_, suffix)| suffix);
        let python = suffix == "py" || text.contains(':') && !matches!(suffix, "js" | "mjs" | "cjs" | "sh");
        return Some(if python { RuntimeKind::Python } else { RuntimeKind::Process });
    };
    let text = reader.text(&field)?;
    if let Some(kind) = RuntimeKind::ALL.iter().find(|kind| kind.as_str() == text) {
        return Some(*kind);
    }
    let (message, help) = if RUNTIMES_ELSEWHERE.contains(&text) {
        (format!("the runtime `{text}` is not in this build"), format!("this build runs: {}", has.join(", ")))
    } else {
        let help = match meant(text) {
            Some(meant) => format!("did you mean `{}`?", meant.as_str()),
            None => format!("this build runs: {}", has.join(", ")),
        };
        (format!("unknown runtime {}", quote(text)), help)
    };
    reader.error(codes::RUNTIME_MISSING, &field, message, help);
    // What is misspelt is read as what is meant, for the sake of further mistakes.
    (!RUNTIMES_ELSEWHERE.contains(&text)).then(|| meant(text).unwrap_or(RuntimeKind::Python))
}

fn meant(text: &str) -> Option<RuntimeKind> {
    let lower = text.to_ascii_lowercase();
    if lower.starts_with("py") {
        return Some(RuntimeKind::Python);
    }
    if lower.starts_with("node") || matches!(&*lower, "javascript" | "js" | "shell" | "sh" | "go" | "binary")
    {
        return Some(RuntimeKind::Process);
    }
    let near = nearest(&lower, RuntimeKind::ALL.iter().map(|kind| kind.as_str()))?;
    RuntimeKind::ALL.iter().copied().find(|kind| kind.as_str() == near)
}

fn actions(
    reader: &mut Reader<'_>,
    top: &Section<'_>,
    runtime: Option<RuntimeKind>,
    own: Option<&str>,
    files: Option<&Files<'_>>,
) -> BTreeMap<String, Action> {
    let mut actions = BTreeMap::new();
    let Some(field) = top.get("actions") else { return actions };
    let entries = reader.entries(&field);
    if entries.len() > ACTIONS_MAX {
        let message = format!("`actions` has {} entries, more than {ACTIONS_MAX}", entries.len());
        reader.error(codes::OUT_OF_RANGE, &field, message, "split the plugin");
    }
    for (name, action) in entries.into_iter().take(ACTIONS_MAX) {
        if name == DEFAULT_ACTION {
            let message = "the action `invoke` is the plugin's own `entrypoint`";
            let problem = Diagnostic::error(codes::CONTRADICTION, action.key, action.path.clone(), message);
            reader.report(problem.help("set `entrypoint` instead, or give the action another name"));
        } else if !is_action_name(name) {
            let message = format!("{} is not a name of an action", quote(name));
            let help = "names have 1 to 64 characters of a-z, 0-9, - and _, and begin with a letter";
            reader.report(
                Diagnostic::error(codes::INVALID_NAME, action.key, action.path.clone(), message).help(help),
            );
        }
        let Some(section) = reader.section(&action, &["entrypoint", "description"]) else { continue };
        if let Some(field) = section.get("description") {
            reader.prose(&field, 4096);
        }
        let entrypoint = match runtime {
            Some(RuntimeKind::Process) => entrypoint::process_action(reader, &section, own),
            _ => reader
                .required(&section, "entrypoint", "add `entrypoint: FILE.py:FUNCTION`")
                .filter(|_| runtime.is_some())
                .and_then(|field| entrypoint::python(reader, &field, files)),
        };
        if let Some(entrypoint) = entrypoint {
            actions.insert(name.to_owned(), Action { entrypoint });
        }
    }
    actions
}

fn is_action_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '-' | '_'))
}

pub fn requires(reader: &mut Reader<'_>, top: &Section<'_>) -> Requires {
    let mut requires = Requires::default();
    let Some(field) = top.get("requires") else { return requires };
    let Some(section) = reader.section(&field, &["python", "spanglass"]) else { return requires };
    if let Some(field) = section.get("python")
        && let Some(text) = reader.verbatim(&field)
    {
        if is_python_specifier(text) {
            requires.python = Some(text.to_owned());
        } else {
            let number = text.trim();
            let bare = number.starts_with(|c: char| c.is_ascii_digit())
                && is_python_specifier(&format!(">={number}"));
            let help = if bare {
                format!("write `\">={number}\"`")
            } else {
                "write it as `\">=3.9\"` or `\">=3.9,<4\"`".to_owned()
            };
            let message = format!("{} is not a requirement on Python", quote(text));
            reader.error(codes::INVALID_REQUIREMENT, &field, message, help);
        }
    }
    if let Some(field) = section.get("spanglass") {
        requires.spanglass = version_requirement(reader, &field);
        let here =
            Version::parse(env!("CARGO_PKG_VERSION")).expect("cargo checks the version of the package");
        if let Some(requirement) = &requires.spanglass
            && !requirement.matches(&here)
        {
            let message = format!("the plugin requires spanglass {requirement}, this is {here}");
            reader.error(
                codes::OTHER_BUILD,
                &field,
                message,
                "install a spanglass that fits, or relax the requirement",
            );
        }
    }
    requires
}

/// A requirement on a semantic version, such as `^2.3.0`.
pub fn version_requirement(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<VersionReq> {
    let text = reader.verbatim(field)?;
    match VersionReq::parse(text) {
        Ok(requirement) => Some(requirement),
        Err(_) => {
            let message = format!("{} is not a requirement on a version", quote(text));
            reader.error(
                codes::INVALID_REQUIREMENT,
                field,
                message,
                "write it as `^2.3.0`, `>=1.2, <2` or `*`",
            );
            None
        }
    }
}

/// The part of PEP 440 that interpreters need: comparisons of release numbers, joined by commas.
fn is_python_specifier(text: &str) -> bool {
    let clause = |clause: &str| {
        let clause = clause.trim();
        let operators = ["~=", "==", "!=", "<=", ">=", "<", ">"];
        let Some((operator, number)) =
            operators.iter().find_map(|operator| Some((*operator, clause.strip_prefix(operator)?.trim())))
        else {
            return false;
        };
        let wildcard = matches!(operator, "==" | "!=");
        let number = if wildcard { number.strip_suffix(".*").unwrap_or(number) } else { number };
        let parts: Vec<&str> = number.split('.').collect();
        let numeric =
            |part: &&str| !part.is_empty() && part.len() <= 9 && part.bytes().all(|b| b.is_ascii_digit());
        parts.len() <= 4 && parts.iter().all(numeric) && (operator != "~=" || parts.len() >= 2)
    };
    text.len() <= 256 && text.split(',').all(clause)
}
