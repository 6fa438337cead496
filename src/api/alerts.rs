//! Alerts: those of the built-in rules, and what Alertmanager's webhook (version 4) notifies about them.

use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use semver::Version;
use serde_json::{Map, Value, json};

use super::query::{Query, parse_rfc3339};
use super::{Api, Problem, blocking, body};
use crate::alerting::Listing;
use crate::model::alert::{Alert, AlertStatus};
use crate::model::error::{FieldError, InvokeError};
use crate::model::kind::ErrorKind;
use crate::model::name::PluginName;
use crate::model::text::truncate;

const BODY_BYTES_MAX: u64 = 1 << 20;
const ALERTS_MAX: usize = 1_000;
/// So many mistakes are told at once.
const MISTAKES_MAX: usize = 20;
/// The only version there is.
const VERSION: &str = "4";
/// Of names and the like; what is longer is cut.
const NAME_BYTES_MAX: usize = 256;
const TEXT_BYTES_MAX: usize = 1_024;
/// An address that is longer is left out: one that is cut leads elsewhere.
const URL_BYTES_MAX: usize = 2_048;
/// A fingerprint tells alerts apart, so it is not cut. Alertmanager's have 16.
const FINGERPRINT_BYTES_MAX: usize = 64;
/// As registered ones.
const VERSION_BYTES_MAX: usize = 128;

pub async fn list(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Json<Listing>, Problem> {
    Query::new(query.as_deref()).end()?;
    let none = || Problem::new(ErrorKind::Unavailable, "this host judges no rules");
    Ok(Json(api.host.alerting().ok_or_else(none)?.listing()))
}

pub async fn receive(State(api): State<Api>, body: Body) -> Result<Json<Value>, Problem> {
    let help =
        format!("have fewer alerts in a notification: max_alerts of the receiver, at most {ALERTS_MAX}");
    let bytes = body::read(body, BODY_BYTES_MAX, &help).await?;
    let host = api.host.clone();
    let received = blocking(move || Ok::<_, InvokeError>(host.notified(&decode(&bytes)?))).await??;
    Ok(Json(json!({"recorded": received.recorded, "repeated": received.repeated})))
}

fn decode(bytes: &[u8]) -> Result<Vec<Alert>, InvokeError> {
    let unreadable =
        |why: String| InvokeError::new(ErrorKind::InvalidInput, format!("the body is no JSON: {why}"));
    let text = std::str::from_utf8(bytes).map_err(|error| unreadable(error.to_string()))?;
    crate::model::json::check(text).map_err(|error| unreadable(error.to_string()))?;
    let document: Value = serde_json::from_str(text).map_err(|error| unreadable(error.to_string()))?;
    let mut reading = Reading::default();
    let alerts = reading.notification(&document);
    reading.end()?;
    Ok(alerts)
}

/// Goes through a notification and notes every mistake. What is not looked at may be anything.
#[derive(Default)]
struct Reading {
    mistakes: Vec<FieldError>,
}

impl Reading {
    fn mistake(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        if self.mistakes.len() < MISTAKES_MAX {
            self.mistakes.push(FieldError { pointer: pointer.into(), message: message.into() });
        }
    }

    fn end(self) -> Result<(), InvokeError> {
        let Some(first) = self.mistakes.first() else { return Ok(()) };
        let at = if first.pointer.is_empty() { String::new() } else { format!("{}: ", first.pointer) };
        let detail = format!("the body is no notification of Alertmanager: {at}{}", first.message);
        let mut error = InvokeError::new(ErrorKind::InvalidInput, detail)
            .help("it is the body of Alertmanager's webhook_configs, version 4");
        error.fields = self.mistakes;
        Err(error)
    }

    fn notification(&mut self, document: &Value) -> Vec<Alert> {
        let Some(document) = document.as_object() else {
            self.mistake("", "it is not an object");
            return Vec::new();
        };
        if document.get("version").and_then(Value::as_str) != Some(VERSION) {
            self.mistake("/version", format!("it must be {VERSION:?}"));
        }
        let Some(alerts) = document.get("alerts").and_then(Value::as_array) else {
            self.mistake("/alerts", "it must be a list");
            return Vec::new();
        };
        if alerts.len() > ALERTS_MAX {
            self.mistake("/alerts", format!("it has {} alerts, more than {ALERTS_MAX}", alerts.len()));
            return Vec::new();
        }
        alerts.iter().enumerate().filter_map(|(index, alert)| self.alert(index, alert)).collect()
    }

    fn alert(&mut self, index: usize, alert: &Value) -> Option<Alert> {
        let at = |member: &str| format!("/alerts/{index}/{member}");
        let Some(alert) = alert.as_object() else {
            self.mistake(format!("/alerts/{index}"), "it is not an object");
            return None;
        };
        let status = match alert.get("status").and_then(Value::as_str) {
            Some("firing") => Some(AlertStatus::Firing),
            Some("resolved") => Some(AlertStatus::Resolved),
            _ => {
                self.mistake(at("status"), "it must be \"firing\" or \"resolved\"");
                None
            }
        };
        let fingerprint = alert.get("fingerprint").and_then(Value::as_str);
        let fingerprint = fingerprint.filter(|text| (1..=FINGERPRINT_BYTES_MAX).contains(&text.len()));
        if fingerprint.is_none() {
            let message = format!("it must be a text of 1 to {FINGERPRINT_BYTES_MAX} bytes");
            self.mistake(at("fingerprint"), message);
        }
        let starts_at = alert.get("startsAt").and_then(Value::as_str).and_then(parse_rfc3339);
        if starts_at.is_none() {
            self.mistake(at("startsAt"), "it must be a time as 2026-01-31T12:00:00Z");
        }
        let labels = self.texts(alert, "labels", &at("labels"));
        let annotations = self.texts(alert, "annotations", &at("annotations"));
        let name = labels.and_then(|labels| text(labels, "alertname", NAME_BYTES_MAX));
        if labels.is_some() && name.is_none() {
            self.mistake(at("labels/alertname"), "it must be a text");
        }
        let (labels, annotations, status) = (labels?, annotations?, status?);
        let ends_at = alert.get("endsAt").and_then(Value::as_str).and_then(parse_rfc3339);
        let version = text(labels, "version", VERSION_BYTES_MAX + 1);
        Some(Alert {
            status,
            name: name?,
            fingerprint: fingerprint?.to_owned(),
            severity: text(labels, "severity", NAME_BYTES_MAX),
            plugin: text(labels, "plugin", NAME_BYTES_MAX).and_then(|name| PluginName::parse(&name).ok()),
            version: version
                .filter(|text| text.len() <= VERSION_BYTES_MAX)
                .and_then(|text| Version::parse(&text).ok()),
            summary: text(annotations, "summary", TEXT_BYTES_MAX),
            runbook_url: url(annotations, "runbook_url"),
            dashboard_url: url(annotations, "dashboard_url"),
            starts_at: starts_at?,
            // Of one that fires it is the time at which it would be given up.
            ends_at: ends_at.filter(|_| status == AlertStatus::Resolved),
        })
    }

    /// A member that maps names to texts.
    fn texts<'a>(
        &mut self,
        alert: &'a Map<String, Value>,
        member: &str,
        pointer: &str,
    ) -> Option<&'a Map<String, Value>> {
        let texts = alert.get(member).and_then(Value::as_object);
        let texts = texts.filter(|texts| texts.values().all(Value::is_string));
        if texts.is_none() {
            self.mistake(pointer, "it must be an object of texts");
        }
        texts
    }
}

/// A text that says something, cut to a bound.
fn text(texts: &Map<String, Value>, name: &str, bytes_max: usize) -> Option<String> {
    let text = texts.get(name)?.as_str()?.trim();
    (!text.is_empty()).then(|| truncate(text, bytes_max).to_owned())
}

/// An address that a person may follow.
fn url(texts: &Map<String, Value>, name: &str) -> Option<String> {
    let url = texts.get(name)?.as_str()?;
    let fits = url.len() <= URL_BYTES_MAX
        && ["http://", "https://"].iter().any(|scheme| url.starts_with(scheme))
        && url.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| url.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Alertmanager sends it.
    fn notification() -> Value {
        json!({
            "receiver": "spanglass", "status": "firing", "version": "4", "truncatedAlerts": 0,
            "groupKey": "{}:{alertname=\"TooManyErrors\"}", "groupLabels": {"alertname": "TooManyErrors"},
            "commonLabels": {"severity": "page"}, "commonAnnotations": {}, "externalURL": "http://alertmanager:9093",
            "alerts": [{
                "status": "firing", "fingerprint": "5ef77f1f8a3ecf8d", "startsAt": "2026-01-31T12:00:00.123Z",
                "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "http://prometheus:9090/graph?g0.expr=up",
                "labels": {"alertname": "TooManyErrors", "severity": "page", "plugin": "fraud-score", "version": "1.0.0"},
                "annotations": {"summary": "it burns", "runbook_url": "http://localhost:7717/docs/runbooks/too-many-errors",
                    "dashboard_url": "http://localhost:3000/d/spanglass-plugin?var-plugin=fraud-score"},
            }],
        })
    }

    fn read(document: &Value) -> Result<Vec<Alert>, InvokeError> {
        decode(document.to_string().as_bytes())
    }

    #[test]
    fn a_notification_is_read() {
        let alert = read(&notification()).unwrap().remove(0);
        assert_eq!((alert.name.as_str(), alert.status), ("TooManyErrors", AlertStatus::Firing));
        assert_eq!(alert.plugin.as_ref().map(PluginName::as_str), Some("fraud-score"));
        assert_eq!(alert.version, Some(Version::new(1, 0, 0)));
        assert_eq!(alert.summary.as_deref(), Some("it burns"));
        assert!(alert.runbook_url.is_some() && alert.dashboard_url.is_some() && alert.is_page());
        assert_eq!(alert.ends_at, None);
        let mut resolved = notification();
        resolved["alerts"][0]["status"] = "resolved".into();
        resolved["alerts"][0]["endsAt"] = "2026-01-31T14:00:00+01:00".into();
        let alert = read(&resolved).unwrap().remove(0);
        let hour = std::time::Duration::from_millis(3_600_000 - 123);
        assert_eq!(alert.ends_at, Some(alert.starts_at + hour));
    }

    #[test]
    fn what_is_of_no_known_shape_is_left_out_and_what_is_long_is_cut() {
        let mut document = notification();
        let alert = &mut document["alerts"][0];
        alert["labels"]["plugin"] = "_other".into();
        alert["labels"]["version"] = format!("1.0.0-{}", "a".repeat(VERSION_BYTES_MAX)).into();
        alert["labels"]["alertname"] = "é".repeat(NAME_BYTES_MAX).into();
        alert["labels"]["severity"] = " ".into();
        alert["annotations"]["summary"] = "x".repeat(100_000).into();
        alert["annotations"]["runbook_url"] = "javascript:alert(1)".into();
        alert["annotations"]["dashboard_url"] = format!("http://{}", "x".repeat(URL_BYTES_MAX)).into();
        let alert = read(&document).unwrap().remove(0);
        assert_eq!((alert.plugin, alert.version, alert.severity), (None, None, None));
        assert_eq!((alert.runbook_url, alert.dashboard_url), (None, None));
        assert_eq!((alert.name.len(), alert.summary.unwrap().len()), (NAME_BYTES_MAX, TEXT_BYTES_MAX));
    }

    #[test]
    fn every_mistake_has_its_pointer() {
        let pointers = |document: &Value| -> Vec<String> {
            read(document).unwrap_err().fields.into_iter().map(|field| field.pointer).collect()
        };
        for (at, bad) in [
            ("/version", json!("3")),
            ("/version", json!(4)),
            ("/alerts", json!({})),
            ("/alerts", json!(vec![0; ALERTS_MAX + 1])),
            ("/alerts/0", json!("alert")),
            ("/alerts/0/status", json!("pending")),
            ("/alerts/0/fingerprint", json!("")),
            ("/alerts/0/fingerprint", json!("f".repeat(FINGERPRINT_BYTES_MAX + 1))),
            ("/alerts/0/startsAt", json!("yesterday")),
            ("/alerts/0/labels", json!({"alertname": "A", "n": 1})),
            ("/alerts/0/labels", json!(null)),
            ("/alerts/0/labels/alertname", json!("")),
            ("/alerts/0/annotations", json!([])),
        ] {
            let mut document = notification();
            *document.pointer_mut(at).unwrap() = bad.clone();
            assert_eq!(pointers(&document), [at], "{bad}");
        }
        let empty = json!({"version": "4", "alerts": vec![json!({}); 50]});
        assert_eq!(pointers(&empty).len(), MISTAKES_MAX);
        assert_eq!(pointers(&json!([])), [""]);
        for bytes in [&b"{"[..], b"\xff", b"{\"alerts\": [], \"alerts\": []}", b""] {
            assert_eq!(decode(bytes).unwrap_err().kind, ErrorKind::InvalidInput, "{bytes:?}");
        }
        let bound = json!({"version": "4", "alerts": vec![notification()["alerts"][0].clone(); ALERTS_MAX]});
        assert_eq!(read(&bound).unwrap().len(), ALERTS_MAX);
    }
}
