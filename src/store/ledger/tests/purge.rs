//! What was purged is not found, in no answer and in no byte.

use std::path::Path;

use super::*;

impl Scene {
    fn secret(&self, plugin: &str, secret: &str) -> Finished {
        let begin =
            Begin { plugin: plugin.into(), action: "invoke".into(), parent: None, origin: Origin::Local };
        let mut call = self.telemetry.begin(begin);
        let captured =
            |text: &str| Captured { json: format!("\"{text}\""), truncated: false, redacted: false };
        call.capture_input(captured(&format!("in-{secret}")));
        call.guest_log(call.root(), line(&format!("log-{secret}")));
        call.capture_output(captured(&format!("out-{secret}")));
        call.finish(Ending::Replied { usage: Usage::default() })
    }

    fn bytes_hold(&self, text: &str) -> bool {
        holds(self.temp.path(), text)
    }
}

fn holds(folder: &Path, text: &str) -> bool {
    std::fs::read_dir(folder).unwrap().flatten().filter(|file| file.path().is_file()).any(|file| {
        let bytes = std::fs::read(file.path()).unwrap();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

#[test]
fn a_plugins_calls_are_gone_from_answers_and_bytes_and_others_stay() {
    let scene = Scene::new();
    for n in 0..400 {
        scene.secret("leaky", &format!("hunter2-{n:03}"));
        scene.secret("other", &format!("harmless-{n:03}"));
    }
    // Some of it was let go before, and lies in free pages.
    scene.flush();
    scene.raw().execute_batch("DELETE FROM recordings WHERE rowid % 3 = 0; DELETE FROM logs WHERE body = 'log-hunter2-007'; UPDATE cells SET rows = rows - 1 WHERE plugin = 'leaky' AND class = 3 AND slot = (SELECT min(slot) FROM cells WHERE plugin = 'leaky' AND class = 3)").unwrap();
    assert!(scene.bytes_hold("hunter2-"));
    let filter = PurgeFilter { plugin: Some("leaky".into()), ..PurgeFilter::default() };
    let purged = scene.ledger.purge(&filter).unwrap();
    assert_eq!((purged.invocations, purged.logs), (400, 799));
    assert!(!scene.bytes_hold("hunter2-"), "in the file or its journal");
    assert!(scene.bytes_hold("harmless-399"));
    let q = |text: &str| {
        let filter = LogFilter { q: Some(text.into()), limit: Some(1_000), ..LogFilter::default() };
        scene.reader.logs(&filter).unwrap().items.len()
    };
    assert_eq!((q("hunter2"), q("log-harmless")), (0, 400));
    assert_eq!(scene.reader.check().unwrap().0, Vec::<String>::new());
    assert_eq!(scene.ledger.purge(&filter).unwrap(), Purged::default(), "there is nothing more");
    // It goes on.
    let done = scene.secret("leaky", "again");
    scene.flush();
    assert!(scene.reader.invocation(done.invocation_id).unwrap().is_some());
}

#[test]
fn a_trace_or_what_began_before_a_time_is_purged_and_filters_are_combined() {
    let scene = Scene::new();
    let one = scene.secret("echo", "one");
    let two = scene.secret("echo", "two");
    scene.flush();
    let other = PurgeFilter {
        trace_id: Some(one.trace_id),
        plugin: Some("somebody-else".into()),
        ..PurgeFilter::default()
    };
    let nothing = scene.ledger.purge(&other).unwrap();
    assert_eq!((nothing.invocations, nothing.logs), (0, 0));
    let trace = PurgeFilter { trace_id: Some(one.trace_id), ..PurgeFilter::default() };
    let purged = scene.ledger.purge(&trace).unwrap();
    assert_eq!((purged.invocations, purged.logs), (1, 2));
    assert!(!scene.bytes_hold("in-one") && !scene.bytes_hold("log-one") && scene.bytes_hold("in-two"));
    assert!(scene.reader.invocation(two.invocation_id).unwrap().is_some());
    let now = crate::store::time::unix_ns(std::time::SystemTime::now());
    let before = PurgeFilter { before_ns: Some(now), ..PurgeFilter::default() };
    assert_eq!(scene.ledger.purge(&before).unwrap().invocations, 1);
    assert!(!scene.bytes_hold("in-two"));
}

#[test]
fn a_closed_ledger_purges_nothing_and_says_so() {
    let scene = Scene::new();
    scene.ledger.close(PATIENCE);
    let filter = PurgeFilter { plugin: Some("echo".into()), ..PurgeFilter::default() };
    assert!(scene.ledger.purge(&filter).is_err());
}
