use std::time::{Duration, Instant};

use super::ring::{BYTES_MAX, Facets, INVOCATIONS_PER_S, MESSAGES_MAX, Ring};
use super::*;
use crate::telemetry::names::event;

fn of(plugin: &str) -> Facets {
    Facets { plugin: Some(plugin.into()), ..Facets::default() }
}

fn filter(topics: &[Topic]) -> Filter {
    Filter { topics: topics.to_vec(), ..Filter::default() }
}

fn seqs(news: Option<News>) -> Vec<u64> {
    match news {
        Some(News::Messages(messages)) => messages.iter().map(|message| message.seq).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_ring_keeps_the_newest_within_its_bounds() {
    let mut ring = Ring::default();
    for _ in 0..MESSAGES_MAX + 10 {
        ring.push(Topic::Logs, "{}".into(), of("a"));
    }
    assert_eq!((ring.begin(), ring.end()), (10, MESSAGES_MAX as u64 + 10));
    assert!(ring.get(9).is_none() && ring.get(10).is_some());
    assert_eq!(ring.missed_since(4), Lost { reason: "slow", invocations: 0, logs: 6 });
    ring.push(Topic::Invocations, " ".repeat(BYTES_MAX - 1_000), of("a"));
    assert!(ring.end() - ring.begin() < 10, "large ones push out the small ones");
}

#[test]
fn a_flood_of_one_plugin_leaves_room_for_others_and_for_what_matters() {
    let (mut ring, now) = (Ring::default(), Instant::now());
    let many = 3 * INVOCATIONS_PER_S;
    for _ in 0..many {
        ring.offer(Topic::Invocations, "{}".into(), of("loud"), now);
    }
    ring.offer(Topic::Invocations, "{}".into(), of("quiet"), now);
    ring.offer(Topic::Invocations, "{}".into(), Facets { matters: true, ..of("loud") }, now);
    assert_eq!(ring.end(), u64::from(INVOCATIONS_PER_S) + 2);
    assert_eq!(ring.left_out(None).invocations, u64::from(many - INVOCATIONS_PER_S));
    assert_eq!(ring.left_out(Some("loud")), ring.left_out(None));
    assert_eq!(ring.left_out(Some("quiet")), LeftOut::default());
    ring.offer(Topic::Invocations, "{}".into(), of("loud"), now + Duration::from_secs(1));
    assert_eq!(ring.end(), u64::from(INVOCATIONS_PER_S) + 3, "the next second has a share of its own");
}

#[tokio::test]
async fn a_reader_goes_on_where_he_was_or_hears_that_he_cannot() {
    let feed = Feed::default();
    let topics = [Topic::Alerts];
    let mut reader = feed.follow(filter(&topics), None).unwrap();
    for n in 0..3 {
        feed.tell_alert(Some("a"), None, &n);
    }
    assert_eq!(seqs(reader.next().await), [0, 1, 2]);
    drop(reader);
    feed.tell_alert(Some("a"), None, &3);
    let place = |seq| Some(Place { boot: feed.boot(), seq });
    let mut again = feed.follow(filter(&topics), place(2)).unwrap();
    assert_eq!(seqs(again.next().await), [3]);
    // Another process, or a number that this one never gave.
    for from in [Some(Place { boot: feed.boot().wrapping_add(1), seq: 2 }), place(99), place(u64::MAX)] {
        let mut lost = feed.follow(filter(&topics), from).unwrap();
        assert!(matches!(lost.next().await, Some(News::Lost(Lost { reason: "gone", .. }))), "{from:?}");
    }
}

#[tokio::test]
async fn what_was_not_written_for_want_of_readers_cannot_be_resumed() {
    let feed = Feed::default();
    feed.tell_alert(None, None, &0);
    // Nobody follows log lines: whoever saw message 0 and wants them now has missed some.
    feed.0.lock().ring.skip(Topic::Logs);
    let from = Some(Place { boot: feed.boot(), seq: 0 });
    let mut logs = feed.follow(filter(&[Topic::Logs]), from).unwrap();
    assert!(matches!(logs.next().await, Some(News::Lost(_))));
    feed.tell_alert(None, None, &1);
    let mut alerts = feed.follow(filter(&[Topic::Alerts]), from).unwrap();
    assert_eq!(seqs(alerts.next().await), [1], "alerts have no hole");
}

#[tokio::test]
async fn a_reader_who_is_too_slow_hears_how_much_he_missed() {
    let feed = Feed::default();
    let mut reader = feed.follow(filter(&[Topic::Logs]), None).unwrap();
    for _ in 0..MESSAGES_MAX + 5 {
        feed.0.lock().ring.push(Topic::Logs, "{}".into(), of("a"));
    }
    feed.0.announce();
    let Some(News::Lost(lost)) = reader.next().await else { panic!() };
    assert_eq!(lost, Lost { reason: "slow", invocations: 0, logs: 5 });
    assert_eq!(feed.counts(), FeedCounts { readers: 1, missed: 5 });
    let mut read = 0;
    while read < MESSAGES_MAX {
        read += seqs(reader.next().await).len();
    }
    feed.close();
    assert!(reader.next().await.is_none());
}

#[tokio::test]
async fn readers_are_bounded_and_closed_together() {
    let feed = Feed::default();
    let readers: Vec<_> = (0..READERS_MAX).map(|_| feed.follow(filter(&Topic::ALL), None).unwrap()).collect();
    assert!(feed.follow(filter(&Topic::ALL), None).is_none());
    assert_eq!(feed.counts().readers, READERS_MAX as u64);
    feed.close();
    for mut reader in readers {
        assert!(reader.next().await.is_none());
    }
    assert!(feed.follow(filter(&[Topic::Alerts]), None).unwrap().next().await.is_none());
}

#[test]
fn filters_narrow_the_topic_that_they_are_about() {
    let message = |topic, facets| Message { seq: 0, topic, data: String::new(), facets };
    let call = |plugin: &str, outcome| {
        message(Topic::Invocations, Facets { outcome: Some(outcome), text: "card 4711".into(), ..of(plugin) })
    };
    let line =
        |severity| message(Topic::Logs, Facets { severity: Some(severity), text: "boom".into(), ..of("a") });
    use crate::model::kind::Outcome::{Failed, Replied};
    let all = filter(&[Topic::Invocations, Topic::Logs]);
    let failed = Filter { outcome: Some(Failed), ..all.clone() };
    assert!(failed.takes(&call("a", Failed)) && !failed.takes(&call("a", Replied)));
    assert!(failed.takes(&line(Severity::Info)), "a line has no outcome");
    let loud = Filter { level: Some(Severity::Warn), ..all.clone() };
    assert!(loud.takes(&line(Severity::Error)) && !loud.takes(&line(Severity::Info)));
    assert!(loud.takes(&call("a", Replied)));
    let found = Filter { q: Some("4711".into()), ..all.clone() };
    assert!(found.takes(&call("a", Replied)) && !found.takes(&line(Severity::Info)));
    let other = Filter { plugin: Some("b".into()), ..all };
    assert!(!other.takes(&call("a", Replied)) && other.takes(&call("b", Replied)));
    assert!(!filter(&[Topic::Logs]).takes(&call("a", Replied)));
}

#[test]
fn what_happens_to_a_version_and_its_data_is_a_change() {
    let record = |event_name, stream| LogRecord {
        unix_ns: 0,
        severity: Severity::Info,
        stream,
        body: "something".into(),
        event_name: Some(event_name),
        ids: None,
        plugin: None,
        version: None,
        fields: Vec::new(),
        dropped_fields: 0,
    };
    for name in
        [event::DRIFT_DETECTED, event::DRIFT_RESOLVED, event::DRIFT_BASELINE_PINNED, event::LIFECYCLE_CHANGED]
    {
        assert!(is_change(&record(name, LogStream::Host)), "{name}");
    }
    assert!(!is_change(&record(event::INVOCATION_FINISHED, LogStream::Host)));
    assert!(!is_change(&record(event::DRIFT_DETECTED, LogStream::Sdk)), "a plugin may name its lines so");
}
