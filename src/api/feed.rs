//! What happens, as it happens, as server-sent events.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::{HeaderMap, HeaderValue, header};
use serde_json::json;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::looking::{kind, level, outcome, trace_id, under_way};
use super::query::Query;
use super::{Api, Problem};
use crate::host::Host;
use crate::host::feed::{Filter, Following, Message, News, Place, Topic};
use crate::model::error::InvokeError;
use crate::model::kind::ErrorKind;

/// How often calls under way are told, if they have changed.
const ACTIVE_EVERY: Duration = Duration::from_secs(1);
/// Calls under way that are listed; the rest is a number.
const ACTIVE_MAX: usize = 100;
const LAST_EVENT_ID: &str = "last-event-id";

pub async fn follow(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (filter, active) = wishes(query.as_deref())?;
    let from = super::header(&headers, LAST_EVENT_ID).map(|text| parse_place(text).unwrap_or(NOWHERE));
    let plugin = filter.plugin.clone();
    let feed = api.host.feed();
    let following = feed.follow(filter, from).ok_or_else(|| {
        let error = InvokeError::new(ErrorKind::Overloaded, "too many follow what happens here");
        Problem::from(error.help("close a page that shows it, or ask GET /v1/invocations and /v1/logs"))
    })?;
    let active = active.then(|| Active::new(api.host.clone(), plugin));
    let reader = Reader { following, boot: feed.boot(), ready: VecDeque::from([hello(feed.boot())]), active };
    let events = stream::unfold(reader, |mut reader| async {
        let event = reader.next().await?;
        Some((Ok::<_, Infallible>(event), reader))
    });
    let mut response = Sse::new(events).keep_alive(KeepAlive::default()).into_response();
    // Proxies that collect an answer before they pass it on would hold this one for ever.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// A place that nothing can be resumed from.
const NOWHERE: Place = Place { boot: 0, seq: u64::MAX };

fn parse_place(text: &str) -> Option<Place> {
    let (boot, seq) = text.trim().split_once('-')?;
    Some(Place { boot: u32::from_str_radix(boot, 16).ok()?, seq: seq.parse().ok()? })
}

/// The query: what to hear of, and whether calls under way are among it.
fn wishes(query: Option<&str>) -> Result<(Filter, bool), Problem> {
    const ACTIVE: &str = "active";
    let names = [
        ("invocations", Some(Topic::Invocations)),
        (ACTIVE, None),
        ("logs", Some(Topic::Logs)),
        ("changes", Some(Topic::Changes)),
        ("alerts", Some(Topic::Alerts)),
    ];
    let mut query = Query::new(query);
    let topics = query.parsed("topics", |text| {
        let find = |name: &str| names.iter().find(|(known, _)| *known == name.trim()).copied();
        let unknown = |name| format!("{name:?} is none of invocations, active, logs, changes, alerts");
        text.split(',').map(|name| find(name).ok_or_else(|| unknown(name))).collect::<Result<Vec<_>, _>>()
    });
    let topics = topics.unwrap_or_else(|| names.into_iter().filter(|(name, _)| *name != "logs").collect());
    let filter = Filter {
        topics: topics.iter().filter_map(|(_, topic)| *topic).collect(),
        plugin: query.text("plugin"),
        version: query.text("version"),
        outcome: outcome(&mut query),
        kind: kind(&mut query),
        level: level(&mut query),
        trace_id: trace_id(&mut query, "trace"),
        q: query.search().map(|q| q.trim().to_lowercase()),
    };
    query.end()?;
    Ok((filter, topics.iter().any(|(name, _)| *name == ACTIVE)))
}

struct Reader {
    following: Following,
    boot: u32,
    ready: VecDeque<Event>,
    active: Option<Active>,
}

impl Reader {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let news = match &mut self.active {
                Some(active) => tokio::select! {
                    news = self.following.next() => news?,
                    _ = active.ticks.tick() => {
                        self.ready.extend(active.event());
                        continue;
                    }
                },
                None => self.following.next().await?,
            };
            match news {
                News::Messages(messages) => {
                    let boot = self.boot;
                    self.ready.extend(messages.iter().map(|message| event(boot, message)));
                }
                News::Lost(lost) => {
                    let data = serde_json::to_string(&lost).expect("numbers are JSON");
                    return Some(Event::default().event("lost").data(data));
                }
            }
        }
    }
}

/// At once, so that a client knows that it is connected; browsers say so only when something has come.
fn hello(boot: u32) -> Event {
    Event::default().event("hello").data(json!({"boot": format!("{boot:x}")}).to_string())
}

fn event(boot: u32, message: &Arc<Message>) -> Event {
    let id = format!("{boot:x}-{}", message.seq);
    Event::default().id(id).event(message.topic.event()).data(&message.data)
}

/// Tells the calls under way when they have changed.
struct Active {
    host: Arc<Host>,
    plugin: Option<String>,
    ticks: Interval,
    told: Option<String>,
}

impl Active {
    fn new(host: Arc<Host>, plugin: Option<String>) -> Active {
        let mut ticks = tokio::time::interval_at(Instant::now() + ACTIVE_EVERY / 10, ACTIVE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Active { host, plugin, ticks, told: None }
    }

    fn event(&mut self) -> Option<Event> {
        let mut active = self.host.telemetry().active();
        active.retain(|call| self.plugin.as_deref().is_none_or(|plugin| plugin == &*call.plugin));
        let total = active.len();
        let items: Vec<_> = active.iter().take(ACTIVE_MAX).map(under_way).collect();
        let data = json!({"items": items, "total": total}).to_string();
        let changed = self.told.as_ref() != Some(&data);
        self.told = Some(data.clone());
        changed.then(|| Event::default().event("active").data(data))
    }
}
