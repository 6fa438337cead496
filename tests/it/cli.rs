//! The command line as people and scripts use it: exit codes, one JSON document, whom a command talks to.

use serde_json::{Value, json};

use crate::support::require;
use crate::support::server::{Home, Ran};

const ECHO: &str = "def invoke(input_data):\n    return input_data\n";

const SCRIPT: &str = r#"
import asyncio, os, sys, time
from dataclasses import dataclass

def hello(name: str = "world", times: int = 1, loud: bool = False, factor: float = 1.0):
    print("in", os.getcwd())
    return {"text": f"hello {name}" * times, "types": [type(v).__name__ for v in (name, times, loud, factor)]}

def needy(name, *, other):
    return [name, other]

async def later(n: int):
    await asyncio.sleep(0.01)
    return n + 1

def counting(to: int):
    for n in range(to):
        yield n

def failing():
    raise KeyError("missing thing")

def quitting():
    sys.exit(7)

def dying():
    os._exit(9)

def sleeping():
    time.sleep(60)

def odd():
    return object()

def whole(input_data):
    return input_data
"#;

fn case(arguments: &[&'static str], code: i32) -> (Vec<&'static str>, i32) {
    (arguments.to_vec(), code)
}

/// Standard output holds one document, and what is wrong has a name in it.
fn check_json(arguments: &[&str], ran: &Ran) -> Value {
    let document = ran.json();
    // 9 is no error: the command did its work, and found something.
    if !matches!(ran.code, 0 | 9) {
        let code = document.get("kind").or(document.get("code")).or(document.get("diagnostics"));
        assert!(code.is_some(), "{arguments:?}: an error without a code: {ran:#?}");
    }
    document
}

#[tokio::test]
async fn run_calls_any_function_and_says_by_its_exit_code_how_it_went() {
    if !require("python3") {
        return;
    }
    let home = Home::new();
    home.write("script.py", SCRIPT);
    home.write("single.py", "def only(n: int = 2):\n    return n * 2\n");
    home.write("broken.py", "def oops(:\n");
    home.write("notes.txt", "no code");
    let cases = [
        case(&["run", "script.py:hello"], 0),
        case(&["run", "single.py"], 0),
        case(&["run", "script.py:later", "-f", "n=1"], 0),
        case(&["run", "script.py:counting", "-f", "to=3"], 0),
        case(&["run", "script.py:whole", "--input", r#"{"a": 1}"#], 0),
        case(&["run", "script.py:failing"], 4),
        case(&["run", "script.py:quitting"], 4),
        case(&["run", "script.py:dying"], 4),
        case(&["run", "script.py:odd"], 4),
        case(&["run", "script.py:sleeping", "--timeout", "300ms"], 5),
        case(&["run", "script.py:needy", "-f", "name=x"], 3),
        case(&["run", "script.py:hello", "-f", "times=many"], 3),
        case(&["run", "script.py:hello", "-f", "nmae=x"], 3),
        case(&["run", "script.py:hello", "--input", "[1]"], 3),
        case(&["run", "script.py:hello", "--input", "{"], 3),
        case(&["run", "broken.py"], 4),
        case(&["run", "nowhere.py"], 7),
        case(&["run", "notes.txt"], 2),
        case(&["run"], 2),
        case(&["run", "script.py:hello", "-f", "name"], 2),
        case(&["run", "script.py:hello", "--timeout", "soon"], 2),
        case(&["run", "script.py:hello", "--no-such-flag"], 2),
        case(&["run", "script.py:hello", "-f", "a=1", "--input", "{}"], 2),
        case(&["no-such-command"], 2),
        case(&["run", "script.py:hello", "--input", "@nowhere.json"], 2),
    ];
    for (mut arguments, code) in cases {
        let ran = home.run(&arguments).await;
        assert_eq!(ran.code, code, "{arguments:?}: {ran:#?}");
        assert!(code == 0 || !ran.stderr.is_empty(), "{arguments:?}: an error that says nothing");
        assert!(
            !ran.stdout.contains('\u{1b}') && !ran.stderr.contains('\u{1b}'),
            "colours without a terminal: {ran:#?}"
        );
        arguments.push("--json");
        let ran = home.run(&arguments).await;
        assert_eq!(ran.code, code, "{arguments:?}: {ran:#?}");
        check_json(&arguments, &ran);
    }
}

#[tokio::test]
async fn run_types_fields_by_the_annotations_and_streams_generators() {
    if !require("python3") {
        return;
    }
    let home = Home::new();
    home.write("script.py", SCRIPT);
    let fields = ["-f", "name=Ada", "-f", "times=2", "-f", "loud=true", "-f", "factor=1"];
    let ran = home.run(&[&["run", "script.py:hello", "--json"], fields.as_slice()].concat()).await;
    let document = ran.json();
    assert_eq!(
        document["data"],
        json!({"text": "hello Adahello Ada", "types": ["str", "int", "bool", "float"]})
    );
    assert_eq!((&document["status"], &document["meta"]["plugin"]), (&json!("success"), &json!("script")));
    let people = home.run(&["run", "script.py:hello", "-f", "name=Ada"]).await;
    assert!(people.stdout.contains("hello Ada"), "{people:#?}");
    let folder = std::fs::canonicalize(home.path()).unwrap();
    assert!(
        people.stderr.contains(&format!("in {}", folder.display())),
        "prints, and in the user's folder: {people:#?}"
    );

    let ran = home.run(&["run", "script.py:counting", "-f", "to=3", "--stream", "--json"]).await;
    let events: Vec<_> =
        ran.json_lines().into_iter().map(|line| (line["event"].clone(), line["data"].clone())).collect();
    let chunks: Vec<_> =
        events.iter().filter(|(event, _)| event == "chunk").map(|(_, data)| data.clone()).collect();
    assert_eq!((chunks, events.len(), &events[3].0), (vec![json!(0), json!(1), json!(2)], 4, &json!("end")));
    let listed = home.run(&["run", "script.py:counting", "-f", "to=3", "--json"]).await;
    assert_eq!(listed.json()["data"], json!([0, 1, 2]));

    let failed = home.run(&["run", "script.py:failing"]).await;
    assert!(
        failed.stderr.contains("KeyError") && failed.stderr.contains("script.py"),
        "where it happened: {failed:#?}"
    );
    let missing = home.run(&["run", "script.py:needy", "--json", "-f", "name=x"]).await;
    assert!(missing.json()["detail"].as_str().unwrap().contains("other"), "what is missing: {missing:#?}");

    // What `run` did can be looked up.
    let watched = home.run(&["run", "script.py:hello", "--watch"]).await;
    for word in ["invoke script", "execute", "prepare"] {
        assert!(watched.stderr.contains(word), "{word}: {watched:#?}");
    }
    let trace = document["meta"]["trace_id"].as_str().unwrap();
    let shown = home.run(&["trace", "show", trace, "--json"]).await;
    assert_eq!((shown.code, &shown.json()["trace_id"]), (0, &json!(trace)), "{shown:#?}");
}

#[tokio::test]
async fn inputs_come_from_fields_files_and_standard_input() {
    if !require("python3") {
        return;
    }
    let manifest =
        "input: {n: integer?, f: number?, b: boolean?, s: string?, l: 'integer[]?', o: object?, x: any?}";
    let home = Home::new().plugin("typed", manifest, ECHO);
    home.write("input.json", "\n{\"n\": 123456789012345678901234567890}\n");
    let server = home.serve().await;
    let call = async |arguments: &[&str], input: &str| {
        let all = [&["invoke", "typed", "--json"], arguments].concat();
        let ran = server.home.run_with(&all, input).await;
        (ran.code, ran.json(), ran)
    };
    for (field, expected) in [
        ("n=5", json!({"n": 5})),
        ("f=1.5", json!({"f": 1.5})),
        ("b=true", json!({"b": true})),
        ("s=5", json!({"s": "5"})),
        ("s=true", json!({"s": "true"})),
        ("s=", json!({"s": ""})),
        ("s=a=b", json!({"s": "a=b"})),
        ("s={\"a\": 1}", json!({"s": "{\"a\": 1}"})),
        ("l=[1, 2]", json!({"l": [1, 2]})),
        ("o={\"a\": 1}", json!({"o": {"a": 1}})),
        ("unknown=text", json!({"unknown": "text"})),
    ] {
        let (code, document, _) = call(&["-f", field], "").await;
        assert_eq!((code, &document["data"]), (0, &expected), "{field}: {document:#}");
    }
    for field in ["n=five", "n=1.5", "b=perhaps", "o=text", "f="] {
        let (code, document, _) = call(&["-f", field], "").await;
        assert_eq!(
            (code, &document["kind"].as_str().or(document["code"].as_str())),
            (3, &Some("invalid_input")),
            "{field}"
        );
    }
    let (_, _, ran) = call(&["--input", "@input.json"], "").await;
    assert!(ran.stdout.contains("123456789012345678901234567890"), "{ran:#?}");
    let (_, document, _) = call(&["--input", "-"], "{\"s\": \"from standard input\"}\n").await;
    assert_eq!(document["data"]["s"], "from standard input");
    for (arguments, input, code) in [
        (vec!["--input", "-"], "", 3),
        (vec!["--input", "-"], "not json", 3),
        (vec!["--input", "@input.json.not"], "", 2),
        (vec!["--input", "\"text\""], "", 3),
    ] {
        let (given, _, ran) = call(&arguments, input).await;
        assert_eq!(given, code, "{ran:#?}");
    }
}

#[tokio::test]
async fn a_command_talks_to_whom_it_is_told_to() {
    if !require("python3") {
        return;
    }
    let home = Home::new().plugin("echo", "", ECHO);
    let server = home.serve().await;
    let other = Home::new().plugin("other", "", ECHO).serve().await;
    let home = &server.home;
    let port_of_nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = format!("http://{port_of_nobody}");

    // The live server of the data folder, found through server.json.
    let found = home.run(&["invoke", "echo", "-f", "a=1"]).await;
    assert_eq!(found.code, 0);
    assert!(found.stderr.contains(server.url()), "the target is named: {found:#?}");
    let file: Value =
        serde_json::from_slice(&std::fs::read(home.data_dir().join("server.json")).unwrap()).unwrap();
    assert_eq!((file["url"].as_str(), file["pid"].as_u64()), (Some(server.url()), Some(server.pid().into())));
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(home.data_dir().join("server.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    for (arguments, code, kind) in [
        (vec!["invoke", "other", "--json"], 7, "not_found"),
        (vec!["invoke", "other", "--json", "--server", other.url()], 0, ""),
        (vec!["invoke", "echo", "--json", "--server", &nobody], 8, "unreachable"),
        (vec!["invoke", "echo", "--json", "--server", "nonsense"], 2, "usage"),
        (vec!["invoke", "echo", "--json", "--server", other.url(), "--local"], 2, "usage"),
        (vec!["invoke", "echo", "--json", "--token-file", "nowhere"], 3, ""),
        (vec!["invoke", "Not A Name", "--json"], 7, "not_found"),
        (vec!["invoke", "../../healthz", "--json"], 7, "not_found"),
        (vec!["invoke", "echo@7", "--json"], 7, "not_found"),
        (vec!["invoke", "echo@newest", "--json"], 3, "invalid_input"),
        (vec!["invoke", "echo@1", "--json"], 0, ""),
        (vec!["invoke", "echo", "--json", "--action", "dance"], 7, "not_found"),
    ] {
        let ran = home.run(&arguments).await;
        assert_eq!(ran.code, code, "{arguments:?}: {ran:#?}");
        let document = check_json(&arguments, &ran);
        let given = document["kind"].as_str().or(document["code"].as_str()).unwrap_or_default();
        assert_eq!(given, kind, "{arguments:?}: {ran:#?}");
    }

    // Somebody else owns the folder: in-process commands wait, and then say so; `run` works without.
    let start = std::time::Instant::now();
    let local = home.run(&["invoke", "echo", "--local", "--json"]).await;
    assert_eq!((local.code, &local.json()["code"]), (6, &json!("conflict")), "{local:#?}");
    assert!(
        start.elapsed() >= std::time::Duration::from_secs(9),
        "it waits for the owner: {:?}",
        start.elapsed()
    );
    home.write("beside.py", "def main():\n    return 1\n");
    let run = home.run(&["run", "beside.py", "--json"]).await;
    assert_eq!((run.code, &run.json()["data"]), (0, &json!(1)), "{run:#?}");
}

#[tokio::test]
async fn without_a_server_commands_work_in_process() {
    if !require("python3") {
        return;
    }
    let mut server = Home::new().plugin("echo", "", ECHO).serve().await;
    assert!(server.stop().await.success());
    let ran = server.home.run(&["invoke", "echo", "--json", "-f", "a=b"]).await;
    assert_eq!(
        (ran.code, &ran.json()["data"]),
        (0, &json!({"a": "b"})),
        "what was registered stays: {ran:#?}"
    );
    // A server.json of a process that is no more says nothing.
    server.restart().await;
    server.kill();
    assert!(server.home.data_dir().join("server.json").exists());
    let ran = server.home.run(&["invoke", "echo", "-f", "a=b"]).await;
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert!(ran.stderr.contains("in-process"), "the target is named: {ran:#?}");
}

#[tokio::test]
async fn a_server_that_cannot_be_says_why() {
    let home = Home::new();
    home.write("taken", "");
    home.write("bad.yaml", "lisetn: 1\nplugins: [1]\n");
    home.write("empty-tokens", "");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (arguments, code) in [
        (vec!["serve", "--listen", &address], 6),
        (vec!["serve", "--listen", "nonsense"], 3),
        (vec!["serve", "--listen", "0.0.0.0:0"], 3),
        (vec!["serve", "--listen", "127.0.0.1:0", "--config", "bad.yaml"], 3),
        (vec!["serve", "--listen", "127.0.0.1:0", "--config", "nowhere.yaml"], 3),
        (vec!["serve", "--listen", "127.0.0.1:0", "--token-file", "empty-tokens"], 3),
        (vec!["serve", "--listen", "127.0.0.1:0", "--plugins", "nowhere"], 3),
        (vec!["serve", "--nonsense"], 2),
    ] {
        let ran = home.run(&arguments).await;
        assert_eq!(ran.code, code, "{arguments:?}: {ran:#?}");
        assert!(ran.stderr.contains("error"), "{arguments:?}: {ran:#?}");
        let arguments = [arguments, vec!["--json"]].concat();
        let ran = home.run(&arguments).await;
        assert_eq!(ran.code, code, "{arguments:?}: {ran:#?}");
        let last = ran.stdout.lines().last().unwrap();
        let document: Value = serde_json::from_str(last).unwrap();
        assert!(document.is_object());
    }
}

#[tokio::test]
async fn help_and_version_are_for_standard_output() {
    let home = Home::new();
    for arguments in [["--help"], ["--version"], ["-h"], ["-V"]] {
        let ran = home.run(&arguments).await;
        assert_eq!(ran.code, 0, "{arguments:?}");
        assert!(ran.stdout.contains("spanglass") && ran.stderr.is_empty(), "{ran:#?}");
    }
    let bare = home.run(&[]).await;
    assert_eq!(bare.code, 2);
    assert!(bare.stderr.contains("Usage"), "{bare:#?}");
}

#[tokio::test]
async fn a_plugin_goes_from_new_to_remove_with_and_without_a_server() {
    if !require("python3") {
        return;
    }
    let alone = Home::new();
    let server = Home::new().serve().await;
    for home in [&alone, &server.home] {
        let run = async |arguments: &[&str], code: i32| {
            let ran = home.run(&[arguments, &["--json"]].concat()).await;
            assert_eq!(ran.code, code, "{arguments:?}: {ran:#?}");
            check_json(arguments, &ran)
        };
        assert_eq!(run(&["plugin", "new", "fresh"], 0).await["name"], "fresh");
        run(&["plugin", "new", "fresh"], 6).await;
        run(&["plugin", "new", "Bad Name"], 2).await;
        assert_eq!(run(&["plugin", "validate", "fresh"], 0).await["valid"], true);
        assert_eq!(run(&["plugin", "validate", "--file", "fresh"], 0).await["valid"], true);
        let tested = run(&["plugin", "test", "fresh"], 0).await;
        assert!(tested["passed"].as_u64().unwrap() >= 1 && tested["failed"] == 0, "{tested:#}");

        let packed = run(&["plugin", "package", "fresh"], 0).await;
        let file = packed["file"].as_str().unwrap();
        assert_eq!(file, "fresh-0.1.0.zip");
        let bytes = std::fs::read(home.path().join(file)).unwrap();
        home.write("fresh/__pycache__/junk.pyc", "junk");
        run(&["plugin", "package", "fresh"], 0).await;
        assert!(std::fs::read(home.path().join(file)).unwrap() == bytes, "same content, same bytes");

        assert_eq!(run(&["plugin", "register", file], 0).await["created"], true);
        assert_eq!(run(&["plugin", "register", "fresh"], 0).await["created"], false);
        home.write("fresh/other.txt", "more");
        run(&["plugin", "register", "fresh"], 6).await;
        assert_eq!(run(&["plugin", "list"], 0).await["items"][0]["name"], "fresh");
        assert_eq!(run(&["plugin", "show", "fresh"], 0).await["version"], "0.1.0");
        assert_eq!(run(&["plugin", "show", "fresh@0.1.0"], 0).await["digest"], packed["digest"]);
        run(&["plugin", "show", "nobody"], 7).await;

        let called = run(&["invoke", "fresh", "-f", "who=Ada"], 0).await;
        let (id, trace) =
            (called["meta"]["invocation_id"].as_str().unwrap(), called["meta"]["trace_id"].as_str().unwrap());
        assert_eq!(run(&["invocation", "show", id], 0).await["trace_id"], trace);
        assert_eq!(run(&["trace", "show", trace], 0).await["trace_id"], trace);
        // The beginning of an id does, the other id, and `last`.
        for meant in [&trace[..8], id, &id[..18], "last"] {
            assert_eq!(run(&["trace", "show", meant], 0).await["trace_id"], trace);
        }
        for meant in [trace, &trace[..8], &id[..18], "last"] {
            assert_eq!(run(&["invocation", "show", meant], 0).await["invocation_id"], id);
        }
        let listed = run(&["invocation", "list", "--plugin", "fresh", "--limit", "1"], 0).await;
        assert_eq!(listed["items"][0]["invocation_id"], id);
        assert_eq!(run(&["trace", "list", "--limit", "1"], 0).await["items"][0]["trace_id"], trace);
        let logs = run(&["logs", "--trace", trace], 0).await;
        assert!(logs["items"].as_array().unwrap().iter().all(|line| line["trace_id"] == trace), "{logs:#}");
        for (arguments, code) in [
            (["invocation", "show", "01890a5d-ac96-774b-bcce-b302099a8057"], 7),
            (["invocation", "show", "seven"], 3),
            (["trace", "show", "4bf92f3577b34da6a3ce929d0e0e4736"], 7),
            (["trace", "show", "seven"], 3),
            (["trace", "show", "ffffffff"], 7),
            (["logs", "--level", "loud"], 3),
            (["logs", "--since", "yesterday"], 3),
            (["logs", "--tail", "many"], 2),
        ] {
            run(&arguments, code).await;
        }
        run(&["plugin", "remove", "fresh@9.9.9"], 7).await;
        run(&["plugin", "remove", "fresh@0.1.0"], 0).await;
        run(&["plugin", "remove", "fresh@0.1.0"], 7).await;
        run(&["invoke", "fresh"], 7).await;
        assert_eq!(run(&["doctor"], 0).await["ok"], true);
        for arguments in [["plugin", "schema"], ["trace", "list"], ["plugin", "list"], ["invocation", "list"]]
        {
            run(&arguments, 0).await;
        }
        let broken = home.write_plugin("broken", "broken", "1.0.0", "nmae: x\nlimits: {timeout: soon}", ECHO);
        let broken = broken.to_str().unwrap();
        for command in ["validate", "test", "package", "register"] {
            let refused = run(&["plugin", command, broken], 3).await;
            assert_eq!(refused["valid"], false, "{command}");
            assert!(
                refused["diagnostics"].as_array().unwrap().len() >= 2,
                "{command}: all mistakes at once: {refused:#}"
            );
        }
        let examples = "examples: [{name: wrong, input: {a: 1}, expect: {output: {a: 2}}}]";
        home.write_plugin("doubtful", "doubtful", "1.0.0", examples, ECHO);
        let failed = run(&["plugin", "test", "doubtful"], 9).await;
        assert_eq!((&failed["passed"], &failed["failed"]), (&json!(0), &json!(1)));
    }
}
