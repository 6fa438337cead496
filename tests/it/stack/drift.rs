//! Drift through the whole stack: `fraud-score` is called as usual, then with other payments. Prometheus sees the gauges
//! move, Alertmanager tells the runner, the runner tells a webhook, and both lead to calls that show what changed.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};

use super::live::{LONG, Stack, TOKEN, links_lead_somewhere, until};
use super::parts::root;
use crate::support::eventually;
use crate::support::server::Home;
use crate::support::upstream::Upstream;

/// The baseline of its manifest, and a window.
const BEFORE: usize = 750;
/// Within so many calls it has to be found.
const AFTER: usize = 300;
/// So many windows of calls as before that the alert is over.
const RECOVERY: usize = 500;
const FIELDS: [&str; 6] = [
    "$.input.account_age_days",
    "$.input.amount",
    "$.input.channel",
    "$.input.country",
    "$.input.hour",
    "$.output.score",
];

/// Payments of one shop: small amounts, five countries.
struct Payments(fastrand::Rng);

impl Payments {
    fn usual(&mut self) -> Value {
        let random = &mut self.0;
        let amount = (5.0 + 120.0 * random.f64() * random.f64()).round();
        let country = random.choice(["DE", "DE", "DE", "FR", "FR", "ES", "IT", "NL"]).unwrap();
        let channel = random.choice(["web", "web", "app", "pos", "pos", "phone"]).unwrap();
        let (hour, age) = (random.u32(6..24), random.u32(30..3_000));
        json!({"amount": amount, "country": country, "channel": channel, "hour": hour, "account_age_days": age})
    }

    /// Amounts in another unit, and a country that there was not.
    fn shifted(&mut self) -> Value {
        let mut payment = self.usual();
        payment["amount"] = json!(payment["amount"].as_f64().unwrap() * 10.0);
        if self.0.u32(0..5) == 0 {
            payment["country"] = json!("BR");
        }
        payment
    }
}

#[tokio::test]
async fn drifting_payments_are_told_with_links_to_calls_that_show_it() {
    let (receiver, home) = (Upstream::start().await, Home::new());
    for file in ["manifest.yaml", "executor.py"] {
        let text = std::fs::read_to_string(root().join("plugins/fraud-score").join(file)).unwrap();
        home.write(&format!("plugins/fraud-score/{file}"), text);
    }
    home.write("spanglass.yaml", format!("notifications:\n  - webhook: {}\n", receiver.url("/hook")));
    let Some(stack) = Stack::start(home, &["base.yaml", "tail-sampling.yaml"], 10).await else { return };
    let mut payments = Payments(fastrand::Rng::with_seed(8));

    // All is well: every field is judged, and nobody is told anything.
    let usual: BTreeSet<String> = called(&stack, BEFORE, || payments.usual()).await;
    let judged =
        |state: u8| format!("max by (field) (spanglass_drift_state{{plugin=\"fraud-score\"}}) == {state}");
    until(LONG, "every field is judged", async || fields(&stack, &judged(1)).await == FIELDS).await;
    let psi = "max by (field) (spanglass_drift_psi{plugin=\"fraud-score\"})";
    let quiet = stack.prometheus.query(psi).await;
    // By chance alone it is above 0.1 in every other window of this size: that is why the judge asks for more.
    assert!(quiet.len() == FIELDS.len() && quiet.iter().all(|field| field.value < 0.3), "{quiet:?}");
    assert_eq!((told_of_drift(&stack), receiver.take_bodies()), (Vec::new(), Vec::new()));

    // The payments change, and the gauges move.
    let shifted = called(&stack, AFTER, || payments.shifted()).await;
    until(LONG, "the fields are in alert", async || {
        let alert = fields(&stack, &judged(3)).await;
        ["$.input.amount", "$.input.country"].iter().all(|field| alert.iter().any(|one| one == field))
    })
    .await;
    let steady = ["$.input.channel", "$.input.hour", "$.input.account_age_days"];
    let alert = fields(&stack, &judged(3)).await;
    assert!(!steady.iter().any(|field| alert.iter().any(|one| one == field)), "{alert:?}");
    let amount = format!("{psi} and on (field) spanglass_drift_state{{field=\"$.input.amount\"}}");
    assert!(stack.prometheus.sum(&amount).await > 1.0, "nearly all amounts lie above all of before");
    let unknown = "max(spanglass_field_new_category_ratio{field=\"$.input.country\"})";
    let share = stack.prometheus.sum(unknown).await;
    assert!((0.1..0.35).contains(&share), "one country in five is new: {share}");

    // Prometheus and Alertmanager tell the runner, whose record leads to a runbook and a dashboard.
    let by_alertmanager = |event: &'static str| {
        move |line: &Value| line["event_name"] == event && !line["alert.dashboard_url"].is_null()
    };
    eventually("Alertmanager tells of both fields", LONG, || {
        let told = told_of_drift(&stack);
        let told = told.iter().filter(|line| by_alertmanager("alert.fired")(line));
        let summaries: String =
            told.map(|line| line["alert.summary"].as_str().unwrap().to_owned() + "\n").collect();
        summaries.contains("$.input.amount of fraud-score 1.0.0 has drifted (PSI ")
            && summaries.contains("$.input.country of fraud-score 1.0.0 has drifted")
    })
    .await;
    for line in told_of_drift(&stack).iter().filter(|line| by_alertmanager("alert.fired")(line)) {
        assert_eq!((&line["alert.severity"], &line["plugin.version"]), (&json!("ticket"), &json!("1.0.0")));
        links_lead_somewhere(&stack.server, line).await;
    }

    // The runner itself tells the webhook, with links to calls; each is one of the new payments, and shows it.
    let mut bodies: Vec<Value> = Vec::new();
    eventually("the webhook is told", LONG, || {
        bodies.extend(receiver.take_bodies().iter().map(|body| serde_json::from_slice(body).unwrap()));
        bodies.iter().any(|body| names(&body["alerts"][0]["fields"]).contains("$.input.country"))
    })
    .await;
    let alerts: Vec<&Value> = bodies.iter().flat_map(|body| body["alerts"].as_array().unwrap()).collect();
    let mut links = BTreeSet::new();
    for alert in alerts {
        assert_eq!(
            (&alert["rule"], &alert["plugin"]),
            (&json!("PluginDrift"), &json!("fraud-score")),
            "{alert:#}"
        );
        links.extend(names(&alert["links"]));
    }
    assert!(links.len() >= 2, "{bodies:#?}");
    let (mut larger, mut elsewhere) = (0, 0);
    for link in &links {
        let id = link.strip_prefix("/invocations/").unwrap();
        assert!(shifted.contains(id) && !usual.contains(id), "{link} is no call of the new ones");
        let call = get(&stack, &format!("/v1{link}")).await;
        larger += usize::from(call["input"]["amount"].as_f64().unwrap() > 125.0);
        elsewhere += usize::from(call["input"]["country"] == "BR");
    }
    assert!(larger > 0 && elsewhere > 0, "{larger} and {elsewhere} of {links:?}");
    // What happened to each field is an event, in the ledger and at Loki.
    let found = get(&stack, "/v1/logs?q=drifted&limit=50").await.to_string();
    assert!(found.contains("drift.detected") && found.contains("$.input.amount"), "{found}");
    eventually("Loki has it, too", LONG, || {
        stack.loki.logs().iter().any(|log| log.event_name == "drift.detected")
    })
    .await;

    // As before again: it is over, and that is told, too.
    called(&stack, RECOVERY, || payments.usual()).await;
    until(LONG, "every field is well", async || fields(&stack, &judged(1)).await == FIELDS).await;
    eventually("it is resolved", LONG, || {
        told_of_drift(&stack).iter().any(|line| by_alertmanager("alert.resolved")(line))
    })
    .await;
}

/// The ids of so many calls.
async fn called(stack: &Stack, calls: usize, mut payment: impl FnMut() -> Value) -> BTreeSet<String> {
    let token = format!("Bearer {TOKEN}");
    let headers = [("authorization", token.as_str())];
    let mut ids = BTreeSet::new();
    for _ in 0..calls {
        let reply = stack.server.client.call("fraud-score", json!({"input": payment()}), &headers).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        ids.insert(reply.json()["meta"]["invocation_id"].as_str().unwrap().to_owned());
    }
    ids
}

async fn get(stack: &Stack, path: &str) -> Value {
    let token = format!("Bearer {TOKEN}");
    stack.server.client.send(Method::GET, path, &[("authorization", &token)], "").await.json()
}

/// The label `field` of all series of an answer, in order.
async fn fields(stack: &Stack, expression: &str) -> Vec<String> {
    let series = stack.prometheus.query(expression).await;
    let mut found: Vec<String> = series.into_iter().map(|series| series.labels["field"].clone()).collect();
    found.sort();
    found
}

/// What the runner has on record about this alert, whoever told it.
fn told_of_drift(stack: &Stack) -> Vec<Value> {
    stack.server.log_lines().into_iter().filter(|line| line["alert.name"] == "PluginDrift").collect()
}

fn names(list: &Value) -> BTreeSet<String> {
    list.as_array().into_iter().flatten().filter_map(|item| Some(item.as_str()?.to_owned())).collect()
}
