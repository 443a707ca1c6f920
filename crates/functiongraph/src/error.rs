//! What went wrong when there is no answer: was anything sent, or might it have been?

use std::error::Error;
use std::time::Duration;

use crate::text::Clean;

/// Characters of a cause that are kept; certificates can make it long.
const MAX_CAUSE: usize = 256;

/// Why an exchange ended without a status. Holds a short text with the innermost cause, free of secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Not a byte of the request was written: the name was not resolved, the connection refused, the TLS handshake
    /// failed, or the request could not be built.
    #[error("nothing was sent: {0}")]
    NotSent(String),
    /// Bytes may have been written, and nobody can tell what became of them.
    #[error("no answer after sending may have begun: {0}")]
    Interrupted(String),
}

// === impl SendError ===

impl SendError {
    /// Classifies an error of the HTTP library.
    ///
    /// The certainty behind `NotSent` was read out of the sources of reqwest 0.13.5, hyper-util 0.1.21 and hyper 1.12:
    /// * reqwest's `is_connect()` is true exactly if a `hyper_util::client::legacy::Error` of kind `Connect` is in the
    ///   chain. hyper-util makes that kind in `connection_for` only (name, TCP, TLS, the connect timeout around them,
    ///   or no pooled connection), and so before the request is handed to any connection.
    /// * reqwest's `is_request()` says nothing: every error of hyper-util is wrapped in that kind. `is_builder()` is
    ///   raised before the request reaches hyper-util.
    /// * Behind our back hyper-util does try again: `send_request` loops when a *reused* connection turns out to be
    ///   dead and hands the request back. hyper hands it back only while it is still unopened in the connection's
    ///   queue; once taken out to be written, the error carries no message and ends the loop. So a request is never
    ///   written twice, and an error of kind `Connect` from a later turn of the loop still means that nothing was
    ///   sent.
    /// * reqwest's retry layer and its redirects stand above all that; the client switches both off.
    ///
    /// hyper-util's other kinds that mean "not written" (a fresh connection that dies before it takes the request)
    /// cannot be told from outside, and count as interrupted.
    pub(crate) fn from_http(error: &reqwest::Error) -> Self {
        let cause = innermost(error);
        if error.is_connect() || error.is_builder() { Self::NotSent(cause) } else { Self::Interrupted(cause) }
    }

    /// A request that could not be built.
    pub(crate) fn not_built(error: &(dyn Error + 'static)) -> Self {
        Self::NotSent(innermost(error))
    }

    /// No status within the time allowed.
    pub(crate) fn timeout(limit: Duration) -> Self {
        Self::Interrupted(format!("no answer within {limit:?}"))
    }

    /// The innermost cause, for people: `Connection refused (os error 111)`.
    #[must_use]
    pub fn cause(&self) -> &str {
        match self {
            Self::NotSent(cause) | Self::Interrupted(cause) => cause,
        }
    }
}

/// The text of the last error of a chain. The outer ones hold the URL, and say little.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    // Names in a certificate are chosen by whoever answers.
    Clean::line(&last.to_string()).chars().take(MAX_CAUSE).collect()
}
