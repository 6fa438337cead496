//! `top` in a real terminal, against a service of this test that answers as the API describes it, with text that a
//! terminal would obey.

use std::fs::File;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::support::server::Home;
use crate::support::{PATIENCE, require};

const ESCAPES: &str = "\u{1b}[31mred\u{7}\u{202e}";

fn rates(plugin: &str) -> Value {
    json!({
        "plugin": plugin, "version": "1.1.0", "calls": 300, "errors": 72, "refused": 0, "dropped": 0, "rate": 1.25,
        "error_ratio": 0.24, "p50_ms": 2.5, "p95_ms": 9.0, "p99_ms": null, "cpu_ms": 700.0, "memory_peak_bytes": 1,
        "last_error": {"at": "2026-02-03T04:05:06Z", "kind": "plugin_error", "message": ESCAPES,
            "invocation_id": "i", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"},
        "spark": {"step_s": 10, "from": "2026-02-03T04:00:06Z", "calls": [0, 1, 8], "errors": [0, 0, 2]},
    })
}

/// The address of a service that has plugins.
async fn service() -> String {
    let overview = json!({"at": "2026-02-03T04:05:06Z", "window_s": 300, "items": [rates("first"), rates("second")],
        "total": rates("")});
    let alerts = json!({"items": [{"state": "firing", "rule": "ErrorRatio", "severity": "page", "plugin": "first",
        "version": "1.1.0", "summary": ESCAPES}], "rules": [], "notifications": []});
    let calls = json!({"items": [{"invocation_id": "i", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "plugin": "first", "version": "1.1.0", "state": "done", "outcome": "failed", "duration_ms": 3.5,
        "created_at": "2026-02-03T04:05:06Z", "input": {"amount": 950},
        "error": {"kind": "plugin_error", "blame": "plugin", "message": ESCAPES}}], "next": null});
    let answer = |document: Value| get(async move || Json(document));
    serving(
        Router::new()
            .route("/v1/overview", answer(overview))
            .route("/v1/alerts", answer(alerts))
            .route("/v1/invocations", answer(calls)),
    )
    .await
}

async fn serving(routes: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, routes).into_future());
    format!("http://{address}")
}

/// A shell with `$PROGRAM` in a terminal of 110 columns, by Python's `pty`.
struct Screen {
    child: Child,
    output: std::path::PathBuf,
    seen: usize,
}

impl Screen {
    fn start(home: &Home, script: &str) -> Screen {
        let output = home.path().join("screen.out");
        let mut command = Command::new("python3");
        command.env("PROGRAM", env!("CARGO_BIN_EXE_spanglass")).env("SPANGLASS_DATA_DIR", home.data_dir());
        command.env_remove("NO_COLOR").env("TERM", "xterm-256color").current_dir(home.path());
        let relay = "import pty, sys; pty.spawn(['sh', '-c', sys.argv[1]])";
        command.args(["-c", relay, &format!("stty rows 24 cols 110; {script}")]).stdin(Stdio::piped());
        command.stdout(File::create(&output).unwrap()).stderr(Stdio::null());
        Screen { child: command.spawn().unwrap(), output, seen: 0 }
    }

    fn press(&mut self, keys: &str) {
        self.child.stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    fn all(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.output).unwrap()).into_owned()
    }

    /// Waits until the text stands behind what was seen before.
    async fn shows(&mut self, text: &str) {
        let start = Instant::now();
        loop {
            let all = self.all();
            if let Some(place) = all[self.seen..].find(text) {
                self.seen += place + text.len();
                return;
            }
            assert!(start.elapsed() < PATIENCE, "no {text:?} in {:?}", &all[self.seen..]);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn it_draws_heeds_keys_and_gives_the_terminal_back() {
    if !require("python3") || !require("stty") {
        return;
    }
    let home = Home::new();
    let server = service().await;
    for (key, code) in [("q", 0), ("\u{3}", 130)] {
        let mut screen = Screen::start(
            &home,
            &format!("$PROGRAM top --every 100ms --server {server}; echo ended $?; stty -a"),
        );
        // Its own screen, and on it the alert and both plugins.
        screen.shows("\u{1b}[?1049h").await;
        screen.shows("ErrorRatio").await;
        screen.shows("first").await;
        screen.shows("24%").await;
        screen.shows("second").await;
        screen.press("\r");
        screen.shows("amount=950").await;
        screen.press("\u{1b}");
        screen.shows("VERSION").await;
        screen.press("?");
        screen.shows("latency").await;
        screen.press(key);
        screen.shows("\u{1b}[?1049l").await;
        screen.shows(&format!("ended {code}")).await;
        screen.shows(" icanon").await;
        screen.shows(" echo ").await;
        // What a plugin says is shown, not obeyed.
        let all = screen.all();
        assert!(all.contains("\\u{1b}[31mred\\u{7}\\u{202e}"), "{all:?}");
        assert!(
            !all.contains("\u{1b}[31mred") && !all.contains('\u{202e}') && !all.contains('\u{7}'),
            "{all:?}"
        );
    }
}

#[tokio::test]
async fn without_a_terminal_it_is_one_table_or_one_document() {
    let home = Home::new();
    let server = service().await;
    let ran = home.run(&["top", "--server", &server]).await;
    assert_eq!(ran.code, 0, "{ran:#?}");
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert!(lines[0].starts_with("PLUGIN") && lines[1].starts_with("first   1.1.0"), "{ran:#?}");
    assert!(lines[3].starts_with("firing ErrorRatio first 1.1.0: \\u{1b}[31mred"), "{ran:#?}");
    let ran = home.run(&["top", "--json", "--server", &server]).await;
    assert_eq!(ran.json()["items"][1]["plugin"], "second");
}

#[tokio::test]
async fn a_server_without_rates_and_none_at_all_are_clear_errors() {
    let home = Home::new();
    let older = serving(Router::new()).await;
    for arguments in [&["top", "--server", &older][..], &["top", "--json", "--server", &older]] {
        let ran = home.run(arguments).await;
        assert_eq!(ran.code, 1, "{ran:#?}");
        assert!(format!("{}{}", ran.stdout, ran.stderr).contains("404 to /v1/overview"), "{ran:#?}");
    }
    assert_eq!(home.run(&["top"]).await.code, 8);
}
