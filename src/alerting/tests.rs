//! Rules on real series, and real receivers: one that answers, one that hangs, one that is broken, one that is gone.

use std::path::Path;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;
use crate::model::error::InvokeError;
use crate::model::invocation::{Origin, Usage};
use crate::model::kind::ErrorKind;
use crate::store::Store;
use crate::store::series::SeriesSettings;
use crate::telemetry::{Begin, Ending, Settings};

const PATIENCE: Duration = Duration::from_secs(20);

struct Scene {
    telemetry: Telemetry,
    alerting: Alerting,
    _store: Store,
}

/// Rules that take seconds instead of minutes.
fn quick() -> AlertingSettings {
    let thresholds = Thresholds { windows_s: [2, 3, 4], ..Thresholds::default() };
    let pauses = vec![Duration::from_millis(20); 3];
    let notify = NotifySettings { queue_max: 2, timeout: Duration::from_millis(300), pauses };
    AlertingSettings { thresholds, patience: Patience { keep_firing_s: 1, pending_s: Some(0) }, notify }
}

impl Scene {
    fn open(folder: &Path) -> Scene {
        let store = Store::open(folder, PATIENCE).unwrap();
        let series = Arc::new(Series::open(&store, &SeriesSettings::default()).unwrap());
        let telemetry = Telemetry::start(Settings::default(), vec![Box::new(series.sink())]).unwrap();
        Scene { alerting: Alerting::new(telemetry.clone(), series, quick()), telemetry, _store: store }
    }

    fn call(&self, fails: bool) {
        let mut call = self.telemetry.begin(Begin {
            plugin: "echo".into(),
            action: "invoke".into(),
            parent: None,
            origin: Origin::Network,
        });
        call.bind(self.telemetry.plugin("echo", "1.0.0", "python", &["invoke"]));
        call.attempt();
        let usage = Usage::default();
        let error = InvokeError::new(ErrorKind::PluginError, "it <went> wrong & so on");
        if fails {
            call.finish(Ending::Failed { error: &error, usage });
        } else {
            call.finish(Ending::Replied { usage });
        }
        assert!(self.telemetry.flush(PATIENCE));
    }

    fn round(&self) {
        self.alerting.round(&facts(None));
    }

    /// Rounds until it is so.
    async fn until(&self, what: &str, so: impl Fn(&Listing) -> bool) -> Listing {
        let start = std::time::Instant::now();
        loop {
            self.round();
            let listing = self.alerting.listing();
            if so(&listing) {
                return listing;
            }
            assert!(start.elapsed() < PATIENCE, "never: {what}: {listing:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn facts(expect_every: Option<Duration>) -> Facts {
    let registered = Registered {
        plugin: "echo".into(),
        version: "1.0.0".into(),
        takes_calls: true,
        latency: None,
        expect_every,
        registered_at: 0,
    };
    Facts { registered: vec![registered], store_writable: true, drift: Vec::new() }
}

/// A server that answers each request with `answer` and passes on what it was sent; `None`: it never answers.
async fn receiver(answer: Option<&'static str>) -> (String, mpsc::Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://127.0.0.1:{}/hooks/hunter2?key=hunter2", listener.local_addr().unwrap().port());
    let (sender, heard) = mpsc::channel(100);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let sender = sender.clone();
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                let body = loop {
                    let mut part = [0; 4_096];
                    let read = stream.read(&mut part).await.unwrap();
                    if read == 0 {
                        return;
                    }
                    bytes.extend_from_slice(&part[..read]);
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    let Some((_, body)) = text.split_once("\r\n\r\n") else { continue };
                    if let Ok(body) = serde_json::from_str::<Value>(body) {
                        break body;
                    }
                };
                sender.send(body).await.unwrap();
                match answer {
                    Some(answer) => {
                        let answer =
                            format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                        stream.write_all(answer.as_bytes()).await.unwrap();
                    }
                    None => std::future::pending().await,
                }
            });
        }
    });
    (url, heard)
}

fn state(listing: &Listing) -> Option<State> {
    listing.items.iter().find(|alert| alert.rule == "PluginErrorRatio").map(|alert| alert.state)
}

#[tokio::test]
async fn a_failing_plugin_fires_resolves_and_everybody_is_told_once() {
    let temp = tempfile::tempdir().unwrap();
    let scene = Scene::open(temp.path());
    let (url, mut heard) = receiver(Some("200 OK")).await;
    let (slack_url, mut slack) = receiver(Some("200 OK")).await;
    scene.alerting.set_targets(vec![Target::Webhook(url), Target::Slack(slack_url)]);
    let mut news = scene.alerting.subscribe();
    (0..4).for_each(|_| scene.call(true));
    let listing = scene.until("it fires", |listing| state(listing) == Some(State::Firing)).await;
    let alert = &listing.items[0];
    assert_eq!((&*alert.id, alert.severity.as_str()), ("PluginErrorRatio/echo/1.0.0", "ticket"));
    assert_eq!((alert.value, alert.threshold), (Some(1.0), Some(0.5)));
    assert!(alert.summary.contains("4 of 4 calls of echo 1.0.0 failed"), "{}", alert.summary);
    assert!(alert.example.is_some());
    scene.until("it is over", |listing| state(listing) == Some(State::Resolved)).await;
    for expected in ["firing", "resolved"] {
        let body = heard.recv().await.unwrap();
        assert_eq!((&body["version"], &body["status"]), (&"1".into(), &expected.into()));
        assert_eq!(body["alerts"][0]["state"], expected);
        let text = slack.recv().await.unwrap()["text"].as_str().unwrap().to_owned();
        assert!(text.contains("the last: plugin_error") && text.contains(expected), "{text}");
        assert!(!text.contains("went"), "what the plugin said stays here: {text}");
    }
    assert_eq!(
        (news.recv().await.unwrap().state, news.recv().await.unwrap().state),
        (State::Firing, State::Resolved)
    );
    let listing = scene
        .until("both are counted", |listing| listing.notifications.iter().all(|target| target.sent == 2))
        .await;
    assert!(heard.try_recv().is_err(), "once");
    assert!(!format!("{listing:?}").contains("hunter2"), "{listing:?}");
    assert!(listing.notifications[0].last_sent_at.is_some() && listing.notifications[0].failed == 0);
}

fn drift(fields: &[&str], takes_calls: bool) -> Facts {
    let mut facts = facts(None);
    facts.registered[0].takes_calls = takes_calls;
    let fields = fields.iter().map(|field| DriftField {
        field: (*field).to_owned(),
        state: DriftState::Alert,
        psi: Some(0.31),
        pvalue: Some(3e-10),
        reason: None,
        example: Some(Example { invocation_id: format!("call-{field}"), trace_id: format!("trace-{field}") }),
    });
    let fact = DriftFact { plugin: "echo".into(), version: "1.0.0".into(), fields: fields.collect() };
    Facts { drift: vec![fact], ..facts }
}

async fn next(heard: &mut mpsc::Receiver<Value>) -> Value {
    tokio::time::timeout(PATIENCE, heard.recv()).await.expect("somebody is told").unwrap()
}

#[tokio::test]
async fn drift_is_told_with_links_to_calls_again_when_a_field_joins_and_ends_with_the_calls() {
    let temp = tempfile::tempdir().unwrap();
    let scene = Scene::open(temp.path());
    let (url, mut heard) = receiver(Some("200 OK")).await;
    let (slack_url, mut slack) = receiver(Some("200 OK")).await;
    scene.alerting.set_targets(vec![Target::Webhook(url), Target::Slack(slack_url)]);
    scene.alerting.round(&drift(&["a"], true));
    let first = next(&mut heard).await;
    let alert = &first["alerts"][0];
    assert_eq!((&alert["rule"], &alert["state"]), (&"PluginDrift".into(), &"firing".into()));
    assert_eq!(
        (&alert["severity"], &alert["runbook"]),
        (&"ticket".into(), &"/docs/runbooks/plugin-drift".into())
    );
    assert_eq!(alert["links"], serde_json::json!(["/invocations/call-a"]));
    assert_eq!(alert["summary"], "1 of 1 fields of echo 1.0.0 has drifted: a (PSI 0.31, p 3e-10)");
    let text = next(&mut slack).await["text"].as_str().unwrap().to_owned();
    assert!(text.contains("a (PSI 0.31") && text.contains("`spanglass trace show trace-a`"), "{text}");

    scene.alerting.round(&drift(&["a"], true));
    scene.alerting.round(&drift(&["a", "b"], true));
    let second = next(&mut heard).await;
    assert_eq!(second["alerts"][0]["fields"], serde_json::json!(["a", "b"]));
    assert_eq!(second["alerts"][0]["id"], alert["id"]);
    assert_eq!(second["alerts"][0]["links"].as_array().unwrap().len(), 2);

    // Another version takes the calls; nobody calls this one any more, so its windows stay as they are.
    let start = std::time::Instant::now();
    let resolved = loop {
        scene.alerting.round(&drift(&["a", "b"], false));
        if let Ok(body) = heard.try_recv() {
            break body;
        }
        assert!(start.elapsed() < PATIENCE, "it never ends");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(resolved["status"], "resolved");
    // Somebody does, by its number.
    scene.call(false);
    scene.alerting.round(&drift(&["a"], false));
    assert_eq!(next(&mut heard).await["status"], "firing");
}

#[tokio::test]
async fn after_a_restart_it_still_fires_and_nobody_is_told_again() {
    let temp = tempfile::tempdir().unwrap();
    let scene = Scene::open(temp.path());
    (0..4).for_each(|_| scene.call(true));
    scene.until("it fires", |listing| state(listing) == Some(State::Firing)).await;
    scene.telemetry.shutdown(PATIENCE);
    scene.alerting.series.close();
    drop(scene);
    let scene = Scene::open(temp.path());
    let mut news = scene.alerting.subscribe();
    assert_eq!(state(&scene.alerting.listing()), Some(State::Firing));
    scene.until("it is over", |listing| state(listing) == Some(State::Resolved)).await;
    assert_eq!(news.recv().await.unwrap().state, State::Resolved);
    assert!(news.try_recv().is_err());
}

#[tokio::test]
async fn receivers_that_hang_fail_or_are_gone_hold_up_nobody() {
    let temp = tempfile::tempdir().unwrap();
    let scene = Scene::open(temp.path());
    let (hangs, _kept) = receiver(None).await;
    let (broken, mut tries) = receiver(Some("500 Internal Server Error")).await;
    let (wrong, mut once) = receiver(Some("404 Not Found")).await;
    let (good, mut heard) = receiver(Some("204 No Content")).await;
    // Port 1 of this machine: nobody listens.
    let gone = "http://127.0.0.1:1/hunter2".to_owned();
    scene.alerting.set_targets([hangs, broken, wrong, gone, good].map(Target::Webhook).into());
    (0..4).for_each(|_| scene.call(true));
    scene.until("it fires", |listing| state(listing) == Some(State::Firing)).await;
    heard.recv().await.unwrap();
    let failed =
        |listing: &Listing| listing.notifications.iter().filter(|target| target.failed > 0).count() == 4;
    let listing = scene.until("four have failed", failed).await;
    let errors: Vec<&str> =
        listing.notifications.iter().filter_map(|target| target.last_error.as_deref()).collect();
    assert!(errors[0].contains("did not answer in time") && errors[1].contains("500"), "{errors:?}");
    assert!(errors[2].contains("404") && errors[3].contains("no connection"), "{errors:?}");
    assert!(!format!("{listing:?}").contains("hunter2"));
    // Four tries; what is wrong for good is not tried again.
    for _ in 0..4 {
        tries.recv().await.unwrap();
    }
    once.recv().await.unwrap();
    assert!(once.try_recv().is_err());
    // Its queue has an end.
    for _ in 0..20 {
        let alert = listing.items[0].clone();
        scene.alerting.notifier.tell(vec![alert]);
    }
    assert!(scene.alerting.listing().notifications[0].dropped >= 17);
    // Who stays keeps his counts.
    let Target::Webhook(url) = scene.alerting.notifier.targets().remove(1) else { panic!("a webhook") };
    scene.alerting.set_targets(vec![Target::Webhook(url)]);
    assert_eq!(scene.alerting.listing().notifications[0].failed, 1);
}

#[tokio::test]
async fn a_command_gets_the_alert_and_is_killed_with_its_children() {
    let temp = tempfile::tempdir().unwrap();
    let scene = Scene::open(temp.path());
    let (told, child) = (temp.path().join("told"), temp.path().join("child"));
    let script = |text: String| Target::Command(["sh", "-c", &text].map(str::to_owned).into());
    let good = format!(
        "cat > {0}.part; echo \"$SPANGLASS_ALERT_RULE $SPANGLASS_ALERT_PLUGIN\" > {0}.env; mv {0}.part {0}",
        told.display()
    );
    let hangs = format!("sleep 600 & echo $! > {0}.part; mv {0}.part {0}; wait", child.display());
    let gone = Target::Command(vec!["/nowhere/to-be-found".into()]);
    scene.alerting.set_targets(vec![script(good), script(hangs), gone]);
    (0..4).for_each(|_| scene.call(true));
    let done = |listing: &Listing| {
        let [good, hangs, gone] = &listing.notifications[..] else { return false };
        good.sent == 1 && hangs.failed == 1 && gone.failed == 1
    };
    let listing = scene.until("they have ended", done).await;
    let body: Value = serde_json::from_slice(&std::fs::read(&told).unwrap()).unwrap();
    assert_eq!(body["alerts"][0]["rule"], "PluginErrorRatio");
    let env = std::fs::read_to_string(told.with_extension("env")).unwrap();
    assert_eq!(env.trim(), "PluginErrorRatio echo");
    assert!(listing.notifications[1].last_error.as_ref().unwrap().contains("killed"));
    let pid = std::fs::read_to_string(&child).unwrap();
    let alive = || {
        std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|stat| !stat.contains(") Z "))
    };
    let start = std::time::Instant::now();
    while alive() {
        assert!(start.elapsed() < PATIENCE, "its child lives on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_silent_plugin_is_missed_until_it_is_called() {
    let temp = tempfile::tempdir().unwrap();
    let scene = Scene::open(temp.path());
    scene.call(false);
    let silent = |scene: &Scene| {
        scene.alerting.round(&facts(Some(Duration::from_secs(1))));
        let listing = scene.alerting.listing();
        listing.items.iter().find(|alert| alert.rule == "PluginSilent").map(|alert| alert.state)
    };
    assert_eq!(silent(&scene), None);
    let start = std::time::Instant::now();
    while silent(&scene) != Some(State::Firing) {
        assert!(start.elapsed() < PATIENCE, "it is never missed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    while silent(&scene) != Some(State::Resolved) {
        scene.call(false);
        assert!(start.elapsed() < 2 * PATIENCE, "it is missed for ever");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
