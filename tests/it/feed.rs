//! `GET /v1/stream`: what happens, as it happens.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};

use crate::support::server::{Client, Home, Server};
use crate::support::{PATIENCE, require};

const ECHO: &str = "def invoke(input_data):\n    print('said', input_data.get('n'))\n    return input_data\n";
const FAILING: &str = "def invoke(input_data):\n    raise ValueError('no way')\n";
const SLOW: &str = "import time\n\ndef invoke(input_data):\n    time.sleep(2)\n    return {}\n";

async fn serve() -> Server {
    let home = Home::new();
    home.plugin("echo", "", ECHO).plugin("failing", "", FAILING).plugin("slow", "", SLOW).serve().await
}

/// One event of the stream.
#[derive(Debug)]
struct Event {
    id: String,
    name: String,
    data: Value,
}

/// Reads the stream as it comes.
struct Events {
    response: reqwest::Response,
    unread: String,
}

impl Events {
    async fn of(client: &Client, query: &str, last: Option<&str>) -> Events {
        let headers: Vec<(&str, &str)> = last.iter().map(|last| ("last-event-id", *last)).collect();
        let path = format!("/v1/stream?{query}");
        let response = client.open(Method::GET, &path, &headers).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut events = Events { response, unread: String::new() };
        assert_eq!(events.next().await.unwrap().name, "hello");
        events
    }

    /// `None`: the server ended it.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((block, rest)) = self.unread.split_once("\n\n") {
                let block = block.to_owned();
                self.unread = rest.to_owned();
                let field = |name: &str| {
                    let line = block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                    line.unwrap_or_default().to_owned()
                };
                if !field("data").is_empty() {
                    let data = serde_json::from_str(&field("data")).unwrap();
                    return Some(Event { id: field("id"), name: field("event"), data });
                }
                continue;
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await.unwrap().unwrap()?;
            self.unread += std::str::from_utf8(&chunk).unwrap();
        }
    }

    async fn find(&mut self, what: impl Fn(&Event) -> bool) -> Event {
        loop {
            let event = self.next().await.expect("the stream has ended");
            if what(&event) {
                return event;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_call_is_told_within_a_second_as_lists_show_it() {
    if !require("python3") {
        return;
    }
    let server = serve().await;
    let client = &server.client;
    client.invoke("echo", json!({"n": 0})).await;
    let mut events = Events::of(client, "topics=invocations,logs", None).await;
    let id = client.invoke("echo", json!({"n": 7})).await.json()["meta"]["invocation_id"].clone();
    let ended = Instant::now();
    let call = events.find(|event| event.name == "invocation" && event.data["invocation_id"] == id).await;
    assert!(ended.elapsed() < Duration::from_secs(1), "{:?}", ended.elapsed());
    let listed = client.get("/v1/invocations?plugin=echo&limit=1").await.json();
    assert_eq!(call.data, listed["items"][0]);
    assert_eq!(call.data["input_preview"], "{\"n\":7}");
    // What it printed comes, too, as lists show it.
    let failed = client.invoke("failing", json!({})).await.json()["invocation_id"].clone();
    let told = events.find(|event| event.name == "log" && event.data["invocation_id"] == failed).await;
    let listed = client.get(&format!("/v1/logs?invocation={}", failed.as_str().unwrap())).await.json();
    assert!(listed["items"].as_array().unwrap().contains(&told.data), "{told:?}\n{listed:#}");
    let told = events.find(|event| event.name == "invocation").await;
    assert_eq!(told.data["error"]["kind"], "plugin_error");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_away_goes_on_where_he_was() {
    if !require("python3") {
        return;
    }
    let mut server = serve().await;
    let client = server.client.clone();
    let mut events = Events::of(&client, "topics=invocations&plugin=echo", None).await;
    client.invoke("echo", json!({"n": 1})).await;
    let seen = events.find(|event| event.name == "invocation").await;
    drop(events);
    client.invoke("failing", json!({})).await;
    let missed = client.invoke("echo", json!({"n": 2})).await.json()["meta"]["invocation_id"].clone();
    let mut events = Events::of(&client, "topics=invocations&plugin=echo", Some(&seen.id)).await;
    assert_eq!(events.next().await.unwrap().data["invocation_id"], missed);
    // Another process has other numbers, and what it did not see it cannot tell.
    drop(events);
    server.restart().await;
    for last in [seen.id.as_str(), "nonsense", "ffffffff-18446744073709551615"] {
        let mut events = Events::of(&server.client, "topics=invocations", Some(last)).await;
        let lost = events.next().await.unwrap();
        assert_eq!((lost.name.as_str(), &lost.data["reason"]), ("lost", &json!("gone")), "{last}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_under_way_and_changes_of_plugins_are_told() {
    if !require("python3") {
        return;
    }
    let server = serve().await;
    let client = server.client.clone();
    let mut events = Events::of(&client, "", None).await;
    let slow = tokio::spawn({
        let client = client.clone();
        async move { client.invoke("slow", json!({})).await }
    });
    let running = |event: &Event| {
        event.name == "active"
            && event.data["items"].as_array().unwrap().iter().any(|call| call["plugin"] == "slow")
    };
    let active = events.find(running).await;
    assert_eq!((&active.data["total"], &active.data["items"][0]["duration_ms"]), (&json!(1), &Value::Null));
    events.find(|event| event.name == "active" && event.data["total"] == 0).await;
    assert_eq!(slow.await.unwrap().status, 200);
    assert_eq!(client.post("/v1/plugins/echo/versions/1.0.0/disable", "").await.status, 200);
    let change = events.find(|event| event.name == "change").await;
    assert_eq!(
        (&change.data["event_name"], &change.data["plugin.name"]),
        (&json!("lifecycle.changed"), &json!("echo"))
    );
    for wrong in ["topics=everything", "level=loud", "trace=1", "colour=red"] {
        assert_eq!(client.get(&format!("/v1/stream?{wrong}")).await.status, 422, "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_ends_its_streams_at_once() {
    if !require("python3") {
        return;
    }
    let mut server = serve().await;
    let mut events = Events::of(&server.client, "topics=alerts", None).await;
    let reading = tokio::spawn(async move { events.next().await.is_none() });
    let start = Instant::now();
    assert!(server.stop().await.success());
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(reading.await.unwrap());
}
