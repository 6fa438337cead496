//! What the author of a plugin does: begin, test, change, test again, and make examples of real calls.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::server::Home;
use crate::support::upstream::Upstream;
use crate::support::{python_with, require};

fn package() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sdk/python")
}

/// Whether all tests of a plugin passed, and what was printed.
fn pytest(python: &Path, folder: &Path) -> (bool, String) {
    let mut command = Command::new(python);
    command.args(["-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "spanglass.pytest_plugin"]);
    command.env("PYTHONPATH", package()).current_dir(folder);
    let ran = command.output().unwrap();
    (ran.status.success(), String::from_utf8_lossy(&ran.stdout).into_owned())
}

/// What `python -m spanglass schema` prints is the schema that the manifest in the folder has.
fn assert_same_schema(home: &Home, folder: &str) {
    let printed = Command::new("python3")
        .args(["-B", "-m", "spanglass", "schema", &format!("{folder}/executor.py:invoke")])
        .env("PYTHONPATH", package())
        .current_dir(home.path())
        .output()
        .unwrap();
    let printed = String::from_utf8(printed.stdout).unwrap();
    let load = |path: &Path| spanglass::package::Package::load(path).unwrap().manifest;
    let written = load(&home.path().join(folder));
    home.write("derived/manifest.yaml", format!("name: derived\nversion: 0.1.0\n{printed}"));
    home.write("derived/executor.py", "");
    let derived = load(&home.path().join("derived"));
    assert!(written.input_schema.is_some());
    assert_eq!((written.input_schema, written.output_schema), (derived.input_schema, derived.output_schema));
}

async fn json(home: &Home, arguments: &[&str], code: i32) -> Value {
    let ran = home.run(&[arguments, &["--json"]].concat()).await;
    assert_eq!(ran.code, code, "{arguments:?}: {ran:#?}");
    ran.json()
}

#[test]
fn the_package_passes_its_own_tests() {
    if !require("python3") {
        return;
    }
    let ran = Command::new("python3")
        .args(["-B", "-m", "unittest", "discover", "-s", "tests"])
        .current_dir(package())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success() && said.contains("\nOK"), "{said}");
}

#[tokio::test]
async fn a_new_plugin_passes_pytest() {
    let Some(python) = python_with("pytest") else { return };
    let home = Home::new();
    json(&home, &["plugin", "new", "fresh"], 0).await;
    let folder = home.path().join("fresh");
    let (passed, said) = pytest(&python, &folder);
    assert!(passed && said.contains("2 passed"), "{said}");
    let executor = home.path().join("fresh/executor.py");
    let source = std::fs::read_to_string(&executor).unwrap();
    std::fs::write(&executor, source.replace("Hello", "Bye")).unwrap();
    let (passed, said) = pytest(&python, &folder);
    assert!(!passed && said.contains("1 failed, 1 passed"), "{said}");
}

#[tokio::test]
async fn the_example_of_the_documentation_works() {
    let Some(python) = python_with("pytest") else { return };
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/sdk.md")).unwrap();
    let block = |language: &str, index: usize| {
        let opening = format!("```{language}\n");
        let block =
            page.split(&opening).nth(index + 1).unwrap_or_else(|| panic!("no block {index} of {language}"));
        block.split("```").next().unwrap().to_owned()
    };
    let home = Home::new();
    home.write("convert/executor.py", block("python", 0));
    home.write("convert/manifest.yaml", block("yaml", 0));
    home.write("convert/test_executor.py", block("python", 1));
    assert_eq!(json(&home, &["plugin", "validate", "convert"], 0).await["diagnostics"], json!([]));
    assert_eq!(json(&home, &["plugin", "test", "convert"], 0).await["passed"], 2);
    let (passed, said) = pytest(&python, &home.path().join("convert"));
    assert!(passed && said.contains("2 passed"), "{said}");
    assert_same_schema(&home, "convert");
}

/// The function, the decorator's schema and the manifest of a new plugin say the same.
#[tokio::test]
async fn a_new_plugin_has_the_schema_of_its_function() {
    if !require("python3") {
        return;
    }
    let home = Home::new();
    json(&home, &["plugin", "new", "fresh"], 0).await;
    assert_same_schema(&home, "fresh");
}

#[tokio::test]
async fn plugins_import_the_package_with_nothing_installed() {
    if !require("python3") {
        return;
    }
    let home = Home::new();
    let source = "import dataclasses\nimport spanglass\n\n\
                  @dataclasses.dataclass\nclass Item:\n    price: float\n    count: int = 1\n\n\
                  @spanglass.action\nasync def invoke(items: list[Item], *, ctx: spanglass.Context) -> float:\n\
                  \x20   with ctx.span('sum'):\n        return sum(item.price * item.count for item in items)\n\n\
                  @spanglass.action\ndef each(items: list[Item]):\n    yield from items\n\n\
                  @spanglass.action\ndef fails():\n    raise KeyError('here')\n";
    let actions = "actions: {each: {entrypoint: executor.py:each}, fails: {entrypoint: executor.py:fails}}";
    let typed = home.write_plugin("typed", "typed", "1.0.0", actions, source);
    json(&home, &["plugin", "register", typed.to_str().unwrap()], 0).await;
    let input = r#"{"items": [{"price": 2, "count": 2}, {"price": 0.5}]}"#;
    let replied = json(&home, &["invoke", "typed", "--input", input], 0).await;
    assert_eq!(replied["data"], 4.5, "{replied:#}");
    let trace = json(&home, &["trace", "show", replied["meta"]["trace_id"].as_str().unwrap()], 0).await;
    assert!(trace["spans"].as_array().unwrap().iter().any(|span| span["name"] == "sum"), "{trace:#}");

    let chunks = json(&home, &["invoke", "typed", "--action", "each", "--input", input], 0).await;
    assert_eq!(chunks["data"], json!([{"price": 2.0, "count": 2}, {"price": 0.5, "count": 1}]));

    let run = ["run", "typed/executor.py:invoke", "-f", r#"items=[{"price": 2}]"#];
    assert_eq!(json(&home, &run, 0).await["data"], 2.0, "text of the command line is read by the schema");

    let refused = json(&home, &["invoke", "typed", "--input", r#"{"items": [{"price": "2"}]}"#], 3).await;
    assert_eq!(refused["kind"], "invalid_input");
    assert!(
        refused["detail"].as_str().unwrap().contains("/items/0/price: a number is wanted"),
        "{refused:#}"
    );

    let failed = json(&home, &["invoke", "typed", "--action", "fails"], 4).await;
    let id = failed["invocation_id"].as_str().unwrap();
    let traceback =
        json(&home, &["invocation", "show", id], 0).await["error"]["exception"]["traceback"].to_string();
    assert!(traceback.contains("KeyError") && !traceback.contains("sdk/spanglass"), "{traceback}");
}

#[tokio::test]
async fn a_plugin_may_bring_a_package_of_that_name() {
    if !require("python3") {
        return;
    }
    let home = Home::new();
    let source =
        "import spanglass\ndef invoke(input_data, ctx):\n    ctx.log('x')\n    return spanglass.MINE\n";
    let own = home.write_plugin("own", "own", "1.0.0", "", source);
    home.write("own/spanglass.py", "MINE = 'mine'\n");
    home.write("own/spanglass_worker.py", "raise RuntimeError('this is not the worker')\n");
    json(&home, &["plugin", "register", own.to_str().unwrap()], 0).await;
    assert_eq!(json(&home, &["invoke", "own"], 0).await["data"], "mine");
}

#[tokio::test]
async fn update_writes_what_came_and_only_that() {
    if !require("python3") {
        return;
    }
    let home = Home::new();
    let source = "import os\ndef invoke(input_data):\n    if 'die' in input_data: os._exit(1)\n    \
                  if 'raise' in input_data: raise KeyError('x')\n    return {'n': input_data['n'] + 1, 'more': True}\n";
    let rest = "# Examples of everything.\nexamples:\n\
                \x20 - {name: good, input: {n: 1}, expect: {output: {n: 2, more: true}}} # stays\n\
                \x20 - name: wrong # the number\n    input: {n: 1}\n    expect:\n      output:\n        n: 7\n\
                \x20 - {name: part, input: {n: 2}, expect: {match: {n: 0}, tolerance: 0.5}}\n\
                \x20 - {name: raising, input: {raise: true}, expect: {match: {}}}\n\
                \x20 - name: silent\n    input: {n: 3}\n\
                \x20 - {name: dying, input: {die: true}, expect: {output: 1}}\n\
                \x20 - {name: strict, input: {n: 4}, expect: {schema: {type: string}}}";
    let folder = home.write_plugin("adder", "adder", "1.0.0", rest, source);
    let folder = folder.to_str().unwrap();
    let path = home.path().join("adder/manifest.yaml");
    let before = std::fs::read_to_string(&path).unwrap();

    let updated = json(&home, &["plugin", "test", folder, "--update"], 9).await;
    let states: Vec<&str> =
        updated["examples"].as_array().unwrap().iter().map(|one| one["state"].as_str().unwrap()).collect();
    assert_eq!(
        states,
        ["passed", "updated", "updated", "updated", "updated", "failed", "failed"],
        "{updated:#}"
    );
    assert_eq!(
        (&updated["passed"], &updated["updated"], &updated["failed"]),
        (&json!(1), &json!(4), &json!(2))
    );
    let after = std::fs::read_to_string(&path).unwrap();
    let expected = before
        .replace("      output:\n        n: 7\n", "      output: {\"n\": 2, more: true}\n")
        .replace("{match: {n: 0}, tolerance: 0.5}", "{match: {\"n\": 3}, tolerance: 0.5}")
        .replace("expect: {match: {}}", "expect: {error: {kind: plugin_error}}")
        .replace("    input: {n: 3}\n", "    input: {n: 3}\n    expect: {output: {\"n\": 4, more: true}}\n");
    assert_eq!(after, expected);

    // What was updated passes; nothing is left to write.
    let again = json(&home, &["plugin", "test", folder, "--update"], 9).await;
    assert_eq!((&again["passed"], &again["updated"], &again["failed"]), (&json!(5), &json!(0), &json!(2)));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), after);
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 2, "no temporary files are left");

    let ran = home.run(&["plugin", "test", folder, "--update"]).await;
    assert!(ran.stdout.contains("not updated dying: crashed is nothing to expect"), "{ran:#?}");
    home.write("adder/manifest.yaml", &before);
    let ran = home.run(&["plugin", "test", folder, "--update"]).await;
    assert!(ran.stdout.contains("- {output: {\"n\": 7}}\n  + {output: {\"n\": 2, more: true}}"), "{ran:#?}");

    json(&home, &["plugin", "package", folder], 0).await;
    let refused = json(&home, &["plugin", "test", "adder-1.0.0.zip", "--update"], 2).await;
    assert!(refused["detail"].as_str().unwrap().contains("is a zip"), "{refused:#}");
    let both = home.run(&["plugin", "test", folder, "--update", "--record", "x"]).await;
    assert_eq!(both.code, 2, "{both:#?}");
}

#[tokio::test]
async fn a_call_becomes_an_example_that_passes() {
    if !require("python3") {
        return;
    }
    let upstream = Upstream::start().await;
    let home = Home::new();
    let source = "def invoke(input_data, ctx):\n    if 'url' in input_data:\n        \
                  return ctx.services.http.get(input_data['url']).text\n    \
                  if 'big' in input_data: return 'x' * 100_000\n    \
                  return [input_data['n'], {'text': 'a: b'}]\n";
    let rest = "input: {n: 'integer?', token: {type: string, x-sensitive: true, optional: true}}\n# the end";
    let folder = home.write_plugin("called", "called", "1.0.0", rest, source);
    let folder = folder.to_str().unwrap();
    let other = home.write_plugin("other", "other", "1.0.0", "", source);
    json(&home, &["plugin", "register", folder], 0).await;

    let good = json(&home, &["invoke", "called", "--input", r#"{"n": 1}"#], 0).await;
    let good = good["meta"]["invocation_id"].as_str().unwrap().to_owned();
    let recorded = json(&home, &["plugin", "test", folder, "--record", &good], 0).await;
    assert_eq!(recorded["example"]["expect"], json!({"output": [1, {"text": "a: b"}]}), "{recorded:#}");
    assert_eq!(recorded["notes"], json!([]));
    let twice = json(&home, &["plugin", "test", folder, "--record", &good], 0).await;
    assert_ne!(twice["example"]["name"], recorded["example"]["name"]);
    let raised = json(&home, &["invoke", "called", "--input", "{}"], 4).await;
    json(&home, &["plugin", "test", folder, "--record", raised["invocation_id"].as_str().unwrap()], 0).await;
    let tested = json(&home, &["plugin", "test", folder], 0).await;
    assert_eq!(tested["passed"], 3, "{tested:#}");

    let asked = json!({"url": upstream.url("/")}).to_string();
    let asked = json(&home, &["invoke", "called", "--input", &asked], 0).await;
    let asked = json(
        &home,
        &["plugin", "test", folder, "--record", asked["meta"]["invocation_id"].as_str().unwrap()],
        0,
    )
    .await;
    assert!(asked["notes"][0].as_str().unwrap().contains("made 1 HTTP requests"), "{asked:#}");

    let before = std::fs::read_to_string(home.path().join("called/manifest.yaml")).unwrap();
    for (input, said) in [
        (r#"{"n": 1, "token": "s"}"#, "its input holds what the schema calls sensitive"),
        (r#"{"big": 1}"#, "its output is longer than telemetry.capture.max"),
    ] {
        let called = json(&home, &["invoke", "called", "--input", input], 0).await;
        let id = called["meta"]["invocation_id"].as_str().unwrap();
        let refused = json(&home, &["plugin", "test", folder, "--record", id], 6).await;
        assert!(refused["detail"].as_str().unwrap().contains(said), "{refused:#}");
    }
    json(&home, &["plugin", "test", other.to_str().unwrap(), "--record", &good], 6).await;
    json(&home, &["plugin", "test", folder, "--record", "01890a5d-ac96-774b-bcce-b302099a8057"], 7).await;
    json(&home, &["plugin", "test", folder, "--record", "seven"], 3).await;
    assert_eq!(std::fs::read_to_string(home.path().join("called/manifest.yaml")).unwrap(), before);
}
