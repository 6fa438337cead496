//! Entry points: which file is run, by the rules of each runtime.

use super::super::archive;
use super::super::codes;
use super::super::diagnostic::{Diagnostic, nearest, quote};
use super::super::manifest::runs_under_node;
use super::super::reader::{Field, Reader, Section};
use super::Files;

const PYTHON_DEFAULT: &str = "executor.py:invoke";

/// The executable of a process plugin, as a path inside the package.
pub fn process(reader: &mut Reader<'_>, top: &Section<'_>, files: Option<&Files<'_>>) -> Option<String> {
    let help = "name the executable, a path inside the package such as `entrypoint: ./bin/main.js`";
    let field = reader.required(top, "entrypoint", help)?;
    executable(reader, &field, files)
}

/// An action of a process plugin: the same executable, which gets the action's name with each call.
pub fn process_action(reader: &mut Reader<'_>, action: &Section<'_>, own: Option<&str>) -> Option<String> {
    let own = own?;
    let Some(field) = action.get("entrypoint") else { return Some(own.to_owned()) };
    let path = executable(reader, &field, None)?;
    if path == own {
        return Some(path);
    }
    let message =
        format!("an action of a process plugin cannot have an executable of its own, {}", quote(&path));
    let help = format!("leave it out: {} gets the name of the action with each call", quote(own));
    reader.error(codes::CONTRADICTION, &field, message, help);
    None
}

fn executable(reader: &mut Reader<'_>, field: &Field<'_>, files: Option<&Files<'_>>) -> Option<String> {
    let text = reader.text(field)?;
    let path = text.strip_prefix("./").unwrap_or(text);
    if let Err(problem) = archive::names::check(path) {
        let message = format!("{} cannot be an entry point: {problem}", quote(text));
        reader.error(codes::INVALID_ENTRYPOINT, field, message, "name a file inside the package");
        return None;
    }
    let Some(Files { names, is_program }) = files else { return Some(path.to_owned()) };
    if !names.iter().any(|name| name == path) {
        let message = format!("the package has no file {}", quote(path));
        reader.error(codes::FILE_MISSING, field, message, instead_of(path, names));
        return None;
    }
    if !runs_under_node(path) && !is_program(path) {
        let message = format!("{} is not a program", quote(path));
        let help = "begin a script with a line such as `#!/bin/sh`; `.js`, `.mjs` and `.cjs` run under node, \
                    and an entry point in Python is FILE.py:FUNCTION";
        reader.error(codes::INVALID_ENTRYPOINT, field, message, help);
        return None;
    }
    Some(path.to_owned())
}

/// What may have been meant by a file that is not there.
fn instead_of(path: &str, names: &[String]) -> String {
    let first = path.split_once(' ').map(|(first, _)| first.strip_prefix("./").unwrap_or(first));
    if let Some(first) = first.filter(|first| names.iter().any(|name| name == first)) {
        return format!("name {} alone: it gets no arguments", quote(first));
    }
    match nearest(path, names.iter().map(String::as_str)) {
        Some(other) => format!("the package has `{other}`"),
        None => "paths are relative to the folder of the manifest".to_owned(),
    }
}

/// The entry point of a Python plugin that names none.
pub fn default_python(
    reader: &mut Reader<'_>,
    top: &Section<'_>,
    files: Option<&Files<'_>>,
) -> Option<String> {
    let file = "executor.py";
    if let Some(Files { names, .. }) = files
        && !names.iter().any(|name| name == file)
    {
        let message = format!("the package has no `{file}`, and the manifest names no other entry point");
        let help = match only_python_file(names) {
            Some(other) => format!("name it: `entrypoint: {other}:FUNCTION`"),
            None => format!("add `{file}` with a function `invoke`, or set `entrypoint: FILE.py:FUNCTION`"),
        };
        reader.report(Diagnostic::error(codes::FILE_MISSING, top.place, "entrypoint", message).help(help));
        return None;
    }
    Some(PYTHON_DEFAULT.to_owned())
}

/// `FILE.py:FUNCTION`, the file inside the package.
pub fn python(reader: &mut Reader<'_>, field: &Field<'_>, files: Option<&Files<'_>>) -> Option<String> {
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
        Some((file, function)) => match archive::names::check(file) {
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
    if let Some(Files { names, .. }) = files
        && !names.iter().any(|name| name == file)
    {
        let help = match nearest(file, names.iter().map(String::as_str)).or_else(|| only_python_file(names)) {
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
