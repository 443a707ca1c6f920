//! Sends the JSON of a login once, and returns only a success.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE, HOST};
use http::request::Builder;
use secrecy::SecretString;

use crate::error::SendError;
use crate::text::Shown;
use crate::transport::{Seen, Transport};

use super::{LoginError, read};

/// Bytes of an answer that are read: a token of a project may come with the project's list of services, which has
/// tens of kilobytes.
const MAX_ANSWER: usize = 256 * 1024;

/// Content type of every body, as the service's documents and its SDKs write it.
const JSON: &str = "application/json;charset=UTF-8";

/// The beginning of a request with a JSON body.
pub(super) fn post(url: String, authority: String) -> Builder {
    plain(Request::post(url), authority).header(CONTENT_TYPE, JSON)
}

/// Headers that every request has.
pub(super) fn plain(request: Builder, authority: String) -> Builder {
    // A compressed answer could be a decompression bomb.
    request.header(HOST, authority).header(ACCEPT_ENCODING, "identity")
}

/// Sends a request once. An error status becomes an error without `secrets` in its texts.
pub(super) async fn ask(
    transport: &Transport,
    request: Result<Request<Bytes>, http::Error>,
    secrets: &[&SecretString],
    timeout: Duration,
) -> Result<Seen, LoginError> {
    let request = request.map_err(|error| SendError::not_built(&error))?;
    let shown = Shown::secrets(secrets.iter().copied()).and_signature(&request);
    read::success(transport.send(request, timeout, MAX_ANSWER).await?, &shown)
}

/// Sends a request once, and returns any answer.
pub(super) async fn ask_for_any(
    transport: &Transport,
    request: Result<Request<Bytes>, http::Error>,
    timeout: Duration,
) -> Result<Seen, LoginError> {
    let request = request.map_err(|error| SendError::not_built(&error))?;
    Ok(transport.send(request, timeout, MAX_ANSWER).await?)
}
