//! The built-in series, as a server answers with them: each call once, at every width, over restarts and kills.

use serde_json::{Value, json};

use crate::support::server::{Home, Server};
use crate::support::{PATIENCE, require};

const SOMETIMES: &str = "def invoke(input_data):\n    if input_data.get('bad'):\n        raise ValueError('no ' + 'x' * 2000)\n    return input_data\n";

async fn serve() -> Option<Server> {
    if !require("python3") {
        return None;
    }
    let home = Home::new().plugin("sometimes", "", SOMETIMES);
    home.write_plugin("quiet", "quiet", "1.0.0", "", SOMETIMES);
    Some(home.serve().await)
}

fn sum(of: &Value, name: &str) -> u64 {
    of[name].as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).sum()
}

async fn call(server: &Server, good: usize, bad: usize) {
    for _ in 0..good {
        assert_eq!(server.client.invoke("sometimes", json!({})).await.status, 200);
    }
    for _ in 0..bad {
        assert_eq!(server.client.invoke("sometimes", json!({"bad": true})).await.status, 502);
    }
}

#[tokio::test]
async fn calls_are_in_the_overview_and_in_the_series_as_soon_as_they_have_ended() {
    let Some(server) = serve().await else { return };
    call(&server, 3, 2).await;
    let unknown = server.client.invoke("nobody", json!({})).await;
    assert_eq!(unknown.status, 404);
    let overview = server.client.get("/v1/overview?window=1m").await.json();
    let item = |name: &str| {
        let items = overview["items"].as_array().unwrap();
        items
            .iter()
            .find(|item| item["plugin"] == name)
            .unwrap_or_else(|| panic!("{name}: {items:#?}"))
            .clone()
    };
    let rates = item("sometimes");
    assert_eq!([&rates["calls"], &rates["errors"], &rates["refused"]], [5, 2, 0]);
    assert_eq!((&rates["version"], &rates["error_ratio"]), (&json!("1.0.0"), &json!(0.4)));
    assert_eq!((sum(&rates["spark"], "calls"), sum(&rates["spark"], "errors")), (5, 2));
    assert!(rates["p50_ms"].as_f64().unwrap() > 0.0 && rates["rate"].as_f64().unwrap() > 0.0);
    let error = &rates["last_error"];
    assert_eq!(error["kind"], "plugin_error");
    let id = error["invocation_id"].as_str().unwrap();
    assert_eq!(server.client.invocation(id).await["trace_id"], error["trace_id"]);
    assert_eq!(item("_other")["refused"], 1);
    assert_eq!(overview["total"]["calls"], 6);
    for step in ["1s", "10s", "1m", "10m", "1h"] {
        let series =
            server.client.get(&format!("/v1/series?plugin=sometimes&heat=true&step={step}")).await.json();
        let line = &series["series"][0];
        assert_eq!((sum(line, "calls"), sum(line, "errors")), (5, 2), "{step}");
        let steps = series["times"].as_array().unwrap().len();
        for (name, list) in line.as_object().unwrap() {
            assert!(list.as_array().is_none_or(|list| list.len() == steps), "{step}: {name}");
        }
        let heat = line["heat"].as_array().unwrap().iter().flat_map(|step| step.as_array().unwrap());
        assert_eq!(heat.map(|count| count.as_u64().unwrap()).sum::<u64>(), 5, "{step}");
        assert_eq!(series["buckets_ms"].as_array().unwrap().len(), 19);
    }
}

async fn calls(server: &Server) -> u64 {
    let series = server.client.get("/v1/series?plugin=sometimes&step=1m&since=1h").await.json();
    series["series"].as_array().unwrap().iter().map(|line| sum(line, "calls")).sum()
}

#[tokio::test]
async fn a_restart_keeps_all_and_a_kill_all_but_the_last_seconds() {
    let Some(mut server) = serve().await else { return };
    call(&server, 4, 1).await;
    server.stop().await;
    server.restart().await;
    assert_eq!(calls(&server).await, 5);
    call(&server, 2, 0).await;
    // What is in the file now survives a kill. Another process may read it.
    let file = server.home.data_dir().join("series.db");
    let start = std::time::Instant::now();
    loop {
        let kept = rusqlite::Connection::open_with_flags(&file, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)
            .and_then(|file| {
                file.query_row("SELECT sum(calls) FROM steps WHERE width_s = 60", [], |row| row.get(0))
            });
        if kept.is_ok_and(|kept: i64| kept == 7) {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "it is never written");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    server.kill();
    server.restart().await;
    assert_eq!(calls(&server).await, 7);
}
