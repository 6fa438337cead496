//! Texts are found, wherever the line lies and whatever it says; the filters stay in step with the lines.

use super::*;

impl Scene {
    /// One call that prints these lines.
    fn print(&self, plugin: &str, lines: &[&str]) -> Finished {
        let begin =
            Begin { plugin: plugin.into(), action: "invoke".into(), parent: None, origin: Origin::Local };
        let mut call = self.telemetry.begin(begin);
        for text in lines {
            call.guest_log(call.root(), line(text));
        }
        call.finish(Ending::Replied { usage: Usage::default() })
    }

    fn found(&self, filter: LogFilter) -> Vec<String> {
        self.reader.logs(&filter).unwrap().items.into_iter().map(|one| one.body).collect()
    }

    pub(super) fn raw(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(DataFolder::new(self.temp.path()).ledger()).unwrap()
    }
}

fn q(text: &str) -> LogFilter {
    LogFilter { q: Some(text.into()), ..LogFilter::default() }
}

/// Some thousand lines, in many blocks, and a few that are looked for.
fn scene() -> Scene {
    let scene = Scene::new();
    for n in 0..1_000 {
        let id = format!("order {n:05} of user={:08x}", n * 7_919);
        scene.print(if n % 10 == 0 { "echo" } else { "busy" }, &[&id, "nothing to see"]);
        match n {
            3 => drop(scene.print("echo", &["Grüße 100%_sure \"quoted\" (C:\\temp) NEAR OR *"])),
            500 => drop(scene.print("echo", &["a needle in the middle"])),
            _ => {}
        }
        if n % 200 == 0 {
            scene.flush();
        }
    }
    scene.print("echo", &["the last needle"]);
    scene.flush();
    assert!(blocks::unsealed(&scene.raw()).unwrap() < blocks::LINES);
    scene
}

#[test]
fn words_parts_ids_and_punctuation_are_found_in_sealed_lines_and_in_new_ones() {
    let scene = scene();
    assert_eq!(scene.found(q("needle")), ["the last needle", "a needle in the middle"]);
    assert_eq!(scene.found(q("NEEDLE in")), ["a needle in the middle"]);
    let odd = "Grüße 100%_sure \"quoted\" (C:\\temp) NEAR OR *";
    for part in ["0%_s", "rüß", "\"quoted\"", "C:\\t", "(c:", "NEAR OR *", "*", "ü", "%_"] {
        assert_eq!(scene.found(q(part)), [odd], "{part}");
    }
    assert_eq!(scene.found(q(&format!("user={:08x}", 777 * 7_919))).len(), 1);
    assert_eq!(scene.found(q("order 00042 of")).len(), 1);
    for absent in ["order 10042", "needles", "quoted* OR", "~", "user=ffffffff"] {
        assert!(scene.found(q(absent)).is_empty(), "{absent}");
    }
    // Fields are looked at, too, and other filters count as well.
    assert!(!scene.found(q("duration_ms")).is_empty());
    assert_eq!(scene.found(LogFilter { plugin: Some("busy".into()), ..q("needle") }).len(), 0);
    assert_eq!(scene.found(LogFilter { level: Some(Severity::Error), ..q("needle") }).len(), 0);
    assert_eq!(scene.found(LogFilter { plugin: Some("echo".into()), ..q("needle") }).len(), 2);
    let severe = LogFilter { level: Some(Severity::Warn), limit: Some(1), ..LogFilter::default() };
    assert_eq!(scene.found(severe), ["the last needle"]);
    assert_eq!(scene.found(LogFilter { level: Some(Severity::Warn), ..q("needle") }).len(), 2);
    let now = std::time::SystemTime::now();
    assert_eq!(scene.found(LogFilter { until: Some(now), ..q("needle") }).len(), 2);
    assert!(scene.found(LogFilter { since: Some(now), ..q("needle") }).is_empty());
}

#[test]
fn pages_of_a_search_show_every_line_once_newest_first() {
    let scene = scene();
    let (mut cursor, mut all) = (None, Vec::new());
    loop {
        let page = scene.reader.logs(&LogFilter { cursor, limit: Some(70), ..q("order 00") }).unwrap();
        all.extend(page.items.into_iter().map(|one| (one.timestamp, one.body)));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(all.len(), 1_000);
    assert!(all.is_sorted_by(|a, b| a.0 >= b.0), "newest first");
    let mut bodies: Vec<_> = all.into_iter().map(|(_, body)| body).collect();
    bodies.sort();
    bodies.dedup();
    assert_eq!(bodies.len(), 1_000);
}

#[test]
fn the_id_of_a_trace_or_call_finds_its_lines() {
    let scene = Scene::new();
    scene.print("echo", &["one"]);
    let done = scene.print("echo", &["two"]);
    scene.flush();
    for id in [done.trace_id.to_string(), done.invocation_id.to_string()] {
        assert_eq!(scene.found(q(&id)), ["invocation replied", "two"], "{id}");
        let filter = InvocationFilter { q: Some(id), ..InvocationFilter::default() };
        assert_eq!(scene.reader.invocations(&filter).unwrap().items.len(), 1);
    }
}

#[test]
fn calls_are_found_by_the_beginning_of_their_input() {
    let scene = Scene::new();
    scene.call();
    scene.print("echo", &[]);
    scene.flush();
    let filter = InvocationFilter { q: Some("{\"A\":1".into()), ..InvocationFilter::default() };
    assert_eq!(scene.reader.invocations(&filter).unwrap().items.len(), 1);
}

#[test]
fn a_filter_or_a_sum_that_does_not_fit_its_rows_is_found_by_the_check() {
    let scene = scene();
    let sound = || scene.reader.check().unwrap().0;
    assert_eq!(sound(), Vec::<String>::new());
    let raw = scene.raw();
    raw.execute("UPDATE logs SET body = 'something else' WHERE seq = 7", []).unwrap();
    assert!(sound()[0].contains("search index"), "{:?}", sound());
    raw.execute("DELETE FROM blocks", []).unwrap();
    assert_eq!(sound(), Vec::<String>::new(), "what is not sealed is read");
    raw.execute("DELETE FROM logs WHERE seq = 9", []).unwrap();
    assert!(sound()[0].contains("were counted"), "{:?}", sound());
}
