//! `python`: what counts for all plugins in Python.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::reader::{Field, Reader};

pub const KEYS: &[&str] = &["install_timeout"];
pub const INSTALL_TIMEOUT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);

/// How long building an environment may take, if it is said.
pub fn read(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Duration> {
    let section = reader.section_or(field, KEYS, elsewhere)?;
    section.get("install_timeout").and_then(|field| reader.duration(&field, INSTALL_TIMEOUT))
}

fn elsewhere(key: &str) -> Option<&'static str> {
    Some(match key {
        "index" | "index_url" | "extra_index_url" | "find_links" | "pip" | "uv" => {
            "indexes are set up with the variables of pip and uv, such as PIP_INDEX_URL and UV_DEFAULT_INDEX"
        }
        "path" | "program" | "interpreter" | "python" => "the `python3` that stands first in PATH is used",
        _ => return None,
    })
}
