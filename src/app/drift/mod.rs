//! `drift`: how the values of calls have changed, for people. What is said stands in the answers of the API; only
//! `check` judges here, two files, without a server.

use serde_json::Value;

use super::cli::{Drift, Global};
use super::connect::{Need, connect};
use super::failure::Failure;
use super::invoke::escaped;
use super::output::{self, Cell, Paint, printable};
use super::target::Target;
use crate::config::Settings;

mod baseline;
mod chart;
pub mod check;
mod list;
mod show;

pub async fn command(global: &Global, command: &Drift, settings: &Settings) -> Result<(), Failure> {
    let target = connect(global, settings, Need::Host)?;
    let done = match command {
        Drift::List => list::list(global, &target).await,
        Drift::Show { target: name, fields } => show::show(global, &target, name, fields).await,
        Drift::Baseline(arguments) => baseline::command(global, &target, arguments).await,
        Drift::Events { name, version, kind, limit, cursor } => {
            let parameters = [
                ("plugin", name.clone()),
                ("version", version.clone()),
                ("type", kind.clone()),
                ("limit", Some(limit.to_string())),
                ("cursor", cursor.clone()),
            ];
            list::events(global, &target, &query(parameters)).await
        }
        Drift::Samples { target: name } => samples(&target, name).await,
        Drift::Check(_) => unreachable!("it was dispatched before there was a configuration"),
    };
    target.finish().await;
    done
}

async fn samples(target: &Target, name: &str) -> Result<(), Failure> {
    let (path, version) = path_of(name, "drift/samples");
    let answer = target.send(http::Method::GET, &(path + &query([("version", version)])), None).await?;
    let (status, bytes) = answer.bytes().await?;
    if status.is_success() {
        return output::print_bytes(&bytes);
    }
    let problem = serde_json::from_slice(&bytes).map_err(|_| {
        Failure::internal(format!("the server answered {status} with something that is not JSON"))
    })?;
    Err(Failure::problem(problem))
}

/// The route of `NAME` or `NAME@VERSION`, and the version.
fn path_of(target: &str, route: &str) -> (String, Option<String>) {
    let (name, version) = match target.split_once('@') {
        Some((name, version)) => (name, Some(version.to_owned())),
        None => (target, None),
    };
    (format!("/v1/plugins/{}/{route}", escaped(name)), version)
}

/// `?a=b&c=d`, of what is there.
fn query<const COUNT: usize>(parameters: [(&str, Option<String>); COUNT]) -> String {
    let mut text = String::new();
    for (name, value) in parameters.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        let sign = if text.is_empty() { '?' } else { '&' };
        text += &format!("{sign}{name}={}", escaped(&value));
    }
    text
}

// === words that all share ===

fn text(document: &Value, member: &str) -> String {
    printable(document[member].as_str().unwrap_or_default())
}

fn number(document: &Value, member: &str) -> usize {
    document[member].as_u64().map_or(0, |number| usize::try_from(number).unwrap_or(usize::MAX))
}

fn items<'d>(document: &'d Value, member: &str) -> &'d [Value] {
    document[member].as_array().map_or(&[], Vec::as_slice)
}

fn state(state: &str) -> Cell {
    let paint = match state {
        "ok" => Paint::Good,
        "warn" => Paint::Warning,
        "alert" => Paint::Bad,
        _ => Paint::Dim,
    };
    Cell::new(paint, state)
}

/// A score or a p-value: three digits are all that they are worth. What is not known is no 0.
fn score(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(0.0) => "0".to_owned(),
        Some(small) if small.abs() < 0.001 => format!("{small:.0e}"),
        Some(value) if value.abs() < 10.0 => format!("{value:.3}"),
        Some(value) => format!("{value:.1}"),
    }
}

fn percent(share: Option<f64>) -> String {
    match share {
        None => "-".to_owned(),
        Some(share) if share <= 0.0 => "0 %".to_owned(),
        Some(share) if share < 0.000_5 => "<0.1 %".to_owned(),
        Some(share) if share < 0.099_5 => format!("{:.1} %", share * 100.0),
        Some(share) => format!("{:.0} %", share * 100.0),
    }
}

/// Enough of an id to tell it from others, for people.
fn short_id(id: &str) -> String {
    printable(&id.chars().take("sha256:".len() + 12).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_have_three_digits_and_what_is_unknown_is_no_zero() {
        for (value, shown) in [
            (None, "-"),
            (Some(0.0), "0"),
            (Some(3.21e-10), "3e-10"),
            (Some(0.312_4), "0.312"),
            (Some(1.0), "1.000"),
            (Some(12.34), "12.3"),
        ] {
            assert_eq!(score(value), shown);
        }
        for (share, shown) in [
            (None, "-"),
            (Some(0.0), "0 %"),
            (Some(0.000_1), "<0.1 %"),
            (Some(0.012), "1.2 %"),
            (Some(0.995), "100 %"),
        ] {
            assert_eq!(percent(share), shown);
        }
    }

    #[test]
    fn a_name_is_no_way_to_another_route() {
        let (path, version) = path_of("../x?y@1.0.0+b", "drift");
        assert_eq!((path.as_str(), version.as_deref()), ("/v1/plugins/..%2Fx%3Fy/drift", Some("1.0.0+b")));
        assert_eq!(query([("a", None), ("b", Some("1&2".into())), ("c", Some("d".into()))]), "?b=1%262&c=d");
    }
}
