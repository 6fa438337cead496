//! What Alertmanager notifies about becomes log records: once a change, bounded, as data.

use http::Method;
use serde_json::{Value, json};

use crate::support::PATIENCE;
use crate::support::server::{Home, Reply, Server};

fn alert(name: &str, status: &str) -> Value {
    json!({
        "status": status, "fingerprint": format!("{name}-1"), "startsAt": "2026-01-31T12:00:00.123456789Z",
        "endsAt": if status == "firing" { "0001-01-01T00:00:00Z" } else { "2026-01-31T12:30:00Z" },
        "generatorURL": "http://prometheus:9090/graph?g0.expr=up",
        "labels": {"alertname": name, "severity": "page", "plugin": "fraud-score", "version": "1.0.0", "slo": "latency"},
        "annotations": {
            "summary": format!("{name} since noon"),
            "runbook_url": "http://localhost:7717/docs/runbooks/watchdog",
            "dashboard_url": "http://localhost:3000/d/spanglass-plugin?var-plugin=fraud-score",
        },
    })
}

fn notification(alerts: &[Value]) -> Value {
    json!({
        "version": "4", "receiver": "spanglass", "status": "firing", "truncatedAlerts": 0, "alerts": alerts,
        "groupKey": "{}/{severity=\"page\"}:{alertname=\"Any\"}", "groupLabels": {"alertname": "Any"},
        "commonLabels": {}, "commonAnnotations": {}, "externalURL": "http://alertmanager:9093",
    })
}

async fn notify(server: &Server, alerts: &[Value]) -> Reply {
    server.client.post("/v1/alerts", notification(alerts).to_string()).await
}

async fn counted(server: &Server, alerts: &[Value]) -> (u64, u64) {
    let reply = notify(server, alerts).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let counts = reply.json();
    (counts["recorded"].as_u64().unwrap(), counts["repeated"].as_u64().unwrap())
}

/// The log records whose body has `q`, newest first, once there are `count`.
async fn logs(server: &Server, q: &str, count: usize) -> Vec<Value> {
    let start = std::time::Instant::now();
    loop {
        let items = server.client.get(&format!("/v1/logs?q={q}")).await.json()["items"].clone();
        let items = items.as_array().unwrap().clone();
        if items.len() >= count {
            assert_eq!(items.len(), count, "{items:#?}");
            return items;
        }
        assert!(start.elapsed() < PATIENCE, "only {items:#?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_change_of_an_alert_is_a_log_record_once() {
    let server = Home::new().serve().await;
    let before = server.client.scrape().await;
    let mut ticket = alert("Slow", "firing");
    ticket["labels"]["severity"] = "ticket".into();
    let firing = [alert("Burning", "firing"), ticket];
    assert_eq!(counted(&server, &firing).await, (2, 0));
    assert_eq!(counted(&server, &firing).await, (0, 2), "Alertmanager repeats itself");
    assert_eq!(counted(&server, &[alert("Burning", "resolved"), firing[1].clone()]).await, (1, 1));
    let again = {
        let mut again = alert("Burning", "firing");
        again["startsAt"] = "2026-01-31T13:00:00Z".into();
        again
    };
    assert_eq!(counted(&server, &[again]).await, (1, 0));
    assert_eq!(counted(&server, &[]).await, (0, 0));

    let records = logs(&server, "Burning%20", 3).await;
    let told: Vec<_> =
        records.iter().map(|record| (&record["event_name"], &record["severity_text"])).collect();
    let (fired, resolved) = (json!("alert.fired"), json!("alert.resolved"));
    let (error, info) = (json!("ERROR"), json!("INFO"));
    assert_eq!(told, [(&fired, &error), (&resolved, &info), (&fired, &error)]);
    let first = &records[2];
    for (key, value) in [
        ("body", "Burning fires: Burning since noon"),
        ("plugin.name", "fraud-score"),
        ("plugin.version", "1.0.0"),
        ("stream", "host"),
        ("alert.name", "Burning"),
        ("alert.severity", "page"),
        ("alert.fingerprint", "Burning-1"),
        ("alert.summary", "Burning since noon"),
        ("alert.runbook_url", "http://localhost:7717/docs/runbooks/watchdog"),
        ("alert.dashboard_url", "http://localhost:3000/d/spanglass-plugin?var-plugin=fraud-score"),
        ("alert.starts_at", "2026-01-31T12:00:00.123Z"),
    ] {
        assert_eq!(first[key], value, "{key}: {first:#}");
    }
    assert!(first["alert.ends_at"].is_null() && first["trace_id"].is_null(), "{first:#}");
    assert_eq!(records[1]["alert.ends_at"], "2026-01-31T12:30:00.000Z");
    assert_eq!(records[1]["body"], "Burning is resolved: Burning since noon");
    assert_eq!(logs(&server, "Slow%20fires", 1).await[0]["severity_text"], "WARN");

    // In the lines of the server, and at the command line.
    let line = server.log_lines().into_iter().find(|line| line["alert.name"] == "Slow").unwrap();
    assert_eq!((&line["event_name"], &line["alert.severity"]), (&fired, &json!("ticket")));
    let shown = server.home.run(&["logs", "--q", "Burning is resolved"]).await;
    assert!(shown.stdout.contains("Burning is resolved: Burning since noon"), "{shown:#?}");

    // Nobody has registered such a plugin: nothing came to be by its name.
    assert_eq!(server.client.get("/v1/plugins/fraud-score").await.status, 404);
    let after = server.client.scrape().await;
    let named = |sample: &&crate::support::metrics::Sample| {
        sample.labels.values().any(|value| value == "fraud-score" || value == "Burning")
    };
    assert_eq!(after.samples.iter().filter(named).count(), 0);
    assert_eq!(after.samples.len(), before.samples.len(), "no new series");
}

#[tokio::test]
async fn a_heartbeat_is_recorded_but_not_each_time() {
    let server = Home::new().serve().await;
    let mut watchdog = alert("Watchdog", "firing");
    watchdog["labels"] = json!({"alertname": "Watchdog", "severity": "none"});
    assert_eq!(counted(&server, &[watchdog.clone()]).await, (1, 0));
    for minute in 0..5 {
        watchdog["startsAt"] = format!("2026-01-31T12:0{minute}:00Z").into();
        assert_eq!(counted(&server, &[watchdog.clone()]).await, (0, 1));
    }
    let records = logs(&server, "Watchdog%20", 1).await;
    assert_eq!(records[0]["event_name"], "alert.heartbeat");
    assert_eq!(records[0]["severity_text"], "INFO");
    assert!(records[0]["plugin.name"].is_null());
}

#[tokio::test]
async fn what_comes_from_outside_is_data_and_has_bounds() {
    let server = Home::new().serve().await;
    let mut hostile = alert("Evil", "firing");
    hostile["labels"]["alertname"] = "Evil\u{1b}[2J\n{\"trace_id\":\"forged\"}".into();
    hostile["labels"]["plugin"] = "../../etc".into();
    hostile["labels"]["version"] = "latest".into();
    hostile["annotations"]["summary"] = format!("\u{0}\u{7}{}", "x".repeat(5_000)).into();
    hostile["annotations"]["runbook_url"] = "javascript:alert(1)".into();
    assert_eq!(counted(&server, &[hostile]).await, (1, 0));
    let record = logs(&server, "Evil", 1).await.remove(0);
    for absent in ["plugin.name", "plugin.version", "alert.runbook_url", "trace_id"] {
        assert!(record[absent].is_null(), "{absent}: {record:#}");
    }
    assert_eq!(record["alert.summary"].as_str().unwrap().len(), 1_024);
    // Every line of the log is still one JSON document, and a terminal gets no orders.
    assert!(server.log_lines().iter().any(|line| line["event_name"] == "alert.fired"));
    let shown = server.home.run(&["logs", "--q", "Evil"]).await.stdout;
    assert!(shown.contains("Evil") && !shown.contains(['\u{1b}', '\u{7}', '\u{0}']), "{shown:?}");

    let bad = |pointer: &'static str, change: fn(&mut Value)| {
        let mut document = notification(&[alert("Bad", "firing"), alert("Worse", "firing")]);
        change(&mut document);
        (pointer, document.to_string())
    };
    for (pointer, body) in [
        bad("/version", |document| document["version"] = "3".into()),
        bad("/alerts", |document| document["alerts"] = json!("none")),
        bad("/alerts", |document| document["alerts"] = vec![alert("Many", "firing"); 1_001].into()),
        bad("/alerts/1/status", |document| document["alerts"][1]["status"] = "pending".into()),
        bad("/alerts/1/startsAt", |document| document["alerts"][1]["startsAt"] = Value::Null),
    ] {
        let reply = server.client.post("/v1/alerts", body).await;
        assert_eq!((reply.status, &reply.json()["kind"]), (422, &json!("invalid_input")), "{pointer}");
        assert_eq!(reply.json()["errors"][0]["pointer"], pointer, "{}", reply.text());
    }
    for body in ["", "[]", "{", "{\"version\": \"4\", \"version\": \"4\", \"alerts\": []}"] {
        assert_eq!(server.client.post("/v1/alerts", body).await.status, 422, "{body:?}");
    }
    let large = notification(&[alert("Large", "firing")]).to_string() + &" ".repeat(1 << 20);
    assert_eq!(server.client.post("/v1/alerts", large).await.status, 413);
    let fits = notification(&vec![alert("Fits", "firing"); 1_000]).to_string();
    assert_eq!(server.client.post("/v1/alerts", fits).await.json(), json!({"recorded": 1, "repeated": 999}));
    let foreign = [("origin", "http://evil.example")];
    let body = notification(&[]).to_string();
    assert_eq!(server.client.send(Method::POST, "/v1/alerts", &foreign, body).await.status, 403);
    assert!(server.log_lines().iter().all(|line| line["alert.name"] != "Bad"), "a bad body changes nothing");
}
