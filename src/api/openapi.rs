//! The description of all routes, for people and for generators of clients.

use axum::response::{IntoResponse, Response};
use http::header;

const DOCUMENT: &str = include_str!("openapi.json");

pub async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::DOCUMENT;
    use crate::model::kind::ErrorKind;

    fn document() -> Value {
        serde_json::from_str(DOCUMENT).unwrap()
    }

    /// The route table is the one place where routes stand; this reads it as text.
    #[test]
    fn it_lists_exactly_the_routes_of_the_table() {
        let table = include_str!("mod.rs");
        let (v1, rest) =
            table.split_once("let v1 =").and_then(|(_, rest)| rest.split_once(".nest(")).unwrap();
        let (rest, ledger) = rest.split_once("fn ledger_routes").unwrap();
        let routes = |text: &str, prefix: &str| -> Vec<String> {
            text.split(".route(\"")
                .skip(1)
                .map(|rest| format!("{prefix}{}", rest.split('"').next().unwrap()))
                .collect()
        };
        let table: BTreeSet<String> =
            [routes(v1, "/v1"), routes(ledger, "/v1"), routes(rest, "")].into_iter().flatten().collect();
        let described: BTreeSet<String> = document()["paths"].as_object().unwrap().keys().cloned().collect();
        assert!(table.len() > 15, "{table:?}");
        assert_eq!(table, described);
    }

    #[test]
    fn it_knows_every_kind_of_error() {
        let kinds: Vec<&str> = ErrorKind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(document()["components"]["schemas"]["Kind"]["enum"], serde_json::json!(kinds));
    }

    #[test]
    fn its_references_lead_somewhere_and_its_version_is_ours() {
        let document = document();
        for reference in DOCUMENT.split("\"$ref\": \"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(document.pointer(reference).is_some(), "{reference}");
        }
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    }
}
