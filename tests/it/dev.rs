//! `plugin dev` as an author has it: the built program, real folders, real signals.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::server::{Home, Server};
use crate::support::{PATIENCE, eventually, require};

const GOOD: &str = "def invoke(input_data):\n    print('heard', input_data)\n    return {'said': 1}\n";
const BROKEN: &str = "import nothing_of_the_kind\n";
const EXAMPLES: &str = "examples:\n  - {name: first, input: {n: 1}}\n  - {name: second, input: {n: 2}}\n";

/// A run of it that goes on. Killed when it is dropped.
struct Dev {
    child: Child,
    output: PathBuf,
    /// Events that have been looked at.
    seen: usize,
}

impl Dev {
    fn start(home: &Home, arguments: &[&str]) -> Dev {
        Dev::start_with(home, arguments, Stdio::null())
    }

    fn start_with(home: &Home, arguments: &[&str], input: Stdio) -> Dev {
        let all = [&["plugin", "dev", "--json"], arguments].concat();
        let output = home.path().join("dev.out");
        let mut command = home.command(&all);
        command.stdin(input).stdout(File::create(&output).unwrap());
        command.stderr(File::create(home.path().join("dev.err")).unwrap());
        Dev { child: command.spawn().unwrap(), output, seen: 0 }
    }

    fn events(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.output).unwrap();
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        text[..whole].lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The next event of the name, those between being passed over.
    async fn next(&mut self, name: &str) -> Value {
        let start = Instant::now();
        loop {
            let events = self.events();
            let found = events.iter().skip(self.seen).position(|event| event["event"] == name);
            if let Some(place) = found {
                self.seen += place + 1;
                return events[self.seen - 1].clone();
            }
            let ended = self.child.try_wait().unwrap();
            assert!(start.elapsed() < PATIENCE && ended.is_none(), "no {name}, {ended:?}: {events:#?}");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    fn types(&mut self, text: &str) {
        self.child.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// What the debugger says next, up to this.
    async fn debugger_says(&mut self, text: &str) {
        let mut said = String::new();
        while !said.contains(text) {
            said += self.next("debugger_output").await["text"].as_str().unwrap();
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    async fn end(&mut self) -> Option<i32> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(start.elapsed() < PATIENCE, "it does not end: {:#?}", self.events());
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn versions(server: &Server, name: &str) -> Vec<String> {
    let reply = server.client.get(&format!("/v1/plugins/{name}")).await.json();
    let versions = reply["versions"].as_array().cloned().unwrap_or_default();
    versions.iter().map(|version| version.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_save_takes_over_unless_it_is_broken() {
    let home = Home::new();
    home.write_plugin("greet", "greet", "1.0.0", "", GOOD);
    let mut dev = Dev::start(&home, &["greet", "--input", r#"{"n": 7}"#]);
    let first = dev.next("reloaded").await;
    assert!(first["version"].as_str().unwrap().starts_with("1.0.0-dev."), "{first}");
    let result = dev.next("result").await;
    assert_eq!((&result["exit"], &result["reply"]["data"]), (&json!(0), &json!({"said": 1})));
    let line = dev.next("log").await;
    assert_eq!(
        (&line["record"]["body"], &line["record"]["stream"]),
        (&json!("heard {'n': 7}"), &json!("stdout"))
    );

    // Code that cannot be loaded: the server's word for it, with the place.
    home.write("greet/executor.py", BROKEN);
    let refused = dev.next("refused").await;
    assert_eq!(refused["kept"], first["version"]);
    let detail = refused["problem"]["detail"].as_str().unwrap();
    assert!(detail.contains("nothing_of_the_kind") && detail.contains("executor.py:1"), "{refused:#}");
    // A manifest with mistakes: all of them.
    home.write("greet/manifest.yaml", "name: greet\nversion: one\nruntme: python\n");
    let refused = dev.next("refused").await;
    assert_eq!(refused["problem"]["valid"], false);
    assert!(refused["problem"]["diagnostics"].as_array().unwrap().len() >= 2, "{refused:#}");
    assert_eq!(refused["kept"], first["version"]);

    home.write_plugin("greet", "greet", "1.0.0", "", &GOOD.replace('1', "2"));
    let second = dev.next("reloaded").await;
    assert_ne!(second["version"], first["version"]);
    // What was run before is run again by itself.
    let result = dev.next("result").await;
    assert_eq!((&result["version"], &result["reply"]["data"]), (&second["version"], &json!({"said": 2})));
}

#[tokio::test]
async fn only_who_names_it_reaches_the_save() {
    let server = Home::new().plugin("greet", "", &GOOD.replace('1', "'release'")).serve().await;
    let folder = server.home.write_plugin("work/greet", "greet", "1.0.0", "", GOOD);
    let mut dev = Dev::start(&server.home, &[folder.to_str().unwrap(), "--server", server.url()]);
    let save = dev.next("reloaded").await;
    let version = save["version"].as_str().unwrap();
    let call = save["call"].as_str().unwrap();
    assert!(call.contains(&format!("invoke greet@{version} --server {}", server.url())), "{call}");

    let called = server.client.invoke("greet", json!({})).await.json();
    assert_eq!((&called["data"]["said"], &called["meta"]["version"]), (&json!("release"), &json!("1.0.0")));
    // A range that takes pre-releases in does not mean this one.
    let range = server.client.call("greet", json!({"input": {}, "version": ">=1.0.0-0"}), &[]).await.json();
    assert_eq!(range["data"]["said"], "release");
    let named =
        server.client.call("greet", json!({"input": {"by": "name"}, "version": version}), &[]).await.json();
    assert_eq!((&named["data"]["said"], &named["meta"]["version"]), (&json!(1), &json!(version)));
    // The author sees what others' calls of his version print.
    assert_eq!(dev.next("log").await["record"]["body"], "heard {'by': 'name'}");

    // A save that replaces it takes it away; the end takes all away.
    server.home.write("work/greet/executor.py", GOOD.replace('1', "3"));
    let next = dev.next("reloaded").await;
    let next = next["version"].as_str().unwrap().to_owned();
    let start = Instant::now();
    while versions(&server, "greet").await != ["1.0.0", next.as_str()] {
        assert!(start.elapsed() < PATIENCE, "{:?}", versions(&server, "greet").await);
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    dev.signal(Signal::INT);
    assert_eq!(dev.end().await, Some(130));
    assert_eq!(versions(&server, "greet").await, ["1.0.0"]);
}

#[tokio::test]
async fn what_a_killed_run_left_goes_with_the_next() {
    let server = Home::new().serve().await;
    let folder = server.home.write_plugin("work/greet", "greet", "1.0.0", "", GOOD);
    let folder = folder.to_str().unwrap();
    let mut dev = Dev::start(&server.home, &[folder]);
    let first = dev.next("reloaded").await;
    dev.signal(Signal::KILL);
    dev.end().await;
    assert_eq!(versions(&server, "greet").await, [first["version"].as_str().unwrap()]);
    let mut dev = Dev::start(&server.home, &[folder]);
    let second = dev.next("reloaded").await;
    assert_ne!(first["version"], second["version"]);
    assert_eq!(versions(&server, "greet").await, [second["version"].as_str().unwrap()]);
    // Two at once would take each other's versions away.
    let other = server.home.run(&["plugin", "dev", folder, "--once", "--json"]).await;
    assert_eq!(other.code, 6, "{other:?}");
    assert!(other.json()["detail"].as_str().unwrap().contains("another `plugin dev`"), "{other:?}");
    dev.signal(Signal::TERM);
    assert_eq!(dev.end().await, Some(130));
    assert_eq!(server.client.get("/v1/plugins/greet").await.status, 404);
}

#[tokio::test]
async fn who_insists_need_not_wait_for_a_start() {
    let home = Home::new();
    let starting = home.path().join("starting");
    let source =
        format!("import time\nopen({:?}, 'w').close()\ntime.sleep(600)\n", starting.to_str().unwrap());
    home.write_plugin("greet", "greet", "1.0.0", "", &source);
    let mut dev = Dev::start(&home, &["greet"]);
    eventually("the worker begins", PATIENCE, || starting.exists()).await;
    let start = Instant::now();
    let status = loop {
        dev.signal(Signal::INT);
        if let Some(status) = dev.child.try_wait().unwrap() {
            break status;
        }
        // Less than a start may take.
        assert!(start.elapsed() < PATIENCE, "it does not end");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    };
    assert_eq!(status.code(), Some(130));
}

#[tokio::test]
async fn once_ends_as_the_call_does() {
    let home = Home::new();
    let source = "def invoke(input_data):\n    if input_data['n'] == 2:\n        raise ValueError('two')\n    return 1\n";
    home.write_plugin("greet", "greet", "1.0.0", EXAMPLES, source);
    let ran = home.run(&["plugin", "dev", "greet", "--once", "--json"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let events = ran.json_lines();
    assert_eq!(events[0]["event"], "reloaded");
    assert_eq!((&events[1]["example"], &events[1]["reply"]["data"]), (&json!("first"), &json!(1)));
    let ran = home.run(&["plugin", "dev", "greet", "--once", "--json", "--input", r#"{"n": 2}"#]).await;
    assert_eq!((ran.code, &ran.json_lines()[1]["reply"]["kind"]), (4, &json!("plugin_error")));
    let listed = home.run(&["plugin", "list", "--json"]).await.json();
    assert_eq!(listed["items"], json!([]), "nothing stays");

    home.write("greet/executor.py", BROKEN);
    let ran = home.run(&["plugin", "dev", "greet", "--once"]).await;
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.stderr.contains("nothing_of_the_kind"), "{}", ran.stderr);
    home.run(&["plugin", "package", "greet"]).await;
    let ran = home.run(&["plugin", "dev", "greet-1.0.0.zip"]).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("folder"), "{}", ran.stderr);
}

#[tokio::test]
async fn a_trial_must_start_and_is_for_those_who_name_it() {
    let server = Home::new().plugin("greet", "", GOOD).serve().await;
    let pack = async |version: &str, source: &str| {
        server.home.write_plugin("work/greet", "greet", version, "", source);
        let ran = server.home.run(&["plugin", "package", "work/greet"]).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        std::fs::read(server.home.path().join(format!("greet-{version}.zip"))).unwrap()
    };
    let broken = server.client.post("/v1/plugins?trial=true", pack("2.0.0", BROKEN).await).await;
    assert_eq!(broken.status, 503, "{}", broken.text());
    let traceback = broken.json()["exception"]["traceback"].as_str().unwrap().to_owned();
    assert!(traceback.contains("import nothing_of_the_kind"), "{traceback}");
    assert_eq!(versions(&server, "greet").await, ["1.0.0"]);
    assert_eq!(server.client.post("/v1/plugins?trial=maybe", "").await.status, 422);

    let newer = pack("2.0.0", &GOOD.replace('1', "2")).await;
    let on_trial = server.client.post("/v1/plugins?trial=true", newer).await;
    assert_eq!((on_trial.status, on_trial.json()["state"].clone()), (201, json!("running")));
    let said =
        async |body: Value| server.client.call("greet", body, &[]).await.json()["data"]["said"].clone();
    assert_eq!(said(json!({"input": {}})).await, 1);
    assert_eq!(said(json!({"input": {}, "version": ">=2"})).await, Value::Null);
    assert_eq!(said(json!({"input": {}, "version": "2.0.0"})).await, 2);
    let enabled = server.client.post("/v1/plugins/greet/versions/2.0.0/enable", "").await;
    assert_eq!(enabled.status, 200);
    assert_eq!(said(json!({"input": {}})).await, 2);
    // From then on it is in earnest.
    let again =
        server.client.post("/v1/plugins?trial=true", pack("2.0.0", &GOOD.replace('1', "2")).await).await;
    assert_eq!(again.status, 409, "{}", again.text());
    assert_eq!(said(json!({"input": {}})).await, 2);
}

#[tokio::test]
async fn a_debugger_has_all_the_time_that_it_needs() {
    let home = Home::new();
    let rest =
        "limits: {timeout: 20ms}\nretry: {max_attempts: 3, attempt_timeout: 10ms, retry_on: [plugin_error]}";
    let source = "def double(n):\n    return n * 2\n\ndef invoke(input_data):\n    x = input_data['n']\n    y = double(x)\n    \
        breakpoint()\n    if y == 3:\n        raise ValueError('three')\n    return [x, y]\n";
    home.write_plugin("greet", "greet", "1.0.0", rest, source);
    let arguments = ["greet", "--debug=post-mortem", "--input", r#"{"n": 20}"#];
    let mut dev = Dev::start_with(&home, &arguments, Stdio::piped());
    assert_eq!(dev.next("debugger").await["debugger"], "pdb");
    dev.debugger_says("executor.py(5)invoke()\n-> x = input_data['n']").await;
    dev.types("n\np x + 1\n");
    dev.debugger_says("21\n").await;
    dev.types("x = 4\nc\n");
    dev.debugger_says("-> if y == 3:").await;
    dev.types("p y\n");
    dev.debugger_says("8\n").await;
    dev.types("c\n");
    assert_eq!(dev.next("result").await["reply"]["data"], json!([4, 8]));

    // A save waits for it as well, and a failure is held where it happened.
    home.write("greet/executor.py", source.replace("breakpoint()", "y = 3"));
    dev.debugger_says("executor.py(5)invoke()").await;
    dev.types("c\n");
    dev.debugger_says("ValueError: three").await;
    dev.types("p x * 5\n");
    dev.debugger_says("100\n").await;
    dev.types("c\n");
    let result = dev.next("result").await;
    assert_eq!((&result["exit"], &result["reply"]["kind"]), (&json!(4), &json!("plugin_error")));
    // A call that is held does not hold up the end.
    home.write("greet/executor.py", source);
    dev.debugger_says("executor.py(5)invoke()").await;
    dev.signal(Signal::INT);
    assert_eq!(dev.end().await, Some(130));
}

#[tokio::test]
async fn a_debugger_works_beside_a_server_and_not_on_it() {
    let server = Home::new().serve().await;
    let folder = server.home.write_plugin("work/greet", "greet", "1.0.0", "", GOOD);
    let folder = folder.to_str().unwrap();
    let ran = server.home.run_with(&["plugin", "dev", folder, "--once", "--debug", "--json"], "c\n").await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(server.client.get("/v1/plugins/greet").await.status, 404);
    let ran = server.home.run(&["plugin", "dev", folder, "--debug", "--server", server.url()]).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("--local"), "{}", ran.stderr);
}

/// A terminal in front of a shell command, by Python's `pty`.
struct Screen {
    dev: Dev,
    seen: usize,
}

impl Screen {
    fn start(home: &Home, script: &str) -> Screen {
        let output = home.path().join("screen.out");
        let mut command = home.command(&[]);
        let environment: Vec<_> =
            command.get_envs().map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned))).collect();
        command = std::process::Command::new("python3");
        for (name, value) in environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.current_dir(home.path()).env("PROGRAM", env!("CARGO_BIN_EXE_spanglass"));
        let relay = "import pty, sys; pty.spawn(['sh', '-c', sys.argv[1]])";
        command.args(["-c", relay, script]).stdin(Stdio::piped());
        command.stdout(File::create(&output).unwrap()).stderr(Stdio::null());
        Screen { dev: Dev { child: command.spawn().unwrap(), output, seen: 0 }, seen: 0 }
    }

    fn press(&mut self, keys: &str) {
        self.dev.child.stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the text stands behind what was seen before.
    async fn shows(&mut self, text: &str) {
        let start = Instant::now();
        loop {
            let shown = String::from_utf8_lossy(&std::fs::read(&self.dev.output).unwrap()).into_owned();
            if let Some(place) = shown[self.seen..].find(text) {
                self.seen += place + text.len();
                return;
            }
            assert!(start.elapsed() < PATIENCE, "no {text:?} in {}", &shown[self.seen..]);
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn keys_run_it_again() {
    if !require("python3") || !require("stty") {
        return;
    }
    let home = Home::new().env("NO_COLOR", "1");
    home.write_plugin("greet", "greet", "1.0.0", EXAMPLES, GOOD);
    let mut screen = Screen::start(&home, "$PROGRAM plugin dev greet; echo ended $?; stty -a");
    screen.shows("ready greet 1.0.0-dev.").await;
    screen.shows("q ends").await;
    screen.press("r");
    screen.shows("example first").await;
    screen.shows("heard {'n': 1}").await;
    screen.press("e");
    screen.shows("example second").await;
    screen.shows("heard {'n': 2}").await;
    // The last one again; and by itself after a save.
    screen.press("\n");
    screen.shows("example second").await;
    screen.shows("replied").await;
    home.write("greet/executor.py", GOOD.replace('1', "5"));
    screen.shows("ready greet").await;
    screen.shows("\"said\": 5").await;
    screen.press("q");
    screen.shows("ended 0").await;
    // The shell has its terminal back.
    screen.shows(" icanon").await;
    screen.shows(" echo ").await;
}

#[tokio::test]
async fn the_terminal_is_the_debuggers_as_long_as_it_holds_a_call() {
    if !require("python3") || !require("stty") {
        return;
    }
    let home = Home::new().env("NO_COLOR", "1");
    home.write_plugin("greet", "greet", "1.0.0", "", GOOD);
    let mut screen = Screen::start(&home, "$PROGRAM plugin dev greet --debug; echo ended $?; stty -a");
    screen.shows("q ends").await;
    screen.press("r");
    screen.shows("(pdb)").await;
    // A line for the debugger, not keys: the `q` in it ends nothing.
    screen.press("p 'q' * 3\n");
    screen.shows("'qqq'").await;
    screen.press("c\n");
    screen.shows("replied").await;
    screen.press("q");
    screen.shows("ended 0").await;
    screen.shows(" icanon").await;
    screen.shows(" echo ").await;
}
