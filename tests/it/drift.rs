//! Drift through a whole server: calls come in, what has changed is found, told and shown, and it is all there after a
//! kill.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::server::{Client, Home, Server};
use crate::support::{PATIENCE, require};

const ECHO: &str = "def invoke(input_data):\n    return input_data\n";
/// As quick as it can be judged: a baseline of 200 calls, windows of 100.
const OBSERVE: &str = "
input: {n: number, c: string, card: {type: string, optional: true, x-sensitive: true}}
output: {n: number}
limits: {queue: 200}
observe: {baseline_calls: 200, window: 100, step: 25, long_window: 400}";
/// Calls at once.
const CROWD: usize = 20;

/// The input of a call: numbers spread over a thousand from `least` on, three categories.
fn input(call: usize, least: usize) -> Value {
    let category = ["a", "b", "c"][call % 3];
    json!({"n": call * 7_919 % 1_000 + least, "c": category, "card": "4111"})
}

async fn feed(client: &Client, plugin: &str, inputs: impl IntoIterator<Item = Value>) {
    let inputs: Vec<Value> = inputs.into_iter().collect();
    for crowd in inputs.chunks(CROWD) {
        let replies = join_all(crowd.iter().map(|input| client.invoke(plugin, input.clone()))).await;
        for reply in replies {
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
    }
}

/// `calls` of them, from the first on.
async fn feed_from(client: &Client, plugin: &str, calls: std::ops::Range<usize>, least: usize) {
    feed(client, plugin, calls.map(|call| input(call, least))).await;
}

async fn drift(client: &Client, plugin: &str) -> Value {
    let reply = client.get(&format!("/v1/plugins/{plugin}/drift")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

/// The picture, once it is as wanted.
async fn drift_when(client: &Client, plugin: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let start = std::time::Instant::now();
    loop {
        let found = drift(client, plugin).await;
        if wanted(&found) {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "never {what}: {found:#}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until that is on the disk: counts are written each second, a capture by tenths or after ten.
async fn kept_when(home: &Home, plugin: &str, wanted: impl Fn(&Value) -> bool) {
    let start = std::time::Instant::now();
    loop {
        let file = home.data_dir().join("drift.db");
        let kept = rusqlite::Connection::open_with_flags(file, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)
            .and_then(|file| {
                let state = "SELECT state FROM watches WHERE plugin = ?1";
                file.query_row(state, [plugin], |row| row.get::<_, String>(0))
            })
            .ok();
        let kept = kept.map_or(Value::Null, |kept| serde_json::from_str(&kept).unwrap());
        if wanted(&kept) {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "never written of {plugin}: {kept:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn field<'d>(drift: &'d Value, name: &str) -> &'d Value {
    let fields = drift["fields"].as_array().unwrap();
    fields.iter().find(|field| field["field"] == name).unwrap_or_else(|| panic!("no {name} in {drift:#}"))
}

async fn events(client: &Client, query: &str) -> Vec<Value> {
    let reply = client.get(&format!("/v1/drift/events{query}")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn values_that_change_are_found_told_and_resolved() {
    if !require("python3") {
        return;
    }
    let server = Home::new().plugin("watched", OBSERVE, ECHO).serve().await;
    let client = &server.client;
    // The baseline comes of the first calls.
    feed_from(client, "watched", 0..120, 0).await;
    let found = drift_when(client, "watched", "capturing", |found| found["capture"]["calls"] == 120).await;
    assert_eq!((&found["phase"], &found["state"]), (&json!("capturing"), &json!("insufficient")));
    assert_eq!(found["capture"]["wanted"], 200);
    feed_from(client, "watched", 120..200, 0).await;
    let found = drift_when(client, "watched", "watching", |found| found["phase"] == "watching").await;
    assert_eq!(
        (&found["baseline"]["source"], &found["baseline"]["calls"]),
        (&json!("first_calls"), &json!(200))
    );
    assert_eq!(field(&found, "$.input.n")["psi"], Value::Null, "nothing is known of no calls");
    assert!(found["fields"].as_array().unwrap().iter().all(|field| field["field"] != "$.input.card"));
    // What is as before is well.
    feed_from(client, "watched", 200..300, 0).await;
    let found = drift_when(client, "watched", "judged", |found| found["state"] == "ok").await;
    assert_eq!((&found["window"]["calls"], &found["calls"]), (&json!(100), &json!(100)));
    assert!(field(&found, "$.input.n")["psi"].as_f64().unwrap() < 0.2);
    // What is not, is not.
    feed_from(client, "watched", 300..400, 600).await;
    let found = drift_when(client, "watched", "in alert", |found| found["state"] == "alert").await;
    let moved = field(&found, "$.input.n");
    assert_eq!((&moved["state"], &field(&found, "$.input.c")["state"]), (&json!("alert"), &json!("ok")));
    assert!(moved["psi"].as_f64().unwrap() > 1.0 && moved["pvalue"].as_f64().unwrap() < 0.01, "{moved:#}");
    assert!(moved["reason"].as_str().unwrap().contains("PSI"), "{moved:#}");
    let grew = moved["bins"].as_array().unwrap().iter().filter(|bin| bin["grew"] == true).count();
    assert!((1..=3).contains(&grew), "{moved:#}");
    let examples = moved["examples"].as_array().unwrap();
    assert!(!examples.is_empty(), "{moved:#}");
    for example in examples {
        let call = client.invocation(example["invocation_id"].as_str().unwrap()).await;
        let kept: Value = call["input"].clone();
        let number = kept["n"].as_u64().unwrap_or_else(|| panic!("{call:#}"));
        assert!(number > 900, "{number} lies in no bin that grew");
        assert_eq!(call["trace_id"], example["trace_id"]);
    }
    check_told(&server).await;

    // And it ends.
    feed_from(client, "watched", 400..700, 0).await;
    let found = drift_when(client, "watched", "well again", |found| found["state"] == "ok").await;
    assert_eq!(field(&found, "$.input.n")["examples"], json!([]), "of what is over");
    let resolved = events(client, "?plugin=watched&type=drift.resolved").await;
    let fields: Vec<&Value> = resolved.iter().map(|event| &event["field"]).collect();
    assert!(fields.contains(&&json!("$.input.n")), "{fields:?}");
    let scrape = client.scrape().await;
    let labels = [("plugin", "watched"), ("version", "1.0.0"), ("field", "$.input.n")];
    assert_eq!(scrape.sum("spanglass_drift_state", &labels), 1.0);
}

/// Events, metrics, log lines and the command line agree.
async fn check_told(server: &Server) {
    let (client, home) = (&server.client, &server.home);
    let told = events(client, "?plugin=watched&version=1.0.0").await;
    let kinds: Vec<&str> = told.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds.last(), Some(&"drift.baseline_pinned"), "newest first: {kinds:?}");
    let detected: Vec<&Value> = told.iter().filter(|event| event["type"] == "drift.detected").collect();
    let fields: Vec<&str> = detected.iter().map(|event| event["field"].as_str().unwrap()).collect();
    assert!(
        fields.contains(&"$.input.n") && fields.contains(&"$.output.n") && fields.len() == 2,
        "{fields:?}"
    );
    assert!(!detected[0]["examples"].as_array().unwrap().is_empty());
    let page = client.get("/v1/drift/events?limit=1").await.json();
    let next =
        client.get(&format!("/v1/drift/events?limit=1&cursor={}", page["next"].as_str().unwrap())).await;
    assert_eq!((&page["items"][0], &next.json()["items"][0]), (&told[0], &told[1]));
    let scrape = client.scrape().await;
    let labels = [("plugin", "watched"), ("version", "1.0.0"), ("field", "$.input.n")];
    assert_eq!(scrape.sum("spanglass_drift_state", &labels), 3.0);
    assert!(scrape.sum("spanglass_drift_psi", &labels) > 1.0);
    assert_eq!(scrape.sum("spanglass_drift_window_samples", &labels[..2]), 100.0);
    let lines = server.log_lines();
    let line = lines.iter().find(|line| line["event_name"] == "drift.detected");
    assert!(line.is_some_and(|line| line["plugin.name"] == "watched"), "{line:?}");

    let listed = home.run(&["drift", "list", "--json"]).await;
    assert_eq!(listed.code, 0, "{listed:#?}");
    assert_eq!(listed.json()["items"][0]["takes_calls"], true);
    assert_eq!(listed.json(), client.get("/v1/drift").await.json());
    let shown = home.run(&["drift", "show", "watched@1.0.0"]).await;
    assert_eq!(shown.code, 0, "{shown:#?}");
    for part in ["alert", "PSI", "more than", "spanglass invocation show", "--from-window"] {
        assert!(shown.stdout.contains(part), "{part:?} is not in {}", shown.stdout);
    }
    let shown = home.run(&["drift", "show", "watched", "--json"]).await;
    assert_eq!(shown.json()["fields"], drift(client, "watched").await["fields"]);
    assert_eq!(home.run(&["drift", "show", "watched", "--field", "$.input.x"]).await.code, 2);
    assert_eq!(home.run(&["drift", "show", "nobody"]).await.code, 7);
    let shown = home.run(&["drift", "events", "watched", "--type", "drift.detected"]).await;
    assert!(shown.stdout.contains("$.output.n") && !shown.stdout.contains("baseline"), "{}", shown.stdout);
    assert_eq!(home.run(&["drift", "samples", "watched"]).await.code, 6);
}

#[tokio::test]
async fn a_kill_in_the_middle_takes_no_count_that_was_written() {
    if !require("python3") {
        return;
    }
    // Numbers only: what texts turn out to be is not known before there are bins, so they are not written down.
    let numbers = OBSERVE.replace("observe: {", "observe: {fields: [$.input.n, $.output.n], ");
    let home = Home::new()
        .plugin("watched", OBSERVE, ECHO)
        .plugin("learning", &numbers, ECHO)
        .plugin("reading", OBSERVE, ECHO);
    let mut server = home.serve().await;
    feed_from(&server.client, "learning", 0..110, 0).await;
    feed_from(&server.client, "reading", 0..110, 0).await;
    feed_from(&server.client, "watched", 0..200, 0).await;
    drift_when(&server.client, "watched", "watching", |found| found["phase"] == "watching").await;
    feed_from(&server.client, "watched", 200..340, 0).await;
    let before = drift_when(&server.client, "watched", "counted", |found| found["calls"] == 140).await;
    for plugin in ["learning", "reading"] {
        drift_when(&server.client, plugin, "counted", |found| found["capture"]["calls"] == 110).await;
    }
    kept_when(&server.home, "watched", |kept| kept["calls"] == 140 && kept["judged_through"] == 4).await;
    kept_when(&server.home, "learning", |kept| kept["captured"] == 110).await;
    let baselines = server.client.get("/v1/plugins/watched/baselines").await.json();
    server.restart().await;

    let after = drift(&server.client, "watched").await;
    for member in ["phase", "baseline", "calls", "window"] {
        assert_eq!(after[member], before[member], "{member}");
    }
    assert_eq!(server.client.get("/v1/plugins/watched/baselines").await.json(), baselines);
    let bins = |drift: &Value| field(drift, "$.input.n")["bins"].clone();
    assert_eq!(bins(&after), bins(&before));
    // It goes on in the step in which it was: ten calls are enough to fill it.
    feed_from(&server.client, "watched", 340..350, 0).await;
    let found = drift_when(&server.client, "watched", "a step on", |found| found["calls"] == 150).await;
    assert_eq!((&found["window"]["calls"], &found["long_window"]["calls"]), (&json!(100), &json!(150)));
    feed_from(&server.client, "learning", 110..200, 0).await;
    let found = drift_when(&server.client, "learning", "learnt", |found| found["phase"] == "watching").await;
    assert_eq!(found["baseline"]["calls"], 200);
    let found = drift(&server.client, "reading").await;
    assert_eq!((&found["phase"], &found["capture"]["calls"]), (&json!("capturing"), &json!(0)));
    // And what has changed is found as if nothing had been.
    feed_from(&server.client, "watched", 350..450, 600).await;
    drift_when(&server.client, "watched", "in alert", |found| found["state"] == "alert").await;
}

#[tokio::test]
async fn a_baseline_is_pinned_from_a_file_a_window_and_from_before() {
    if !require("python3") {
        return;
    }
    let manual = OBSERVE.replace("observe: {", "observe: {baseline: manual, samples: 10, ");
    let server = Home::new().plugin("watched", &manual, ECHO).serve().await;
    let (client, home) = (&server.client, &server.home);
    feed_from(client, "watched", 0..30, 0).await;
    let found = drift(client, "watched").await;
    assert_eq!(
        (&found["phase"], &found["baseline"], &found["calls"]),
        (&json!("waiting"), &Value::Null, &json!(0))
    );

    let row = |call: usize| json!({"input": input(call, 0), "output": input(call, 0)}).to_string() + "\n";
    let file: String = (0..300).map(row).collect();
    home.write("good.jsonl", &file);
    home.write("bad.jsonl", file.replacen("{\"input\"", "[{\"input\"", 1));
    home.write("few.jsonl", (0..99).map(row).collect::<String>());
    let refused = home.run(&["drift", "baseline", "watched", "--from", "bad.jsonl", "--json"]).await;
    assert_eq!(
        (refused.code, &refused.json()["errors"][0]["pointer"]),
        (3, &json!("line 1")),
        "{refused:#?}"
    );
    let few = home.run(&["drift", "baseline", "watched", "--from", "few.jsonl"]).await;
    assert_eq!((few.code, few.stderr.contains("99 calls")), (3, true), "{few:#?}");
    assert_eq!(home.run(&["drift", "baseline", "watched", "--from", "none.jsonl"]).await.code, 7);
    let early = home.run(&["drift", "baseline", "watched", "--from-window", "--json"]).await;
    assert_eq!(
        (early.code, early.json()["help"].as_str().unwrap().contains("file")),
        (6, true),
        "{early:#?}"
    );
    let many = client.post("/v1/plugins/watched/baselines", "{\"input\":{}}\n".repeat(100_001)).await;
    assert!(many.status == 422 && many.text().contains("more than 100000 lines"), "{}", many.text());
    let pinned = home.run(&["drift", "baseline", "watched", "--from", "good.jsonl", "--json"]).await;
    assert_eq!(pinned.code, 0, "{pinned:#?}");
    let first = pinned.json();
    assert_eq!(
        (&first["source"], &first["calls"], &first["pinned"]),
        (&json!("file"), &json!(300), &json!(true))
    );
    let first = first["id"].as_str().unwrap().to_owned();

    feed_from(client, "watched", 0..150, 600).await;
    let found = drift_when(client, "watched", "in alert", |found| found["state"] == "alert").await;
    assert_eq!(found["baseline"]["id"], first.as_str());
    let samples = home.run(&["drift", "samples", "watched"]).await;
    let samples = samples.json_lines();
    assert_eq!(samples.len(), 10);
    assert!(samples.iter().all(|call| call["input"]["n"].as_f64().unwrap() >= 600.0), "{samples:?}");
    assert!(samples.iter().all(|call| call["input"].get("card").is_none()), "{samples:?}");

    // That is how it shall be: all is well at once.
    let pinned = home.run(&["drift", "baseline", "watched", "--from-window", "--json"]).await;
    assert_eq!((pinned.code, &pinned.json()["source"]), (0, &json!("window")), "{pinned:#?}");
    let second = pinned.json()["id"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    feed_from(client, "watched", 150..250, 600).await;
    drift_when(client, "watched", "well", |found| found["state"] == "ok").await;
    // And back: the same baseline, known by its content.
    let again = home.run(&["drift", "baseline", "watched", "--pin", &first["sha256:".len()..][..12]]).await;
    assert_eq!(again.code, 0, "{again:#?}");
    let listed = client.get("/v1/plugins/watched/baselines").await.json();
    let listed: Vec<(&str, bool)> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["id"].as_str().unwrap(), item["pinned"].as_bool().unwrap()))
        .collect();
    assert_eq!(listed, [(second.as_str(), false), (first.as_str(), true)]);
    let shown = home.run(&["drift", "baseline", "watched"]).await;
    assert!(shown.stdout.contains("pinned") && shown.stdout.contains(&first[..19]), "{}", shown.stdout);
    let document = client.get(&format!("/v1/plugins/watched/baselines/{first}")).await.json();
    let counts = document["fields"][0]["counts"].as_array().unwrap();
    assert_eq!(counts.iter().map(|count| count.as_u64().unwrap()).sum::<u64>(), 300, "{document:#}");
}

#[tokio::test]
async fn two_files_are_compared_without_a_server() {
    let home = Home::new();
    let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/drift");
    let rows = |file: &str| -> Vec<String> {
        let text = std::fs::read_to_string(data.join(file)).unwrap();
        text.lines().map(|line| line.to_owned() + "\n").collect()
    };
    let (clean, drifted) = (rows("bc_clean.jsonl"), rows("bc_drift.jsonl"));
    home.write("base.jsonl", drifted[..800].concat());
    home.write("clean-base.jsonl", clean[..800].concat());
    home.write("clean.jsonl", clean[800..1_800].concat());
    home.write("drifted.jsonl", drifted[1_600..2_200].concat());
    home.write("bad.jsonl", clean[..5].concat() + "{\"input\": {}\n[]\n");
    // It needs no configuration, not even a good one.
    let home = home.env("SPANGLASS_CONFIG", "nowhere.yaml");
    let check =
        |baseline, current| ["drift", "check", "--json", "--baseline", baseline, "--current", current];
    let same = home.run(&check("clean-base.jsonl", "clean.jsonl")).await;
    assert_eq!((same.code, &same.json()["drift"]), (0, &json!(false)), "{same:#?}");
    let other = home.run(&check("base.jsonl", "drifted.jsonl")).await;
    assert_eq!((other.code, &other.json()["drift"]), (9, &json!(true)), "{other:#?}");
    let document = other.json();
    let texture = field(&document, "$.input.mean_texture");
    assert_eq!(texture["state"], "alert", "more nulls");
    assert!(
        texture["null_ratio"].as_f64().unwrap() > 0.05
            && texture["baseline_null_ratio"].as_f64().unwrap() < 0.05
    );
    assert_eq!(field(&document, "$.input.note_len")["state"], "ok");
    for member in ["psi", "js", "pvalue"] {
        assert!(texture[member].is_number(), "{member}");
    }
    // One field, from a pipe, for people.
    let piped = home
        .run_with(
            &["drift", "check", "--baseline", "base.jsonl", "--current", "-", "--field", "$.input.site"],
            &drifted[1_600..2_200].concat(),
        )
        .await;
    assert_eq!(piped.code, 9, "{piped:#?}");
    assert!(piped.stdout.contains("unseen categories") && piped.stderr.contains("1 of 1"), "{piped:#?}");
    assert!(!piped.stdout.contains("mean_radius"));
    let few =
        home.run(&[&check("base.jsonl", "drifted.jsonl")[..], &["--min-samples", "700"]].concat()).await;
    assert_eq!((few.code, &few.json()["fields"][0]["state"]), (0, &json!("insufficient")), "{few:#?}");
    assert_eq!((&few.json()["fields"][0]["psi"], &few.json()["judged"]), (&Value::Null, &json!(0)));
    let compare = |current| ["drift", "check", "--baseline", "base.jsonl", "--current", current];
    let few = home.run(&[&compare("drifted.jsonl")[..], &["--min-samples", "700"]].concat()).await;
    assert_eq!((few.code, few.stderr.contains("nothing was judged")), (0, true), "{few:#?}");
    assert!(!few.stderr.contains("no drift"), "{few:#?}");
    home.write("scalars.jsonl", "{\"input\": 5}\n".repeat(300));
    let none =
        home.run(&["drift", "check", "--baseline", "scalars.jsonl", "--current", "scalars.jsonl"]).await;
    assert!(none.code == 0 && none.stderr.contains("no call has a value"), "{none:#?}");
    let typo =
        home.run(&[&check("base.jsonl", "drifted.jsonl")[..], &["--field", "$.input.sites"]].concat()).await;
    assert!(typo.code == 2 && typo.json()["detail"].as_str().unwrap().contains("$.input.sites"), "{typo:#?}");
    for (baseline, current, code, told) in [
        ("bad.jsonl", "clean.jsonl", 3, "bad.jsonl:6: "),
        ("clean.jsonl", "bad.jsonl", 3, "bad.jsonl:6: "),
        ("nowhere.jsonl", "clean.jsonl", 3, "nowhere.jsonl"),
        (".", "clean.jsonl", 3, "cannot be read"),
        ("/dev/null", "clean.jsonl", 3, "has no calls"),
        ("-", "-", 2, "standard input"),
    ] {
        let ran = home.run(&check(baseline, current)).await;
        assert_eq!(ran.code, code, "{baseline} {current}: {ran:#?}");
        assert!(ran.json()["detail"].as_str().unwrap().contains(told), "{ran:#?}");
    }
    let mistakes = home.run(&check("bad.jsonl", "clean.jsonl")).await.json();
    assert_eq!(mistakes["errors"][0]["pointer"], "bad.jsonl:7");
    for wrong in [["--field", "site"], ["--alpha", "2"], ["--min-effect", "-1"], ["--min-samples", "0"]] {
        let ran = home.run(&[&check("base.jsonl", "clean.jsonl")[..], &wrong].concat()).await;
        assert_eq!(ran.code, 2, "{wrong:?}: {ran:#?}");
    }
}
