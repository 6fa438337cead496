//! How calls are shared among versions: today the highest that fits gets them all. Pure.

use std::borrow::Borrow;

use semver::VersionReq;

use super::{Body, Deployment};
use crate::model::error::InvokeError;
use crate::model::kind::ErrorKind;

/// At most so many names stand in a message.
const NAMED_MAX: usize = 5;

/// The highest version that fits what the caller asked and what the operator allows. A pre-release is taken
/// only if a range names it (the rule of `semver::VersionReq`).
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
        if matches!(deployment.body, Body::Disabled) {
            return false;
        }
        match (asked, allowed) {
            (Some(asked), None) => fits(Some(asked), deployment),
            (Some(asked), Some(allowed)) => fits(Some(asked), deployment) && fits(Some(allowed), deployment),
            (None, allowed) => fits(allowed, deployment),
        }
    };
    newest_first.iter().find(candidate).ok_or_else(|| {
        let there: Vec<String> = newest_first
            .iter()
            .take(NAMED_MAX)
            .map(|deployment| deployment.borrow().manifest.version.to_string())
            .collect();
        let wanted = asked.or(allowed).map_or_else(|| "a release".to_owned(), |range| format!("{range}"));
        let message = format!("no version of {name} fits {wanted}; registered: {}", there.join(", "));
        InvokeError::new(ErrorKind::NotFound, message)
    })
}

/// What a caller writes after `@`: a whole version means exactly that one, anything else is a range.
pub fn parse_range(text: &str) -> Result<VersionReq, semver::Error> {
    match semver::Version::parse(text) {
        Ok(_) => VersionReq::parse(&format!("={text}")),
        Err(_) => VersionReq::parse(text),
    }
}
