//! What is run, and with what: `runtime`, `entrypoint`, `actions`, `requires`.

use std::collections::BTreeMap;

use semver::{Version, VersionReq};

use crate::model::invocation::DEFAULT_ACTION;

use super::super::archive::names;
use super::super::codes;
use super::super::diagnostic::{Diagnostic, nearest, quote};
use super::super::manifest::{Action, Requires, RuntimeKind};
use super::super::reader::{Field, Reader, Section};

const PYTHON_DEFAULT: &str = "executor.py:invoke";
const ACTIONS_MAX: usize = 64;
/// Runtimes that have a name, but are not in this build.
const RUNTIMES_ELSEWHERE: &[&str] = &["process", "wasm", "http", "mcp", "dify", "native"];

pub struct Entry {
    pub runtime: Option<RuntimeKind>,
    pub entrypoint: Option<String>,
    pub actions: BTreeMap<String, Action>,
}

pub fn read(reader: &mut Reader<'_>, top: &Section<'_>, files: Option<&[String]>) -> Entry {
    let written = top.get("entrypoint");
    let runtime = runtime(reader, top, written.as_ref());
    let entrypoint = match (&written, runtime) {
        (Some(field), Some(RuntimeKind::Python)) => python(reader, field, files),
        (None, Some(RuntimeKind::Python)) => default_python(reader, top, files),
        (_, None) => None,
    };
    let actions = actions(reader, top, runtime, files);
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
        // A path or module without a suffix is a slip in a Python entry point more often than an executable.
        let suffix =
            file.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map_or("", |(_, suffix)| suffix);
        if suffix == "py" || text.contains(':') && !matches!(suffix, "js" | "mjs" | "sh" | "wasm" | "exe") {
            return Some(RuntimeKind::Python);
        }
        let message = format!("{} asks for the runtime `process`, which this build lacks", quote(text));
        let help =
            format!("this build runs {}; an entry point in Python is FILE.py:FUNCTION", has.join(", "));
        reader.error(codes::RUNTIME_MISSING, entrypoint, message, help);
        return None;
    };
    let text = reader.text(&field)?;
    if let Some(kind) = RuntimeKind::ALL.iter().find(|kind| kind.as_str() == text) {
        return Some(*kind);
    }
    let (message, help) = if RUNTIMES_ELSEWHERE.contains(&text) {
        (format!("the runtime `{text}` is not in this build"), format!("this build runs: {}", has.join(", ")))
    } else {
        let lower = text.to_ascii_lowercase();
        let meant =
            if lower.starts_with("py") { Some("python") } else { nearest(&lower, has.iter().copied()) };
        let help = match meant {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("this build runs: {}", has.join(", ")),
        };
        (format!("unknown runtime {}", quote(text)), help)
    };
    reader.error(codes::RUNTIME_MISSING, &field, message, help);
    // What is misspelt is read as what is meant, for the sake of further mistakes.
    (!RUNTIMES_ELSEWHERE.contains(&text)).then_some(RuntimeKind::Python)
}

fn default_python(reader: &mut Reader<'_>, top: &Section<'_>, files: Option<&[String]>) -> Option<String> {
    let file = "executor.py";
    if let Some(files) = files
        && !files.iter().any(|name| name == file)
    {
        let message = format!("the package has no `{file}`, and the manifest names no other entry point");
        let help = match only_python_file(files) {
            Some(other) => format!("name it: `entrypoint: {other}:FUNCTION`"),
            None => format!("add `{file}` with a function `invoke`, or set `entrypoint: FILE.py:FUNCTION`"),
        };
        reader.report(Diagnostic::error(codes::FILE_MISSING, top.place, "entrypoint", message).help(help));
        return None;
    }
    Some(PYTHON_DEFAULT.to_owned())
}

/// `FILE.py:FUNCTION`, the file inside the package.
fn python(reader: &mut Reader<'_>, field: &Field<'_>, files: Option<&[String]>) -> Option<String> {
    let text = reader.text(field)?;
    let wrong = |help: String| (format!("{} is not an entry point", quote(text)), help);
    let shape = "an entry point in Python is FILE.py:FUNCTION, such as `executor.py:invoke`".to_owned();
    let problem = match text.rsplit_once(':') {
        None if text.ends_with(".py") => Some(wrong(format!("name the function: `{text}:invoke`"))),
        None => Some(wrong(shape)),
        Some((file, _)) if !file.ends_with(".py") => Some(wrong(match module_path(file) {
            Some(path) => format!(
                "name the file, not the module: `{path}:{}`",
                text.rsplit(':').next().unwrap_or_default()
            ),
            None => shape,
        })),
        Some((file, function)) => match names::check(file) {
            Err(problem) => Some((
                format!("{} cannot be an entry point's file: {problem}", quote(file)),
                "name a file inside the package".to_owned(),
            )),
            Ok(()) if !is_identifier(function) => {
                Some((format!("{} is not the name of a function", quote(function)), shape))
            }
            Ok(()) => None,
        },
    };
    if let Some((message, help)) = problem {
        reader.error(codes::INVALID_ENTRYPOINT, field, message, help);
        return None;
    }
    let file = text.rsplit_once(':').map_or(text, |(file, _)| file);
    if let Some(files) = files
        && !files.iter().any(|name| name == file)
    {
        let help = match nearest(file, files.iter().map(String::as_str)).or_else(|| only_python_file(files)) {
            Some(other) => format!("the package has `{other}`"),
            None => "paths are relative to the folder of the manifest".to_owned(),
        };
        reader.error(codes::FILE_MISSING, field, format!("the package has no file {}", quote(file)), help);
        return None;
    }
    Some(text.to_owned())
}

fn only_python_file(files: &[String]) -> Option<&str> {
    let mut python = files.iter().filter(|name| name.ends_with(".py") && !name.contains('/'));
    let first = python.next()?;
    python.next().is_none().then_some(first)
}

/// `package.module` as a path.
fn module_path(module: &str) -> Option<String> {
    module.split('.').all(is_identifier).then(|| format!("{}.py", module.replace('.', "/")))
}

fn is_identifier(text: &str) -> bool {
    let mut characters = text.chars();
    characters.next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && characters.all(|c| c.is_alphanumeric() || c == '_')
}

fn actions(
    reader: &mut Reader<'_>,
    top: &Section<'_>,
    runtime: Option<RuntimeKind>,
    files: Option<&[String]>,
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
        let help = "add `entrypoint: FILE.py:FUNCTION`";
        let Some(entrypoint) = reader.required(&section, "entrypoint", help) else { continue };
        if runtime == Some(RuntimeKind::Python)
            && let Some(entrypoint) = python(reader, &entrypoint, files)
        {
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
