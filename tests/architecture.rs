//! House rules as a test: which room may import which, what only one room may know, and what no file may
//! say. It reads sources as text, needs no build of them, and is itself tested on small violations.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use spanglass::model::kind::ErrorKind;

/// The order of the rooms. `src/lib.rs` lists those that exist, in this order.
const HOUSE_PLAN: &[&str] = &[
    "model",
    "telemetry",
    "store",
    "alerting",
    "package",
    "sandbox",
    "runtimes",
    "drift",
    "pipeline",
    "registry",
    "host",
    "rollout",
    "workflow",
    "cluster",
    "api",
    "config",
    "app",
];

/// Crates that only one place may name, so that replacing one is a change in one place.
const CONFINED_CRATES: &[(&[&str], &[&str])] = &[
    (
        &["src/telemetry/"],
        &["opentelemetry", "opentelemetry_http", "opentelemetry_otlp", "opentelemetry_proto"],
    ),
    (
        &["src/telemetry/"],
        &["opentelemetry_sdk", "tracing_opentelemetry", "tracing_subscriber", "prometheus"],
    ),
    (&["src/store/"], &["rusqlite"]),
    (&["src/package/yaml.rs"], &["serde_yaml"]),
    // HTTP: elsewhere there are kinds of error. `api` has the routes, `app` the socket in front of them.
    (&["src/api/", "src/app/"], &["axum"]),
];

/// Outside `telemetry` code emits typed events, not lines; `debug!` and `trace!` are free.
const TELEMETRY_MACROS: &[&str] = &[
    "info",
    "warn",
    "error",
    "event",
    "span",
    "error_span",
    "warn_span",
    "info_span",
    "debug_span",
    "trace_span",
];

const ARCHITECTURE_LINES_MAX: usize = 200;

#[test]
fn rooms_are_listed_in_the_order_of_the_house_plan() {
    let rooms = rooms();
    assert!(!rooms.is_empty(), "src/lib.rs lists no room");
    assert_none(check_order(&rooms));
    for room in &rooms {
        assert!(
            root().join("src").join(room).join("mod.rs").is_file(),
            "room `{room}` has no src/{room}/mod.rs"
        );
    }
}

#[test]
fn a_room_imports_only_rooms_above_it() {
    let rooms = rooms();
    assert_none(sources().iter().flat_map(|(path, text)| check_imports(&rooms, path, text)));
}

#[test]
fn only_one_place_knows_each_confined_crate() {
    assert_none(sources().iter().flat_map(|(path, text)| check_confined(path, text)));
}

#[test]
fn each_room_says_what_it_is_for() {
    for room in rooms() {
        let path = root().join("src").join(&room).join("mod.rs");
        assert!(read(&path).starts_with("//!"), "src/{room}/mod.rs does not begin with `//!`");
    }
}

#[test]
fn the_architecture_page_stays_short() {
    let path = root().join("ARCHITECTURE.md");
    if path.is_file() {
        let lines = read(&path).lines().count();
        assert!(
            lines <= ARCHITECTURE_LINES_MAX,
            "ARCHITECTURE.md has {lines} of {ARCHITECTURE_LINES_MAX} lines"
        );
    }
}

#[test]
fn each_kind_of_error_has_its_page() {
    for kind in ErrorKind::ALL {
        let page = read(&root().join(format!("docs/errors/{kind}.md")));
        assert!(page.starts_with(&format!("# {kind}\n")), "docs/errors/{kind}.md is about something else");
        let blame = format!("\n| {} |", kind.blame().as_str());
        assert!(
            page.contains(&blame),
            "docs/errors/{kind}.md blames somebody else than {}",
            kind.blame().as_str()
        );
    }
    let pages = fs::read_dir(root().join("docs/errors")).expect("docs/errors").count();
    assert_eq!(pages, ErrorKind::ALL.len() + 1, "docs/errors holds one page a kind and README.md");
}

#[test]
fn no_tracked_file_names_the_machine_it_was_written_on() {
    let home = std::env::var("HOME").unwrap_or_default();
    let forbidden = machine_paths(root(), Path::new(&home));
    assert_none(tracked_files().iter().flat_map(|path| {
        let text = fs::read(root().join(path)).unwrap_or_default();
        check_machine_paths(&forbidden, path, &String::from_utf8_lossy(&text))
    }));
}

// === The rules, as functions from text to violations ===

fn check_order(rooms: &[String]) -> Vec<String> {
    let mut violations = Vec::new();
    let mut last = 0;
    for room in rooms {
        match HOUSE_PLAN.iter().position(|planned| planned == room) {
            None => violations.push(format!("`{room}` is not in the house plan")),
            Some(place) if place < last => {
                violations.push(format!("`{room}` stands below `{}`", HOUSE_PLAN[last]))
            }
            Some(place) => last = place,
        }
    }
    violations
}

fn check_imports(rooms: &[String], path: &str, text: &str) -> Vec<String> {
    let module = module_path(path);
    let Some(own) = module.first().and_then(|room| rooms.iter().position(|listed| listed == room)) else {
        return Vec::new();
    };
    let mut violations = Vec::new();
    for Import { line, target } in imports(&module, text) {
        let place = match target.first() {
            None => Err("imports the whole crate".to_owned()),
            Some(first) => {
                rooms.iter().position(|room| room == first).ok_or_else(|| format!("`{first}` is not a room"))
            }
        };
        match place {
            Ok(place) if place <= own => {}
            Ok(place) => {
                violations.push(format!("{path}:{line}: `{}` may not know `{}`", rooms[own], rooms[place]))
            }
            Err(problem) => violations.push(format!("{path}:{line}: {problem}")),
        }
    }
    // `api::{self, routes}` is one mistake.
    violations.dedup();
    violations
}

fn check_confined(path: &str, text: &str) -> Vec<String> {
    let tokens = tokens(text);
    let mut violations = Vec::new();
    let mut place = 0;
    while place < tokens.len() {
        let token = &tokens[place];
        let before = place.checked_sub(1).map_or("", |before| tokens[before].text);
        let after = tokens.get(place + 1).map_or("", |after| after.text);
        // A path into this crate may hold a module of the same name as a crate.
        if is_anchor(token.text) && after == "::" {
            let mut ignored = Vec::new();
            place = read_tree(&tokens, place, &[], &mut ignored).max(place + 1);
            continue;
        }
        let starts_a_path = before != "::" && (after == "::" || before == "use" || before == "crate");
        for (owners, crates) in CONFINED_CRATES {
            let is_owner = owners.iter().any(|owner| path.starts_with(owner));
            if starts_a_path && crates.contains(&token.text) && !is_owner {
                let owners = owners.join(" and ");
                violations.push(format!("{path}:{}: only {owners} may name `{}`", token.line, token.text));
            }
        }
        let is_macro =
            after == "!" && tokens.get(place + 2).is_some_and(|next| matches!(next.text, "(" | "{" | "["));
        if is_macro && TELEMETRY_MACROS.contains(&token.text) && !path.starts_with("src/telemetry/") {
            violations
                .push(format!("{path}:{}: `{}!` outside telemetry: emit an event", token.line, token.text));
        }
        place += 1;
    }
    violations
}

/// What would tell where this checkout lies: its folder, the home folder, and a folder at the root of the
/// file system that is not one of every machine.
fn machine_paths(checkout: &Path, home: &Path) -> Vec<String> {
    const EVERYWHERE: &[&str] = &[
        "bin", "boot", "dev", "etc", "home", "lib", "lib64", "media", "mnt", "opt", "proc", "root", "run",
        "sbin", "srv", "sys", "tmp", "usr", "var",
    ];
    let mut paths = Vec::new();
    for path in [checkout, home] {
        // One folder below the root of the file system, such as root's home, tells nothing.
        if path.components().count() > 2 {
            paths.push(path.display().to_string());
        }
        let top = path.components().nth(1).map(|top| top.as_os_str().to_string_lossy().into_owned());
        if let Some(top) = top.filter(|top| !EVERYWHERE.contains(&top.as_str())) {
            paths.push(format!("/{top}/"));
        }
    }
    paths
}

fn check_machine_paths(forbidden: &[String], path: &str, text: &str) -> Vec<String> {
    let mut violations = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for needle in forbidden {
            let found = line.match_indices(needle.as_str()).any(|(start, _)| {
                let inside_a_longer_path = |c: char| c.is_alphanumeric() || "_-.~}".contains(c);
                let before = line[..start].chars().next_back();
                let after = line[start + needle.len()..].chars().next();
                !before.is_some_and(inside_a_longer_path)
                    && (needle.ends_with('/') || !after.is_some_and(inside_a_longer_path))
            });
            if found {
                violations.push(format!("{path}:{}: names a path of this machine, {needle}", number + 1));
            }
        }
    }
    violations
}

// === Reading Rust, as far as it is needed here ===

struct Import {
    line: usize,
    /// From the root of the crate; empty: a glob of the root.
    target: Vec<String>,
}

struct Token<'a> {
    text: &'a str,
    line: usize,
}

/// Every path that starts with `crate`, `self` or `super`, in `use` or inline, seen from the crate's root.
fn imports(file_module: &[String], text: &str) -> Vec<Import> {
    let tokens = tokens(text);
    let mut found = Vec::new();
    // Inline modules that are open, with the depth of braces at which each ends.
    let mut module = file_module.to_vec();
    let mut open = Vec::new();
    let mut depth = 0;
    let mut place = 0;
    while place < tokens.len() {
        let next = tokens.get(place + 1).map_or("", |next| next.text);
        match tokens[place].text {
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                if open.last() == Some(&depth) {
                    open.pop();
                    module.pop();
                }
            }
            "mod" if tokens.get(place + 2).is_some_and(|brace| brace.text == "{") => {
                module.push(next.to_owned());
                open.push(depth);
                depth += 1;
                place += 2;
            }
            // `use crate as other;` would hide everything that follows.
            "crate" if next == "as" => found.push(Import { line: tokens[place].line, target: Vec::new() }),
            anchor if is_anchor(anchor) && next == "::" => {
                let line = tokens[place].line;
                let mut targets = Vec::new();
                let end = read_tree(&tokens, place, &module, &mut targets);
                found.extend(targets.into_iter().map(|target| Import { line, target }));
                place = end;
                continue;
            }
            _ => {}
        }
        place += 1;
    }
    found
}

fn is_anchor(token: &str) -> bool {
    matches!(token, "crate" | "self" | "super")
}

/// Reads `a::b::{c, d::*}` from `place` on; returns the place after it. `base` is the module that paths
/// without an anchor continue.
fn read_tree(tokens: &[Token], mut place: usize, base: &[String], targets: &mut Vec<Vec<String>>) -> usize {
    let text = |place: usize| tokens.get(place).map_or("", |token| token.text);
    let mut path = base.to_vec();
    loop {
        match text(place) {
            "crate" => path.clear(),
            "self" => {}
            "super" => {
                path.pop();
            }
            "*" => {
                targets.push(path);
                return place + 1;
            }
            "{" => {
                place += 1;
                while !matches!(text(place), "}" | "") {
                    place = read_tree(tokens, place, &path, targets).max(place + 1);
                    if text(place) == "as" {
                        place += 2;
                    }
                    if text(place) == "," {
                        place += 1;
                    }
                }
                return place + 1;
            }
            name if is_name(name) => path.push(name.to_owned()),
            // `Vec::<T>`, or something that is no path after all.
            _ => {
                targets.push(path);
                return place;
            }
        }
        if text(place + 1) != "::" {
            targets.push(path);
            return place + 1;
        }
        place += 2;
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Names, `::` and single characters, without comments, strings and characters.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut line = 1;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment_length(rest)
        } else if let Some(length) = literal_length(rest) {
            length
        } else if first.is_alphanumeric() || first == '_' {
            let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            found.push(Token { text: &rest[..length], line });
            length
        } else if rest.starts_with("::") {
            found.push(Token { text: "::", line });
            2
        } else {
            if !first.is_whitespace() {
                found.push(Token { text: &rest[..first.len_utf8()], line });
            }
            first.len_utf8()
        };
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    found
}

fn block_comment_length(text: &str) -> usize {
    let mut depth = 0;
    let mut place = 0;
    while place < text.len() {
        let rest = &text.as_bytes()[place..];
        if rest.starts_with(b"/*") {
            depth += 1;
            place += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            place += 2;
            if depth == 0 {
                return place;
            }
        } else {
            place += 1;
        }
    }
    text.len()
}

/// The length of the string or character that `text` starts with; lifetimes are none.
fn literal_length(text: &str) -> Option<usize> {
    let body = text.trim_start_matches(['b', 'c']);
    let prefix = text.len() - body.len();
    if prefix > 1 {
        return None;
    }
    if let Some(raw) = body.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        let inside = raw[hashes..].strip_prefix('"')?;
        let end = format!("\"{}", "#".repeat(hashes));
        let length = inside.find(&end).map_or(inside.len(), |found| found + end.len());
        return Some(text.len() - inside.len() + length);
    }
    let quote = body.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let inside = &body[1..];
    if quote == '\'' {
        // 'a' and '\n' are characters, 'a without a second quote is a lifetime.
        let escaped = inside.starts_with('\\');
        let second = inside.chars().next().map_or(0, char::len_utf8);
        if !escaped && !inside[second..].starts_with('\'') {
            return None;
        }
    }
    let mut skip = false;
    for (place, c) in inside.char_indices() {
        match c {
            _ if skip => skip = false,
            '\\' => skip = true,
            c if c == quote => return Some(prefix + 1 + place + 1),
            _ => {}
        }
    }
    Some(text.len())
}

/// `src/a/b.rs` and `src/a/b/mod.rs` are both `a::b`.
fn module_path(path: &str) -> Vec<String> {
    let path = path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    path.split('/').map(str::to_owned).collect()
}

fn listed_rooms(lib: &str) -> Vec<String> {
    let tokens = tokens(lib);
    tokens
        .windows(3)
        .filter(|t| t[0].text == "mod" && t[2].text == ";")
        .map(|t| t[1].text.to_owned())
        .collect()
}

// === The repository ===

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn rooms() -> Vec<String> {
    listed_rooms(&read(&root().join("src/lib.rs")))
}

/// Every Rust file of `src`, with its path from the root of the repository.
fn sources() -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::from("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).expect("a folder of src can be read") {
            let entry = entry.expect("an entry of src can be read");
            let path = folder.join(entry.file_name());
            if entry.file_type().expect("its type can be read").is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push((path.to_string_lossy().into_owned(), read(&root().join(&path))));
            }
        }
    }
    assert!(files.len() > 10, "found only {} sources", files.len());
    files.sort();
    files
}

/// What git tracks; nothing in an unpacked archive, where there is no git to ask.
fn tracked_files() -> Vec<String> {
    let output = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output();
    let Some(output) = output.ok().filter(|output| output.status.success()) else { return Vec::new() };
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    listed.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect()
}

fn assert_none(violations: impl IntoIterator<Item = String>) {
    let violations: Vec<String> = violations.into_iter().collect();
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

// === The checker can fail ===

fn example_rooms() -> Vec<String> {
    ["model", "store", "api"].map(str::to_owned).to_vec()
}

fn import_violations(path: &str, text: &str) -> usize {
    check_imports(&example_rooms(), path, text).len()
}

#[test]
fn finds_imports_of_lower_rooms_in_every_form() {
    for text in [
        "use crate::api::Thing;",
        "use crate::{model::Name, api::Thing};",
        "use crate::{model, api};",
        "use crate::{\n    model::{ids, name},\n    api::{self, routes},\n};",
        "pub(crate) use crate::api as door;",
        "use super::super::api::Thing;",
        "use super::{super::api::Thing};",
        "fn f() { crate::api::go::<u8>(); }",
        "fn f(x: &'static crate::api::Thing) {}",
        "mod inner { use super::super::super::api::Thing; }",
        "#[cfg(test)]\nmod tests {\n    use super::*;\n    use crate::api::Thing;\n}",
        "macro_rules! m { () => { $crate::api::go() } }",
        "use crate::*;",
        "use crate as all;",
        "use crate::cellar::Thing;",
    ] {
        assert_eq!(import_violations("src/store/ledger.rs", text), 1, "{text}");
    }
}

#[test]
fn allows_rooms_above_and_the_own_one() {
    for text in [
        "use crate::model::ids::{SpanId, TraceId};",
        "use crate::store::schema;",
        "use super::schema;",
        "use super::super::model::Name;",
        "use self::inner::Thing;",
        "mod tests { use super::*; use super::super::schema; }",
        "// use crate::api::Thing;\n/* crate::api::x /* nested */ crate::api::y */",
        "/// See [`crate::api::Thing`].\nconst A: &str = \"crate::api::x\"; const B: char = '\"'; /* crate::api */",
        "const RAW: &str = r#\"crate::api::x \" crate::api::y\"#; const C: &[u8] = b\"crate::api::x\\\"\";",
        "pub(crate) fn f<'a>(api: &'a str) -> Result<(), api::Error> { Ok(()) }",
        "use axum::extract; use other::api;",
    ] {
        let violations = check_imports(&example_rooms(), "src/store/ledger.rs", text);
        assert!(violations.is_empty(), "{text}: {violations:?}");
    }
}

#[test]
fn places_a_file_in_its_module() {
    assert_eq!(import_violations("src/store/mod.rs", "use super::api::Thing;"), 1);
    assert_eq!(import_violations("src/store/mod.rs", "mod tests { use super::api::Thing; }"), 0);
    assert_eq!(import_violations("src/store/a/b.rs", "use super::super::super::api::Thing;"), 1);
    assert_eq!(import_violations("src/main.rs", "use crate::api::Thing;"), 0);
    let lines = check_imports(
        &example_rooms(),
        "src/model/a.rs",
        "\n\nuse crate::{\n  store::X };\n/* \n */\nuse crate::api::X;",
    );
    assert_eq!(lines[0], "src/model/a.rs:3: `model` may not know `store`");
    assert_eq!(lines[1], "src/model/a.rs:7: `model` may not know `api`");
}

#[test]
fn finds_rooms_out_of_order() {
    let listed = |text: &str| check_order(&listed_rooms(text)).len();
    assert_eq!(listed("//! mod api;\npub mod model;\npub mod store;\nmod api;"), 0);
    assert_eq!(listed("pub mod store;\npub mod model;\npub mod api;"), 1);
    assert_eq!(listed("pub mod model;\npub mod cellar;"), 1);
}

#[test]
fn finds_crates_and_macros_where_they_do_not_belong() {
    let found = |path: &str, text: &str| check_confined(path, text).len();
    for text in [
        "use prometheus::Registry;",
        "use opentelemetry_sdk as sdk;",
        "fn f() -> rusqlite::Result<()> { todo!() }",
        "use axum::http::StatusCode;",
        "type T = serde_yaml::Value;",
        "fn f() { tracing::info!(\"x\"); }",
        "fn f() { warn!{\"x\"} }",
    ] {
        assert_eq!(found("src/host/mod.rs", text), 1, "{text}");
    }
    for text in [
        "use crate::telemetry::{prometheus::Text, prometheus};",
        "use crate::telemetry::prometheus;",
        "fn f() { tracing::debug!(\"x\"); let prometheus = 1; if info != 1 {} }",
        "// prometheus::Registry\nconst X: &str = \"rusqlite::Connection\";",
    ] {
        assert_eq!(found("src/host/mod.rs", text), 0, "{text}");
    }
    assert_eq!(found("src/telemetry/mod.rs", "use prometheus::Registry; fn f() { info!(\"x\"); }"), 0);
    assert_eq!(found("src/package/yaml.rs", "use serde_yaml::Spanned;"), 0);
    assert_eq!(found("src/package/walk.rs", "use serde_yaml::Spanned;"), 1);
}

#[test]
fn finds_paths_of_a_machine() {
    let forbidden = machine_paths(Path::new("/builds/spanglass"), Path::new("/home/jane"));
    let found = |text: &str| check_machine_paths(&forbidden, "a.md", text).len();
    assert_eq!(found("see /builds/other/notes.md"), 1);
    assert_eq!(found("cd /home/jane"), 1);
    assert_eq!(found("cd /home/janet; cd web/builds/x; cd /home/you; ls $HOME/builds/"), 0);
    assert_eq!(machine_paths(Path::new("/tmp/x"), Path::new("/opt")), ["/tmp/x"]);
}
