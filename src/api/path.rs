//! The variable parts of a path.

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::Problem;
use crate::model::error::InvokeError;
use crate::model::kind::ErrorKind;

/// As axum's `Path`, whose refusals are not problem documents. What no text spells names nothing: 404.
pub struct Named<T>(pub T);

impl<S, T> FromRequestParts<S> for Named<T>
where
    S: Send + Sync,
    T: DeserializeOwned + Send,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Named<T>, Problem> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(named)) => Ok(Named(named)),
            Err(_) => Err(InvokeError::new(ErrorKind::NotFound, "the path names nothing: it is not UTF-8")
                .help("percent-encode the bytes of UTF-8")
                .into()),
        }
    }
}
