//! A node's status over HTTP.

use std::time::Duration;

use thiserror::Error;

use crate::status::Status;

/// Sixty-two links take some 60 kB; more than this is not a status.
const STATUS_BYTES_MAX: u64 = 4 << 20;

/// Why there is no status.
#[derive(Debug, Error)]
pub(crate) enum FetchError {
    #[error("it wants admin.token as a bearer token (--token-file)")]
    Unauthorized,
    #[error("it answered with HTTP status {0}")]
    Refused(u16),
    #[error("{0}")]
    Unreachable(ureq::Error),
    #[error("its answer is not a status: {0}")]
    Unreadable(ureq::Error),
}

/// Asks the admin port at `address` ("host:port") once. Blocks for `limit` at most.
pub(crate) fn fetch(
    address: &str,
    token: Option<&str>,
    limit: Duration,
) -> Result<Status, FetchError> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(limit))
        .http_status_as_error(false)
        .proxy(None)
        .build()
        .into();
    let mut request = agent.get(format!("http://{address}/status"));
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let mut answer = request.call().map_err(FetchError::Unreachable)?;
    match answer.status().as_u16() {
        200 => answer
            .body_mut()
            .with_config()
            .limit(STATUS_BYTES_MAX)
            .read_json()
            .map_err(FetchError::Unreadable),
        401 => Err(FetchError::Unauthorized),
        code => Err(FetchError::Refused(code)),
    }
}
