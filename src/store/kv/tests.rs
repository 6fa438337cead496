//! The store as plugins meet it, and what a kill -9 may not take.

#![allow(
    clippy::disallowed_methods,
    reason = "tests wait on plain threads of their own, each wait within a bound"
)]

use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;

use super::*;
use crate::store::Store;
use crate::store::testing::{TestChild, TinyDisk, child_folder, say};

const PATIENCE: Duration = Duration::from_secs(10);

fn set(key: &str, value: &str) -> KeyValueOperation {
    set_if(key, value, None)
}

fn set_if(key: &str, value: &str, if_revision: Option<u64>) -> KeyValueOperation {
    KeyValueOperation::Set { key: key.into(), value: value.into(), time_to_live: None, if_revision }
}

fn set_for(key: &str, value: &str, time: Duration) -> KeyValueOperation {
    KeyValueOperation::Set {
        key: key.into(),
        value: value.into(),
        time_to_live: Some(time),
        if_revision: None,
    }
}

fn get(key: &str) -> KeyValueOperation {
    KeyValueOperation::Get { key: key.into() }
}

fn delete(key: &str) -> KeyValueOperation {
    KeyValueOperation::Delete { key: key.into(), if_revision: None }
}

async fn ask(store: &KeyValueStore, plugin: &str, operation: KeyValueOperation) -> Answered {
    tokio::time::timeout(PATIENCE, store.submit(plugin.into(), operation)).await.expect("an answer")
}

async fn value(store: &KeyValueStore, plugin: &str, key: &str) -> Option<String> {
    match ask(store, plugin, get(key)).await.unwrap() {
        KeyValueAnswer::Entry(entry) => entry.map(|entry| entry.value),
        other => panic!("{other:?}"),
    }
}

async fn revision(store: &KeyValueStore, operation: KeyValueOperation) -> u64 {
    match ask(store, "a", operation).await.unwrap() {
        KeyValueAnswer::Written { revision } => revision,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn plugins_do_not_see_each_other() {
    let store = KeyValueStore::in_memory().unwrap();
    ask(&store, "a", set("k", "1")).await.unwrap();
    assert_eq!(value(&store, "b", "k").await, None);
    ask(&store, "b", set("k", "2")).await.unwrap();
    ask(&store, "b", delete("k")).await.unwrap();
    assert_eq!(value(&store, "a", "k").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn of_two_who_read_the_same_revision_one_may_write() {
    let store = KeyValueStore::in_memory().unwrap();
    let first = revision(&store, set_if("k", "1", Some(0))).await;
    let second = revision(&store, set_if("k", "2", Some(first))).await;
    let error = ask(&store, "a", set_if("k", "3", Some(first))).await.unwrap_err();
    assert_eq!(error.kind(), "conflict");
    assert_eq!(error.to_string(), format!("the key \"k\" is at revision {second}, not at {first}"));
    // Gone and back is a change too.
    ask(&store, "a", delete("k")).await.unwrap();
    ask(&store, "a", set_if("k", "2", Some(second))).await.unwrap_err();
    assert!(revision(&store, set_if("k", "2", Some(0))).await > second);
    let stale = KeyValueOperation::Delete { key: "k".into(), if_revision: Some(second) };
    assert_eq!(ask(&store, "a", stale).await.unwrap_err().kind(), "conflict");
}

#[tokio::test]
async fn a_plugin_that_keeps_too_much_is_told_and_can_make_room() {
    let store = KeyValueStore::in_memory().unwrap();
    let large = format!("\"{}\"", "x".repeat(VALUE_BYTES_MAX - 2));
    let fitting = PLUGIN_BYTES_MAX / (VALUE_BYTES_MAX as u64 + 3);
    for number in 0..fitting {
        ask(&store, "a", set(&format!("{number:03}"), &large)).await.unwrap();
    }
    let error = ask(&store, "a", set("one more", &large)).await.unwrap_err();
    assert_eq!(error.kind(), "kv_full", "{error}");
    ask(&store, "a", set("000", &large)).await.unwrap();
    ask(&store, "b", set("one more", &large)).await.unwrap();
    ask(&store, "a", delete("000")).await.unwrap();
    ask(&store, "a", set("000", &large)).await.unwrap();
    for (operation, kind) in [
        (set("k", &format!("{large} ")), "value_too_large"),
        (set(&"k".repeat(KEY_BYTES_MAX + 1), "1"), "bad_key"),
        (get(""), "bad_key"),
    ] {
        assert_eq!(ask(&store, "a", operation).await.unwrap_err().kind(), kind);
    }
}

#[tokio::test]
async fn keys_come_in_pages_and_only_so_many_are_kept() {
    let store = KeyValueStore::in_memory().unwrap();
    for chunk in (0..KEYS_MAX).collect::<Vec<_>>().chunks(QUEUE_MAX / 2) {
        let writes = chunk.iter().map(|number| ask(&store, "a", set(&format!("k{number:05}"), "1")));
        assert!(join_all(writes).await.iter().all(Result::is_ok));
    }
    assert_eq!(ask(&store, "a", set("another", "1")).await.unwrap_err().kind(), "kv_full");
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let operation = KeyValueOperation::Keys { prefix: "k0".into(), after };
        let KeyValueAnswer::Keys { keys, next } = ask(&store, "a", operation).await.unwrap() else {
            panic!()
        };
        assert!(keys.len() <= PAGE_KEYS_MAX);
        found.extend(keys);
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, (0..KEYS_MAX).map(|number| format!("k{number:05}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_has_expired_is_gone_and_gives_its_place_back() {
    let store = KeyValueStore::in_memory().unwrap();
    let large = format!("\"{}\"", "x".repeat(VALUE_BYTES_MAX - 2));
    let fitting = PLUGIN_BYTES_MAX / (VALUE_BYTES_MAX as u64 + 3);
    ask(&store, "a", set_for("long", "1", Duration::from_secs(3_600))).await.unwrap();
    for number in 0..fitting - 1 {
        ask(&store, "a", set_for(&format!("{number:03}"), &large, Duration::from_millis(1))).await.unwrap();
    }
    let start = std::time::Instant::now();
    while value(&store, "a", &format!("{:03}", fitting - 2)).await.is_some() {
        assert!(start.elapsed() < PATIENCE);
    }
    for number in 0..fitting - 1 {
        ask(&store, "a", set(&format!("again {number:03}"), &large)).await.unwrap();
    }
    assert_eq!(value(&store, "a", "long").await.as_deref(), Some("1"));
    // What has expired is not there for anybody: not for a revision, not for a page.
    ask(&store, "b", set_for("k", "1", Duration::from_nanos(1))).await.unwrap();
    ask(&store, "b", set_if("k", "2", Some(0))).await.unwrap();
}

#[tokio::test]
async fn counting_keeps_each_step() {
    let store = KeyValueStore::in_memory().unwrap();
    let increment = |by| KeyValueOperation::Increment { key: "n".into(), by };
    let counted = join_all((0..100).map(|_| ask(&store, "a", increment(2)))).await;
    assert!(counted.iter().all(Result::is_ok));
    assert_eq!(value(&store, "a", "n").await.as_deref(), Some("200"));
    assert_eq!(ask(&store, "a", increment(i64::MAX)).await.unwrap_err().kind(), "not_an_integer");
    ask(&store, "a", set("n", "1.5")).await.unwrap();
    assert_eq!(ask(&store, "a", increment(1)).await.unwrap_err().kind(), "not_an_integer");
}

#[tokio::test]
async fn more_than_the_queue_holds_is_refused_at_once() {
    let store = KeyValueStore::in_memory().unwrap();
    let large = format!("\"{}\"", "x".repeat(VALUE_BYTES_MAX - 2));
    // Submitted without a pause; the thread writes more slowly than this.
    let asked: Vec<_> = (0..QUEUE_MAX * 20).map(|_| store.submit("a".into(), set("k", &large))).collect();
    let answers = join_all(asked).await;
    let refused = answers.iter().filter(|answer| answer.is_err()).count();
    assert!(refused > 0 && refused < answers.len(), "{refused}");
    assert!(
        answers.iter().flat_map(|answer| answer.as_ref().err()).all(|error| error.kind() == "overloaded")
    );
}

#[tokio::test]
async fn time_goes_on_over_a_restart_though_the_clock_is_set_back() {
    let temp = tempfile::tempdir().unwrap();
    let (path, hour) = (temp.path().join("kv.db"), Duration::from_secs(3_600));
    let store = KeyValueStore::open(&path).unwrap();
    ask(&store, "a", set_for("old", "1", hour)).await.unwrap();
    drop(store);
    // As if it had run for two hours more, and the machine's clock had been set back by these.
    let file = database::open(&path, &SCHEMA, Access::Owner).unwrap();
    file.execute("UPDATE clock SET now_ns = now_ns + 7200 * 1000000000", []).unwrap();
    drop(file);
    let store = KeyValueStore::open(&path).unwrap();
    assert_eq!(value(&store, "a", "old").await, None);
    ask(&store, "a", set_for("new", "1", hour)).await.unwrap();
    assert_eq!(value(&store, "a", "new").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_full_disk_refuses_a_change_and_keeps_what_was_acknowledged() {
    let Some(disk) = TinyDisk::mount(1024) else { return };
    let (path, filler) = (disk.path().join("kv.db"), disk.path().join("filler"));
    std::fs::write(&filler, vec![0; 200_000]).unwrap();
    let store = KeyValueStore::open(&path).unwrap();
    let large = format!("\"{}\"", "x".repeat(50_000));
    let mut kept = 0;
    let error = loop {
        match ask(&store, "a", set(&format!("k{kept}"), &large)).await {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), "overloaded", "{error}");
    assert!(kept > 0);
    for number in 0..kept {
        assert_eq!(value(&store, "a", &format!("k{number}")).await.as_ref(), Some(&large));
    }
    // One that is too much takes nobody along who came at the same time.
    let (refused, read) = tokio::join!(ask(&store, "a", set("large", &large)), ask(&store, "a", get("k0")));
    assert!(refused.is_err() && read.is_ok());
    drop(store);
    std::fs::remove_file(&filler).unwrap();
    let store = KeyValueStore::open(&path).unwrap();
    for number in 0..kept {
        assert_eq!(value(&store, "a", &format!("k{number}")).await.as_ref(), Some(&large));
    }
    ask(&store, "a", set("and on", &large)).await.unwrap();
}

/// Writes one key after another and says each that was acknowledged.
#[test]
fn child_that_keeps() {
    let Some(folder) = child_folder() else { return };
    let store = Store::open(folder, PATIENCE).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let KeyValueAnswer::Counted { value: first, .. } =
            ask(store.kv(), "a", KeyValueOperation::Increment { key: "n".into(), by: 0 }).await.unwrap()
        else {
            panic!()
        };
        for number in first + 1.. {
            let write = set(&format!("k{number}"), &number.to_string());
            let count = KeyValueOperation::Increment { key: "n".into(), by: 1 };
            let (written, counted) = tokio::join!(ask(store.kv(), "a", write), ask(store.kv(), "a", count));
            written.unwrap();
            counted.unwrap();
            say(format_args!("{number}"));
        }
    });
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill_at_any_moment() {
    let temp = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for _ in 0..8 {
        let mut child = TestChild::start("store::kv::tests::child_that_keeps", temp.path());
        let mut said: Vec<String> = child.hear().into_iter().collect();
        std::thread::sleep(Duration::from_micros(fastrand::u64(0..40_000)));
        said.extend(child.kill());
        let last: i64 = said.last().expect("it said something").parse().unwrap();
        assert!(last > acknowledged);
        acknowledged = last;
        let store = reopened(temp.path());
        for number in 1..=acknowledged {
            let kept = value(store.kv(), "a", &format!("k{number}")).await;
            assert_eq!(kept, Some(number.to_string()), "it was acknowledged and is lost");
        }
        let counted: i64 = value(store.kv(), "a", "n").await.unwrap().parse().unwrap();
        assert!((acknowledged..=acknowledged + 1).contains(&counted), "{counted} of {acknowledged}");
    }
}

fn reopened(folder: &Path) -> Store {
    Store::open(folder, PATIENCE).unwrap()
}
