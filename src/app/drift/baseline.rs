//! Baselines of a plugin: list, show, pin.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::SystemTime;

use bytes::Bytes;
use http::Method;
use serde_json::Value;

use super::{items, number, path_of, query, short_id, text};
use crate::app::cli::{DriftBaseline, Global};
use crate::app::failure::Failure;
use crate::app::invoke::escaped;
use crate::app::output::{self, Bounds, Cell, Column, Paint, Style, Table, printable};
use crate::app::target::Target;
use crate::model::kind::ErrorKind;
use crate::model::units::format_bytes;

/// What the server takes.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// The shortest beginning of an id that names one.
const ID_DIGITS_MIN: usize = 4;
const PREFIX: &str = "sha256:";
/// Most that the server lists at once.
const LISTED_MAX: usize = 1_000;

pub async fn command(global: &Global, target: &Target, arguments: &DriftBaseline) -> Result<(), Failure> {
    let (path, version) = path_of(&arguments.target, "baselines");
    let version = match (version, &arguments.version) {
        (Some(_), Some(_)) => {
            return Err(Failure::usage("the version is named twice").help("NAME@VERSION is enough"));
        }
        (named, option) => named.or_else(|| option.clone()),
    };
    let what = &arguments.what;
    let pinned = if let Some(file) = &what.from {
        pin(target, &(path + &query([("version", version)])), Some(lines(file)?)).await?
    } else if what.from_window {
        pin(target, &(path + &query([("version", version), ("from", Some("window".to_owned()))])), None)
            .await?
    } else if let Some(id) = &what.pin {
        let id = whole_id(target, &path, version.clone(), id).await?;
        pin(target, &(path + &query([("version", version), ("from", Some(id))])), None).await?
    } else if let Some(id) = &what.show {
        let id = whole_id(target, &path, version, id).await?;
        let document = target.get(&format!("{path}/{}", escaped(&id))).await?;
        if global.json {
            return output::print_json(&document);
        }
        return output::print(&output::pretty(&document, &Style::stdout(), Bounds::ALL));
    } else {
        let document = target
            .get(&(path + &query([("version", version), ("limit", Some(LISTED_MAX.to_string()))])))
            .await?;
        if global.json {
            return output::print_json(&document);
        }
        return list(&document);
    };
    if global.json {
        return output::print_json(&pinned);
    }
    let style = Style::stdout();
    output::print(&format!(
        "{} for {} {}: {} calls, {} fields\n{}\n",
        style.paint(Paint::Good, "pinned"),
        text(&pinned, "plugin"),
        text(&pinned, "version"),
        output::count(number(&pinned, "calls")),
        number(&pinned, "fields"),
        style.paint(Paint::Dim, &text(&pinned, "id")),
    ))
}

async fn pin(target: &Target, path: &str, body: Option<Bytes>) -> Result<Value, Failure> {
    let headers: &[(&str, &str)] =
        if body.is_some() { &[("content-type", "application/x-ndjson")] } else { &[] };
    target.send_with(Method::POST, path, headers, body).await?.json().await
}

fn lines(path: &Path) -> Result<Bytes, Failure> {
    let shown = path.display();
    let failed = |error: io::Error| {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => ErrorKind::NotFound,
            _ => ErrorKind::Internal,
        };
        Failure::of_kind(kind, format!("{shown} cannot be read: {error}"))
    };
    let reader: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(failed)?)
    };
    let mut bytes = Vec::new();
    reader.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let message = format!("{shown} has more than {}", format_bytes(FILE_BYTES_MAX));
        return Err(Failure::of_kind(ErrorKind::InputTooLarge, message).help("take a part of its lines"));
    }
    Ok(bytes.into())
}

/// The id that begins so, with or without `sha256:`.
async fn whole_id(target: &Target, path: &str, version: Option<String>, id: &str) -> Result<String, Failure> {
    let digits = id.strip_prefix(PREFIX).unwrap_or(id);
    if digits.len() == 64 {
        return Ok(format!("{PREFIX}{digits}"));
    }
    if digits.len() < ID_DIGITS_MIN {
        return Err(Failure::usage(format!("{id:?} is too short for the beginning of an id"))
            .help(format!("{ID_DIGITS_MIN} digits at least")));
    }
    let document = target
        .get(&(path.to_owned() + &query([("version", version), ("limit", Some(LISTED_MAX.to_string()))])))
        .await?;
    let ids = items(&document, "items").iter().filter_map(|item| item["id"].as_str());
    let mut fitting: Vec<&str> = ids
        .filter(|known| known.strip_prefix(PREFIX).is_some_and(|known| known.starts_with(digits)))
        .collect();
    fitting.dedup();
    match fitting[..] {
        [only] => Ok(only.to_owned()),
        [] => Err(Failure::of_kind(ErrorKind::NotFound, format!("no baseline begins with {digits:?}"))
            .help("without an option the command lists them")),
        _ => Err(Failure::usage(format!("{} baselines begin with {digits:?}", fitting.len()))
            .help("write more of it")),
    }
}

fn list(document: &Value) -> Result<(), Failure> {
    let baselines = items(document, "items");
    if baselines.is_empty() {
        output::note("there is no baseline yet");
        return Ok(());
    }
    let columns = vec![
        Column::left("VERSION"),
        Column::left("ID"),
        Column::left("PINNED"),
        Column::left("MADE FROM"),
        Column::right("CALLS"),
        Column::right("FIELDS"),
        Column::left("WHEN"),
    ];
    let (mut table, now) = (Table::new(columns), SystemTime::now());
    for item in baselines {
        let pinned = item["pinned"] == true;
        table.push(vec![
            text(item, "version").into(),
            Cell::new(Paint::Accent, short_id(item["id"].as_str().unwrap_or_default())),
            Cell::new(Paint::Good, if pinned { "pinned" } else { "" }),
            text(item, "source").replace('_', " ").into(),
            output::count(number(item, "calls")).into(),
            output::count(number(item, "fields")).into(),
            Cell::new(Paint::Dim, printable(&output::ago(&text(item, "created_at"), now))),
        ]);
    }
    output::print(&table.render(&Style::stdout()))
}
