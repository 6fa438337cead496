//! The HTTP surface: every route answers as openapi.json describes it, and hostile requests get clean answers.

use std::collections::BTreeSet;
use std::path::Path;

use http::Method;
use serde_json::{Value, json};
use spanglass::package::Package;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::packages::{zip_files, zip_of};
use crate::support::server::{Client, Home, Reply, Server};
use crate::support::{PATIENCE, eventually, require};

const ECHO: &str = "def invoke(input_data):\n    return input_data\n";
const LATER: &str = "import time\n\ndef invoke(input_data):\n    time.sleep(1)\n    return {'late': True}\n";

fn home() -> Home {
    Home::new()
        .plugin("echo", "description: Says it again", ECHO)
        .plugin("watched", "input: {n: number}\nobserve: auto", ECHO)
        .plugin("sampled", "input: {n: number}\nobserve: {samples: 10}", ECHO)
        .plugin("typed", "input: {n: number}\noutput: {n: number}", ECHO)
        .plugin("stream", "", "def invoke(input_data):\n    yield from range(3)\n")
}

// === openapi.json ===

/// Holds answers against the description.
struct Description {
    document: Value,
    /// What has been answered: method, route, status.
    seen: BTreeSet<(String, String, String)>,
}

impl Description {
    async fn of(client: &Client) -> Description {
        let reply = client.get("/openapi.json").await;
        Description { document: reply.json(), seen: BTreeSet::new() }
    }

    fn check(&mut self, method: &Method, route: &str, reply: &Reply) {
        let place = format!("{method} {route} {}", reply.status);
        if route.starts_with("/v1") {
            reply.traceparent();
        }
        let operation = &self.document["paths"][route][method.as_str().to_lowercase()];
        let described = self.follow(&operation["responses"][reply.status.to_string()]);
        assert!(described.is_object(), "{place} is not described: {}", String::from_utf8_lossy(&reply.body));
        let content = described["content"].as_object();
        let given = reply.header("content-type").map(|given| given.split(';').next().unwrap());
        match content {
            None => assert_eq!((given, reply.body.len()), (None, 0), "{place}"),
            Some(content) => {
                let given = given.unwrap_or_else(|| panic!("{place} has no content type"));
                let described =
                    content.get(given).unwrap_or_else(|| panic!("{place}: {given} is not described"));
                if given.ends_with("json") && given != "application/x-ndjson" {
                    self.check_schema(&place, &described["schema"], &reply.json());
                }
            }
        }
        self.seen.insert((method.to_string(), route.to_owned(), reply.status.to_string()));
    }

    fn check_schema(&self, place: &str, schema: &Value, body: &Value) {
        let mut whole = schema.clone();
        whole["components"] = self.document["components"].clone();
        let schema = jsonschema::draft202012::new(&whole).unwrap();
        let wrong: Vec<String> =
            schema.iter_errors(body).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(wrong.is_empty(), "{place}: {wrong:#?}\n{body:#}");
    }

    fn follow<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(reference) => self.document.pointer(reference.trim_start_matches('#')).unwrap(),
            None => value,
        }
    }

    fn operations(&self) -> BTreeSet<(String, String)> {
        let paths = self.document["paths"].as_object().unwrap();
        let operations = paths.iter().flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().keys().filter(|key| key.as_str() != "parameters");
            methods.map(|method| (method.to_uppercase(), path.clone()))
        });
        operations.collect()
    }
}

#[tokio::test]
async fn every_route_answers_as_described() {
    if !require("python3") {
        return;
    }
    let server = home().serve().await;
    let client = &server.client;
    let mut description = Description::of(client).await;
    let called = client.invoke("echo", json!({"a": 1})).await;
    let meta = called.json()["meta"].clone();
    let (id, trace_id) = (meta["invocation_id"].as_str().unwrap(), meta["trace_id"].as_str().unwrap());
    let failed = client.invoke("typed", json!({"n": "x"})).await.json();
    let failed_id = failed["invocation_id"].as_str().unwrap();
    let failed_trace = failed["trace_id"].as_str().unwrap();
    let package = zip_of("fresh", "1.0.0", "", ECHO);
    let other = zip_of("fresh", "1.0.0", "description: other bytes", ECHO);
    let call = |body: Value| body.to_string().into_bytes();
    let zeros = "0".repeat(32);
    let (get, post, delete) = (Method::GET, Method::POST, Method::DELETE);
    let baselines = "/v1/plugins/{name}/baselines";
    let samples = "/v1/plugins/{name}/drift/samples";
    let calls = |count: u32| {
        (0..count)
            .fold(String::new(), |lines, n| lines + &json!({"input": {"n": n % 30}}).to_string() + "\n")
            .into_bytes()
    };
    let requests: Vec<(&Method, &str, String, Vec<u8>, u16)> = vec![
        (&get, "/", "/".into(), vec![], 200),
        (&get, "/healthz", "/healthz".into(), vec![], 200),
        (&get, "/readyz", "/readyz".into(), vec![], 200),
        (&get, "/metrics", "/metrics".into(), vec![], 200),
        (&get, "/openapi.json", "/openapi.json".into(), vec![], 200),
        (&get, "/docs/errors/{kind}", "/docs/errors/timeout".into(), vec![], 200),
        (&get, "/docs/errors/{kind}", "/docs/errors/boredom".into(), vec![], 404),
        (&get, "/docs/errors", "/docs/errors".into(), vec![], 200),
        (&get, "/docs/runbooks", "/docs/runbooks".into(), vec![], 200),
        (&get, "/docs/runbooks/{name}", "/docs/runbooks/watchdog".into(), vec![], 200),
        (&get, "/docs/runbooks/{name}", "/docs/runbooks/boredom".into(), vec![], 404),
        (&get, "/v1/overview", "/v1/overview".into(), vec![], 200),
        (&get, "/v1/overview", "/v1/overview?window=7d".into(), vec![], 200),
        (&get, "/v1/overview", "/v1/overview?window=9s".into(), vec![], 422),
        (&get, "/v1/series", "/v1/series?sum=true&heat=true".into(), vec![], 200),
        (&get, "/v1/series", "/v1/series?plugin=echo&version=1.0.0&since=7d&step=1h".into(), vec![], 200),
        (&get, "/v1/series", "/v1/series?since=7d&step=1s".into(), vec![], 422),
        (&get, "/v1/series", "/v1/series?step=2s".into(), vec![], 422),
        (&get, "/v1/alerts", "/v1/alerts".into(), vec![], 200),
        (&get, "/v1/alerts", "/v1/alerts?state=firing".into(), vec![], 422),
        (&post, "/v1/alerts", "/v1/alerts".into(), call(json!({"version": "4", "alerts": []})), 200),
        (&post, "/v1/alerts", "/v1/alerts".into(), call(json!({"version": "4"})), 422),
        (&get, "/v1/drift", "/v1/drift".into(), vec![], 200),
        (&get, "/v1/drift", "/v1/drift?plugin=echo".into(), vec![], 422),
        (&get, "/v1/plugins/{name}/drift", "/v1/plugins/watched/drift".into(), vec![], 200),
        (&get, "/v1/plugins/{name}/drift", "/v1/plugins/watched/drift?version=1.0.0".into(), vec![], 200),
        (&get, "/v1/plugins/{name}/drift", "/v1/plugins/watched/drift?version=1".into(), vec![], 422),
        (&get, "/v1/plugins/{name}/drift", "/v1/plugins/echo/drift".into(), vec![], 404),
        (&get, "/v1/plugins/{name}/drift", "/v1/plugins/nobody/drift".into(), vec![], 404),
        (&post, baselines, "/v1/plugins/watched/baselines".into(), calls(200), 201),
        (&post, baselines, "/v1/plugins/watched/baselines".into(), calls(199), 422),
        (&post, baselines, "/v1/plugins/watched/baselines".into(), b"[1]".to_vec(), 422),
        (&post, baselines, "/v1/plugins/watched/baselines?from=window".into(), vec![], 422),
        (&post, baselines, "/v1/plugins/watched/baselines?from=elsewhere".into(), vec![], 422),
        (&post, baselines, "/v1/plugins/watched/baselines?from=sha256:0".into(), vec![], 404),
        (&post, baselines, "/v1/plugins/echo/baselines".into(), calls(200), 404),
        (&get, "/v1/plugins/{name}/drift", "/v1/plugins/watched/drift".into(), vec![], 200),
        (&get, baselines, "/v1/plugins/watched/baselines".into(), vec![], 200),
        (&get, baselines, "/v1/plugins/nobody/baselines".into(), vec![], 404),
        (&get, baselines, "/v1/plugins/watched/baselines?limit=0".into(), vec![], 422),
        (
            &get,
            "/v1/plugins/{name}/baselines/{id}",
            format!("/v1/plugins/watched/baselines/sha256:{zeros}"),
            vec![],
            404,
        ),
        (&get, "/v1/drift/events", "/v1/drift/events?plugin=watched&limit=2".into(), vec![], 200),
        (&get, "/v1/drift/events", "/v1/drift/events?type=drift".into(), vec![], 422),
        (&get, "/v1/drift/events", "/v1/drift/events?cursor=x".into(), vec![], 422),
        (&get, samples, "/v1/plugins/sampled/drift/samples".into(), vec![], 200),
        (&get, samples, "/v1/plugins/watched/drift/samples".into(), vec![], 409),
        (&get, samples, "/v1/plugins/echo/drift/samples".into(), vec![], 404),
        (&get, "/v1/errors", "/v1/errors".into(), vec![], 200),
        (&get, "/v1/errors", "/v1/errors?blame=caller&since=1h&plugin=typed".into(), vec![], 200),
        (&get, "/v1/errors", "/v1/errors?blame=nobody".into(), vec![], 422),
        (&post, "/v1/purge", "/v1/purge".into(), call(json!({"plugin": "nobody"})), 200),
        (&post, "/v1/purge", "/v1/purge".into(), call(json!({})), 422),
        (&post, "/v1/plugins", "/v1/plugins".into(), package.clone(), 201),
        (&post, "/v1/plugins", "/v1/plugins".into(), package, 200),
        (&post, "/v1/plugins", "/v1/plugins".into(), other, 409),
        (&post, "/v1/plugins", "/v1/plugins".into(), b"no zip".to_vec(), 422),
        (&post, "/v1/plugins", "/v1/plugins".into(), zip_of("Bad Name", "1", "nmae: x", ECHO), 422),
        (
            &post,
            "/v1/plugins",
            "/v1/plugins".into(),
            zip_of("boxed", "1.0.0", "sandbox: {min_tier: S2}", ECHO),
            503,
        ),
        (&get, "/v1/plugins", "/v1/plugins".into(), vec![], 200),
        (&get, "/v1/plugins", "/v1/plugins?limit=0".into(), vec![], 422),
        (&get, "/v1/traces/{trace_id}/otlp", format!("/v1/traces/{trace_id}/otlp"), vec![], 200),
        (&get, "/v1/traces/{trace_id}/otlp", format!("/v1/traces/{zeros}1/otlp"), vec![], 422),
        (&get, "/v1/health", "/v1/health".into(), vec![], 200),
        (&get, "/v1/doctor", "/v1/doctor".into(), vec![], 200),
        // What it answers else has no end: `feed.rs` reads it.
        (&get, "/v1/stream", "/v1/stream?topics=everything".into(), vec![], 422),
        (&get, "/v1/plugins/{name}", "/v1/plugins/typed".into(), vec![], 200),
        (&get, "/v1/plugins/{name}", "/v1/plugins/nobody".into(), vec![], 404),
        (&get, "/v1/plugins/{name}/versions", "/v1/plugins/typed/versions".into(), vec![], 200),
        (&get, "/v1/plugins/{name}/versions", "/v1/plugins/nobody/versions".into(), vec![], 404),
        (&get, "/v1/plugins/{name}/versions", "/v1/plugins/typed/versions?limit=0".into(), vec![], 422),
        (
            &get,
            "/v1/plugins/{name}/versions/{version}",
            "/v1/plugins/typed/versions/1.0.0".into(),
            vec![],
            200,
        ),
        (
            &get,
            "/v1/plugins/{name}/versions/{version}",
            "/v1/plugins/typed/versions/9.0.0".into(),
            vec![],
            404,
        ),
        (&get, "/v1/plugins/{name}/versions/{version}", "/v1/plugins/typed/versions/new".into(), vec![], 422),
        (
            &get,
            "/v1/plugins/{name}/versions/{version}/package",
            "/v1/plugins/typed/versions/1.0.0/package".into(),
            vec![],
            200,
        ),
        (
            &get,
            "/v1/plugins/{name}/versions/{version}/package",
            "/v1/plugins/typed/versions/9.0.0/package".into(),
            vec![],
            404,
        ),
        (
            &post,
            "/v1/plugins/{name}/versions/{version}/disable",
            "/v1/plugins/fresh/versions/1.0.0/disable?by=somebody&reason=no%20need".into(),
            vec![],
            200,
        ),
        (
            &post,
            "/v1/plugins/{name}/versions/{version}/enable",
            "/v1/plugins/fresh/versions/1.0.0/enable".into(),
            vec![],
            200,
        ),
        (
            &post,
            "/v1/plugins/{name}/versions/{version}/enable",
            "/v1/plugins/fresh/versions/9.0.0/enable".into(),
            vec![],
            404,
        ),
        (&get, "/v1/plugins/{name}", "/v1/plugins/fresh".into(), vec![], 200),
        (&post, "/v1/plugins/{name}/rollback", "/v1/plugins/fresh/rollback?to=1.2".into(), vec![], 422),
        (&post, "/v1/plugins/{name}/rollback", "/v1/plugins/fresh/rollback".into(), vec![], 409),
        (&post, "/v1/lock/update", "/v1/lock/update".into(), vec![], 200),
        (&post, "/v1/lock/update", "/v1/lock/update?plugin=nobody".into(), vec![], 404),
        (&get, "/v1/lock", "/v1/lock".into(), vec![], 200),
        (&get, "/v1/backup", "/v1/backup".into(), vec![], 200),
        (&post, "/v1/restore", "/v1/restore".into(), b"no backup".to_vec(), 422),
        (
            &delete,
            "/v1/plugins/{name}/versions/{version}",
            "/v1/plugins/fresh/versions/1.0.0".into(),
            vec![],
            204,
        ),
        (
            &delete,
            "/v1/plugins/{name}/versions/{version}",
            "/v1/plugins/fresh/versions/1.0.0".into(),
            vec![],
            404,
        ),
        (
            &post,
            "/v1/plugins/{name}/invoke",
            "/v1/plugins/echo/invoke".into(),
            call(json!({"input": {}})),
            200,
        ),
        (
            &post,
            "/v1/plugins/{name}/invoke",
            "/v1/plugins/stream/invoke?mode=stream".into(),
            call(json!({"input": {}})),
            200,
        ),
        (
            &post,
            "/v1/plugins/{name}/invoke",
            "/v1/plugins/nobody/invoke".into(),
            call(json!({"input": {}})),
            404,
        ),
        (
            &post,
            "/v1/plugins/{name}/invoke",
            "/v1/plugins/typed/invoke".into(),
            call(json!({"input": {}})),
            422,
        ),
        (
            &post,
            "/v1/plugins/{name}/invoke",
            "/v1/plugins/echo/invoke?mode=async".into(),
            call(json!({"input": {}})),
            202,
        ),
        (
            &post,
            "/v1/plugins/{name}/invoke",
            "/v1/plugins/echo/invoke?mode=loud".into(),
            call(json!({"input": {}})),
            422,
        ),
        (&post, "/v1/plugins/{name}/invoke", "/v1/plugins/echo/invoke".into(), vec![b' '; 2 << 20], 413),
        (
            &post,
            "/v1/invoke",
            "/v1/invoke".into(),
            call(json!({"action": "invoke", "plugin_id": "echo", "payload": {}})),
            200,
        ),
        (
            &post,
            "/v1/invoke",
            "/v1/invoke".into(),
            call(json!({"action": "invoke", "plugin_id": "nobody", "payload": {}})),
            404,
        ),
        (&post, "/v1/invoke", "/v1/invoke".into(), call(json!({"plugin_id": "echo"})), 422),
        (&get, "/v1/invocations", "/v1/invocations".into(), vec![], 200),
        (&get, "/v1/invocations", "/v1/invocations?outcome=good".into(), vec![], 422),
        (&get, "/v1/invocations/{id}", format!("/v1/invocations/{id}"), vec![], 200),
        (&get, "/v1/invocations/{id}", format!("/v1/invocations/{failed_id}"), vec![], 200),
        (
            &get,
            "/v1/invocations/{id}",
            "/v1/invocations/01890a5d-ac96-774b-bcce-b302099a8057".into(),
            vec![],
            404,
        ),
        (&get, "/v1/invocations/{id}", "/v1/invocations/seven".into(), vec![], 422),
        (&get, "/v1/invocations/{id}", format!("/v1/invocations/{id}?wait=1s"), vec![], 200),
        (&get, "/v1/invocations/{id}", format!("/v1/invocations/{id}?wait=61s"), vec![], 422),
        (&post, "/v1/invocations/{id}/cancel", format!("/v1/invocations/{id}/cancel"), vec![], 409),
        (
            &post,
            "/v1/invocations/{id}/cancel",
            "/v1/invocations/01890a5d-ac96-774b-bcce-b302099a8057/cancel".into(),
            vec![],
            404,
        ),
        (&post, "/v1/invocations/{id}/cancel", "/v1/invocations/seven/cancel".into(), vec![], 422),
        (&post, "/v1/invocations/{id}/replay", format!("/v1/invocations/{id}/replay"), vec![], 200),
        (&post, "/v1/invocations/{id}/replay", format!("/v1/invocations/{failed_id}/replay"), vec![], 422),
        (
            &post,
            "/v1/invocations/{id}/replay",
            "/v1/invocations/01890a5d-ac96-774b-bcce-b302099a8057/replay".into(),
            vec![],
            404,
        ),
        (&get, "/v1/traces", "/v1/traces".into(), vec![], 200),
        (&get, "/v1/traces", "/v1/traces?kind=bad".into(), vec![], 422),
        (&get, "/v1/traces/{trace_id}", format!("/v1/traces/{trace_id}"), vec![], 200),
        (&get, "/v1/traces/{trace_id}", format!("/v1/traces/{failed_trace}"), vec![], 200),
        (&get, "/v1/traces/{trace_id}", "/v1/traces/4bf92f3577b34da6a3ce929d0e0e4736".into(), vec![], 404),
        (&get, "/v1/traces/{trace_id}", format!("/v1/traces/{zeros}"), vec![], 422),
        (&get, "/v1/logs", "/v1/logs".into(), vec![], 200),
        (&get, "/v1/logs", "/v1/logs?level=loud".into(), vec![], 422),
    ];
    for (method, route, path, body, status) in requests {
        println!("{method} {path}");
        let reply = client.send(method.clone(), &path, &[], body).await;
        assert_eq!(reply.status, status, "{method} {path}: {}", String::from_utf8_lossy(&reply.body));
        description.check(method, route, &reply);
    }
    let openmetrics =
        client.send(get.clone(), "/metrics", &[("accept", "application/openmetrics-text")], "").await;
    description.check(&get, "/metrics", &openmetrics);

    let answered: BTreeSet<_> =
        description.seen.iter().map(|(method, route, _)| (method.clone(), route.clone())).collect();
    assert_eq!(answered, description.operations(), "every operation was asked for");
}

// === The registry ===

#[tokio::test]
async fn a_package_lives_from_post_to_delete() {
    if !require("python3") {
        return;
    }
    let server = Home::new().serve().await;
    let client = &server.client;
    let folder = server.home.write_plugin("sources/life", "life", "1.0.0", "", ECHO);
    server.home.write("sources/life/__pycache__/executor.pyc", "junk");
    server.home.write("sources/life/.git/HEAD", "ref: refs/heads/main");
    let mut packed = std::io::Cursor::new(Vec::new());
    Package::load(&folder).unwrap().write_zip(&mut packed).unwrap();
    let packed = packed.into_inner();

    let registered = client.post("/v1/plugins", packed.clone()).await;
    assert_eq!(registered.status, 201, "{}", registered.text());
    assert_eq!(registered.header("location"), Some("/v1/plugins/life/versions/1.0.0"));
    let document = registered.json();
    assert_eq!((&document["state"], &document["created"]), (&json!("running"), &json!(true)));
    assert!(document["digest"].as_str().unwrap().starts_with("sha256:"));
    // The same content as another zip is the same package.
    let again = client.post("/v1/plugins", zip_of("life", "1.0.0", "", ECHO)).await;
    assert_eq!((again.status, &again.json()["created"]), (200, &json!(false)), "{}", again.text());
    assert_eq!(again.json()["digest"], document["digest"]);
    let conflict = client.post("/v1/plugins", zip_of("life", "1.0.0", "owner: me", ECHO)).await;
    assert_eq!((conflict.status, &conflict.json()["kind"]), (409, &json!("conflict")));
    let newer = client.post("/v1/plugins", zip_of("life", "1.1.0", "", ECHO)).await;
    assert_eq!(newer.status, 201);

    let shown = client.get("/v1/plugins/life").await.json();
    assert_eq!((&shown["version"], &shown["versions"]), (&json!("1.1.0"), &json!(["1.1.0", "1.0.0"])));
    let downloaded = client.get("/v1/plugins/life/versions/1.0.0/package").await;
    assert_eq!(downloaded.header("content-type"), Some("application/zip"));
    assert!(downloaded.header("content-disposition").unwrap().contains("life-1.0.0.zip"));
    assert!(downloaded.body == packed, "the package as `plugin package` writes it");

    for (asked, version) in
        [(None, "1.1.0"), (Some("1.0.0"), "1.0.0"), (Some("~1.0"), "1.0.0"), (Some("^1"), "1.1.0")]
    {
        let mut body = json!({"input": {}});
        if let Some(asked) = asked {
            body["version"] = asked.into();
        }
        let reply = client.call("life", body, &[]).await;
        assert_eq!(reply.json()["meta"]["version"], version, "{asked:?}");
    }
    assert_eq!(client.delete("/v1/plugins/life/versions/1.1.0").await.status, 204);
    assert_eq!(client.invoke("life", json!({})).await.json()["meta"]["version"], "1.0.0");
    assert_eq!(client.delete("/v1/plugins/life/versions/1.0.0").await.status, 204);
    for path in [
        "/v1/plugins/life",
        "/v1/plugins/life/versions",
        "/v1/plugins/life/versions/1.0.0",
        "/v1/plugins/life/versions/1.0.0/package",
    ] {
        assert_eq!(client.get(path).await.status, 404, "{path}");
    }
    assert_eq!(client.invoke("life", json!({})).await.status, 404);
    assert_eq!(client.delete("/v1/plugins/life/versions/1.0.0").await.status, 404);
    eventually("nothing is kept of what is gone", PATIENCE, || packages_on_disk(&server) == 0).await;
    // A version that is gone may come back with other bytes.
    assert_eq!(client.post("/v1/plugins", zip_of("life", "1.0.0", "owner: me", ECHO)).await.status, 201);
}

fn packages_on_disk(server: &Server) -> usize {
    fn files(folder: &Path) -> usize {
        let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
        entries.flatten().map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { 1 }).sum()
    }
    files(&server.home.data_dir().join("packages"))
}

#[tokio::test]
async fn a_version_that_is_removed_lets_its_calls_end() {
    if !require("python3") {
        return;
    }
    let server = Home::new().serve().await;
    let client = server.client.clone();
    assert_eq!(client.post("/v1/plugins", zip_of("late", "1.0.0", "", LATER)).await.status, 201);
    let call = tokio::spawn(async move { client.invoke("late", json!({})).await });
    while server.client.active("late").await < 1.0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(server.client.delete("/v1/plugins/late/versions/1.0.0").await.status, 204);
    assert_eq!(server.client.invoke("late", json!({})).await.status, 404, "no new calls");
    let reply = call.await.unwrap();
    assert_eq!((reply.status, &reply.json()["data"]["late"]), (200, &json!(true)), "{}", reply.text());
    eventually("its package goes with its last call", PATIENCE, || packages_on_disk(&server) == 0).await;
    eventually("and so do its workers", PATIENCE, || server.descendants().is_empty()).await;
}

#[tokio::test]
async fn of_many_who_register_at_once_one_creates_the_version() {
    if !require("python3") {
        return;
    }
    let server = Home::new().serve().await;
    let mut posts = Vec::new();
    for number in 0..12 {
        let (client, package) =
            (server.client.clone(), zip_of("race", "1.0.0", &format!("owner: team-{}", number % 2), ECHO));
        posts.push(tokio::spawn(async move { client.post("/v1/plugins", package).await.status }));
    }
    let mut statuses = Vec::new();
    for post in posts {
        statuses.push(post.await.unwrap());
    }
    let count = |status| statuses.iter().filter(|one| **one == status).count();
    assert_eq!((count(201), count(200), count(409)), (1, 5, 6), "{statuses:?}");
    assert_eq!(server.client.invoke("race", json!({})).await.status, 200);
}

#[tokio::test]
async fn hostile_packages_are_refused_and_leave_nothing() {
    if !require("python3") {
        return;
    }
    let server = Home::new().serve().await;
    let manifest = ("manifest.yaml", b"name: evil\nversion: 1.0.0\n".as_slice());
    let code = ("executor.py", ECHO.as_bytes());
    let with = |name: &'static str| zip_files(&[manifest, code, (name, b"x")]);
    let zeros = vec![0; 64 << 20];
    let mut cut = with("fine");
    cut.truncate(cut.len() - 30);
    let mut link = zip::ZipWriter::new(std::io::Cursor::new(zip_files(&[manifest, code])));
    link = zip::ZipWriter::new_append(link.finish().unwrap()).unwrap();
    link.add_symlink("link", "/etc/passwd", zip::write::SimpleFileOptions::default()).unwrap();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", vec![]),
        ("no zip", b"PK, but no zip".to_vec()),
        ("three bytes", b"PK\x03".to_vec()),
        ("no zip, and large", vec![b'x'; 8 << 20]),
        ("a zip behind something else", [b"#!/bin/sh\n".as_slice(), &with("fine")].concat()),
        ("an empty zip", [b"PK\x05\x06".as_slice(), &[0; 18]].concat()),
        ("cut off", cut),
        ("out of the folder", with("../evil")),
        ("out of a folder within", with("a/../../evil")),
        ("absolute", with("/etc/evil")),
        ("a drive", with("C:\\evil")),
        ("names that fold into one", zip_files(&[manifest, code, ("Data.txt", b"1"), ("data.TXT", b"2")])),
        ("a bomb", zip_files(&[manifest, code, ("zeros", &zeros)])),
        ("a link", link.finish().unwrap().into_inner()),
        ("no manifest", zip_files(&[code])),
        ("two manifests", zip_files(&[manifest, ("plugin.yaml", manifest.1), code])),
        ("no code", zip_files(&[manifest])),
        (
            "too many entries",
            zip_files(
                &(0..20_001)
                    .map(|_| ("", b"".as_slice()))
                    .enumerate()
                    .map(|(n, (_, bytes))| (Box::leak(format!("f{n}").into_boxed_str()) as &str, bytes))
                    .collect::<Vec<_>>(),
            ),
        ),
    ];
    for (what, bytes) in cases {
        let reply = server.client.post("/v1/plugins", bytes).await;
        assert_eq!(
            (reply.status, &reply.json()["kind"]),
            (422, &json!("invalid_input")),
            "{what}: {}",
            reply.text()
        );
        reply.traceparent();
    }
    assert_eq!(server.client.get("/v1/plugins").await.json()["items"], json!([]));
    assert_eq!(packages_on_disk(&server), 0);
    let left: Vec<_> =
        std::fs::read_dir(server.home.data_dir()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("tmp")), "{left:?}");

    let bad = server.client.post("/v1/plugins", zip_of("Bad Name", "1", "nmae: x", ECHO)).await.json();
    let diagnostics = bad["diagnostics"].as_array().unwrap();
    assert!(diagnostics.len() >= 3 && bad["errors"].as_array().unwrap().len() >= 3, "{bad:#}");
    for member in ["code", "severity", "message", "file", "line", "column", "path", "help"] {
        assert!(diagnostics[0].get(member).is_some(), "{member}: {bad:#}");
    }
}

#[tokio::test]
async fn packages_on_their_way_do_not_lie_in_memory() {
    if !require("python3") {
        return;
    }
    let server = Home::new().serve().await;
    let mut package = vec![0; 40 << 20];
    package[..4].copy_from_slice(b"PK\x03\x04");
    let before = server.resident_bytes();
    let mut posts = Vec::new();
    for _ in 0..4 {
        let (client, package) = (server.client.clone(), package.clone());
        posts.push(tokio::spawn(async move { client.post("/v1/plugins", package).await.status }));
    }
    let mut most = 0;
    while !posts.iter().all(tokio::task::JoinHandle::is_finished) {
        most = most.max(server.resident_bytes());
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let mut statuses = Vec::new();
    for post in posts {
        statuses.push(post.await.unwrap());
    }
    assert_eq!(statuses, [422; 4], "they only begin like zips");
    assert!(most.saturating_sub(before) < 40 << 20, "{before} grew to {most}");
}

#[tokio::test]
async fn lists_are_walked_page_by_page() {
    if !require("python3") {
        return;
    }
    let server = home().serve().await;
    for number in 0..7 {
        server.client.invoke("echo", json!({"n": number})).await;
    }
    for (path, key, count) in [
        ("/v1/plugins?limit=1", "name", 5),
        ("/v1/invocations?limit=2", "invocation_id", 7),
        ("/v1/traces?limit=3", "trace_id", 7),
        ("/v1/logs?plugin=echo&limit=2&q=invocation", "invocation_id", 7),
    ] {
        let mut seen = Vec::new();
        let mut cursor = None;
        loop {
            let page = server
                .client
                .get(&format!(
                    "{path}{}",
                    cursor.map_or_else(String::new, |cursor: String| format!("&cursor={cursor}"))
                ))
                .await;
            assert_eq!(page.status, 200, "{path}: {}", page.text());
            let page = page.json();
            seen.extend(
                page["items"].as_array().unwrap().iter().map(|item| item[key].as_str().unwrap().to_owned()),
            );
            match page["next"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => break,
            }
            assert!(seen.len() <= count, "{path} does not end: {seen:?}");
        }
        let unique: BTreeSet<_> = seen.iter().collect();
        assert_eq!((seen.len(), unique.len()), (count, count), "{path}: {seen:?}");
    }
    let found = server.client.get("/v1/plugins?q=again").await.json();
    assert_eq!(found["items"][0]["name"], "echo");
}

#[tokio::test]
async fn lists_are_narrowed_by_what_their_items_have() {
    if !require("python3") {
        return;
    }
    let server = home().serve().await;
    let client = &server.client;
    for version in ["1.1.0+linux", "2.0.0"] {
        assert_eq!(client.post("/v1/plugins", zip_of("echo", version, "", ECHO)).await.status, 201);
    }
    let names = async |query: &str| {
        let page = client.get(&format!("/v1/plugins?{query}")).await.json();
        let items = page["items"].as_array().unwrap_or_else(|| panic!("{query}: {page:#}")).clone();
        items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("plugin=typed").await, ["typed"]);
    assert_eq!(names("plugin=type").await, [""; 0]);
    assert_eq!(names("version=2.0.0").await, ["echo"]);
    assert_eq!(names("plugin=typed&version=2.0.0").await, [""; 0]);
    assert_eq!(names("since=1h").await, ["echo", "sampled", "stream", "typed", "watched"]);
    assert_eq!(names("until=2020-01-01T00:00:00%2B02:00").await, [""; 0]);

    let mut versions = Vec::new();
    let mut path = "/v1/plugins/echo/versions?limit=1".to_owned();
    loop {
        let page = client.get(&path).await.json();
        versions.extend(page["items"].as_array().unwrap().iter().map(|item| item["version"].clone()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/plugins/echo/versions?limit=1&cursor={next}");
    }
    assert_eq!(versions, ["2.0.0", "1.1.0+linux", "1.0.0"]);

    client.invoke("echo", json!({})).await;
    client.call("echo", json!({"input": {}, "version": "1.0.0"}), &[]).await;
    client.invoke("typed", json!({"n": "x"})).await;
    let lines = async |query: &str| {
        let page = client.get(&format!("/v1/logs?{query}")).await.json();
        page["items"].as_array().unwrap_or_else(|| panic!("{query}: {page:#}")).clone()
    };
    let old = lines("plugin=echo&version=1.0.0&q=invocation").await;
    assert_eq!((old.len(), &old[0]["plugin.version"]), (1, &json!("1.0.0")), "{old:#?}");
    let failed = lines("outcome=failed").await;
    assert_eq!((failed.len(), &failed[0]["plugin.name"]), (1, &json!("typed")), "{failed:#?}");
    assert_eq!(lines("kind=invalid_input").await, failed);
    assert_eq!(lines("kind=timeout").await.len(), 0);
    assert_eq!(lines("outcome=replied&since=2026-01-01T00:00:00z").await.len(), 2);
}

#[tokio::test]
async fn running_calls_are_listed_with_those_that_ended() {
    if !require("python3") {
        return;
    }
    let server = home().plugin("late", "", LATER).serve().await;
    server.client.invoke("echo", json!({})).await;
    let client = server.client.clone();
    let call = tokio::spawn(async move { client.invoke("late", json!({})).await });
    while server.client.active("late").await < 1.0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let list = async |query: &str| {
        let page = server.client.get(&format!("/v1/invocations{query}")).await.json();
        page["items"].as_array().unwrap_or_else(|| panic!("{query}: {page:#}")).clone()
    };
    let plugins = |items: &[Value]| {
        items.iter().map(|item| item["plugin"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let all = list("").await;
    assert_eq!(plugins(&all), ["late", "echo"], "newest first: {all:#?}");
    for member in ["outcome", "error", "attempts", "duration_ms", "cold_start", "usage"] {
        assert_eq!(all[0].get(member), Some(&Value::Null), "{member}: {all:#?}");
    }
    assert!(["queued", "running"].contains(&all[0]["state"].as_str().unwrap()), "{all:#?}");
    let page = server.client.get("/v1/invocations?limit=1").await.json();
    assert_eq!(plugins(page["items"].as_array().unwrap()), ["late"]);
    let next = page["next"].as_str().unwrap();
    assert_eq!(plugins(&list(&format!("?limit=1&cursor={next}")).await), ["echo"]);
    assert_eq!(plugins(&list("?plugin=late").await), ["late"]);
    let id = all[0]["invocation_id"].as_str().unwrap();
    assert_eq!(plugins(&list(&format!("?q={id}")).await), ["late"]);
    for others in ["?plugin=echo", "?outcome=replied", "?until=1h", "?version=9.0.0"] {
        assert!(!plugins(&list(others).await).contains(&"late".to_owned()), "{others}");
    }
    assert_eq!(call.await.unwrap().status, 200);
    let all = list("").await;
    assert_eq!((plugins(&all), &all[0]["state"]), (vec!["late".into(), "echo".into()], &json!("done")));
}

#[tokio::test]
async fn the_operator_decides_which_versions_get_calls() {
    if !require("python3") {
        return;
    }
    let home = Home::new().plugin("off", "", ECHO).plugin("kept", "", ECHO);
    home.write_plugin("plugins/kept-2", "kept", "2.0.0", "", ECHO);
    home.write_plugin("plugins/early", "early", "1.0.0-rc.1", "", ECHO);
    home.write("spanglass.yaml", "plugins:\n  off: {enabled: false}\n  kept: {version: ^1}\n");
    let server = home.serve().await;
    let off = server.client.invoke("off", json!({})).await;
    assert_eq!(
        (off.status, &off.json()["kind"]),
        (404, &json!("not_found")),
        "a disabled version: {}",
        off.text()
    );
    assert_eq!(server.client.invoke("kept", json!({})).await.json()["meta"]["version"], "1.0.0");
    let outside = server.client.call("kept", json!({"input": {}, "version": "2.0.0"}), &[]).await;
    assert_eq!(outside.status, 404, "what the operator does not allow nobody gets: {}", outside.text());
    assert_eq!(
        server.client.invoke("early", json!({})).await.status,
        404,
        "a pre-release is not taken unasked"
    );
    let asked = server.client.call("early", json!({"input": {}, "version": "1.0.0-rc.1"}), &[]).await;
    assert_eq!(asked.status, 200);
}

// === Who may ask ===

const TOKEN: &str = "an-operators-own-token";

#[tokio::test]
async fn with_a_token_file_all_but_a_few_routes_want_a_token() {
    if !require("python3") {
        return;
    }
    let home = home();
    home.write("tokens", format!("# of the team\n{TOKEN}\n"));
    let server = home.serve_with(&["--token-file", "tokens"]).await;
    let description = Description::of(&server.client).await;
    let bearer = format!("Bearer {TOKEN}");
    for (method, route) in description.operations() {
        let path = route.replace("{name}", "echo").replace("{version}", "1.0.0").replace("{kind}", "timeout");
        let path = path.replace("{id}", "x").replace("{trace_id}", "x");
        let method: Method = method.parse().unwrap();
        let open = !route.starts_with("/v1");
        let without = server.client.send(method.clone(), &path, &[], "").await;
        assert_eq!(without.status == 401, !open, "{method} {path}: {}", without.status);
        if !open {
            assert_eq!(without.json()["kind"], "unauthenticated");
            assert_eq!(without.header("www-authenticate"), Some("Bearer"));
            without.traceparent();
        }
        if method == Method::GET {
            // Not read: one of them has no end.
            let with = server.client.open(method.clone(), &path, &[("authorization", &bearer)]).await;
            assert_ne!(with.status(), 401, "{method} {path}");
        }
    }
    let wrong = [
        "Bearer",
        "Bearer ",
        "Basic x",
        "bearer wrong-wrong-wrong",
        "Bearer # of the team",
        &format!("Bearer {TOKEN} more"),
        &format!("Bearer {}", &TOKEN[1..]),
        TOKEN,
    ];
    for header in wrong {
        let reply = server.client.send(Method::GET, "/v1/plugins", &[("authorization", header)], "").await;
        assert_eq!(reply.status, 401, "{header}");
        assert!(!reply.text().contains(TOKEN), "nobody is told the token");
    }
    // Routes that are not there do not say so to strangers.
    assert_eq!(server.client.get("/v1/nowhere").await.status, 401);
}

#[tokio::test]
async fn foreign_hosts_and_origins_change_and_read_nothing() {
    if !require("python3") {
        return;
    }
    let home = home();
    home.write("spanglass.yaml", "allowed_hosts: [spanglass.internal]\n");
    let server = home.serve().await;
    let port = server.url().rsplit(':').next().unwrap().to_owned();
    let good = [
        ("host", "localhost".to_owned()),
        ("host", format!("127.0.0.1:{port}")),
        ("host", "spanglass.internal:80".into()),
        ("origin", format!("http://localhost:{port}")),
        ("origin", "https://spanglass.internal".into()),
    ];
    let bad = [
        ("host", "evil.example".to_owned()),
        ("host", format!("localhost.evil.example:{port}")),
        ("host", "spanglass.internal.evil.example".into()),
        ("origin", "http://evil.example".into()),
        ("origin", "null".into()),
        ("origin", "http://localhost:1".into()),
        ("origin", "http://localhost".into()),
        ("origin", format!("http://localhost@evil.example:{port}")),
    ];
    for (cases, refused) in [(good.as_slice(), false), (bad.as_slice(), true)] {
        for (name, value) in cases {
            let headers = [(*name, value.as_str())];
            let changing = [
                (Method::POST, "/v1/plugins/echo/invoke"),
                (Method::POST, "/v1/invoke"),
                (Method::POST, "/v1/plugins"),
                (Method::DELETE, "/v1/plugins/nobody/versions/1.0.0"),
            ];
            for (method, path) in changing {
                let reply = server.client.send(method, path, &headers, "{}").await;
                assert_eq!(reply.status == 403, refused, "{headers:?} {path}: {}", reply.text());
                if refused {
                    assert_eq!(reply.json()["kind"], "forbidden");
                }
            }
            // What is kept is not for them either: there is no token that they would lack.
            let read = server.client.send(Method::GET, "/v1/plugins", &headers, "").await;
            assert_eq!(read.status, if refused { 403 } else { 200 }, "{headers:?}");
            assert_eq!(server.client.send(Method::GET, "/", &headers, "").await.status, 200, "{headers:?}");
        }
    }
}

// === Small print ===

#[tokio::test]
async fn other_methods_routes_and_parameters_get_clean_answers() {
    if !require("python3") {
        return;
    }
    let server = home().serve().await;
    let client = &server.client;
    for path in ["/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/v1/plugins", "/v1/invocations"] {
        let head = client.send(Method::HEAD, path, &[], "").await;
        assert_eq!((head.status, head.body.len()), (200, 0), "HEAD {path}");
    }
    for (method, path) in [
        (Method::OPTIONS, "/v1/plugins"),
        (Method::DELETE, "/v1/plugins"),
        (Method::GET, "/v1/plugins/echo/invoke"),
        (Method::PUT, "/v1/plugins/echo/versions/1.0.0"),
        (Method::POST, "/healthz"),
        (Method::PATCH, "/v1/logs"),
    ] {
        let reply = client.send(method.clone(), path, &[], "").await;
        assert_eq!(reply.status, 405, "{method} {path}");
        assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{method} {path}");
        assert_eq!(reply.json()["status"], 405, "the document says what the answer says");
        assert_eq!(reply.json()["detail"], format!("{method} is not a method of {path}"));
        assert!(reply.header("allow").is_some(), "405 names the methods that there are (RFC 9110, 15.5.6)");
    }
    for path in [
        "/nowhere",
        "/v1",
        "/v1/",
        "/v1/nowhere",
        "/v1/plugins/",
        "/v1/plugins/echo/",
        "/v1/plugins/echo/nothing",
        "/v2/plugins",
        "//",
        "/v1//plugins",
        "/%2e%2e/etc/passwd",
        "/docs/errors/",
        "/docs/runbooks/",
        "/docs/runbooks/README",
        "/docs/runbooks/..%2Fcli",
        "/docs/../Cargo.toml",
    ] {
        let reply = client.get(path).await;
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (404, Some("application/problem+json")),
            "{path}"
        );
        let problem = reply.json();
        assert_eq!((&problem["kind"], &problem["status"]), (&json!("not_found"), &json!(404)), "{path}");
        if path.contains("nowhere") {
            assert_eq!(problem["detail"], format!("there is no route {path}"));
        }
        if path.starts_with("/v1/") {
            reply.traceparent();
        }
    }
    for (path, parameter) in [
        ("/v1/plugins?limit=0", "limit"),
        ("/v1/plugins?limit=1001", "limit"),
        ("/v1/plugins?limit=many", "limit"),
        ("/v1/plugins?plugni=x", "plugni"),
        ("/v1/invocations?outcome=good", "outcome"),
        ("/v1/invocations?kind=boredom", "kind"),
        ("/v1/invocations?since=yesterday", "since"),
        ("/v1/invocations?until=2026-13-01T00:00:00Z", "until"),
        ("/v1/invocations?cursor=nonsense", "cursor"),
        ("/v1/traces?limit=-1", "limit"),
        ("/v1/traces?cursor=nonsense", "cursor"),
        ("/v1/logs?level=loud", "level"),
        ("/v1/logs?trace=xyz", "trace"),
        ("/v1/logs?invocation=xyz", "invocation"),
        ("/v1/logs?cursor=nonsense", "cursor"),
        ("/v1/logs?outcome=good", "outcome"),
        ("/v1/logs?kind=boredom", "kind"),
        ("/v1/plugins?cursor=echo", "cursor"),
        ("/v1/plugins?cursor=t18abcdef", "cursor"),
        ("/v1/plugins?version=new", "version"),
        ("/v1/plugins?outcome=failed", "outcome"),
        ("/v1/plugins/echo/versions?limit=0", "limit"),
        ("/v1/plugins/echo/versions?cursor=1.0.0", "cursor"),
        ("/v1/plugins/echo/versions?colour=red", "colour"),
    ] {
        let reply = client.get(path).await;
        assert_eq!(
            (reply.status, &reply.json()["kind"]),
            (422, &json!("invalid_input")),
            "{path}: {}",
            reply.text()
        );
        assert!(reply.json()["detail"].as_str().unwrap().contains(parameter), "{path}: {}", reply.text());
        let pointers: Vec<_> = reply.json()["errors"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|error| error["pointer"].clone())
            .collect();
        assert_eq!(pointers, [parameter], "{path}: {}", reply.text());
    }
    let several = client.get("/v1/invocations?limit=0&outcome=good&who=me").await.json();
    assert_eq!(several["errors"].as_array().unwrap().len(), 3, "all mistakes at once: {several:#}");
}

#[tokio::test]
async fn paths_that_are_no_text_are_not_found() {
    if !require("python3") {
        return;
    }
    let server = home().serve().await;
    for (method, path) in [
        (Method::GET, "/v1/plugins/%ff"),
        (Method::GET, "/v1/plugins/%ff/versions"),
        (Method::GET, "/v1/plugins/echo/versions/%ff"),
        (Method::DELETE, "/v1/plugins/echo/versions/%ff"),
        (Method::GET, "/v1/plugins/%ff/versions/1.0.0/package"),
        (Method::GET, "/v1/invocations/%ff"),
        (Method::GET, "/v1/traces/%c0%af"),
        (Method::GET, "/docs/errors/%ff"),
        (Method::GET, "/docs/runbooks/%ff"),
    ] {
        let reply = server.client.send(method, path, &[], "").await;
        assert_eq!(
            reply.header("content-type"),
            Some("application/problem+json"),
            "{path}: {}",
            reply.text()
        );
        assert_eq!((reply.status, &reply.json()["kind"]), (404, &json!("not_found")), "{path}");
    }
    let before = server.client.scrape().await;
    let called = server.client.post("/v1/plugins/%ff/invoke", r#"{"input": {}}"#).await;
    assert_eq!((called.status, &called.json()["kind"]), (404, &json!("not_found")), "{}", called.text());
    assert_eq!(called.json()["trace_id"], called.traceparent().0);
    let row = server.client.invocation(called.json()["invocation_id"].as_str().unwrap()).await;
    assert_eq!(row["error"]["kind"], "not_found", "a call like any other");
    let after = server.client.scrape().await;
    assert_eq!(after.changes(&before, "spanglass_invocations_total").len(), 1);
}

#[tokio::test]
async fn every_problem_names_the_trace_of_its_answer() {
    if !require("python3") {
        return;
    }
    let home = home();
    home.write("tokens", format!("{TOKEN}\n"));
    let server = home.serve_with(&["--token-file", "tokens"]).await;
    let bearer = format!("Bearer {TOKEN}");
    let trace_id = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace_id}-00f067aa0ba902b7-01");
    for (method, path, token, origin, status) in [
        (Method::GET, "/v1/plugins", "", "", 401),
        (Method::DELETE, "/v1/plugins/echo/versions/1.0.0", &*bearer, "http://evil.example", 403),
        (Method::GET, "/v1/nowhere", &bearer, "", 404),
        (Method::GET, "/v1/plugins/nobody", &bearer, "", 404),
        (Method::PUT, "/v1/plugins", &bearer, "", 405),
        (Method::GET, "/v1/logs?level=loud", &bearer, "", 422),
        (Method::POST, "/v1/plugins", &bearer, "", 422),
    ] {
        for parent in [None, Some(&*parent)] {
            let mut headers = vec![("authorization", token)];
            headers.extend(parent.map(|parent| ("traceparent", parent)));
            headers.extend((!origin.is_empty()).then_some(("origin", origin)));
            let reply = server.client.send(method.clone(), path, &headers, "").await;
            assert_eq!(reply.status, status, "{method} {path}: {}", reply.text());
            let (answered, ..) = reply.traceparent();
            let problem = reply.json();
            assert_eq!(problem["trace_id"], answered, "{method} {path}: {problem:#}");
            assert_eq!(answered == trace_id, parent.is_some(), "{method} {path}: {answered}");
            assert!(problem.get("invocation_id").is_none(), "nothing was called: {problem:#}");
        }
    }
    let head =
        server.client.send(Method::HEAD, "/v1/plugins/nobody", &[("authorization", &bearer)], "").await;
    assert_eq!((head.status, head.body.len()), (404, 0));
}

// === Inputs ===

#[tokio::test]
async fn inputs_reach_the_plugin_as_they_were_written() {
    if !require("python3") {
        return;
    }
    let server = home().serve().await;
    let exact = [
        "123456789012345678901234567890",
        "-123456789012345678901234567890123456789012345678901234567890",
        "9007199254740993",
        "18446744073709551616",
        "0.1",
        "1.7976931348623157e+308",
        "5e-324",
        "-0.0",
        "0",
    ];
    for number in exact {
        for plugin in ["echo", "typed"] {
            let body = format!("{{\"input\": {{\"n\": {number}}}}}");
            let reply = server.client.post(&format!("/v1/plugins/{plugin}/invoke"), body.clone()).await;
            assert_eq!(reply.status, 200, "{plugin} {number}: {}", reply.text());
            assert!(
                reply.text().contains(&format!("\"data\":{{\"n\":{number}}}")),
                "{number}: {}",
                reply.text()
            );
            let id = reply.json()["meta"]["invocation_id"].as_str().unwrap().to_owned();
            let row = server.client.get(&format!("/v1/invocations/{id}")).await;
            assert!(
                row.text().contains(&format!("\"input\":{{\"n\": {number}}}")),
                "{number}: {}",
                row.text()
            );
            let envelope = format!("{{\"plugin_id\": \"{plugin}\", \"payload\": {{\"n\": {number}}}}}");
            let reply = server.client.post("/v1/invoke", envelope).await;
            assert!(
                reply.text().contains(&format!("\"data\":{{\"n\":{number}}}")),
                "{number}: {}",
                reply.text()
            );
        }
        let (_, events) = server.client.stream("echo", json!({})).await;
        assert_eq!(events.last().unwrap().0, "end");
    }
    let texts = [
        "\u{0}",
        "\u{7f}\u{80}\u{2028}\u{2029}\u{feff}",
        "𝄞",
        "\"\\/\u{8}\u{c}\n\r\t",
        "</script>",
        "e\u{301}",
    ];
    for text in texts {
        let reply = server.client.invoke("echo", json!({"s": text, "": {"": [null, true]}})).await;
        assert_eq!(reply.json()["data"], json!({"s": text, "": {"": [null, true]}}), "{text:?}");
    }
}

#[tokio::test]
async fn the_version_that_is_asked_for_says_how_much_it_takes() {
    if !require("python3") {
        return;
    }
    let server = Home::new().serve().await;
    let client = &server.client;
    let roomy = zip_of("grown", "1.0.0", "limits: {max_input: 4Mi, max_output: 4Mi}", ECHO);
    assert_eq!(client.post("/v1/plugins", roomy).await.status, 201);
    assert_eq!(client.post("/v1/plugins", zip_of("grown", "2.0.0", "", ECHO)).await.status, 201);
    let input = json!({"text": "x".repeat(2 << 20)});
    let asked = client.call("grown", json!({"input": input, "version": "1.0.0"}), &[]).await;
    assert_eq!((asked.status, &asked.json()["meta"]["version"]), (200, &json!("1.0.0")));
    let unasked = client.invoke("grown", input).await;
    assert_eq!((unasked.status, &unasked.json()["kind"]), (413, &json!("input_too_large")));
}

#[tokio::test]
async fn what_is_no_call_is_refused_and_recorded() {
    if !require("python3") {
        return;
    }
    let server = home().serve().await;
    let deep = |depth: usize| {
        format!("{{\"input\": {{\"v\": {}{}}}}}", "[".repeat(depth), "]".repeat(depth)).into_bytes()
    };
    let text = |text: &str| text.as_bytes().to_vec();
    let cases: Vec<(&str, &str, Vec<u8>)> = vec![
        ("empty", "echo", vec![]),
        ("spaces", "echo", text("  \n")),
        ("null", "echo", text("null")),
        ("a list", "echo", text("[]")),
        ("a list of the members", "echo", text("[{}, null, null, null]")),
        ("no input", "echo", text("{}")),
        ("null as input", "echo", text(r#"{"input": null}"#)),
        ("text as input", "echo", text(r#"{"input": "{}"}"#)),
        ("a member nobody knows", "echo", text(r#"{"input": {}, "inptu": {}}"#)),
        ("input twice", "echo", text(r#"{"input": {}, "input": {"a": 1}}"#)),
        ("something behind", "echo", text(r#"{"input": {}} {}"#)),
        ("a comma too many", "echo", text(r#"{"input": {},}"#)),
        ("a comma too many within", "echo", text(r#"{"input": {"a": 1,}}"#)),
        ("a comment", "echo", text(r#"{"input": {}} // done"#)),
        ("single quotes", "echo", text("{'input': {}}")),
        ("not a number", "echo", text(r#"{"input": {"n": NaN}}"#)),
        ("a leading zero", "echo", text(r#"{"input": {"n": 01}}"#)),
        ("a byte order mark", "echo", text("\u{feff}{\"input\": {}}")),
        ("invalid UTF-8", "echo", b"{\"input\": {\"s\": \"\xff\xfe\"}}".to_vec()),
        ("overlong UTF-8", "echo", b"{\"input\": {\"s\": \"\xc0\xaf\"}}".to_vec()),
        ("a raw NUL", "echo", b"{\"input\": {\"s\": \"\x00\"}}".to_vec()),
        ("a raw line break", "echo", b"{\"input\": {\"s\": \"\n\"}}".to_vec()),
        ("UTF-16", "echo", "{\"input\": {}}".encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("cut off", "echo", text(r#"{"input": {"a": "#)),
        ("timeout as number", "echo", text(r#"{"input": {}, "timeout": 5}"#)),
        ("no timeout", "echo", text(r#"{"input": {}, "timeout": "soon"}"#)),
        ("no version", "echo", text(r#"{"input": {}, "version": "newest"}"#)),
        ("deep, with a schema", "typed", deep(200)),
        ("very deep", "echo", deep(100_000)),
        ("very deep, with a schema", "typed", deep(100_000)),
        ("a key twice, the last one good", "typed", text(r#"{"input": {"n": "x", "n": 1}}"#)),
        ("a key twice, without a schema", "echo", text(r#"{"input": {"n": 1, "n": 1}}"#)),
    ];
    for (what, plugin, body) in cases {
        let before = server.client.scrape().await;
        let reply = server.client.post(&format!("/v1/plugins/{plugin}/invoke"), body).await;
        assert_eq!(
            (reply.status, &reply.json()["kind"]),
            (422, &json!("invalid_input")),
            "{what}: {}",
            reply.text()
        );
        let (trace_id, ..) = reply.traceparent();
        let problem = reply.json();
        assert_eq!(problem["trace_id"], trace_id, "{what}: {problem:#}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(!detail.contains("struct") && !detail.contains("elements"), "words of the source: {detail}");
        let row = server.client.invocation(problem["invocation_id"].as_str().unwrap()).await;
        assert_eq!(
            (&row["outcome"], &row["error"]["kind"]),
            (&json!("failed"), &json!("invalid_input")),
            "{what}"
        );
        let after = server.client.scrape().await;
        let changes = after.changes(&before, "spanglass_invocations_total");
        assert_eq!(changes.len(), 1, "{what}: {changes:?}");
    }
}

/// Half of a surrogate pair is no text, but JSON can spell it. Whatever the answer: it is clean, and what
/// was kept of it can be read.
#[tokio::test]
async fn half_of_a_surrogate_pair_breaks_nothing() {
    if !require("python3") {
        return;
    }
    let server = home().serve().await;
    for body in [
        r#"{"input": {"s": "\ud800"}}"#,
        r#"{"input": {"\udfff": 1}}"#,
        r#"{"input": {"s": "\ud800\ud800"}}"#,
    ] {
        let reply = server.client.post("/v1/plugins/echo/invoke", body).await;
        // No plugin gets what it could not say again.
        assert_eq!(
            (reply.status, &reply.json()["kind"]),
            (422, &json!("invalid_input")),
            "{body}: {}",
            reply.text()
        );
        let (trace_id, ..) = reply.traceparent();
        let listed = server.client.get("/v1/invocations?limit=1").await.json();
        let id = listed["items"][0]["invocation_id"].as_str().unwrap();
        assert_eq!(server.client.get(&format!("/v1/invocations/{id}")).await.status, 200, "{body}");
        assert_eq!(server.client.trace(&trace_id).await["trace_id"], trace_id);
        server.lines_of(id).await;
    }
    let printing = zip_of(
        "printing",
        "1.0.0",
        "",
        "def invoke(input_data):\n    print('\\ud800 and \\x00')\n    return {'s': '\\ud800'}\n",
    );
    assert_eq!(server.client.post("/v1/plugins", printing).await.status, 201);
    let reply = server.client.invoke("printing", json!({})).await;
    assert_eq!((reply.status, &reply.json()["kind"]), (502, &json!("invalid_output")), "{}", reply.text());
    let (trace_id, ..) = reply.traceparent();
    let trace = server.client.trace(&trace_id).await;
    assert!(trace["logs"][0]["body"].as_str().unwrap().contains(" and "), "{trace:#}");
}

#[tokio::test]
async fn requests_that_are_no_http_hurt_nobody() {
    if !require("python3") {
        return;
    }
    let server = home().serve().await;
    let address = server.url().strip_prefix("http://").unwrap().to_owned();
    let long = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    let many = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: 1\r\n".repeat(2000));
    let path = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(100_000));
    let requests: [&[u8]; 8] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"POST /v1/plugins/echo/invoke HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/plugins/echo/invoke HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        long.as_bytes(),
        many.as_bytes(),
        path.as_bytes(),
    ];
    for request in requests {
        let mut socket = tokio::net::TcpStream::connect(&address).await.unwrap();
        let _ = socket.write_all(request).await;
        let _ = socket.shutdown().await;
        let mut answer = Vec::new();
        let read =
            tokio::time::timeout(std::time::Duration::from_secs(10), socket.read_to_end(&mut answer)).await;
        assert!(read.is_ok(), "no end: {:?}", String::from_utf8_lossy(&request[..request.len().min(80)]));
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || !answer.contains(" 500 "), "{answer}");
    }
    assert_eq!(server.client.invoke("echo", json!({})).await.status, 200);
}
