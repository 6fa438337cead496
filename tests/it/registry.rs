//! Versions come and go on a running server: from folders, by hand, under load, and back again.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::server::{Home, Server};
use crate::support::{PATIENCE, require};

const SAY: &str = "def invoke(x, ctx): return 'VERSION'\n";

fn source(version: &str) -> String {
    SAY.replace("VERSION", version)
}

/// Waits until `look` is satisfied with what the server says.
async fn until(
    server: &Server,
    what: &str,
    within: Duration,
    path: &str,
    look: impl Fn(&Value) -> bool,
) -> Value {
    let start = Instant::now();
    loop {
        let document = server.client.get(path).await.json();
        if look(&document) {
            return document;
        }
        assert!(start.elapsed() < within, "not within {within:?}: {what}: {document:#}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn version(document: &Value) -> &str {
    document["version"].as_str().unwrap_or("none")
}

async fn current(server: &Server, name: &str, wanted: &str) -> Value {
    let path = format!("/v1/plugins/{name}");
    until(server, wanted, PATIENCE, &path, |document| version(document) == wanted).await
}

async fn register(server: &Server, folder: &Path) -> Value {
    let ran = server.home.run(&["plugin", "register", &folder.display().to_string(), "--json"]).await;
    assert_eq!(ran.code, 0, "{ran:#?}");
    ran.json()
}

fn write(server: &Server, folder: &str, name: &str, version: &str, rest: &str) -> std::path::PathBuf {
    server.home.write_plugin(folder, name, version, rest, &source(version))
}

#[tokio::test]
async fn a_folder_is_what_is_served() {
    if !require("python3") {
        return;
    }
    let server = Home::new().plugin("echo", "", &source("1.0.0")).serve().await;
    current(&server, "echo", "1.0.0").await;
    // Dropped in, file by file.
    write(&server, "plugins/late", "late", "0.1.0", "");
    current(&server, "late", "0.1.0").await;
    // A newer version in the same place; the older one stays for a rollback.
    write(&server, "plugins/echo", "echo", "1.1.0", "");
    let shown = current(&server, "echo", "1.1.0").await;
    assert_eq!(shown["versions"], json!(["1.1.0", "1.0.0"]));
    assert_eq!(server.client.invoke("echo", json!({})).await.json()["data"], "1.1.0");
    // Other content under the same version replaces it, and its history says so.
    server.home.write("plugins/echo/executor.py", source("1.1.0, mended"));
    let digest = shown["digest"].clone();
    let mended = until(&server, "mended", PATIENCE, "/v1/plugins/echo", |now| now["digest"] != digest).await;
    assert_eq!(server.client.invoke("echo", json!({})).await.json()["data"], "1.1.0, mended");
    let steps: Vec<_> =
        mended["history"].as_array().unwrap().iter().take(3).map(|step| &step["to"]).collect();
    assert_eq!(steps, ["running", "registered", "destroyed"]);
    assert_eq!(mended["history"][0]["by"], "folder");
    // Gone with the folder.
    std::fs::remove_dir_all(server.home.path().join("plugins/echo")).unwrap();
    until(&server, "gone", PATIENCE, "/v1/plugins", |list| list["items"].as_array().unwrap().len() == 1)
        .await;
    assert_eq!(server.client.invoke("echo", json!({})).await.status, 404);
}

#[tokio::test]
async fn what_cannot_start_takes_nothing_over() {
    if !require("python3") {
        return;
    }
    let server = Home::new().plugin("echo", "", &source("1.0.0")).serve().await;
    current(&server, "echo", "1.0.0").await;
    // The same version with content that does not start: the content from before serves on.
    server.home.write("plugins/echo/executor.py", "raise RuntimeError('no')");
    let listed =
        until(&server, "refused", PATIENCE, "/v1/plugins", |list| list["refused"][0].is_object()).await;
    assert!(listed["refused"][0]["message"].as_str().unwrap().contains("RuntimeError: no"), "{listed:#}");
    assert_eq!(server.client.invoke("echo", json!({})).await.json()["data"], "1.0.0");
    // A newer version that does not start is there, failed, and gets no calls.
    let bad = server.home.write_plugin("elsewhere/bad", "echo", "2.0.0", "", "import nothing_of_the_kind\n");
    let registered = register(&server, &bad).await;
    assert_eq!(registered["state"], "failed");
    assert!(registered["cause"].as_str().unwrap().contains("nothing_of_the_kind"), "{registered:#}");
    assert_eq!(server.client.invoke("echo", json!({})).await.json()["data"], "1.0.0");
    assert_eq!(server.client.call("echo", json!({"input": {}, "version": "2.0.0"}), &[]).await.status, 503);
    // A broken manifest is listed with its place and what to do; mended, it comes in.
    server.home.write("plugins/broken/manifest.yaml", "name: Broken!\nversion: 1\n");
    until(&server, "listed", PATIENCE, "/v1/plugins", |list| list["refused"].as_array().unwrap().len() == 2)
        .await;
    write(&server, "plugins/broken", "mended", "1.0.0", "");
    current(&server, "mended", "1.0.0").await;
    let list = server.client.get("/v1/plugins").await.json();
    assert_eq!(list["refused"].as_array().unwrap().len(), 1, "{list:#}");
}

#[tokio::test]
async fn what_was_decided_outlives_a_restart() {
    if !require("python3") {
        return;
    }
    let mut server = Home::new().plugin("echo", "", &source("1.0.0")).serve().await;
    for number in ["1.1.0", "1.2.0", "1.3.0"] {
        register(&server, &write(&server, "elsewhere/echo", "echo", number, "")).await;
    }
    let run = async |server: &Server, arguments: &[&str], code: i32| {
        let ran = server.home.run(arguments).await;
        assert_eq!(ran.code, code, "{arguments:?}: {ran:#?}");
        ran
    };
    run(&server, &["plugin", "disable", "echo@1.3.0", "--reason", "it is wrong"], 0).await;
    current(&server, "echo", "1.2.0").await;
    run(&server, &["plugin", "rollback", "echo"], 0).await;
    for round in 0..2 {
        let shown = current(&server, "echo", "1.1.0").await;
        assert_eq!(server.client.invoke("echo", json!({})).await.json()["data"], "1.1.0");
        // Who names it gets what was rolled back, and never what is disabled.
        let call =
            async |asked: &str| server.client.call("echo", json!({"input": {}, "version": asked}), &[]).await;
        assert_eq!(call("1.2.0").await.json()["data"], "1.2.0");
        assert_eq!(call("^1.1").await.json()["data"], "1.1.0");
        assert_eq!(call("1.3.0").await.status, 404);
        let history = shown["history"].as_array().unwrap();
        assert!(history.iter().any(|step| step["cause"] == "rolled back to 1.1.0"), "{history:#?}");
        assert!(history.iter().any(|step| step["reason"] == "it is wrong" && step["to"] == "registered"));
        if round == 0 {
            server.kill();
            server.restart().await;
        }
    }
    run(&server, &["plugin", "rollback", "echo", "--to", "1.0.0"], 0).await;
    current(&server, "echo", "1.0.0").await;
    assert!(run(&server, &["plugin", "rollback", "echo"], 6).await.stderr.contains("no earlier version"));
    run(&server, &["plugin", "enable", "echo@1.2.0"], 0).await;
    current(&server, "echo", "1.2.0").await;
    run(&server, &["plugin", "enable", "echo@1.3.0"], 0).await;
    current(&server, "echo", "1.3.0").await;
    let scrape = server.client.scrape().await;
    // Three came back running and one was enabled since.
    let running = [("plugin", "echo"), ("to", "running")];
    assert_eq!(scrape.sum("spanglass_lifecycle_transitions_total", &running), 4.0);
}

#[tokio::test]
async fn a_hundred_swaps_fail_no_call() {
    if !require("python3") {
        return;
    }
    let swaps = if std::env::var_os("CI").is_some() { 30 } else { 15 };
    let plugin = "limits: {concurrency: 2, queue: 1000}\n";
    let server = Arc::new(Home::new().plugin("echo", plugin, &source("1.0.0")).serve().await);
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..3)
        .map(|_| {
            let (server, stop) = (server.clone(), stop.clone());
            tokio::spawn(async move {
                let mut answers: BTreeMap<String, u32> = BTreeMap::new();
                while !stop.load(Ordering::Relaxed) {
                    let reply = server.client.invoke("echo", json!({})).await;
                    let key = match reply.status {
                        200 => reply.json()["data"].as_str().unwrap().to_owned(),
                        status => format!("{status}: {}", reply.text()),
                    };
                    *answers.entry(key).or_default() += 1;
                }
                answers
            })
        })
        .collect();
    for number in 1..=swaps {
        let version = format!("1.{number}.0");
        register(&server, &write(&server, "elsewhere/echo", "echo", &version, plugin)).await;
        let now = server.client.invoke("echo", json!({})).await.json();
        assert_eq!(now["data"], version, "the swap is done when it is acknowledged");
        if number % 5 == 0 {
            let path = format!("/v1/plugins/echo/versions/1.{}.0", number - 3);
            assert_eq!(server.client.delete(&path).await.status, 204);
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut calls = 0;
    for caller in callers {
        for (answer, count) in caller.await.unwrap() {
            assert!(answer.starts_with("1."), "{count} calls ended with {answer}");
            calls += count;
        }
    }
    assert!(calls > swaps * 3, "{calls} calls");
}

#[tokio::test]
async fn dependencies_are_chosen_locked_and_explained() {
    let mut server = Home::new().serve().await;
    let lock = async |server: &Server| {
        let text = std::fs::read_to_string(server.home.data_dir().join("spanglass.lock")).unwrap();
        let served = server.client.get("/v1/lock").await;
        assert_eq!(served.text(), text);
        let lock: Value = serde_json::from_str(&text).unwrap();
        let plugins = lock["plugins"].as_array().unwrap().clone();
        plugins
            .into_iter()
            .find(|one| one["name"] == "logger")
            .map(|one| one["dependencies"]["core-utils"].clone())
    };
    let put = async |server: &Server, name: &str, version: &str, needs: &str| {
        let folder = write(server, &format!("elsewhere/{name}"), name, version, needs);
        server.home.run(&["plugin", "register", &folder.display().to_string()]).await
    };
    let needs = "dependencies: [{name: core-utils, version: ^2.3.0}]";
    let missing = put(&server, "logger", "1.0.0", needs).await;
    assert_eq!(missing.code, 6, "{missing:#?}");
    for part in ["no plugin `core-utils` is registered", "required by plugin `logger 1.0.0`", "^2.3.0"] {
        assert!(missing.stderr.contains(part), "{missing:#?}");
    }
    for version in ["2.2.0", "2.3.1", "3.0.0"] {
        assert_eq!(put(&server, "core-utils", version, "").await.code, 0);
    }
    assert_eq!(put(&server, "logger", "1.0.0", needs).await.code, 0);
    assert_eq!(lock(&server).await.unwrap(), "2.3.1");
    // A newer one changes nothing until somebody says so.
    assert_eq!(put(&server, "core-utils", "2.4.0", "").await.code, 0);
    assert_eq!(lock(&server).await.unwrap(), "2.3.1");
    server.kill();
    server.restart().await;
    assert_eq!(lock(&server).await.unwrap(), "2.3.1");
    let updated = server.home.run(&["plugin", "update", "--json"]).await.json();
    assert_eq!(updated["updated"][0]["to"], "2.4.0", "{updated:#}");
    assert_eq!(lock(&server).await.unwrap(), "2.4.0");
    // What is in use may go as long as another fits.
    assert_eq!(server.client.delete("/v1/plugins/core-utils/versions/2.4.0").await.status, 204);
    assert_eq!(lock(&server).await.unwrap(), "2.3.1");
    let in_use = server.client.delete("/v1/plugins/core-utils/versions/2.3.1").await;
    assert_eq!(in_use.status, 409, "{}", in_use.text());
    assert!(in_use.json()["detail"].as_str().unwrap().contains("`logger 1.0.0`"), "{}", in_use.text());
    // A circle is refused, whichever way it is closed.
    let circle =
        put(&server, "core-utils", "2.5.0", "dependencies: [{name: logger, version: ^1, required: false}]")
            .await;
    assert_eq!(circle.code, 6);
    assert!(circle.stderr.contains("cyclic plugin dependency"), "{circle:#?}");
    let no_fit = put(&server, "other", "1.0.0", "dependencies: [{name: core-utils, version: ^9}]").await;
    assert!(no_fit.stderr.contains("candidate versions found which didn't match: 3.0.0"), "{no_fit:#?}");
    let optional =
        put(&server, "other", "1.0.0", "dependencies: [{name: nobody, version: ^9, required: false}]").await;
    assert_eq!(optional.code, 0);
    assert_eq!(server.client.delete("/v1/plugins/logger/versions/1.0.0").await.status, 204);
    assert_eq!(lock(&server).await, None);
    assert_eq!(server.client.delete("/v1/plugins/core-utils/versions/2.3.1").await.status, 204);
}

#[tokio::test]
async fn folders_are_taken_in_whatever_their_order() {
    let home = Home::new();
    // Each needs the next in the alphabet; the first letters come first in a folder.
    for (name, next) in [("a", Some("b")), ("b", Some("c")), ("c", None), ("x", Some("y")), ("y", Some("x"))]
    {
        let needs =
            next.map_or_else(String::new, |next| format!("dependencies: [{{name: {next}, version: '*'}}]"));
        home.write_plugin(&format!("plugins/{name}"), name, "1.0.0", &needs, "");
    }
    let server = home.serve().await;
    let names = |list: &Value| -> Vec<String> {
        list["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let list = server.client.get("/v1/plugins").await.json();
    assert_eq!(names(&list), ["a", "b", "c"], "{list:#}");
    let explained = |list: &Value, name: &str| {
        let start = format!("cyclic plugin dependency: plugin `{name} 1.0.0` depends on itself");
        let refused = list["refused"].as_array().unwrap();
        refused.iter().any(|refused| refused["message"].as_str().unwrap().starts_with(&start))
    };
    assert!(explained(&list, "x") && explained(&list, "y"), "{list:#}");
    // One that closes a circle later explains the first one too.
    let needs = |name: &str| format!("dependencies: [{{name: {name}, version: '*'}}]");
    write(&server, "plugins/m", "m", "1.0.0", &needs("n"));
    until(&server, "m", PATIENCE, "/v1/plugins", |list| list["refused"].as_array().unwrap().len() == 3).await;
    write(&server, "plugins/n", "n", "1.0.0", &needs("m"));
    until(&server, "m and n", PATIENCE, "/v1/plugins", |list| explained(list, "m") && explained(list, "n"))
        .await;
    // What others need stays until they are gone.
    std::fs::remove_dir_all(server.home.path().join("plugins/c")).unwrap();
    until(&server, "in use", PATIENCE, "/v1/plugins", |list| {
        list["refused"]
            .as_array()
            .unwrap()
            .iter()
            .any(|refused| refused["message"].as_str().unwrap().contains("in use"))
    })
    .await;
    for name in ["a", "b"] {
        std::fs::remove_dir_all(server.home.path().join("plugins").join(name)).unwrap();
    }
    until(&server, "all gone", PATIENCE, "/v1/plugins", |list| names(list).is_empty()).await;
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill_at_any_moment() {
    if !require("python3") {
        return;
    }
    let mut server = Home::new().plugin("base", "", &source("1.0.0")).serve().await;
    let needs = "dependencies: [{name: base, version: ^1}]";
    let mut acknowledged: BTreeMap<String, bool> = BTreeMap::new();
    let mut next = 0;
    for round in 0..12_u64 {
        // On a busy machine little is acknowledged in a round.
        if round >= 4 && acknowledged.values().any(|enabled| !enabled) {
            break;
        }
        let stop = tokio::time::sleep(Duration::from_millis(150 + 70 * round));
        tokio::pin!(stop);
        loop {
            let version = format!("1.{next}.0");
            next += 1;
            let folder = write(&server, &format!("elsewhere/{version}"), "echo", &version, needs);
            let zip = zip_folder(&folder);
            let disables = next % 3 == 0;
            let change = async {
                let mut done = Vec::new();
                let posted = server.client.try_send(http::Method::POST, "/v1/plugins", &[], zip).await;
                if posted.is_ok_and(|reply| reply.status == 201) {
                    done.push(true);
                    let path = format!("/v1/plugins/echo/versions/{version}/disable");
                    if disables {
                        let disabled = server.client.try_send(http::Method::POST, &path, &[], "").await;
                        done.extend(disabled.is_ok_and(|reply| reply.status == 200).then_some(false));
                    }
                }
                done
            };
            tokio::select! {
                done = change => drop(done.last().map(|enabled| acknowledged.insert(version, *enabled))),
                () = &mut stop => break,
            }
        }
        server.kill();
        server.restart().await;
        let lock: Value = server.client.get("/v1/lock").await.json();
        for (version, enabled) in &acknowledged {
            let shown = server.client.get(&format!("/v1/plugins/echo/versions/{version}")).await;
            assert_eq!(shown.status, 200, "{version} was acknowledged");
            assert_eq!(shown.json()["state"], if *enabled { "running" } else { "registered" }, "{version}");
            let locked = lock["plugins"]
                .as_array()
                .unwrap()
                .iter()
                .find(|one| one["name"] == "echo" && one["version"] == **version);
            assert_eq!(locked.unwrap()["dependencies"]["base"], "1.0.0", "{version}");
        }
        let newest = acknowledged.iter().filter(|(_, enabled)| **enabled).count();
        assert!(newest > 0, "something was registered before the kill");
        let reply = server.client.invoke("echo", json!({})).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    assert!(acknowledged.values().any(|enabled| !enabled), "{acknowledged:?}");
}

fn zip_folder(folder: &Path) -> Vec<u8> {
    let package = spanglass::package::Package::load(folder).unwrap();
    let mut zip = std::io::Cursor::new(Vec::new());
    package.write_zip(&mut zip).unwrap();
    zip.into_inner()
}

#[tokio::test]
async fn a_place_serves_the_plugin_that_lies_there_now() {
    let server = Home::new().plugin("place", "", "").serve().await;
    let put = |name: &str| server.home.write_plugin("plugins/place", name, "1.0.0", "", "");
    let needs = "dependencies: [{name: place, version: ^1}]";
    server.home.write_plugin("plugins/user", "user", "1.0.0", needs, "");
    current(&server, "user", "1.0.0").await;
    // What is needed stays beside the new one, and says why it does.
    put("other");
    current(&server, "other", "1.0.0").await;
    let in_use = |list: &Value| list["refused"].to_string().contains("place 1.0.0 is in use");
    until(&server, "in use", PATIENCE, "/v1/plugins", in_use).await;
    assert_eq!(server.client.get("/v1/plugins/place").await.status, 200);
    // And back again, with the bytes that were registered before.
    put("place");
    until(&server, "other is gone", PATIENCE, "/v1/plugins", |list| {
        let names: Vec<_> = list["items"].as_array().unwrap().iter().map(|item| &item["name"]).collect();
        names == ["place", "user"] && list["refused"] == json!([])
    })
    .await;
}

#[tokio::test]
async fn a_lost_lock_is_said_and_written_anew_when_asked() {
    let home = Home::new().plugin("base", "", "");
    home.write_plugin("plugins/user", "user", "1.0.0", "dependencies: [{name: base, version: ^1}]", "");
    let mut server = home.serve().await;
    let lock = server.home.data_dir().join("spanglass.lock");
    let text = std::fs::read_to_string(&lock).unwrap();
    for broken in ["{garbage", r#"{"version": 99}"#] {
        server.kill();
        std::fs::write(&lock, broken).unwrap();
        server.restart().await;
        assert!(server.stderr().contains("warning: spanglass.lock cannot be read"), "{}", server.stderr());
        assert_eq!(std::fs::read_to_string(&lock).unwrap(), broken, "kept until somebody changes something");
        assert_eq!(server.home.run(&["plugin", "update"]).await.code, 0);
        assert_eq!(std::fs::read_to_string(&lock).unwrap(), text);
    }
}

#[tokio::test]
async fn what_keeps_calls_away_is_told() {
    let home = Home::new().plugin("echo", "", "").plugin("off", "", "");
    home.write("spanglass.yaml", "plugins:\n  off: {enabled: false}\n  nowhere: {path: ./nowhere}\n");
    let server = home.serve().await;
    let list = server.client.get("/v1/plugins").await.json();
    assert!(list["refused"].to_string().contains("nothing at the configured path"), "{list:#}");
    server.home.write("plugins/broken/manifest.yaml", "name: Broken\nversion: 1\n");
    let first = |list: &Value| {
        let refused = list["refused"].as_array().unwrap();
        refused.iter().any(|one| {
            one["message"].as_str().unwrap().contains("line 1")
                && one["help"].to_string().contains("validate")
        })
    };
    until(&server, "the first mistake", PATIENCE, "/v1/plugins", first).await;
    let enable = server.home.run(&["plugin", "enable", "off"]).await;
    assert!(enable.code == 6 && enable.stderr.contains("plugins.off.enabled"), "{enable:?}");
    assert_eq!(server.home.run(&["plugin", "disable", "echo"]).await.code, 0);
    let told = server.client.invoke("echo", json!({})).await;
    assert_eq!(told.status, 404);
    assert!(told.json()["detail"].as_str().unwrap().contains("1.0.0 (disabled)"), "{}", told.text());
    let unheard = server.client.post("/v1/plugins/echo/rollback", r#"{"to": "1.0.0"}"#).await;
    assert_eq!(unheard.status, 422, "{}", unheard.text());
}
