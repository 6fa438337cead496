//! The queue and the keys, with the clock, the disk and the process as their enemies.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;

use super::*;
use crate::model::ids::SpanId;
use crate::model::kind::ErrorKind;
use crate::store::folder::DataFolder;
use crate::store::testing::TinyDisk;

const HOUR: i64 = 3_600_000_000_000;

/// A file, and numbers for ids.
struct Scene {
    folder: tempfile::TempDir,
    calls: Option<Calls>,
}

impl Scene {
    fn new() -> Scene {
        Scene::with(Bounds::default())
    }

    fn with(bounds: Bounds) -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let calls = Calls::open(&folder.path().join("calls.db"), bounds).unwrap();
        Scene { folder, calls: Some(calls) }
    }

    fn calls(&self) -> &Calls {
        self.calls.as_ref().unwrap()
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("calls.db")
    }

    /// As after a death of the process.
    fn reopen(&mut self) {
        self.calls = None;
        self.calls = Some(Calls::open(&self.path(), Bounds::default()).unwrap());
    }

    /// As after a restart, before which the machine's clock has been moved: seen from there all that lies in the
    /// file has moved the other way.
    fn reopen_with_the_clock_set_by(&mut self, ns: i64) {
        self.sql(&format!(
            "UPDATE calls SET since_ns = since_ns - {ns};
             UPDATE keys SET since_ns = since_ns - {ns};
             UPDATE clock SET now_ns = now_ns - {ns};"
        ));
        self.reopen();
    }

    fn view(&self, number: u8) -> Option<CallView> {
        CallsReader::new(&DataFolder::new(self.folder.path())).call(id(number)).unwrap()
    }

    fn claimed(&self, plugin: &str, most: usize) -> Vec<u8> {
        let claimed = self.calls().claim(plugin, most, &PassedOver::default()).unwrap();
        claimed.iter().map(|queued| queued.call.ids.invocation_id.as_bytes()[15]).collect()
    }

    fn sql(&self, sql: &str) {
        self.calls().lock().connection.execute_batch(sql).unwrap();
    }
}

fn id(number: u8) -> InvocationId {
    InvocationId::new(uuid::Uuid::from_u128(0x7000_8000_0000_0000_0000 + u128::from(number)))
}

fn json(text: &str) -> Arc<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap().into()
}

fn call(plugin: &str, number: u8) -> NewCall {
    NewCall {
        ids: Delivery {
            invocation_id: id(number),
            trace_id: TraceId::from_bytes([number; 16]).unwrap(),
            root_span_id: SpanId::from_bytes([number; 8]).unwrap(),
            accepted_at_unix_ns: 1_000 + u64::from(number),
            attempts: 0,
        },
        parent: None,
        origin: Origin::Network,
        plugin: plugin.into(),
        version: Some("^1".into()),
        action: "invoke".into(),
        timeout: Some(Duration::from_millis(1_500)),
        input: json(&format!("{{\"n\": {number}.000000000000000000001}}")),
        claim: None,
    }
}

fn keyed(plugin: &str, number: u8, key: &str, request: u8) -> NewCall {
    NewCall { claim: Some(claim(key, request)), ..call(plugin, number) }
}

fn claim(key: &str, request: u8) -> Claim {
    Claim { key: key.into(), request: [request; 32] }
}

fn replied(output: &RawValue) -> CallEnd<'_> {
    let output = Some(output);
    CallEnd { outcome: Outcome::Replied, version: Some("1.0.0"), attempts: 1, output, ..CallEnd::nothing() }
}

#[test]
fn a_call_comes_out_as_it_went_in() {
    let scene = Scene::new();
    let parent = TraceContext {
        trace_id: TraceId::from_bytes([7; 16]).unwrap(),
        span_id: SpanId::from_bytes([9; 8]).unwrap(),
        flags: 1,
        tracestate: Some("a=1".into()),
        baggage: Some("b=2".into()),
    };
    let kept = NewCall { parent: Some(parent), ..call("echo", 7) };
    scene.calls().accept(&kept).unwrap();
    let queued = scene
        .calls()
        .claim("echo", 9, &PassedOver { deaths: 0..0, ..PassedOver::default() })
        .unwrap()
        .remove(0);
    assert_eq!(format!("{:?}", queued.call), format!("{kept:?}"));
    assert_eq!(queued.deaths, 0);
    assert!(queued.age < Duration::from_secs(60), "the clock of the row, not that of the ids");
}

#[test]
fn calls_of_a_plugin_come_in_order_and_one_put_back_is_the_last() {
    let scene = Scene::new();
    for (plugin, number) in [("a", 1), ("b", 2), ("a", 3), ("a", 4)] {
        scene.calls().accept(&call(plugin, number)).unwrap();
    }
    assert_eq!(scene.claimed("a", 2), [1, 3]);
    assert!(scene.calls().put_back(id(1), &"a".into(), 5).unwrap());
    assert!(!scene.calls().put_back(id(1), &"a".into(), 5).unwrap(), "it is not running any more");
    scene.calls().accept(&call("a", 5)).unwrap();
    let mut waiting = scene.calls().waiting();
    waiting.sort();
    assert_eq!(waiting, [("a".into(), 3), ("b".into(), 1)]);
    assert_eq!(scene.claimed("a", 9), [4, 1, 5]);
    assert_eq!(scene.view(1).unwrap().attempts, 5);
    assert_eq!(scene.claimed("a", 9), [0; 0]);
}

#[test]
fn what_ran_when_the_process_died_waits_again_and_remembers_it() {
    let mut scene = Scene::new();
    scene.calls().accept(&call("a", 1)).unwrap();
    scene.calls().accept(&call("a", 2)).unwrap();
    for deaths in 1..=3 {
        assert_eq!(scene.claimed("a", 1), [1]);
        scene.reopen();
        let view = scene.view(1).unwrap();
        assert_eq!((view.state.as_str(), view.attempts), ("queued", deaths));
    }
    let others = scene.calls().claim("a", 1, &PassedOver { deaths: 1..4, ..PassedOver::default() }).unwrap();
    assert_eq!(others[0].call.ids.invocation_id, id(2), "the suspect is passed over");
    scene.calls().put_back(id(2), &"a".into(), 0).unwrap();
    let first =
        scene.calls().claim("a", 1, &PassedOver { deaths: 1..3, ..PassedOver::default() }).unwrap().remove(0);
    assert_eq!((first.deaths, first.call.ids.attempts), (3, 3));
    // A delivery that came back in good order shows that the call is no killer.
    scene.calls().put_back(id(1), &"a".into(), 3).unwrap();
    assert_eq!(scene.claimed("a", 1), [2]);
    assert_eq!(
        scene.calls().claim("a", 1, &PassedOver { deaths: 0..0, ..PassedOver::default() }).unwrap()[0].deaths,
        0
    );
}

#[test]
fn the_first_ending_counts() {
    let scene = Scene::new();
    let output = json("[1.10]");
    for number in [1, 2] {
        scene.calls().accept(&call("a", number)).unwrap();
    }
    assert_eq!(scene.claimed("a", 1), [1]);
    assert!(scene.calls().end(id(1), &replied(&output)).unwrap());
    assert!(matches!(scene.calls().cancel(id(1), "x").unwrap(), Cancelled::Done));
    assert_eq!(scene.view(1).unwrap().output.unwrap().get(), "[1.10]");
    assert!(matches!(scene.calls().cancel(id(2), "x").unwrap(), Cancelled::Queued(_)));
    assert!(matches!(scene.calls().cancel(id(9), "x").unwrap(), Cancelled::Unknown));
    scene.calls().accept(&call("a", 3)).unwrap();
    assert_eq!(scene.claimed("a", 9), [3]);
    assert!(matches!(scene.calls().cancel(id(3), "gone").unwrap(), Cancelled::Running));
    assert!(!scene.calls().end(id(3), &replied(&output)).unwrap());
    let view = scene.view(3).unwrap();
    assert_eq!((view.outcome.as_deref(), view.output.is_none()), (Some("dropped"), true));
    assert_eq!(view.error.unwrap().message, "gone");
    assert!(scene.calls().lock().loads.is_empty(), "nothing is left to do");
}

#[test]
fn calls_that_ask_for_what_is_not_there_let_others_pass() {
    let scene = Scene::new();
    scene.calls().accept(&call("a", 1)).unwrap();
    scene.calls().accept(&NewCall { version: None, ..call("a", 2) }).unwrap();
    scene.calls().accept(&NewCall { action: "head".into(), ..call("a", 3) }).unwrap();
    let without = |asked: &[&NewCall]| {
        let asked = asked.iter().map(|call| call.asked()).collect();
        let claimed = scene.calls().claim("a", 9, &PassedOver { asked, ..PassedOver::default() }).unwrap();
        claimed.iter().map(|queued| queued.call.ids.invocation_id.as_bytes()[15]).collect::<Vec<_>>()
    };
    let any = NewCall { version: None, ..call("a", 9) };
    assert_eq!(without(&[&call("a", 9), &any]), [3]);
    assert_eq!(without(&[&call("a", 9)]), [2]);
    assert_eq!(without(&[]), [1]);
}

#[test]
fn an_input_is_gone_when_its_call_has_ended() {
    let scene = Scene::new();
    // More than fits into the page of its row.
    let input = json(&format!("\"{}\"", "4111-1111-".repeat(5_000)));
    let secret = NewCall { input, ..call("a", 1) };
    scene.calls().accept(&secret).unwrap();
    scene.claimed("a", 1);
    scene.calls().end(id(1), &replied(&json("1"))).unwrap();
    scene.sql("PRAGMA wal_checkpoint(TRUNCATE)");
    let bytes = std::fs::read(scene.path()).unwrap();
    assert!(!bytes.windows(9).any(|window| window == b"4111-1111"));
}

#[test]
fn the_queue_is_bounded_per_plugin_and_in_all() {
    let bounds = Bounds { calls_max: 4, calls_per_plugin_max: 3, ..Bounds::default() };
    let scene = Scene::with(bounds);
    let full = |number, plugin| match scene.calls().accept(&call(plugin, number)) {
        Ok(_) => None,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Overloaded);
            Some(error.to_string())
        }
    };
    assert_eq!((full(1, "a"), full(2, "a"), full(3, "a")), (None, None, None));
    scene.claimed("a", 2);
    assert!(full(4, "a").unwrap().contains("the queue of a holds"), "what runs takes a place too");
    assert_eq!(full(5, "b"), None);
    assert!(full(6, "b").unwrap().contains("the queue of all plugins"));
    scene.calls().end(id(1), &replied(&json("1"))).unwrap();
    assert_eq!(full(7, "b"), None);
    assert!(scene.view(4).is_none() && scene.view(6).is_none());

    let scene = Scene::with(Bounds { input_bytes_per_plugin_max: 60, ..Bounds::default() });
    scene.calls().accept(&call("a", 1)).unwrap();
    scene.calls().accept(&call("a", 2)).unwrap();
    let error = scene.calls().accept(&call("a", 3)).unwrap_err();
    assert!(error.to_string().contains("60 of inputs"), "{error}");
}

#[test]
fn one_reply_a_key() {
    let mut scene = Scene::new();
    let claims = |scene: &Scene, number, request| {
        scene.calls().claim_key(&claim("k", request), "a", "invoke", id(number))
    };
    assert!(matches!(claims(&scene, 1, 1), Ok(Claimed::First)));
    let conflict = claims(&scene, 2, 1).unwrap_err();
    assert!(matches!(conflict, Error::KeyInFlight { invocation_id, .. } if invocation_id == id(1)));
    assert!(matches!(claims(&scene, 2, 9), Err(Error::KeyReused { .. })));
    scene.calls().free_key(id(2)).unwrap();
    assert!(matches!(claims(&scene, 2, 1), Err(Error::KeyInFlight { .. })), "it was not its to free");
    scene.calls().free_key(id(1)).unwrap();
    assert!(matches!(claims(&scene, 3, 9), Ok(Claimed::First)), "a key that was freed is new");
    scene.reopen();
    assert!(matches!(claims(&scene, 4, 1), Ok(Claimed::First)), "the process of the first has died");
    scene.calls().keep_reply(id(4), "1.2.3", &json("{\"a\": 1.0}")).unwrap();
    scene.reopen();
    let Ok(Claimed::Replied(reply)) = claims(&scene, 5, 1) else { panic!("no reply") };
    assert_eq!((reply.invocation_id, reply.output.get()), (id(4), "{\"a\": 1.0}"));
    assert_eq!(reply.version.as_deref(), Some("1.2.3"));
    assert!(matches!(claims(&scene, 6, 2), Err(Error::KeyReused { .. })));
    // The scope is plugin, action and key.
    for (plugin, action) in [("b", "invoke"), ("a", "head")] {
        let claimed = scene.calls().claim_key(
            &claim("k", 5),
            plugin,
            action,
            id(plugin.as_bytes()[0] + action.len() as u8),
        );
        assert!(matches!(claimed, Ok(Claimed::First)), "{plugin} {action}");
    }
}

#[test]
fn the_key_of_an_asynchronous_call_lives_and_ends_with_it() {
    let mut scene = Scene::new();
    assert!(matches!(scene.calls().accept(&keyed("a", 1, "k", 1)).unwrap(), Accepted::Queued));
    scene.claimed("a", 1);
    scene.reopen();
    assert!(matches!(scene.calls().accept(&keyed("a", 2, "k", 1)), Err(Error::KeyInFlight { .. })));
    assert!(scene.view(2).is_none(), "neither key nor call of one that was refused");
    let error = InvokeError::new(ErrorKind::PluginError, "no");
    scene.claimed("a", 1);
    scene.calls().end(id(1), &CallEnd { error: Some(&error), ..CallEnd::nothing() }).unwrap();
    scene.calls().accept(&keyed("a", 3, "k", 2)).unwrap();
    scene.claimed("a", 1);
    scene.calls().end(id(3), &replied(&json("3"))).unwrap();
    let Accepted::Replayed(reply) = scene.calls().accept(&keyed("a", 4, "k", 2)).unwrap() else {
        panic!("run")
    };
    assert_eq!((reply.invocation_id, reply.output.get()), (id(3), "3"));
    let view = scene.view(4).unwrap();
    assert_eq!((view.state.as_str(), view.output.unwrap().get().to_owned()), ("done", "3".to_owned()));
    scene.calls().accept(&keyed("a", 5, "other", 2)).unwrap();
    scene.calls().cancel(id(5), "x").unwrap();
    assert!(matches!(scene.calls().accept(&keyed("a", 6, "other", 3)).unwrap(), Accepted::Queued));
}

#[test]
fn keys_are_bounded() {
    let scene = Scene::with(Bounds { keys_max: 2, key_bytes_max: 4, ..Bounds::default() });
    let first = |key: &str, number| scene.calls().claim_key(&claim(key, 1), "a", "invoke", id(number));
    first("1", 1).unwrap();
    first("2", 2).unwrap();
    assert!(matches!(first("3", 3), Err(Error::Full { .. })));
    scene.calls().free_key(id(1)).unwrap();
    first("3", 3).unwrap();
    scene.calls().free_key(id(2)).unwrap();
    scene.calls().keep_reply(id(3), "1.0.0", &json("\"long\"")).unwrap();
    assert!(matches!(first("4", 4), Err(Error::Full { .. })));
}

#[test]
fn results_and_keys_go_after_their_time() {
    let mut scene = Scene::new();
    let ended = |scene: &Scene, number: u8| {
        scene.calls().accept(&keyed("a", number, &number.to_string(), 1)).unwrap();
        scene.claimed("a", 1);
        scene.calls().end(id(number), &replied(&json("1"))).unwrap();
    };
    ended(&scene, 1);
    scene.reopen_with_the_clock_set_by(HOUR);
    ended(&scene, 2);
    scene.calls().accept(&call("a", 4)).unwrap();
    scene.reopen_with_the_clock_set_by(23 * HOUR);
    assert_eq!(scene.calls().prune().unwrap(), Pruned { expired: 2, dropped: 0 });
    assert!(scene.view(1).is_none() && scene.view(2).is_some());
    assert!(matches!(scene.calls().accept(&keyed("a", 5, "1", 9)).unwrap(), Accepted::Queued));
    scene.reopen_with_the_clock_set_by(2 * HOUR);
    assert_eq!(scene.calls().prune().unwrap(), Pruned { expired: 2, dropped: 0 });
    assert!(scene.view(4).is_some(), "a call without an ending has no end of its time");
}

#[test]
fn a_clock_that_was_wrong_for_a_while_costs_no_key_its_time() {
    let mut scene = Scene::new();
    let keep = |scene: &Scene, number: u8, key: &str| {
        scene.calls().claim_key(&claim(key, 1), "a", "invoke", id(number)).unwrap();
        scene.calls().keep_reply(id(number), "1.0.0", &json("1")).unwrap();
    };
    let is_replayed = |scene: &Scene, key: &str| {
        scene.calls().prune().unwrap();
        let claimed = scene.calls().claim_key(&claim(key, 1), "a", "invoke", id(99)).unwrap();
        matches!(claimed, Claimed::Replied(_))
    };
    keep(&scene, 1, "before");
    scene.calls().accept(&call("a", 3)).unwrap();
    scene.claimed("a", 1);
    scene.calls().end(id(3), &replied(&json("3"))).unwrap();
    scene.reopen_with_the_clock_set_by(-25 * HOUR);
    assert!(is_replayed(&scene, "before"));
    keep(&scene, 2, "meanwhile");
    scene.reopen_with_the_clock_set_by(25 * HOUR);
    assert!(is_replayed(&scene, "before") && is_replayed(&scene, "meanwhile"));
    assert!(scene.view(3).is_some(), "nor a result");
    // Nor does anything live longer: a day later both are gone.
    scene.reopen_with_the_clock_set_by(24 * HOUR);
    assert!(!is_replayed(&scene, "before"));
}

#[test]
fn the_clock_of_an_older_file_goes_on_from_what_lies_there() {
    let mut scene = Scene::new();
    scene.calls().claim_key(&claim("k", 1), "a", "invoke", id(1)).unwrap();
    scene.calls().keep_reply(id(1), "1.0.0", &json("1")).unwrap();
    scene.sql(
        "UPDATE keys SET since_ns = since_ns + 3600000000000; DROP TABLE clock; PRAGMA user_version = 1",
    );
    let latest = |scene: &Scene, sql| -> i64 {
        scene.calls().lock().connection.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    let kept = latest(&scene, "SELECT max(since_ns) FROM keys");
    scene.reopen();
    scene.calls().prune().unwrap();
    assert!(latest(&scene, "SELECT now_ns FROM clock") >= kept);
}

#[test]
fn too_many_results_cost_the_oldest() {
    let scene = Scene::with(Bounds { results_max: 2, result_bytes_max: 10, ..Bounds::default() });
    for (number, output) in [(1, "1"), (2, "2"), (3, "3")] {
        scene.calls().accept(&call("a", number)).unwrap();
        scene.claimed("a", 1);
        scene.calls().end(id(number), &replied(&json(output))).unwrap();
    }
    assert!(scene.calls().is_overfull());
    assert_eq!(scene.calls().prune().unwrap(), Pruned { expired: 0, dropped: 1 });
    assert!(!scene.calls().is_overfull());
    assert!(scene.view(1).is_none() && scene.view(2).is_some());
    scene.calls().accept(&call("a", 4)).unwrap();
    scene.claimed("a", 1);
    scene.calls().end(id(4), &replied(&json("\"0123456\""))).unwrap();
    assert_eq!(scene.calls().prune().unwrap().dropped, 1);
    assert!(scene.view(2).is_none() && scene.view(4).is_some());
}

#[test]
fn on_a_full_disk_nothing_is_acknowledged_and_nothing_is_lost() {
    let Some(disk) = TinyDisk::mount(512) else { return };
    let path = disk.path().join("calls.db");
    let calls = Calls::open(&path, Bounds::default()).unwrap();
    let large = |number| NewCall { input: json(&format!("\"{}\"", "x".repeat(20_000))), ..call("a", number) };
    let mut acknowledged = Vec::new();
    let error = loop {
        let number = acknowledged.len() as u8 + 1;
        match calls.accept(&large(number)) {
            Ok(_) => acknowledged.push(number),
            Err(error) => break error,
        }
        assert!(acknowledged.len() < 200, "the disk never fills");
    };
    assert_eq!(error.kind(), ErrorKind::Overloaded, "{error}");
    drop(calls);
    // There is room again: what was acknowledged is there, and nothing else.
    let calls = Calls::open(&path, Bounds::default());
    let calls = calls.unwrap_or_else(|error| panic!("{error}"));
    let waiting = calls.waiting();
    assert_eq!(waiting, [("a".into(), acknowledged.len() as u64)]);
}
