//! A restore that is cut off at each of its steps, and the merging of ledgers.

use std::fs;
use std::time::Duration;

use rusqlite::Connection;

use super::super::{Digest, Registering, Store, ZipSource};
use super::*;
use crate::model::name::PluginName;
use crate::store::DataFolder;

const WAIT: Duration = Duration::from_secs(5);

/// A folder with one registered version, and a ledger with one operation.
fn folder(path: &Path, name: &str, start_ns: i64) {
    let store = Store::open(path, WAIT).unwrap();
    let digest = Digest::from_sha256([u8::try_from(name.len()).unwrap(); 32]);
    store
        .put_package(&digest, ZipSource::Bytes(b"zip"), |folder| fs::write(folder.join("name"), name))
        .unwrap();
    let name = PluginName::parse(name).unwrap();
    let version = semver::Version::new(1, 0, 0);
    let new = Registering {
        name: &name,
        version: &version,
        digest: &digest,
        manifest: "{}",
        origin: None,
        held_back: false,
    };
    store.register(&new).unwrap();
    fs::write(path.join(LOCK_FILE), name.as_str()).unwrap();
    let ledger = database::open(&path.join("ledger.db"), &ledger::SCHEMA, Access::Owner).unwrap();
    operation(&ledger, start_ns, name.as_str());
}

fn operation(connection: &Connection, start_ns: i64, span: &str) {
    connection.execute("INSERT INTO operations VALUES (?1, x'00', ?2)", (start_ns, span)).unwrap();
}

fn spans(path: &Path) -> Vec<(i64, String)> {
    let connection = database::open(&path.join("ledger.db"), &ledger::SCHEMA, Access::Reader).unwrap();
    let mut select = connection.prepare("SELECT start_ns, span FROM operations ORDER BY 1").unwrap();
    select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
}

fn archive_of(path: &Path) -> Vec<u8> {
    let store = Store::open(path, WAIT).unwrap();
    let mut snapshot = store.snapshot().unwrap();
    snapshot.complete().unwrap();
    let mut bytes = Vec::new();
    let written = snapshot.write(&mut bytes).unwrap();
    assert_eq!(verify(&*bytes).unwrap(), written);
    bytes
}

#[test]
fn a_restore_that_was_cut_off_is_finished_by_the_next_owner() {
    let temp = tempfile::tempdir().unwrap();
    folder(&temp.path().join("source"), "new", 7);
    let archive = archive_of(&temp.path().join("source"));
    // How many of the steps were done: none, packages away, an empty folder made, packages, lock file, ledger.
    for done in 0..=5 {
        let path = temp.path().join(format!("target-{done}"));
        folder(&path, "before", 7);
        let lock = DataFolder::acquire(&path, WAIT).unwrap();
        let staged = Staged::unpack(lock.folder(), &*archive).unwrap();
        for (digest, _) in staged.zips() {
            staged.put_package(&digest, |folder| fs::write(folder.join("name"), "new")).unwrap();
        }
        let _summary = staged.commit(&lock).unwrap();
        let ready = path.join(".restore-ready");
        let steps: [&dyn Fn(); 5] = [
            &|| fs::rename(path.join("packages"), ready.join("old-packages")).unwrap(),
            &|| fs::create_dir(path.join("packages")).unwrap(),
            &|| {
                fs::remove_dir(path.join("packages")).unwrap();
                fs::rename(ready.join("packages"), path.join("packages")).unwrap();
            },
            &|| fs::rename(ready.join(LOCK_FILE), path.join(LOCK_FILE)).unwrap(),
            &|| {
                let _ = fs::remove_file(path.join("ledger.db-wal"));
                let _ = fs::remove_file(path.join("ledger.db-shm"));
                fs::rename(ready.join("ledger.db"), path.join("ledger.db")).unwrap();
            },
        ];
        steps[..done].iter().for_each(|step| step());
        drop(lock);
        let store = Store::open(&path, WAIT).unwrap();
        let registered = store.registrations().unwrap();
        assert_eq!(registered.len(), 1, "{done}");
        assert_eq!(registered[0].name.as_str(), "new", "{done}");
        let package = store.package(&registered[0].digest).unwrap();
        assert_eq!(fs::read_to_string(package.folder.join("name")).unwrap(), "new", "{done}");
        assert_eq!(fs::read_to_string(path.join(LOCK_FILE)).unwrap(), "new", "{done}");
        assert_eq!(spans(&path), [(7, "new".to_owned()), (8, "before".to_owned())], "{done}");
        assert!(!ready.exists(), "{done}");
    }
}

#[test]
fn a_restore_that_was_not_ready_leaves_everything_as_it_was() {
    let temp = tempfile::tempdir().unwrap();
    folder(&temp.path().join("source"), "new", 7);
    let archive = archive_of(&temp.path().join("source"));
    let path = temp.path().join("target");
    folder(&path, "before", 9);
    let lock = DataFolder::acquire(&path, WAIT).unwrap();
    // Its folder stays, as after a kill.
    std::mem::forget(Staged::unpack(lock.folder(), &*archive).unwrap());
    drop(lock);
    let work = || {
        let names = fs::read_dir(&path).unwrap().flatten().map(|entry| entry.file_name());
        names.filter(|name| name.to_string_lossy().starts_with(WORK_PREFIX)).count()
    };
    assert_eq!(work(), 1);
    let store = Store::open(&path, WAIT).unwrap();
    assert_eq!(store.registrations().unwrap()[0].name.as_str(), "before");
    assert_eq!((work(), spans(&path)), (0, vec![(9, "before".to_owned())]));
}

#[test]
fn merged_rows_come_once_and_make_room_for_each_other() {
    let temp = tempfile::tempdir().unwrap();
    let open = |name: &str| database::open(&temp.path().join(name), &ledger::SCHEMA, Access::Owner).unwrap();
    let log = |connection: &Connection, unix_ns: i64, body: &str| {
        let sql = "INSERT INTO logs (unix_ns, severity, stream, body, dropped_fields) VALUES (?1, 9, 'host', ?2, 0)";
        connection.execute(sql, (unix_ns, body)).unwrap();
    };
    let call = |connection: &Connection, at: i64, id: u8| {
        let sql = "INSERT INTO invocations VALUES (?1, ?2, x'01', x'02', 1, 'echo', NULL, NULL, 'invoke', 'local', 'replied',
                   NULL, NULL, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 2, 1500, NULL)";
        connection.execute(sql, (at, [id])).unwrap();
        let sql = "INSERT INTO recordings VALUES (?1, ?2, NULL, NULL, 0, NULL, 0)";
        connection.execute(sql, (at, id.to_string())).unwrap();
    };
    let (mine, other) = (open("ledger.db"), open("other.db"));
    for n in 0..1200 {
        log(&other, n, "from there");
    }
    log(&mine, 5, "from there");
    log(&mine, 5, "from here");
    call(&mine, 100, 1);
    call(&other, 100, 2);
    call(&other, 101, 1);
    drop((mine, other));
    for _ in 0..2 {
        import(
            &DATABASES[1],
            ledger::merge,
            &temp.path().join("ledger.db"),
            &temp.path().join("other.db"),
            Access::Guest,
        )
        .unwrap();
    }
    let mine = open("ledger.db");
    let logs: i64 = mine.query_row("SELECT count(*) FROM logs", [], |row| row.get(0)).unwrap();
    assert_eq!(logs, 1201);
    let mut select = mine
        .prepare("SELECT created_at_ns, hex(invocation_id), spans FROM invocations JOIN recordings USING (created_at_ns)")
        .unwrap();
    let calls: Vec<(i64, String, String)> = select
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let expected = [(100, "01", "1"), (101, "02", "2")];
    assert_eq!(calls, expected.map(|(at, id, spans)| (at, id.to_owned(), spans.to_owned())));
}
