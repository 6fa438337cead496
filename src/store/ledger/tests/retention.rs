//! A store fed beyond its limits: exact counts, and the rows that matter.

use crate::store::check;
use crate::store::testing::until;

use super::*;

impl Scene {
    fn flood(&self, plugin: &str, calls: usize, bytes: usize) {
        for n in 0..calls {
            let begin =
                Begin { plugin: plugin.into(), action: "invoke".into(), parent: None, origin: Origin::Local };
            let mut call = self.telemetry.begin(begin);
            let json = format!("\"{}\"", "x".repeat(bytes));
            call.capture_input(Captured { json, truncated: false, redacted: false });
            call.guest_log(call.root(), line("flooding"));
            call.finish(Ending::Replied { usage: Usage::default() });
            if n % 100 == 99 {
                self.flush();
            }
        }
        self.flush();
    }

    fn kept(&self, plugin: &str, outcome: Outcome) -> usize {
        let filter = InvocationFilter {
            plugin: Some(plugin.into()),
            outcome: Some(outcome),
            limit: Some(1_000),
            ..InvocationFilter::default()
        };
        self.reader.invocations(&filter).unwrap().items.len()
    }
}

#[test]
fn a_flood_pushes_out_neither_failures_nor_rare_plugins_and_counts_stay_exact() {
    let scene = Scene::with(LedgerSettings { bytes_max: 4 << 20, ..LedgerSettings::default() });
    for _ in 0..20 {
        scene.call_of("echo", Err(failure()));
        scene.call_of("rare", Ok(()));
    }
    scene.flood("flood", 4_000, 4_000);
    let account = scene.reader.account().unwrap();
    assert_eq!((scene.kept("echo", Outcome::Failed), scene.kept("rare", Outcome::Replied)), (20, 20));
    assert_eq!(account.seen, 4_040, "{account:?}");
    let flood = &account.plugins[0];
    assert_eq!((&*flood.plugin, flood.seen), ("flood", 4_000));
    assert!((100..1_000).contains(&flood.kept), "{flood:?}");
    assert_eq!(flood.kept as usize, scene.kept("flood", Outcome::Replied));
    assert!(account.sampled_until.is_some(), "it is said");
    let bytes = std::fs::metadata(DataFolder::new(scene.temp.path()).ledger()).unwrap().len();
    assert!(bytes < (5 << 20), "{bytes}");
    // Lines follow their call.
    let raw = scene.raw();
    let orphans: i64 = raw
        .query_row(
            "SELECT count(*) FROM logs l WHERE invocation_id IS NOT NULL
             AND NOT EXISTS (SELECT 1 FROM invocations i WHERE i.invocation_id = l.invocation_id)",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(orphans, 0);
    let checked = check(&DataFolder::new(scene.temp.path()));
    assert_eq!(checked.ledger.problems, Vec::<String>::new());
}

#[test]
fn calls_that_get_no_row_are_counted_and_it_is_said() {
    let scene = Scene::thinned(LedgerSettings { rows_per_s_max: 20, ..LedgerSettings::default() });
    assert_eq!(scene.reader.account().unwrap().sampled_until, None);
    for n in 0..2_000 {
        scene.call_of("echo", if n == 1_500 { Err(failure()) } else { Ok(()) });
    }
    scene.flush();
    let (account, stats) = (scene.reader.account().unwrap(), scene.ledger.stats());
    assert_eq!((account.seen, account.plugins[0].seen), (2_000, 2_000));
    assert!(account.plugins[0].kept < 1_000, "{account:?}");
    assert_eq!(scene.kept("echo", Outcome::Failed), 1);
    assert!(stats.sampled > 1_000);
    assert_eq!(stats.received, stats.written + stats.sampled, "{stats:?}");
    assert!(account.sampled_until.is_some());
    let errors = scene.reader.errors(&ErrorFilter::default()).unwrap();
    assert_eq!((errors.items.len(), errors.items[0].count), (1, 1));
}

#[test]
fn errors_are_grouped_with_exact_counts_and_an_example() {
    let scene = Scene::new();
    let mut last = None;
    for _ in 0..30 {
        last = Some(scene.call_of("echo", Err(failure())));
        scene.call_of("nobody", Err(InvokeError::new(ErrorKind::NotFound, "no plugin nobody")));
    }
    scene.call();
    scene.flush();
    let groups = |filter: ErrorFilter| scene.reader.errors(&filter).unwrap().items;
    let all = groups(ErrorFilter::default());
    assert_eq!(all.len(), 2);
    let own = groups(ErrorFilter { plugin: Some("echo".into()), ..ErrorFilter::default() });
    let json = serde_json::to_value(&own).unwrap();
    assert_eq!(json[0]["count"], 30);
    assert_eq!((&json[0]["kind"], &json[0]["blame"]), (&json!("plugin_error"), &json!("plugin")));
    assert_eq!(json[0]["versions"], json!(["1.2.3"]));
    assert_eq!(json[0]["message"], "50%_off went wrong");
    assert_eq!(json[0]["example"]["invocation_id"], last.unwrap().invocation_id.to_string());
    assert!(json[0]["first_seen"].as_str() < json[0]["last_seen"].as_str());
    let blame = Some(crate::model::kind::Blame::Caller);
    assert_eq!(groups(ErrorFilter { blame, ..ErrorFilter::default() })[0].plugin, "nobody");
    let now = std::time::SystemTime::now();
    assert!(groups(ErrorFilter { since: Some(now), ..ErrorFilter::default() }).is_empty());
    assert_eq!(groups(ErrorFilter { until: Some(now), ..ErrorFilter::default() }).len(), 2);
    // Also when all but one of the rows are gone, and minutes have become hours.
    let raw = scene.raw();
    let sql = "DELETE FROM invocations WHERE created_at_ns < (SELECT max(created_at_ns) FROM invocations WHERE plugin = 'echo' AND error_kind IS NOT NULL)";
    raw.execute(sql, []).unwrap();
    tally::age(&raw, unix_ns_now() + 48 * 3_600_000_000_000, 0).unwrap();
    let own = groups(ErrorFilter { plugin: Some("echo".into()), ..ErrorFilter::default() });
    assert_eq!(own[0].count, 30);
    let minutes: i64 =
        raw.query_row("SELECT count(*) FROM counts WHERE minute % 60 != 0", [], |row| row.get(0)).unwrap();
    assert_eq!(minutes, 0);
}

fn unix_ns_now() -> i64 {
    crate::store::time::unix_ns(std::time::SystemTime::now())
}

#[test]
fn counts_outlive_a_disk_that_takes_nothing() {
    let scene = Scene::new();
    scene.call();
    scene.flush();
    let blocker = scene.raw();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    for _ in 0..10 {
        scene.call();
    }
    assert!(scene.telemetry.flush(PATIENCE));
    until("rows are given up", || scene.ledger.stats().dropped_io > 0);
    blocker.execute_batch("ROLLBACK").unwrap();
    until("all are counted", || scene.reader.account().unwrap().seen == 11);
    assert!(scene.ledger.stats().writable);
}

/// Tables as schema 1 had them, with a few rows.
#[test]
fn a_ledger_of_the_older_schema_is_taken_over_with_all_that_it_holds() {
    let scene = Scene::new();
    for _ in 0..300 {
        scene.call();
    }
    let bad = scene.call_of("echo", Err(failure()));
    scene.flush();
    scene.ledger.close(PATIENCE);
    let path = DataFolder::new(scene.temp.path()).ledger();
    let old = scene.temp.path().join("old.db");
    let connection = rusqlite::Connection::open(&old).unwrap();
    connection.execute_batch("PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL").unwrap();
    connection.execute_batch(SCHEMA.steps[0]).unwrap();
    connection.execute_batch(&format!("ATTACH '{}' AS new", path.display())).unwrap();
    for table in ["invocations", "recordings", "operations", "logs"] {
        let columns: Vec<String> = connection
            .prepare(&format!("SELECT name FROM main.pragma_table_info('{table}')"))
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        let columns = columns.join(", ");
        connection
            .execute(&format!("INSERT INTO main.{table} ({columns}) SELECT {columns} FROM new.{table}"), [])
            .unwrap();
    }
    connection.execute_batch("DETACH new; PRAGMA user_version = 1").unwrap();
    drop(connection);
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
    }
    std::fs::rename(&old, &path).unwrap();

    let access = crate::store::database::Access::Owner;
    drop(crate::store::database::open(&path, &SCHEMA, access).unwrap());
    let reader = Reader::new(&DataFolder::new(scene.temp.path()));
    assert_eq!(reader.check().unwrap().0, Vec::<String>::new());
    let account = reader.account().unwrap();
    assert_eq!((account.seen, account.invocations, account.logs), (301, 301, 602));
    let listed = reader.invocations(&InvocationFilter::default()).unwrap().items;
    assert_eq!(listed[0].invocation_id, bad.invocation_id.to_string());
    assert_eq!(listed[0].input_preview.as_deref(), Some(r#"{"a":1}"#));
    assert_eq!(reader.errors(&ErrorFilter::default()).unwrap().items[0].count, 1);
    let q = LogFilter { q: Some("went wrong".into()), ..LogFilter::default() };
    assert_eq!(reader.logs(&q).unwrap().items.len(), 1, "lines of before are found");
}
