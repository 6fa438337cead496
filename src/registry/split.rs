//! How calls are shared among versions: today the highest that fits and can be called gets them all. Pure.

use std::borrow::Borrow;

use semver::{Op, VersionReq};

use super::{Body, Deployment};
use crate::model::error::InvokeError;
use crate::model::kind::ErrorKind;

/// At most so many names stand in a message.
const NAMED_MAX: usize = 5;

/// The highest version that fits what the caller asked and what the operator allows; one that failed only if
/// nothing else fits. A pre-release is taken only if a range names it (the rule of `semver::VersionReq`), one
/// that is held back only by whoever names exactly it.
pub fn choose<'a, D: Borrow<Deployment>>(
    name: &str,
    newest_first: &'a [D],
    asked: Option<&VersionReq>,
    allowed: Option<&VersionReq>,
) -> Result<&'a D, InvokeError> {
    let fits = |range: Option<&VersionReq>, deployment: &Deployment| {
        let version = &deployment.manifest.version;
        range.map_or(version.pre.is_empty(), |range| range.matches(version))
    };
    if newest_first.is_empty() {
        return Err(InvokeError::new(ErrorKind::NotFound, format!("there is no plugin {name:?}"))
            .help("spanglass plugin list shows the registered ones"));
    }
    let candidate = |deployment: &&D| {
        let deployment = (*deployment).borrow();
        let exact = || asked.is_some_and(is_exact);
        if matches!(deployment.body, Body::Registered) || (deployment.is_held_back() && !exact()) {
            return false;
        }
        match (asked, allowed) {
            (Some(asked), None) => fits(Some(asked), deployment),
            (Some(asked), Some(allowed)) => fits(Some(asked), deployment) && fits(Some(allowed), deployment),
            (None, allowed) => fits(allowed, deployment),
        }
    };
    let mut fitting = newest_first.iter().filter(candidate);
    let first = fitting.next();
    let failed = |deployment: &D| matches!(deployment.borrow().body, Body::Failed { .. });
    let chosen = match first {
        Some(first) if failed(first) => fitting.find(|deployment| !failed(deployment)).or(Some(first)),
        first => first,
    };
    chosen.ok_or_else(|| {
        let there: Vec<String> = newest_first
            .iter()
            .take(NAMED_MAX)
            .map(|deployment| described(deployment.borrow(), allowed))
            .collect();
        let wanted = asked.or(allowed).map_or_else(|| "a release".to_owned(), |range| format!("{range}"));
        let message = format!("no version of {name} fits {wanted}; registered: {}", there.join(", "));
        InvokeError::new(ErrorKind::NotFound, message)
            .help(format!("spanglass plugin show {name} tells who took calls away, and why"))
    })
}

/// A version and what keeps calls from it.
fn described(deployment: &Deployment, allowed: Option<&VersionReq>) -> String {
    let version = &deployment.manifest.version;
    let shut_out = allowed.is_some_and(|allowed| !allowed.matches(version));
    match deployment.body {
        Body::Registered => format!("{version} (disabled)"),
        _ if shut_out => format!("{version} (not allowed by plugins.{}.version)", deployment.manifest.name),
        _ if deployment.is_held_back() => format!("{version} (rolled back)"),
        _ => version.to_string(),
    }
}

/// Whether a range names one version.
fn is_exact(range: &VersionReq) -> bool {
    matches!(range.comparators.as_slice(), [only] if only.op == Op::Exact && only.patch.is_some())
}

/// What a caller writes after `@`: a whole version means exactly that one, anything else is a range.
pub fn parse_range(text: &str) -> Result<VersionReq, semver::Error> {
    match semver::Version::parse(text) {
        Ok(_) => VersionReq::parse(&format!("={text}")),
        Err(_) => VersionReq::parse(text),
    }
}
