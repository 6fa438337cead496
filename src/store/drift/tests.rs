//! What is kept of drift, over restarts, faults and backups.

#![allow(
    clippy::disallowed_methods,
    reason = "tests wait on plain threads of their own, each wait within a bound"
)]

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::store::Page;
use crate::store::testing::{TestChild, TinyDisk, child_folder, say};

const PATIENCE: Duration = Duration::from_secs(10);

fn open(folder: &Path) -> DriftStore {
    DriftStore::open(&Store::open(folder, PATIENCE).unwrap()).unwrap()
}

fn put(store: &DriftStore, id: &str) {
    store.put_baseline(&baseline(id)).unwrap();
}

fn baseline(id: &str) -> NewBaseline {
    NewBaseline {
        plugin: "a".to_owned(),
        version: "1.0.0".to_owned(),
        id: id.to_owned(),
        source: "first_calls".to_owned(),
        created_unix_ms: 7,
        calls: 500,
        fields: 3,
        document: format!("{{\"id\":\"{id}\"}}"),
    }
}

/// Of a plugin.
fn all(plugin: &str) -> BaselineFilter {
    BaselineFilter { plugin: plugin.to_owned(), limit: 1_000, ..BaselineFilter::default() }
}

fn ids(store: &DriftStore) -> Vec<String> {
    store.baselines(&all("a")).unwrap().items.into_iter().map(|one| one.id).collect()
}

fn watch(epoch: u64, panes: &[(u64, &[u32])], keep_from: u64) -> SavedWatch {
    let panes = panes.iter().map(|(pane, counts)| SavedPane { pane: *pane, counts: counts.to_vec() });
    SavedWatch {
        plugin: "a".into(),
        version: "1.0.0".into(),
        state: format!("{{\"epoch\":{epoch}}}"),
        epoch,
        panes: panes.collect(),
        keep_from,
    }
}

fn panes(store: &DriftStore) -> Vec<(u64, Vec<u32>)> {
    let loaded = store.load("a", "1.0.0").unwrap().unwrap();
    loaded.panes.into_iter().map(|pane| (pane.pane, pane.counts)).collect()
}

fn event(number: u32, plugin: &str) -> StoredEvent {
    StoredEvent {
        id: format!("{number:06}"),
        at_unix_ms: number.into(),
        kind: if number.is_multiple_of(2) { "drift.detected" } else { "drift.resolved" }.to_owned(),
        plugin: plugin.to_owned(),
        version: "1.0.0".to_owned(),
        document: format!("{{\"number\":{number}}}"),
    }
}

#[test]
fn a_baseline_never_changes_and_one_is_pinned() {
    let temp = tempfile::tempdir().unwrap();
    let store = open(temp.path());
    put(&store, "one");
    let other = NewBaseline { source: "file".to_owned(), document: "{}".to_owned(), ..baseline("one") };
    store.put_baseline(&NewBaseline { created_unix_ms: 9, calls: 8, ..other }).unwrap();
    let kept = store.baseline("a", "one").unwrap().unwrap();
    assert_eq!((kept.row.created_unix_ms, kept.row.source.as_str()), (7, "first_calls"));
    assert_eq!((kept.row.calls, kept.row.fields, kept.row.pinned), (500, 3, false));
    assert_eq!(kept.document, "{\"id\":\"one\"}");
    assert_eq!(store.pinned("a", "1.0.0").unwrap(), None);
    put(&store, "two");
    store.pin("a", "1.0.0", "one").unwrap();
    store.pin("a", "1.0.0", "two").unwrap();
    assert_eq!(store.pinned("a", "1.0.0").unwrap().unwrap().row.id, "two");
    let error = store.pin("a", "1.0.0", "three").unwrap_err();
    assert_eq!(error.to_string(), "there is no baseline three of a 1.0.0");
    assert!(store.pin("a", "2.0.0", "two").is_err(), "it belongs to another version");
    assert_eq!(store.pinned("a", "1.0.0").unwrap().unwrap().row.id, "two");
    assert_eq!(ids(&store), ["two", "one"]);
    assert_eq!(
        store.baselines(&BaselineFilter { version: Some("2.0.0".to_owned()), ..all("a") }).unwrap().items,
        []
    );
    assert_eq!(store.baseline("b", "one").unwrap(), None);
}

#[test]
fn the_newest_baselines_are_kept_and_the_pinned_one_always() {
    let temp = tempfile::tempdir().unwrap();
    let store = open(temp.path());
    put(&store, "pinned");
    store.pin("a", "1.0.0", "pinned").unwrap();
    for number in 0..BASELINES_MAX + 5 {
        put(&store, &format!("{number}"));
    }
    let ids = ids(&store);
    assert_eq!(ids.len() as u32, BASELINES_MAX + 1);
    assert_eq!((ids[0].as_str(), ids[ids.len() - 1].as_str()), ("24", "pinned"));
    let large = NewBaseline { document: "x".repeat(DOCUMENT_BYTES_MAX + 1), ..baseline("large") };
    let error = store.put_baseline(&large).unwrap_err();
    assert!(matches!(error, Error::Full { .. }), "{error}");
}

#[test]
fn baselines_come_in_pages() {
    let temp = tempfile::tempdir().unwrap();
    let store = open(temp.path());
    ["one", "two", "three"].into_iter().for_each(|id| put(&store, id));
    store.put_baseline(&NewBaseline { plugin: "b".to_owned(), ..baseline("other") }).unwrap();
    let page = |cursor| store.baselines(&BaselineFilter { limit: 2, cursor, ..all("a") });
    let ids = |page: &Page<BaselineRow>| page.items.iter().map(|row| row.id.clone()).collect::<Vec<_>>();
    let first = page(None).unwrap();
    assert_eq!(ids(&first), ["three", "two"]);
    let second = page(first.next).unwrap();
    assert_eq!((ids(&second), second.next), (vec!["one".to_owned()], None));
    assert!(matches!(page(Some("d1".to_owned())), Err(Error::BadCursor)));
}

/// What follows from one window is one thing: its state without its event would never be told.
#[test]
fn baselines_states_and_events_are_written_together_or_not_at_all() {
    let temp = tempfile::tempdir().unwrap();
    let store = open(temp.path());
    let states = [watch(3, &[(7, &[1])], 7)];
    // The last thing that is written finds no table.
    let break_it = "ALTER TABLE events RENAME TO gone";
    store.change(|transaction| transaction.execute_batch(break_it)).unwrap();
    assert!(store.save_all(&[baseline("one")], &states, &[event(1, "a")]).is_err());
    assert_eq!((ids(&store), store.load("a", "1.0.0").unwrap()), (Vec::new(), None));
    store.change(|transaction| transaction.execute_batch("ALTER TABLE gone RENAME TO events")).unwrap();
    for _ in 0..2 {
        store.save_all(&[baseline("one")], &states, &[event(1, "a")]).unwrap();
    }
    assert_eq!(store.pinned("a", "1.0.0").unwrap().unwrap().row.id, "one");
    assert_eq!(panes(&store), [(7, vec![1])]);
    let filter = EventFilter { limit: 9, ..EventFilter::default() };
    assert_eq!(store.events(&filter).unwrap().items, [event(1, "a")]);
}

/// Names of categories are values of calls.
#[test]
fn what_is_forgotten_is_not_in_the_file_any_more() {
    let temp = tempfile::tempdir().unwrap();
    let store = open(temp.path());
    let secret = "somebody@example.org";
    store.put_baseline(&NewBaseline { document: secret.repeat(1_000), ..baseline("one") }).unwrap();
    store.forget("a", "1.0.0").unwrap();
    // Whoever closes it last writes all of it into the file.
    drop(store);
    let bytes = std::fs::read(temp.path().join("drift.db")).unwrap();
    assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
}

#[test]
fn counts_are_absolute_and_what_is_over_goes() {
    let temp = tempfile::tempdir().unwrap();
    let store = open(temp.path());
    assert_eq!(store.load("a", "1.0.0").unwrap(), None);
    let first = watch(1, &[(0, &[1, 2]), (1, &[3, u32::MAX])], 0);
    store.save(std::slice::from_ref(&first)).unwrap();
    store.save(&[first]).unwrap();
    assert_eq!(panes(&store), [(0, vec![1, 2]), (1, vec![3, u32::MAX])]);
    store.save(&[watch(1, &[(1, &[4, 5]), (2, &[])], 1)]).unwrap();
    assert_eq!(panes(&store), [(1, vec![4, 5]), (2, vec![])]);
    store.save(&[watch(2, &[(0, &[9])], 0)]).unwrap();
    assert_eq!(panes(&store), [(0, vec![9])], "panes of another epoch");
    let loaded = store.load("a", "1.0.0").unwrap().unwrap();
    assert_eq!((loaded.epoch, loaded.state.as_str()), (2, "{\"epoch\":2}"));
}

#[test]
fn events_come_in_pages_and_the_newest_are_kept() {
    let temp = tempfile::tempdir().unwrap();
    let store = open(temp.path());
    let mut events: Vec<StoredEvent> =
        (0..EVENTS_MAX + 10).map(|number| event(number, if number % 3 == 0 { "b" } else { "a" })).collect();
    store.add_events(&events).unwrap();
    store.add_events(&events[events.len() - 2..]).unwrap();
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let filter = EventFilter { limit: 999, cursor, ..EventFilter::default() };
        let page = store.events(&filter).unwrap();
        found.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    events.reverse();
    assert_eq!(found, events[..EVENTS_MAX as usize]);
    let filter = EventFilter {
        plugin: Some("b".into()),
        version: Some("1.0.0".into()),
        kind: Some("drift.resolved".into()),
        limit: 2,
        cursor: None,
    };
    let page = store.events(&filter).unwrap();
    assert_eq!(page.items, [event(10_005, "b"), event(9_999, "b")]);
    for bad in ["", "d", "d-1", "t1", "dg", "' OR 1"] {
        let filter = EventFilter { cursor: Some(bad.into()), limit: 1, ..EventFilter::default() };
        assert!(matches!(store.events(&filter), Err(Error::BadCursor)), "{bad}");
    }
}

#[test]
fn all_of_it_is_there_after_a_restart_until_it_is_forgotten() {
    let temp = tempfile::tempdir().unwrap();
    let store = open(temp.path());
    let replica = store.replica().to_owned();
    put(&store, "one");
    store.pin("a", "1.0.0", "one").unwrap();
    store.save(&[watch(3, &[(7, &[1, 2, 3])], 7)]).unwrap();
    store.add_events(&[event(1, "a"), event(2, "b")]).unwrap();
    drop(store);
    let store = open(temp.path());
    assert_eq!((store.replica(), store.incarnation()), (replica.as_str(), 1));
    assert_eq!(store.pinned("a", "1.0.0").unwrap().unwrap().row.id, "one");
    assert_eq!(panes(&store), [(7, vec![1, 2, 3])]);
    store.forget("a", "1.0.0").unwrap();
    assert_eq!(store.pinned("a", "1.0.0").unwrap(), None);
    assert_eq!(store.load("a", "1.0.0").unwrap(), None);
    assert_eq!(ids(&store), [""; 0]);
    let filter = EventFilter { limit: 9, ..EventFilter::default() };
    assert_eq!(store.events(&filter).unwrap().items, [event(2, "b")]);
}

#[test]
fn child_that_counts() {
    let Some(folder) = child_folder() else { return };
    let store = open(&folder);
    put(&store, "one");
    for number in 1..=1_000_000_u32 {
        let pane = u64::from(number / 10);
        store.save(&[watch(1, &[(pane, &[number, number])], pane.saturating_sub(3))]).unwrap();
        say(format_args!("{number}"));
    }
}

#[test]
fn a_kill_takes_nothing_that_was_written_and_halves_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let mut child = TestChild::start("store::drift::tests::child_that_counts", temp.path());
    child.hear().expect("the child counts");
    child.hear().expect("the child counts");
    let said: u32 = child.kill().last().map_or(2, |last| last.parse().unwrap());
    let store = open(temp.path());
    let panes = panes(&store);
    let (last, counts) = panes.last().unwrap();
    assert!((said..=said + 1).contains(&counts[0]), "{} of {said}", counts[0]);
    assert_eq!((counts[0], *last), (counts[1], u64::from(counts[0] / 10)));
    assert!(panes.len() <= 4);
    assert_eq!(ids(&store), ["one"]);
}

#[test]
fn a_damaged_file_is_set_aside_and_a_new_one_is_begun() {
    let temp = tempfile::tempdir().unwrap();
    drop(Store::open(temp.path(), PATIENCE).unwrap());
    std::fs::write(temp.path().join("drift.db"), [7; 8_192]).unwrap();
    let store = open(temp.path());
    assert_eq!(std::fs::read(store.set_aside().unwrap()).unwrap(), [7; 8_192]);
    put(&store, "one");
    // While it is in use: all pages behind the first.
    let path = temp.path().join("drift.db");
    drop(store);
    let bytes = std::fs::metadata(&path).unwrap().len();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &vec![7; usize::try_from(bytes).unwrap() - 4_096], 4_096)
        .unwrap();
    let store = Store::open(temp.path(), PATIENCE).unwrap();
    let store = DriftStore::open(&store).unwrap();
    let before = store.incarnation();
    let found = store.baselines(&all("a"));
    assert!(found.is_err() || before == 1 && store.set_aside().is_some(), "{found:?}");
    put(&store, "two");
    assert_eq!(ids(&store), ["two"]);
    assert!(store.set_aside().is_some());
}

#[test]
fn a_file_that_is_taken_away_is_begun_anew_and_that_is_told() {
    let temp = tempfile::tempdir().unwrap();
    let store = open(temp.path());
    put(&store, "one");
    // More than once: the next file may get the number of the one before.
    for _ in 0..4 {
        let before = store.incarnation();
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(temp.path().join(format!("drift.db{suffix}")));
        }
        assert_eq!(ids(&store), [""; 0]);
        assert_eq!(store.incarnation(), before + 1);
        put(&store, "two");
    }
    let replica = store.replica().to_owned();
    drop(store);
    let store = open(temp.path());
    assert_eq!((ids(&store), store.replica()), (vec!["two".to_owned()], replica.as_str()));
}

#[test]
fn a_full_disk_refuses_and_takes_again_when_there_is_room() {
    let Some(disk) = TinyDisk::mount(1_024) else { return };
    let store = open(disk.path());
    put(&store, "one");
    let filler = disk.path().join("filler");
    // All the room there is.
    let _ = std::fs::write(&filler, vec![0; 4 << 20]);
    let counts = vec![7; 10_000];
    let mut written = 0;
    let error = loop {
        match store.save(&[watch(1, &[(written, &counts)], 0)]) {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::DiskFull { .. }), "{error}");
    assert_eq!(ids(&store), ["one"], "what is there can be read");
    std::fs::remove_file(&filler).unwrap();
    store.save(&[watch(1, &[(written, &counts)], 0)]).unwrap();
    assert_eq!(panes(&store).len() as u64, written + 1);
    assert_eq!(store.incarnation(), 1);
}

/// A backup of one folder that comes into another one.
#[test]
fn a_restore_brings_baselines_and_counts_but_not_the_name() {
    let temp = tempfile::tempdir().unwrap();
    let (from, into) = (temp.path().join("from"), temp.path().join("into"));
    let source = open(&from);
    put(&source, "old");
    source.pin("a", "1.0.0", "old").unwrap();
    source.save(&[watch(3, &[(7, &[1, 2, 3])], 7)]).unwrap();
    source.add_events(&[event(1, "a")]).unwrap();
    let source_replica = source.replica().to_owned();
    drop(source);
    let store = Store::open(&from, PATIENCE).unwrap();
    let mut snapshot = store.snapshot().unwrap();
    snapshot.complete().unwrap();
    let mut archive = Vec::new();
    let _summary = snapshot.write(&mut archive).unwrap();
    drop((snapshot, store));
    let staged = |lock: &Lock| crate::store::Staged::unpack(lock.folder(), &*archive).unwrap();

    let empty = temp.path().join("empty");
    let lock = DataFolder::acquire(&empty, PATIENCE).unwrap();
    let _summary = staged(&lock).install(&lock).unwrap();
    drop(lock);
    let store = open(&empty);
    assert_ne!(store.replica(), source_replica, "two folders of one name could not be added up");
    assert_eq!((ids(&store), panes(&store)), (vec!["old".to_owned()], vec![(7, vec![1, 2, 3])]));

    let target = open(&into);
    put(&target, "new");
    target.pin("a", "1.0.0", "new").unwrap();
    target.add_events(&[event(2, "a")]).unwrap();
    let replica = target.replica().to_owned();
    drop(target);
    let lock = DataFolder::acquire(&into, PATIENCE).unwrap();
    staged(&lock).import(lock.folder()).unwrap();
    drop(lock);
    let target = open(&into);
    assert_eq!(target.pinned("a", "1.0.0").unwrap().unwrap().row.id, "new", "a running server keeps its own");
    assert_eq!(ids(&target), ["old", "new"]);
    drop(target);
    let lock = DataFolder::acquire(&into, PATIENCE).unwrap();
    let _summary = staged(&lock).install(&lock).unwrap();
    drop(lock);
    let target = open(&into);
    assert_eq!(target.pinned("a", "1.0.0").unwrap().unwrap().row.id, "old");
    assert_eq!((target.replica(), panes(&target)), (replica.as_str(), vec![(7, vec![1, 2, 3])]));
    let filter = EventFilter { limit: 9, ..EventFilter::default() };
    assert_eq!(target.events(&filter).unwrap().items.len(), 2);
}
