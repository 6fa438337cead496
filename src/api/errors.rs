//! Failed calls, grouped.

use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::{RawQuery, State};
use serde::Serialize;

use super::query::Query;
use super::{Looking, Problem};
use crate::model::kind::Blame;
use crate::store::ErrorFilter;

/// How far back it looks unless asked otherwise.
const SINCE_DEFAULT: Duration = Duration::from_secs(24 * 3600);

pub async fn list(
    State(looking): State<Looking>,
    RawQuery(query): RawQuery,
) -> Result<Json<impl Serialize>, Problem> {
    let mut query = Query::new(query.as_deref());
    let filter = ErrorFilter {
        plugin: query.text("plugin"),
        since: query.time("since").or_else(|| SystemTime::now().checked_sub(SINCE_DEFAULT)),
        until: query.time("until"),
        blame: query.parsed("blame", |text| {
            let all = [Blame::Caller, Blame::Plugin, Blame::Host];
            let known = all.into_iter().find(|blame| blame.as_str() == text);
            known.ok_or_else(|| format!("{text:?} is none of caller, plugin, host"))
        }),
    };
    query.end()?;
    looking.read(move |reader| reader.errors(&filter)).await
}
