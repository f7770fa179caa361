//! What a node says over HTTP.

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;
use ureq::{Body, RequestBuilder, http::Response};

use super::super::nodes::ANSWER_TIME_MAX;
use crate::status::Status;

/// Sixty-two links take some 60 kB, and what they remember of keys that every region has counted on up to 40 MB; more than this
/// is not a status.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// Why there is no status.
#[derive(Debug, Error)]
pub(crate) enum FetchError {
    #[error("it wants admin.token as a bearer token (--token-file)")]
    Unauthorized,
    #[error("{0}")]
    Conflict(String),
    #[error("it answered with HTTP status {0}")]
    Refused(u16),
    #[error("nothing came within {0:?}: is the process frozen, or the network broken?")]
    Silent(Duration),
    #[error("{0}")]
    Unreachable(ureq::Error),
    #[error("its answer is not understood: {0}")]
    Unreadable(ureq::Error),
}

/// Asks the admin port at `address` ("host:port") for the status once. Blocks for `limit` at most.
pub(crate) fn fetch(
    address: &str,
    token: Option<&str>,
    limit: Duration,
) -> Result<Status, FetchError> {
    let request = agent(limit).get(format!("http://{address}/status"));
    match authorized(request, token).call() {
        Err(ureq::Error::Timeout(_)) => Err(FetchError::Silent(limit)),
        answer => read(answer),
    }
}

/// Asks the admin port for what is at `path`.
pub(crate) fn fetch_json<T: DeserializeOwned>(
    address: &str,
    path: &str,
    token: Option<&str>,
) -> Result<T, FetchError> {
    let request = agent(ANSWER_TIME_MAX).get(format!("http://{address}{path}"));
    read(authorized(request, token).call())
}

/// Has the admin port change something.
pub(crate) fn post_json<T: DeserializeOwned>(
    address: &str,
    path: &str,
    token: Option<&str>,
    change: &impl Serialize,
) -> Result<T, FetchError> {
    let request = agent(ANSWER_TIME_MAX).post(format!("http://{address}{path}"));
    read(authorized(request, token).send_json(change))
}

fn agent(limit: Duration) -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(limit))
        .http_status_as_error(false)
        .proxy(None)
        .build()
        .into()
}

fn authorized<B>(request: RequestBuilder<B>, token: Option<&str>) -> RequestBuilder<B> {
    match token {
        Some(token) => request.header("authorization", format!("Bearer {token}")),
        None => request,
    }
}

fn read<T: DeserializeOwned>(answer: Result<Response<Body>, ureq::Error>) -> Result<T, FetchError> {
    let mut answer = answer.map_err(FetchError::Unreachable)?;
    let code = answer.status().as_u16();
    let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX);
    match code {
        200 => body.read_json().map_err(FetchError::Unreadable),
        401 => Err(FetchError::Unauthorized),
        409 => {
            let reason = body.read_to_string().map_err(FetchError::Unreadable)?;
            Err(FetchError::Conflict(reason))
        }
        code => Err(FetchError::Refused(code)),
    }
}
