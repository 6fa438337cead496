//! One line of a requirements file.

use super::Requirement;
use crate::package::diagnostic::quote;

/// What a line says.
pub enum Line {
    Nothing,
    Requirement(Requirement),
    /// Where packages come from, as it was written.
    Option(String),
    Include {
        path: String,
        constraints: bool,
    },
}

/// What is wrong with a line, and what to do about it.
type Mistake = (String, Option<&'static str>);

/// Options that say where packages come from, with whether a value follows.
const OPTIONS: &[(&str, bool)] = &[
    ("--index-url", true),
    ("-i", true),
    ("--pypi-url", true),
    ("--extra-index-url", true),
    ("--find-links", true),
    ("-f", true),
    ("--trusted-host", true),
    ("--no-binary", true),
    ("--only-binary", true),
    ("--no-index", false),
    ("--prefer-binary", false),
    ("--require-hashes", false),
    ("--pre", false),
];
const INCLUDES: &[(&str, bool)] =
    &[("--requirement", false), ("-r", false), ("--constraint", true), ("-c", true)];
const OPERATORS: &[&str] = &["===", "==", "~=", "!=", "<=", ">=", "<", ">"];

const INTO_WHEELS: &str = "build a wheel of it, put that into wheels/, and write NAME==VERSION here";
const ONLY_CODE: &str = "plain code needs no installation: put its folder beside the entry point and import it; else build a wheel of \
     it, put that into wheels/, and write NAME==VERSION here";

/// `text` is a whole line without comment.
pub fn parse(text: &str, file: &str, number: usize) -> Result<Line, Mistake> {
    if text.is_empty() {
        return Ok(Line::Nothing);
    }
    if text.chars().any(|character| character.is_control() && character != '\t') {
        return Err(("the line holds a control character".into(), None));
    }
    if text.starts_with('-') {
        return option(text);
    }
    requirement(text, file, number).map(Line::Requirement)
}

/// The name as PEP 503 spells it.
pub fn normalized(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for character in name.chars() {
        match character {
            '-' | '_' | '.' if out.ends_with('-') => {}
            '-' | '_' | '.' => out.push('-'),
            character => out.extend(character.to_lowercase()),
        }
    }
    out
}

fn option(text: &str) -> Result<Line, Mistake> {
    if ["-e", "--editable"].iter().any(|name| value_of(text, name).is_some()) {
        return Err(("an editable install is not supported".into(), Some(ONLY_CODE)));
    }
    for (name, constraints) in INCLUDES {
        let Some(value) = value_of(text, name) else { continue };
        if value.contains("://") {
            return Err((
                format!("{name} of an address is not supported"),
                Some("put the file into the plugin's folder"),
            ));
        }
        return Ok(Line::Include { path: unquoted(value).to_owned(), constraints: *constraints });
    }
    for (name, takes_value) in OPTIONS {
        if !takes_value {
            if text == *name {
                return Ok(Line::Option(text.to_owned()));
            }
            continue;
        }
        let Some(value) = value_of(text, name).map(unquoted) else { continue };
        if value.is_empty() {
            return Err((format!("{name} has no value"), None));
        }
        let links = matches!(*name, "--find-links" | "-f");
        if links && matches!(value.trim_start_matches("./").trim_end_matches('/'), "wheels") {
            // It is looked into anyhow.
            return Ok(Line::Nothing);
        }
        if links && !value.contains("://") || value.starts_with("file:") {
            let help = "put the wheels into wheels/, which is looked into by itself";
            return Err((format!("{name} of a folder is not supported"), Some(help)));
        }
        return Ok(Line::Option(text.to_owned()));
    }
    let name = text.split([' ', '=']).next().unwrap_or(text);
    let help = "understood are --index-url, --extra-index-url, --find-links, --no-index, --trusted-host, --pre, \
                --only-binary, --no-binary, --prefer-binary, --require-hashes, -r and -c";
    Err((format!("the option {} is not supported here", quote(name)), Some(help)))
}

/// The value of an option in one of its spellings: `--name value`, `--name=value`, `-nvalue`.
fn value_of<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let rest = text.strip_prefix(name)?;
    match rest.chars().next() {
        None => Some(""),
        Some('=' | ' ' | '\t') => Some(rest[1..].trim()),
        Some(_) if !name.starts_with("--") => Some(rest.trim()),
        Some(_) => None,
    }
}

fn unquoted(text: &str) -> &str {
    let inner = |quote| text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote));
    inner('"').or_else(|| inner('\'')).unwrap_or(text)
}

fn requirement(text: &str, file: &str, number: usize) -> Result<Requirement, Mistake> {
    let (text, sha256) = digests(text)?;
    let not_one = |why: &str| {
        let shown = quote(&without_credentials(text));
        (
            format!("{shown} is not a requirement: {why}"),
            Some("write it as `name`, `name==1.2.3` or `name[extra]>=1,<2`"),
        )
    };
    let name_length =
        text.find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c))).unwrap_or(text.len());
    let (name, rest) = text.split_at(name_length);
    refuse_places(text, name, rest)?;
    let ends_well = |name: &str| {
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        edge(name.chars().next()) && edge(name.chars().next_back())
    };
    if !ends_well(name) {
        return Err(not_one("a name begins and ends with a letter or digit"));
    }
    let mut rest = rest.trim_start();
    if let Some(extras) = rest.strip_prefix('[') {
        let (extras, after) = extras.split_once(']').ok_or_else(|| not_one("the extras do not end"))?;
        let extras = extras.trim();
        if !extras.is_empty() && !extras.split(',').map(str::trim).all(ends_well) {
            return Err(not_one("an extra is a name"));
        }
        rest = after.trim_start();
    }
    let (what, marker) = match rest.strip_prefix('@') {
        // An address may hold a semicolon: its marker stands after a space.
        Some(url) => match url.trim().split_once(" ;") {
            Some((url, marker)) => (url.trim(), Some(marker)),
            None => (url.trim(), None),
        },
        None => match rest.split_once(';') {
            Some((what, marker)) => (what.trim(), Some(marker)),
            None => (rest.trim(), None),
        },
    };
    if marker.is_some_and(|marker| marker.trim().is_empty()) {
        return Err(not_one("there is nothing after the `;`"));
    }
    let at_url = rest.starts_with('@');
    if !at_url {
        check_specifiers(what).map_err(not_one)?;
    } else if !(what.starts_with("https://") || what.starts_with("http://")) || what.contains(' ') {
        return Err(not_one("what follows the `@` is no address of a file"));
    }
    Ok(Requirement {
        name: normalized(name),
        text: without_credentials(text),
        pinned: if at_url { None } else { pinned(what) },
        at_url,
        conditional: marker.is_some(),
        sha256,
        file: file.to_owned(),
        line: number,
    })
}

/// Takes `--hash=sha256:…` off the end.
fn digests(text: &str) -> Result<(&str, Vec<String>), Mistake> {
    let Some(at) = text.find(" --").or_else(|| text.find("\t--")) else { return Ok((text, Vec::new())) };
    let (text, mut rest) = text.split_at(at);
    let mut sha256 = Vec::new();
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return Ok((text.trim_end(), sha256));
        }
        let Some(value) = rest.strip_prefix("--hash=").or_else(|| rest.strip_prefix("--hash ")) else {
            let name = rest.split([' ', '=']).next().unwrap_or(rest);
            return Err((
                format!("the option {} of a requirement is not supported", quote(name)),
                Some("only --hash is"),
            ));
        };
        let value = value.trim_start();
        let length = value.find(char::is_whitespace).unwrap_or(value.len());
        let (digest, after) = value.split_at(length);
        let (kind, hex) = digest.split_once(':').unwrap_or((digest, ""));
        if hex.is_empty() || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err((
                format!("{} is not a digest", quote(digest)),
                Some("it reads sha256: and 64 hex digits"),
            ));
        }
        if kind == "sha256" {
            if hex.len() != 64 {
                return Err((
                    format!("{} is not a digest", quote(digest)),
                    Some("it reads sha256: and 64 hex digits"),
                ));
            }
            sha256.push(hex.to_ascii_lowercase());
        } else if !matches!(kind, "sha384" | "sha512") {
            return Err((format!("digests of the kind {} are not safe", quote(kind)), Some("use sha256")));
        }
        rest = after;
    }
}

/// Requirements that are places, not names.
fn refuse_places(text: &str, name: &str, rest: &str) -> Result<(), Mistake> {
    let target = rest.trim_start().strip_prefix('@').map_or(text, str::trim_start);
    let version_control = ["git+", "hg+", "svn+", "bzr+"];
    if version_control.iter().any(|kind| target.starts_with(kind)) || target.starts_with("git@") {
        let message =
            "a requirement from version control is not supported: it has no digest that could be checked";
        return Err((message.into(), Some(INTO_WHEELS)));
    }
    let is_path = |text: &str| {
        ["file:", "./", "../", "/", "~", ".\\"].iter().any(|start| text.starts_with(start))
            || text == "."
            || text == ".."
    };
    let archive = |text: &str| [".whl", ".tar.gz", ".zip", ".tar.bz2"].iter().any(|end| text.ends_with(end));
    if is_path(target)
        || !target.contains("://") && (rest.starts_with(['/', '\\']) || archive(name) && rest.is_empty())
    {
        let shown = quote(&without_credentials(text));
        return Err((format!("{shown} is a path of the machine on which it was written"), Some(ONLY_CODE)));
    }
    if std::ptr::eq(target, text)
        && target.split(['@', ' ', ';']).next().is_some_and(|first| first.contains("://"))
    {
        return Err((
            "an address needs the name of what lies there".into(),
            Some("write it as `name @ https://…`"),
        ));
    }
    Ok(())
}

fn check_specifiers(text: &str) -> Result<(), &'static str> {
    let text = text.strip_prefix('(').and_then(|text| text.strip_suffix(')')).unwrap_or(text).trim();
    if text.is_empty() {
        return Ok(());
    }
    for part in text.split(',').map(str::trim) {
        let operator = OPERATORS.iter().find(|operator| part.starts_with(**operator));
        let Some(operator) = operator else { return Err("a version begins with ==, >=, ~=, !=, <=, < or >") };
        let version = part[operator.len()..].trim();
        let good = |c: char| c.is_ascii_alphanumeric() || "._+!*-".contains(c);
        if version.is_empty() || !version.chars().all(good) {
            return Err("a version is missing or holds what no version does");
        }
    }
    Ok(())
}

/// The version of `==VERSION` alone.
fn pinned(text: &str) -> Option<String> {
    let text = text.strip_prefix('(').and_then(|text| text.strip_suffix(')')).unwrap_or(text).trim();
    let version = text.strip_prefix("===").or_else(|| text.strip_prefix("=="))?.trim();
    (!version.contains(['*', ','])).then(|| version.to_owned())
}

/// An address without the user and password that it may hold.
fn without_credentials(text: &str) -> String {
    let Some((before, after)) = text.split_once("://") else { return text.to_owned() };
    let end = after.find(['/', ' ', '?', '#']).unwrap_or(after.len());
    match after[..end].rsplit_once('@') {
        Some((_, host)) => format!("{before}://{host}{}", &after[end..]),
        None => text.to_owned(),
    }
}
