//! Losing nothing unsaid: overflow, full disks, damage, kills, other processes, bounds.

use std::collections::HashSet;
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use crate::store::check;
use crate::store::testing::{TestChild, TinyDisk, child_folder, say, until};

use super::*;

impl Scene {
    /// A call that takes `bytes` and more.
    fn call_with(&self, bytes: usize) -> Finished {
        let mut call = self.telemetry.begin(Begin {
            plugin: "echo".into(),
            action: "invoke".into(),
            parent: None,
            origin: Origin::Local,
        });
        let json = format!("\"{}\"", "x".repeat(bytes));
        call.capture_input(Captured { json, truncated: false, redacted: false });
        call.finish(Ending::Replied { usage: Usage::default() })
    }

    fn all_ids(&self, page_rows: usize) -> Vec<String> {
        let mut ids = Vec::new();
        let mut cursor = None;
        loop {
            let filter = InvocationFilter { limit: Some(page_rows), cursor, ..InvocationFilter::default() };
            let page = self.reader.invocations(&filter).unwrap();
            ids.extend(page.items.into_iter().map(|one| one.invocation_id));
            cursor = page.next;
            if cursor.is_none() {
                return ids;
            }
        }
    }

    fn folder(&self) -> DataFolder {
        DataFolder::new(self.temp.path())
    }
}

fn stored(folder: &DataFolder) -> u64 {
    check(folder).ledger_counts.map_or(0, |counts| counts.invocations)
}

#[test]
fn pages_show_everything_once_while_rows_come_in() {
    let scene = Scene::new();
    let before: HashSet<String> = (0..300).map(|_| scene.call_with(1).invocation_id.to_string()).collect();
    scene.flush();
    let ids = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for _ in 0..300 {
                scene.call_with(1);
                scene.flush();
            }
        });
        let ids = scene.all_ids(7);
        writer.join().unwrap();
        ids
    });
    let unique: HashSet<_> = ids.iter().cloned().collect();
    assert_eq!(unique.len(), ids.len(), "shown twice");
    assert!(before.is_subset(&unique), "left out");
    assert_eq!(scene.all_ids(1000).len(), 600);
}

#[test]
fn a_follower_gets_every_line_once_while_lines_come_in() {
    let scene = Scene::new();
    let mut seen = Vec::new();
    let mut after = scene.reader.logs(&LogFilter::default()).unwrap().follow;
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for n in 0..200 {
                let mut call = scene.telemetry.begin(Begin {
                    plugin: "echo".into(),
                    action: "invoke".into(),
                    parent: None,
                    origin: Origin::Local,
                });
                call.guest_log(call.root(), line(&format!("n{n}")));
                std::mem::drop(call);
                if n % 20 == 0 {
                    scene.flush();
                }
            }
            scene.flush();
        });
        until("all lines", || {
            let filter = LogFilter { after: Some(after.clone()), limit: Some(9), ..LogFilter::default() };
            let page = scene.reader.logs(&filter).unwrap();
            seen.extend(page.items.into_iter().map(|one| one.body).filter(|body| body.starts_with('n')));
            after = page.follow;
            seen.len() >= 200
        });
        writer.join().unwrap();
    });
    assert_eq!(seen, (0..200).map(|n| format!("n{n}")).collect::<Vec<_>>());
}

#[test]
fn what_does_not_fit_is_counted_exactly() {
    let scene = Scene::with(LedgerSettings { queue_records_max: 50, ..LedgerSettings::default() });
    scene.call_with(1);
    scene.flush();
    let blocker = rusqlite::Connection::open(scene.folder().ledger()).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    for _ in 0..40 {
        for _ in 0..10 {
            scene.call_with(1);
        }
        assert!(scene.telemetry.flush(PATIENCE));
    }
    blocker.execute_batch("ROLLBACK").unwrap();
    scene.flush();
    let stats = scene.ledger.stats();
    assert_eq!(stats.received, 401);
    assert_eq!(stats.written + stats.dropped_queue_full + stats.dropped_io, 401);
    assert!(stats.dropped_queue_full >= 300, "{stats:?}");
    assert_eq!(stored(&scene.folder()), stats.written);
    assert_eq!((stats.queued_records, stats.queued_bytes), (0, 0));
    scene.ledger.close(PATIENCE);
    let told: u64 = scene.ledger.take_notices().iter().map(dropped_in).sum();
    assert_eq!(told, stats.dropped_queue_full + stats.dropped_io);
}

fn dropped_in(notice: &Notice) -> u64 {
    match notice {
        Notice::Dropped { queue_full, io, refusals, sampled } => queue_full + io + refusals + sampled,
        _ => 0,
    }
}

#[test]
fn bytes_bound_the_queue_too_and_metrics_hear_of_it() {
    let scene = Scene::with(LedgerSettings { queue_bytes_max: 200_000, ..LedgerSettings::default() });
    scene.ledger.report_to(&scene.telemetry);
    let blocker = rusqlite::Connection::open(scene.folder().ledger()).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    for _ in 0..40 {
        scene.call_with(20_000);
    }
    assert!(scene.telemetry.flush(PATIENCE));
    assert!(scene.ledger.stats().queued_bytes <= 200_000);
    blocker.execute_batch("ROLLBACK").unwrap();
    let dropped = scene.ledger.stats().dropped_queue_full;
    assert!(dropped >= 20, "{dropped}");
    let expected = format!("spanglass_ledger_dropped_total{{reason=\"queue_full\"}} {dropped}");
    until("the metric", || {
        let exposition = scene.telemetry.scrape(None);
        exposition.body.lines().any(|line| line.starts_with(&expected))
    });
}

#[test]
fn a_full_disk_loses_records_by_number_and_heals_by_itself() {
    let Some(disk) = TinyDisk::mount(3 * 1024) else { return };
    let ballast = disk.path().join("ballast");
    fs::write(&ballast, vec![1; 1500 * 1024]).unwrap();
    let store = Store::open(disk.path(), PATIENCE).unwrap();
    let ledger = Ledger::open(&store, &LedgerSettings::default()).unwrap();
    let telemetry = Telemetry::start(Settings::default(), vec![Box::new(ledger.sink())]).unwrap();
    let series = telemetry.plugin("echo", "1.2.3", "python", &["invoke"]);
    let temp = tempfile::tempdir().unwrap();
    let scene = Scene { reader: ledger.reader(), telemetry, ledger, series, temp };
    let mut sent = 0;
    until("the disk is full", || {
        for _ in 0..10 {
            scene.call_with(10_000);
        }
        sent += 10;
        scene.flush();
        scene.ledger.stats().dropped_io > 0
    });
    let full = scene.ledger.stats();
    assert!(!full.writable);
    assert!(
        !scene.reader.invocations(&InvocationFilter::default()).unwrap().items.is_empty(),
        "still readable"
    );
    fs::remove_file(&ballast).unwrap();
    until("it recovers with no call", || scene.ledger.stats().writable);
    let last = scene.call_with(10_000);
    scene.flush();
    assert!(scene.reader.invocation(last.invocation_id).unwrap().is_some());
    let stats = scene.ledger.stats();
    assert_eq!((stats.received, stats.written + stats.dropped_io), (sent + 1, sent + 1));
    assert_eq!(stored(store.folder()), stats.written);
    let notices = scene.ledger.take_notices();
    assert!(notices.iter().any(|notice| matches!(notice, Notice::WriteFailed { .. })));
    assert!(notices.contains(&Notice::Recovered), "{notices:?}");
}

#[test]
fn a_disk_that_is_full_from_the_start_stops_nothing() {
    let Some(disk) = TinyDisk::mount(1024) else { return };
    let store = Store::open(disk.path(), PATIENCE).unwrap();
    let ballast = disk.path().join("ballast");
    let mut file = fs::File::create(&ballast).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    let ledger = Ledger::open(&store, &LedgerSettings::default()).unwrap();
    assert!(!ledger.stats().writable);
    drop(file);
    fs::remove_file(&ballast).unwrap();
    until("it recovers", || ledger.stats().writable);
}

/// Overwrites the file from `offset` on with rubbish.
fn damage(path: &Path, offset: u64) {
    let length = fs::metadata(path).unwrap().len();
    let mut file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.write_all(&vec![0xa5; (length - offset) as usize]).unwrap();
}

fn set_aside(folder: &DataFolder) -> usize {
    let entries = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let aside = |name: &std::ffi::OsString| {
        let name = name.to_string_lossy().into_owned();
        name.starts_with("ledger.db.corrupt-") && !name.ends_with("-wal") && !name.ends_with("-shm")
    };
    entries.filter(|name| aside(name)).count()
}

#[test]
fn a_file_that_was_damaged_is_set_aside_at_the_start() {
    for offset in [0, 4096] {
        let temp = tempfile::tempdir().unwrap();
        let store = Store::open(temp.path(), PATIENCE).unwrap();
        let first = Ledger::open(&store, &LedgerSettings::default()).unwrap();
        drop(first);
        damage(&store.folder().ledger(), offset);
        let ledger = Ledger::open(&store, &LedgerSettings::default()).unwrap();
        let telemetry = Telemetry::start(Settings::default(), vec![Box::new(ledger.sink())]).unwrap();
        let series = telemetry.plugin("echo", "1.2.3", "python", &["invoke"]);
        let scene = Scene { reader: ledger.reader(), telemetry, ledger, series, temp };
        let done = scene.call();
        scene.flush();
        assert!(scene.reader.invocation(done.invocation_id).unwrap().is_some(), "offset {offset}");
        assert_eq!(set_aside(store.folder()), 1, "offset {offset}");
        assert!(matches!(scene.ledger.take_notices()[0], Notice::SetAside { .. }));
        assert_eq!(scene.ledger.stats().dropped_io, 0);
    }
}

#[test]
fn damage_that_a_reader_meets_is_set_aside_too() {
    let scene = Scene::new();
    let old: Vec<_> = (0..200).map(|_| scene.call_with(3_000).trace_id).collect();
    scene.flush();
    let raw = rusqlite::Connection::open(scene.folder().ledger()).unwrap();
    raw.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(raw);
    damage(&scene.folder().ledger(), 20 * 4096);
    until("a reader meets it, the writer sets it aside", || {
        for trace in &old {
            let _ = scene.reader.trace(*trace);
        }
        set_aside(&scene.folder()) == 1
    });
    let done = scene.call();
    scene.flush();
    assert!(scene.reader.invocation(done.invocation_id).unwrap().is_some());
}

#[test]
fn a_file_that_somebody_removed_is_begun_anew() {
    let scene = Scene::new();
    scene.call();
    scene.flush();
    fs::remove_file(scene.folder().ledger()).unwrap();
    until("a new file", || scene.folder().ledger().exists());
    let done = scene.call();
    scene.flush();
    assert!(scene.reader.invocation(done.invocation_id).unwrap().is_some());
}

#[test]
fn the_file_stays_within_its_bytes_and_keeps_the_newest() {
    let bytes_max = 3 << 20;
    let scene = Scene::with(LedgerSettings { bytes_max, ..LedgerSettings::default() });
    let mut largest = 0;
    let mut last = None;
    for _ in 0..60 {
        for _ in 0..50 {
            last = Some(scene.call_with(8_000));
        }
        scene.flush();
        largest = largest.max(fs::metadata(scene.folder().ledger()).unwrap().len());
        // What does not fit goes oldest first, and never all of it.
        let newest = scene.reader.invocation(last.as_ref().unwrap().invocation_id).unwrap();
        assert!(newest.is_some());
    }
    // 24 MB were written. One commit and a sixteenth may lie above the bound.
    assert!(largest < bytes_max + (1 << 20), "{largest}");
    assert!(scene.all_ids(1000).len() > 150);
    assert_eq!(scene.ledger.stats().written, 3000);
    assert!(check(&scene.folder()).ledger.problems.is_empty());
}

#[test]
fn what_is_too_old_goes_and_the_file_shrinks() {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(temp.path(), PATIENCE).unwrap();
    let ledger = Ledger::open(&store, &LedgerSettings::default()).unwrap();
    let telemetry = Telemetry::start(Settings::default(), vec![Box::new(ledger.sink())]).unwrap();
    let series = telemetry.plugin("echo", "1.2.3", "python", &["invoke"]);
    let scene = Scene { reader: ledger.reader(), telemetry, ledger, series, temp };
    for _ in 0..1500 {
        scene.call_with(5_000);
    }
    scene.flush();
    scene.ledger.close(PATIENCE);
    let large = fs::metadata(scene.folder().ledger()).unwrap().len();
    let settings = LedgerSettings { age_max: Duration::ZERO, ..LedgerSettings::default() };
    let ledger = Ledger::open(&store, &settings).unwrap();
    until("all is gone", || stored(&scene.folder()) == 0);
    until("the file is small", || fs::metadata(scene.folder().ledger()).unwrap().len() * 3 < large);
    ledger.close(PATIENCE);
}

#[test]
fn a_query_that_takes_too_long_is_stopped() {
    let scene = Scene::new();
    for _ in 0..2000 {
        scene.call_with(1);
    }
    scene.flush();
    let hurried = scene.reader.time_max(Duration::ZERO);
    let filter = InvocationFilter { q: Some("nothing".into()), ..InvocationFilter::default() };
    assert!(matches!(hurried.invocations(&filter), Err(Error::QueryTooSlow { .. })));
    assert!(scene.reader.invocations(&filter).unwrap().items.is_empty());
}

/// Writes into the ledger of a folder that another process owns.
#[test]
fn child_that_joins() {
    let Some(folder) = child_folder() else { return };
    let ledger = Ledger::join(&DataFolder::new(folder), &LedgerSettings::default()).unwrap();
    let telemetry = Telemetry::start(Settings::default(), vec![Box::new(ledger.sink())]).unwrap();
    for n in 0.. {
        let begin =
            Begin { plugin: "child".into(), action: "invoke".into(), parent: None, origin: Origin::Local };
        let done = telemetry.begin(begin).finish(Ending::Replied { usage: Usage::default() });
        if n % 10 == 9 {
            assert!(telemetry.flush(PATIENCE) && ledger.flush(PATIENCE));
            assert_eq!(ledger.stats().dropped_io + ledger.stats().dropped_queue_full, 0);
            say(format_args!("{}", done.invocation_id));
        }
    }
}

#[test]
fn two_processes_write_and_read_one_ledger_and_a_kill_takes_only_what_was_not_flushed() {
    let scene = Scene::new();
    let mut acknowledged = Vec::new();
    for _ in 0..5 {
        let mut child = TestChild::start("store::ledger::tests::faults::child_that_joins", scene.temp.path());
        for _ in 0..5 {
            let said = child.hear().expect("the child works");
            let id = InvocationId::parse(&said).unwrap();
            assert!(scene.reader.invocation(id).unwrap().is_some(), "seen at once by another process");
            acknowledged.push(id);
            scene.call();
        }
        let rest = child.kill();
        acknowledged.extend(rest.iter().map(|said| InvocationId::parse(said).unwrap()));
    }
    scene.flush();
    for id in acknowledged {
        assert!(scene.reader.invocation(id).unwrap().is_some(), "{id} was flushed and is lost");
    }
    let own = InvocationFilter { plugin: Some("echo".into()), ..InvocationFilter::default() };
    assert_eq!(scene.reader.invocations(&own).unwrap().items.len(), 25);
    let stats = scene.ledger.stats();
    assert_eq!(stats.dropped_io + stats.dropped_queue_full, 0);
    assert!(check(&scene.folder()).ledger.problems.is_empty());
}

/// Prints much, and is killed at it.
#[test]
fn child_that_prints() {
    let Some(folder) = child_folder() else { return };
    let settings =
        LedgerSettings { rows_per_s_max: u32::MAX, bytes_max: 6 << 20, ..LedgerSettings::default() };
    let ledger = Ledger::join(&DataFolder::new(folder), &settings).unwrap();
    let telemetry = Telemetry::start(Settings::default(), vec![Box::new(ledger.sink())]).unwrap();
    for n in 0.. {
        let begin =
            Begin { plugin: "child".into(), action: "invoke".into(), parent: None, origin: Origin::Local };
        let mut call = telemetry.begin(begin);
        for m in 0..20 {
            call.guest_log(call.root(), line(&format!("line {m} of call {n}, {}", "y".repeat(300))));
        }
        call.finish(Ending::Replied { usage: Usage::default() });
        if n % 50 == 49 {
            assert!(telemetry.flush(PATIENCE) && ledger.flush(PATIENCE));
            say(format_args!("{n}"));
        }
    }
}

#[test]
fn after_each_of_many_kills_rows_sums_and_search_fit_each_other() {
    let scene = Scene::new();
    scene.call();
    scene.flush();
    for kill in 0..6 {
        let mut child =
            TestChild::start("store::ledger::tests::faults::child_that_prints", scene.temp.path());
        for _ in 0..=kill {
            child.hear().expect("the child works");
        }
        child.kill();
        let checked = check(&scene.folder());
        assert_eq!(checked.ledger.problems, Vec::<String>::new(), "kill {kill}");
        let q = LogFilter { q: Some("line 7 of call ".into()), ..LogFilter::default() };
        assert!(!scene.reader.logs(&q).unwrap().items.is_empty(), "kill {kill}");
        scene.call();
        scene.flush();
    }
    assert_eq!(scene.ledger.stats().dropped_io, 0);
}
