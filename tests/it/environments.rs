//! Environments for plugins with requirements, built with the real installers: with `wheels/`, from an index on
//! loopback, shared, interrupted, broken.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::server::{Home, Reply, Server};
use crate::support::wheels::{Index, TestWheel, Tool, own_platform, tools};
use crate::support::{PATIENCE, eventually, require};

/// What a plugin sees of its environment.
const LOOK: &str = r#"
import alpha, os, subprocess, sys
def invoke(input_data):
    import nsp.one, nsp.two, extra_place
    from importlib import resources
    said = subprocess.run(["beta-cli"], capture_output=True, text=True, check=True).stdout
    child = subprocess.run([sys.executable, "-c", "import alpha; print(alpha.V)"], capture_output=True, text=True)
    return {
        "alpha": alpha.V, "beta": alpha.beta.V, "data": (resources.files("beta") / "data.txt").read_text(),
        "said": said.strip(), "child": child.stdout.strip(), "nsp": nsp.one.V + nsp.two.V, "place": extra_place.V,
        "in_environment": sys.prefix != sys.base_prefix, "prefix": sys.prefix,
    }
"#;

const HELLO: &str = "import alpha\ndef invoke(input_data):\n    return {'alpha': alpha.V}\n";

fn alpha(version: &str, requires: &[&str]) -> TestWheel {
    let code = format!("V = '{version}'\ntry:\n    import beta\nexcept ImportError:\n    pass\n");
    TestWheel::pure(
        "alpha",
        version,
        requires,
        &[("alpha/__init__.py", code.as_str()), ("nsp/one.py", "V = 1\n")],
    )
}

fn beta() -> TestWheel {
    let files = [
        ("beta/__init__.py", "V = '1.2'\ndef main():\n    print('beta says', V)\n    return 0\n"),
        ("beta/data.txt", "of beta"),
        ("nsp/two.py", "V = 2\n"),
        ("beta_places.pth", "beta_place\n"),
        ("beta_place/extra_place.py", "V = 'found'\n"),
        ("beta-1.2.dist-info/entry_points.txt", "[console_scripts]\nbeta-cli = beta:main\n"),
    ];
    TestWheel::pure("beta", "1.2", &[], &files)
}

/// Name, requirements, lock, wheels, and what the error says.
type Case = (&'static str, String, Option<String>, Vec<TestWheel>, &'static str);

/// An index that nobody serves, so that whoever asks for the network fails.
fn without_network(home: Home) -> Home {
    let nowhere = "http://127.0.0.1:9/";
    ["PIP_INDEX_URL", "UV_DEFAULT_INDEX", "http_proxy", "https_proxy", "HTTPS_PROXY"]
        .into_iter()
        .fold(home, |home, name| home.env(name, nowhere))
}

fn environments(home: &Home) -> Vec<String> {
    let entries = std::fs::read_dir(home.data_dir().join("environments")).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Those that are ready.
fn ready(home: &Home) -> Vec<String> {
    environments(home).into_iter().filter(|name| !name.starts_with('.') && !name.ends_with(".lock")).collect()
}

async fn good(server: &Server, plugin: &str) -> (Value, Value) {
    let reply = server.client.invoke(plugin, json!({})).await;
    assert_eq!(reply.status, 200, "{plugin}: {}", reply.text());
    let body = reply.json();
    (body["data"].clone(), body["meta"].clone())
}

async fn refused(server: &Server, plugin: &str) -> (Value, Reply) {
    let reply = server.client.invoke(plugin, json!({})).await;
    assert_eq!(reply.status, 503, "{plugin}: {}", reply.text());
    let body = reply.json();
    assert_eq!(body["kind"], "unavailable");
    (body, reply)
}

/// The events that say that what a plugin requires could not be installed, once there is one.
async fn failed_installs(server: &Server, plugin: &str) -> Vec<Value> {
    let start = Instant::now();
    loop {
        let mut events = server.log_lines();
        events.retain(|line| {
            line["event_name"] == "environment.install_failed" && line["plugin.name"] == plugin
        });
        if !events.is_empty() {
            return events;
        }
        assert!(start.elapsed() < PATIENCE, "{plugin} has no such event");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The span of the environment in a call's trace, and all lines of the trace.
async fn environment_span(server: &Server, trace_id: &str) -> (Option<Value>, Vec<String>) {
    let trace = server.client.trace(trace_id).await;
    let spans = trace["spans"].as_array().unwrap();
    let span = spans.iter().find(|span| span["name"] == "environment").cloned();
    if let Some(span) = &span {
        let parent = spans.iter().find(|parent| parent["span_id"] == span["parent_span_id"]).unwrap();
        assert_eq!(parent["name"], "prepare");
    }
    let logs = trace["logs"].as_array().unwrap().iter();
    (span, logs.map(|log| log["body"].as_str().unwrap_or_default().to_owned()).collect())
}

#[tokio::test]
async fn wheels_make_an_environment_without_a_network() {
    for tool in tools() {
        let home = without_network(tool.prepare(Home::new())).plugin("needy", "", LOOK);
        let needy = home.path().join("plugins/needy");
        home.write(
            "plugins/needy/requirements.txt",
            "\u{feff}# comment\r\nALPHA[more]==1.0 ; python_version >= '3'\r\nabsent ; python_version < '3'",
        );
        let requires = ["beta>=1", "gamma; extra == 'more'", "absent; python_version < '3'"];
        for wheel in
            [alpha("1.0", &requires), beta(), TestWheel::pure("gamma", "3", &[], &[("gamma.py", "")])]
        {
            wheel.write_to(&needy.join("wheels"));
        }
        if tool != Tool::Nothing {
            let native = TestWheel::tagged("native", "1", &own_platform(), &[], &[("native.py", "")]);
            native.write_to(&needy.join("wheels"));
            home.write("plugins/needy/requirements.txt", "alpha[more]==1.0\nnative\n");
        }
        let server = home.serve().await;
        let (data, meta) = good(&server, "needy").await;
        let prefix = PathBuf::from(data["prefix"].as_str().unwrap());
        let names = ready(&server.home);
        assert_eq!(names.len(), 1, "{names:?}");
        assert_eq!(prefix, server.home.data_dir().join("environments").join(&names[0]));
        let mut data = data.as_object().unwrap().clone();
        data.remove("prefix");
        assert_eq!(
            Value::Object(data),
            json!({"alpha": "1.0", "beta": "1.2", "data": "of beta", "said": "beta says 1.2", "child": "1.0", "nsp": 3,
                   "place": "found", "in_environment": true}),
            "{tool:?}"
        );
        let (span, lines) = environment_span(&server, meta["trace_id"].as_str().unwrap()).await;
        let attributes = &span.unwrap()["attributes"];
        assert!(
            attributes["environment.installer"].as_str().unwrap().starts_with(tool.name()),
            "{attributes}"
        );
        assert_eq!(attributes["environment.reused"], false);
        assert_eq!(attributes["environment.key"], names[0]);
        assert_eq!(attributes["environment.packages"], if tool == Tool::Nothing { 3 } else { 4 });
        assert!(lines.iter().any(|line| line.contains("alpha")), "{tool:?}: {lines:?}");
        assert_eq!(meta["cold_start"], true);
        let scrape = server.client.scrape().await;
        assert_eq!(scrape.sum("spanglass_prepare_total", &[("plugin", "needy"), ("result", "ok")]), 1.0);
        // No build left anything, and nothing in there knows where it was built.
        assert!(environments(&server.home).iter().all(|name| !name.starts_with(".building")));
        let found = Command::new("grep")
            .args(["-rlI", ".building-"])
            .arg(prefix.join("bin"))
            .arg(prefix.join("pyvenv.cfg"))
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&found.stdout), "");
    }
}

#[tokio::test]
async fn with_wheels_it_works_where_there_is_no_network_at_all() {
    let unshared = |words: &[&str]| {
        let ran = Command::new("unshare").args(["-rn"]).args(words).output();
        ran.is_ok_and(|ran| ran.status.success())
    };
    if !require("python3") || !unshared(&["true"]) {
        return;
    }
    for tool in tools() {
        let home = tool.prepare(Home::new()).plugin("needy", "", HELLO);
        home.write("plugins/needy/requirements.txt", "alpha\n");
        alpha("1.0", &[]).write_to(&home.path().join("plugins/needy/wheels"));
        let registered = home.run(&["plugin", "register", "plugins/needy", "--local"]).await;
        assert_eq!(registered.code, 0, "{registered:#?}");
        let inner = home.command(&["invoke", "needy", "--local", "--json"]);
        // By its path: the other program's PATH does not lead to it.
        let folders = std::env::var_os("PATH").unwrap();
        let unshare =
            std::env::split_paths(&folders).map(|folder| folder.join("unshare")).find(|path| path.is_file());
        let mut command = Command::new(unshare.unwrap());
        command.arg("-rn").arg(inner.get_program()).args(inner.get_args()).current_dir(home.path());
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{tool:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
        assert!(said.contains(r#""alpha":"1.0""#), "{said}");
    }
}

#[tokio::test]
async fn packing_writes_a_lock_that_stays_as_it_is() {
    for tool in [Tool::Uv, Tool::Pip].into_iter().filter(|tool| tool.is_there()) {
        let home = without_network(tool.prepare(Home::new())).plugin("needy", "", HELLO);
        let folder = home.path().join("plugins/needy");
        home.write("plugins/needy/requirements.txt", "Alpha>=1\n");
        for wheel in [alpha("1.0", &["beta"]), beta()] {
            wheel.write_to(&folder.join("wheels"));
        }
        let package = ["plugin", "package", "plugins/needy", "--json"];
        let first = home.run(&package).await;
        assert_eq!(first.code, 0, "{tool:?}: {first:#?}");
        assert_eq!((first.json()["locked"].clone(), first.json()["wheels"].clone()), (json!(2), json!(2)));
        let lock = std::fs::read_to_string(folder.join("requirements.lock")).unwrap();
        for (name, wheel) in [("alpha==1.0", alpha("1.0", &["beta"])), ("beta==1.2", beta())] {
            assert!(lock.contains(&format!("{name} \\\n    --hash=sha256:{}\n", wheel.sha256())), "{lock}");
        }
        let zip = std::fs::read(home.path().join("needy-1.0.0.zip")).unwrap();
        let second = home.run(&package).await;
        assert_eq!(second.json(), first.json());
        assert!(second.stderr.contains("as it was"), "{}", second.stderr);
        assert_eq!(std::fs::read(home.path().join("needy-1.0.0.zip")).unwrap(), zip);
        // From the zip, too: what is in there is kept.
        let again = home.run(&["plugin", "package", "needy-1.0.0.zip", "--json"]).await;
        assert_eq!(again.json()["digest"], first.json()["digest"]);
        // Other requirements make another lock.
        home.write("plugins/needy/requirements.txt", "beta\n");
        let third = home.run(&package).await;
        assert_eq!((third.code, third.json()["locked"].clone()), (0, json!(1)), "{third:#?}");
        let lock = std::fs::read_to_string(folder.join("requirements.lock")).unwrap();
        assert!(!lock.contains("alpha"), "{lock}");
        // What wheels/ lacks is named.
        home.write("plugins/needy/requirements.txt", "gamma==7\n");
        let lacking = home.run(&package).await;
        assert_eq!(lacking.code, 4, "{lacking:#?}");
        assert!(
            lacking.json()["detail"]
                .as_str()
                .unwrap()
                .contains("requirement `gamma==7` (requirements.txt:1)"),
            "{lacking:#?}"
        );
        home.write("plugins/needy/requirements.txt", "alpha\n-e .\n");
        let mistaken = home.run(&package).await;
        assert_eq!(mistaken.code, 3);
        assert!(
            mistaken.json()["detail"].as_str().unwrap().starts_with("requirements.txt:2: an editable"),
            "{mistaken:#?}"
        );
    }
}

#[tokio::test]
async fn wheels_are_fetched_from_an_index_whose_password_is_seen_nowhere() {
    const PASSWORD: &str = "swordfish77";
    for tool in [Tool::Uv, Tool::Pip].into_iter().filter(|tool| tool.is_there()) {
        let wheels = [alpha("1.0", &["beta"]), alpha("1.1", &["beta"]), beta()];
        let index = Index::guarded(&wheels, Some(("user", PASSWORD))).await;
        let home = tool
            .prepare(Home::new())
            .plugin("needy", "", HELLO)
            .plugin("online", "", HELLO)
            .plugin("failing", "", HELLO);
        let folder = home.path().join("plugins/needy");
        let option = format!("--index-url {}\n", index.url_with(&format!("user:{PASSWORD}")));
        home.write("plugins/needy/requirements.txt", format!("{option}alpha<1.1\n"));
        home.write("plugins/online/requirements.txt", format!("{option}alpha==1.1\n"));
        home.write("plugins/failing/requirements.txt", format!("{option}alpha==9\n"));
        TestWheel::pure("stale", "1", &[], &[]).write_to(&folder.join("wheels"));
        let package = ["plugin", "package", "plugins/needy", "--with-wheels", "--json"];
        let packed = home.run(&package).await;
        assert_eq!(packed.code, 0, "{tool:?}: {packed:#?}");
        let mut held: Vec<String> = std::fs::read_dir(folder.join("wheels"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        held.sort();
        assert_eq!(held, [alpha("1.0", &[]).file_name, beta().file_name], "{packed:#?}");
        // Once more nothing has to be fetched.
        let before = index.requests();
        assert_eq!(home.run(&package).await.json(), packed.json());
        assert_eq!(index.requests(), before);
        let lock = std::fs::read_to_string(folder.join("requirements.lock")).unwrap();
        assert!(!lock.contains(PASSWORD) && !packed.stderr.contains(PASSWORD), "{lock}{packed:#?}");
        let server = home.serve().await;
        assert_eq!(good(&server, "needy").await.0, json!({"alpha": "1.0"}));
        assert_eq!(index.requests(), before);
        assert_eq!(good(&server, "online").await.0, json!({"alpha": "1.1"}));
        let (error, _) = refused(&server, "failing").await;
        let detail = error["detail"].as_str().unwrap();
        assert!(detail.contains("requirement `alpha==9` (requirements.txt:2)"), "{detail}");
        let trace = server.client.trace(error["trace_id"].as_str().unwrap()).await.to_string();
        let logs = server.client.get("/v1/logs").await;
        for (what, text) in [
            ("error", error.to_string()),
            ("trace", trace),
            ("logs", logs.text().to_owned()),
            ("stderr", server.stderr()),
        ] {
            assert!(!text.contains(PASSWORD), "{tool:?}, {what}: {text}");
        }
        let environments = server.home.data_dir().join("environments");
        let found = Command::new("grep").args(["-rl", PASSWORD]).arg(environments).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&found.stdout), "");
    }
}

#[tokio::test]
async fn one_build_serves_all_who_need_the_same_also_after_a_restart() {
    for tool in [Tool::Uv, Tool::Pip].into_iter().filter(|tool| tool.is_there()) {
        let index = Index::start(&[alpha("1.0", &[])]).await;
        let home = tool.prepare(Home::new()).plugin("first", "", HELLO).plugin("second", "", HELLO);
        let home = home.env("PIP_INDEX_URL", index.url());
        home.write("plugins/first/requirements.txt", "alpha\n");
        home.write("plugins/second/requirements.txt", "# the same\nalpha");
        let mut server = home.serve().await;
        index.set_open(false);
        let calls = ["first", "second", "first", "second", "first"].map(|plugin| {
            let client = server.client.clone();
            tokio::spawn(async move { client.invoke(plugin, json!({})).await })
        });
        eventually("the wheel is asked for", PATIENCE * 3, || index.fetched(".whl") > 0).await;
        index.set_open(true);
        for call in calls {
            let reply = call.await.unwrap();
            assert_eq!(reply.status, 200, "{tool:?}: {}", reply.text());
        }
        let fetched = index.requests();
        // One resolution, so one build. The file itself uv asks for in parts.
        assert_eq!(index.fetched("/alpha/"), 1, "{tool:?}");
        assert_eq!(ready(&server.home).len(), 1);
        server.restart().await;
        let (_, meta) = good(&server, "second").await;
        assert_eq!(index.requests(), fetched, "{tool:?}");
        let (span, _) = environment_span(&server, meta["trace_id"].as_str().unwrap()).await;
        assert_eq!(span.unwrap()["attributes"]["environment.reused"], true);
        // Somebody removes it: it is built again, and nobody needs to restart anything.
        let key = ready(&server.home).remove(0);
        std::fs::remove_dir_all(server.home.data_dir().join("environments").join(key)).unwrap();
        assert_eq!(good(&server, "first").await.0, json!({"alpha": "1.0"}));
        assert_eq!(ready(&server.home).len(), 1);
    }
}

#[tokio::test]
async fn what_cannot_be_installed_is_named_with_what_helps() {
    let digest = "0".repeat(64);
    for tool in tools() {
        let foreign = TestWheel::tagged("alpha", "2.0", "cp27-cp27m-win_amd64", &[], &[("alpha.py", "")]);
        let good_lock = format!("alpha==1.0 --hash=sha256:{}\n", alpha("1.0", &["beta"]).sha256());
        let cases: Vec<Case> = vec![
            (
                "absent",
                "# x\nnot-there==2\n".into(),
                None,
                vec![alpha("1.0", &[])],
                "requirement `not-there==2` (requirements.txt:2) cannot be installed: wheels/ does not hold it",
            ),
            (
                "foreign",
                "alpha\n".into(),
                None,
                vec![foreign.clone()],
                if tool == Tool::Nothing {
                    "wheels/alpha-2.0-cp27-cp27m-win_amd64.whl is not a pure wheel for Python 3."
                } else {
                    "(requirements.txt:1) cannot be installed: of wheels/ none of alpha-2.0-cp27-cp27m-win_amd64.whl fits Python 3."
                },
            ),
            (
                "forged",
                "alpha==1.0\n".into(),
                Some(format!("alpha==1.0 --hash=sha256:{digest}\n")),
                vec![alpha("1.0", &[])],
                "digest",
            ),
            (
                "incomplete",
                "alpha==1.0\n".into(),
                Some(good_lock),
                vec![alpha("1.0", &["beta"]), beta()],
                if tool == Tool::Nothing { "" } else { "beta" },
            ),
            (
                "conflict",
                "alpha==1.0\nbeta<1\n".into(),
                None,
                vec![alpha("1.0", &["beta>=1"]), beta()],
                if tool == Tool::Nothing { "" } else { "beta" },
            ),
            (
                "stale",
                "alpha==1.0\n".into(),
                Some(format!("omega==1.0 --hash=sha256:{digest}\n")),
                vec![alpha("1.0", &[])],
                "requirements.lock does not answer requirements.txt: it does not name `alpha==1.0`",
            ),
            (
                "editable",
                "\n-e .\n".into(),
                None,
                vec![],
                "requirements.txt:2: an editable install is not supported",
            ),
            (
                "damaged",
                "alpha==1.0\n".into(),
                None,
                vec![TestWheel { bytes: b"no zip".to_vec(), ..alpha("1.0", &[]) }],
                "",
            ),
            ("huge", "alpha\n".repeat(50 << 10), None, vec![], "it is larger than"),
        ];
        let mut home = without_network(tool.prepare(Home::new()));
        for (name, requirements, lock, wheels, _) in &cases {
            home = home.plugin(name, "", HELLO);
            home.write(&format!("plugins/{name}/requirements.txt"), requirements);
            if let Some(lock) = lock {
                home.write(&format!("plugins/{name}/requirements.lock"), lock);
            }
            for wheel in wheels {
                wheel.write_to(&home.path().join(format!("plugins/{name}/wheels")));
            }
        }
        let server = home.serve().await;
        for (name, _, _, _, expected) in &cases {
            if expected.is_empty() && *name != "damaged" {
                // Without a resolver nothing is known of what packages require of each other.
                continue;
            }
            let (error, reply) = refused(&server, name).await;
            let detail = error["detail"].as_str().unwrap();
            assert!(detail.contains(expected), "{tool:?}, {name}: {error:#}");
            assert!(
                error["help"].as_str().is_some_and(|help| help.len() > 20),
                "{tool:?}, {name}: {error:#}"
            );
            assert!(reply.header("retry-after").is_some());
            let scrape = server.client.scrape().await;
            let prepared =
                |result| scrape.sum("spanglass_prepare_total", &[("plugin", *name), ("result", result)]);
            assert!(prepared("install_failed") > 0.0, "{tool:?}, {name}");
            assert_eq!(
                (prepared("failed"), prepared("ok")),
                (0.0, 0.0),
                "{tool:?}, {name}: it is one of them"
            );
        }
        assert_eq!(ready(&server.home), [""; 0], "{tool:?}");
        assert!(
            environments(&server.home).iter().all(|name| name.ends_with(".lock")),
            "{:?}",
            environments(&server.home)
        );
        for (name, requirement) in [("absent", json!("not-there==2")), ("editable", Value::Null)] {
            let failed = failed_installs(&server, name).await;
            let event = &failed[0];
            assert_eq!(event["requirement"], requirement, "{tool:?}: {event:#}");
            assert_eq!(
                (&event["severity_text"], &event["plugin.version"]),
                (&json!("ERROR"), &json!("1.0.0"))
            );
            let body = event["body"].as_str().unwrap();
            assert!(body.starts_with(&format!("the environment of {name} cannot be built: ")), "{body}");
        }
        let (error, _) = refused(&server, "absent").await;
        if tool != Tool::Nothing {
            let trace = server.client.trace(error["trace_id"].as_str().unwrap()).await;
            assert!(trace.to_string().contains("not-there"), "{trace}");
        }
    }
}

#[tokio::test]
async fn a_failed_build_is_not_repeated_for_every_call() {
    let Some(tool) = tools().into_iter().find(|tool| *tool != Tool::Nothing) else { return };
    let index = Index::start(&[]).await;
    let home = tool.prepare(Home::new()).plugin("needy", "", HELLO).env("PIP_INDEX_URL", index.url());
    home.write("plugins/needy/requirements.txt", "alpha\n");
    let server = home.serve().await;
    for _ in 0..4 {
        refused(&server, "needy").await;
    }
    let before = index.fetched("/alpha/");
    for _ in 0..50 {
        // Some are refused by the circuit that opens meanwhile.
        assert_eq!(server.client.invoke("needy", json!({})).await.status, 503);
    }
    // Some may fall between two pauses, which are doubled each time.
    assert!(index.fetched("/alpha/") - before < 10, "{}", index.fetched("/alpha/") - before);
}

#[tokio::test]
async fn a_builder_that_is_killed_leaves_nothing_half_used() {
    for tool in [Tool::Uv, Tool::Pip].into_iter().filter(|tool| tool.is_there()) {
        let index = Index::start(&[alpha("1.0", &[])]).await;
        let home = tool.prepare(Home::new()).plugin("needy", "", HELLO).env("PIP_INDEX_URL", index.url());
        home.write("plugins/needy/requirements.txt", "alpha\n");
        let mut server = home.serve().await;
        index.set_open(false);
        let client = server.client.clone();
        let call = tokio::spawn(async move {
            client.try_send(http::Method::POST, "/v1/plugins/needy/invoke", &[], r#"{"input": {}}"#).await
        });
        eventually("the wheel is asked for", PATIENCE * 3, || {
            call.is_finished() || index.fetched(".whl") > 0
        })
        .await;
        if call.is_finished() {
            panic!("{tool:?}: {:?}", call.await.unwrap().map(|reply| reply.text().to_owned()));
        }
        let family = server.descendants();
        assert!(family.len() >= 2, "{family:?}");
        server.kill();
        let _ = call.await;
        eventually("the installer is gone", Duration::from_secs(2), || {
            family.iter().all(|pid| !crate::support::alive(*pid))
        })
        .await;
        assert_eq!(ready(&server.home), [""; 0]);
        assert!(environments(&server.home).iter().any(|name| name.starts_with(".building-")));
        index.set_open(true);
        server.restart().await;
        assert_eq!(good(&server, "needy").await.0, json!({"alpha": "1.0"}));
        assert!(environments(&server.home).iter().all(|name| !name.starts_with(".building-")));
    }
}

#[tokio::test]
async fn a_build_has_a_timeout_of_its_own() {
    let Some(tool) = tools().into_iter().find(|tool| *tool != Tool::Nothing) else { return };
    let index = Index::start(&[alpha("1.0", &[])]).await;
    index.set_open(false);
    let home = tool
        .prepare(Home::new())
        .plugin("needy", "limits: {timeout: 1s}", HELLO)
        .env("PIP_INDEX_URL", index.url());
    home.write("plugins/needy/requirements.txt", "alpha\n");
    home.write("spanglass.yaml", "python: {install_timeout: 5s}\n");
    let server = home.serve().await;
    // Longer than the call may take: the clock of a call does not run while its plugin is prepared.
    let (error, _) = refused(&server, "needy").await;
    assert_eq!(error["detail"], "the environment was not built within 5s");
    let left = server.descendants();
    eventually("the installer is gone", PATIENCE, || {
        left.iter().all(|pid| {
            let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            !line.contains(".building-")
        })
    })
    .await;
    assert!(environments(&server.home).iter().all(|name| !name.starts_with(".building-")));
}

#[tokio::test]
async fn what_a_wheel_may_not_do_it_cannot_do_without_an_installer_either() {
    if !Tool::Nothing.is_there() {
        return;
    }
    let outside = |name: &str, path: &str| TestWheel::pure(name, "1", &[], &[(path, "x = 1\n")]);
    let cases = [
        outside("slips", "../../slipped.py"),
        outside("absolute", "/tmp/absolute.py"),
        outside("replaces", "replaces-1.data/data/bin/python"),
        outside("overwrites", "overwrites-1.data/data/pyvenv.cfg"),
        outside("shadows", "shadows-1.data/scripts/python3"),
    ];
    let mut home = without_network(Tool::Nothing.prepare(Home::new()));
    for wheel in &cases {
        home = home.plugin(&wheel.name(), "", "def invoke(input_data):\n    return {}\n");
        home.write(&format!("plugins/{}/requirements.txt", wheel.name()), wheel.name());
        wheel.write_to(&home.path().join(format!("plugins/{}/wheels", wheel.name())));
    }
    let server = home.serve().await;
    for wheel in &cases {
        let (error, _) = refused(&server, &wheel.name()).await;
        let detail = error["detail"].as_str().unwrap();
        assert!(detail.contains(&wheel.file_name), "{detail}");
    }
    assert_eq!(ready(&server.home), [""; 0]);
    assert!(!Path::new("/tmp/absolute.py").exists());
}

#[tokio::test]
async fn without_any_installer_it_is_said_what_is_missing() {
    if !Tool::Nothing.is_there() {
        return;
    }
    let home = Tool::Nothing.prepare(Home::new()).plugin("needy", "", HELLO);
    home.write("plugins/needy/requirements.txt", "alpha\n");
    let packed = home.run(&["plugin", "package", "plugins/needy"]).await;
    assert_eq!(packed.code, 4);
    assert!(packed.stderr.contains("there is neither uv nor pip"), "{packed:#?}");
    let server = home.serve().await;
    let (error, _) = refused(&server, "needy").await;
    assert!(
        error["detail"]
            .as_str()
            .unwrap()
            .contains("requirement `alpha` cannot be installed: there is nothing to install it with"),
        "{error:#}"
    );
}

#[tokio::test]
async fn doctor_says_what_installs() {
    for tool in tools() {
        let home = tool.prepare(Home::new());
        let checks = home.run(&["doctor", "--json"]).await.json();
        let check =
            checks["checks"].as_array().unwrap().iter().find(|check| check["name"] == "installer").cloned();
        let check = check.unwrap();
        let (state, begins) = match tool {
            Tool::Uv => ("ok", "uv "),
            Tool::Pip => ("ok", "pip at "),
            Tool::Nothing => ("warning", "neither uv nor pip"),
        };
        assert_eq!(check["state"], state, "{check}");
        assert!(check["detail"].as_str().unwrap().starts_with(begins), "{check}");
    }
}

#[tokio::test]
async fn a_new_version_builds_its_environment_before_it_takes_over() {
    let Some(tool) = tools().into_iter().find(|tool| *tool != Tool::Nothing) else { return };
    let index = Index::start(&[alpha("1.0", &[]), alpha("2.0", &[])]).await;
    let home = tool.prepare(Home::new()).env("PIP_INDEX_URL", index.url());
    let server = home.serve().await;
    let version = |version: &str, requirement: &str| {
        let folder = server.home.write_plugin(&format!("made/{version}"), "needy", version, "", HELLO);
        std::fs::write(folder.join("requirements.txt"), requirement).unwrap();
        folder
    };
    for (number, requirement, code) in
        [("1.0.0", "alpha==1.0", 0), ("2.0.0", "alpha==2.0", 0), ("3.0.0", "alpha==3.0", 0)]
    {
        let folder = version(number, requirement);
        let ran = server.home.run(&["plugin", "register", folder.to_str().unwrap()]).await;
        assert_eq!(ran.code, code, "{ran:#?}");
    }
    // The third cannot be called, and takes nothing over.
    assert_eq!(good(&server, "needy").await.0, json!({"alpha": "2.0"}));
    let shown = server.client.get("/v1/plugins/needy/versions/3.0.0").await.json();
    assert!(shown.to_string().contains("alpha==3.0"), "{shown}");
    assert_eq!(ready(&server.home).len(), 1, "only what was needed");
}
