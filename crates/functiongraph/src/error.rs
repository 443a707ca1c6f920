//! The error of a request without an answer: either certainly nothing was sent, or something may have been.

use std::error::Error;
use std::time::Duration;

use crate::text::Clean;

/// Characters of a cause that are kept. A certificate can make a cause long.
const MAX_CAUSE: usize = 256;

/// Why a request ended without a status. Holds the innermost cause as a short text without secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// No byte of the request was written: the name did not resolve, the connection was refused, the TLS handshake
    /// failed, or the request could not be built.
    #[error("nothing was sent: {0}")]
    NotSent(String),
    /// Bytes may have been written, and the result is unknown.
    #[error("no answer, but the request may have been sent: {0}")]
    Interrupted(String),
    /// No answer within the time that the caller allows. Bytes may have been written, and the result is unknown.
    #[error("{0}, but the request may have been sent")]
    TimedOut(String),
}

// === impl SendError ===

impl SendError {
    /// Classifies an error of the HTTP library.
    ///
    /// `NotSent` must be certain. These facts come from the sources of reqwest 0.13.5, hyper-util 0.1.21 and hyper
    /// 1.12:
    /// * reqwest's `is_connect()` is true exactly if the chain holds a `hyper_util::client::legacy::Error` of kind
    ///   `Connect`. hyper-util creates that kind only in `connection_for` (name, TCP, TLS, the connect timeout around
    ///   them, or no pooled connection), before it hands the request to a connection.
    /// * reqwest's `is_request()` says nothing, because every error of hyper-util is wrapped in that kind.
    ///   `is_builder()` is raised before the request reaches hyper-util.
    /// * hyper-util itself retries in one case: `send_request` loops when a *reused* connection turns out to be dead
    ///   and returns the request. hyper returns it only while it waits unopened in the connection's queue. Once hyper
    ///   has taken it out to write it, the error carries no message and ends the loop. So a request is never written
    ///   twice, and an error of kind `Connect` from a later iteration still means that nothing was sent.
    /// * reqwest's retry layer and redirects are on top of this. The client switches both off.
    ///
    /// Other kinds of hyper-util also mean "not written", for example a fresh connection that dies before it takes
    /// the request. They are not visible from outside, so they count as interrupted.
    pub(crate) fn from_http(error: &reqwest::Error, through_proxy: bool) -> Self {
        let cause = innermost(error);
        match error.url().and_then(reqwest::Url::host_str) {
            Some(host) if error.is_connect() && !cause.starts_with(NO_TUNNEL) => {
                // A proxy that is silent ends in the timeout around the whole connection, which does not name it.
                let way = if through_proxy { " through the proxy" } else { "" };
                Self::NotSent(format!("no connection to {host}{way}: {cause}"))
            }
            _ if error.is_connect() || error.is_builder() => Self::NotSent(cause),
            _ => Self::Interrupted(cause),
        }
    }

    /// A request that could not be built.
    pub(crate) fn not_built(error: &(dyn Error + 'static)) -> Self {
        Self::NotSent(innermost(error))
    }

    /// No status within the time allowed.
    pub(crate) fn timeout(limit: Duration) -> Self {
        Self::TimedOut(format!("no answer within {limit:?}"))
    }

    /// The innermost cause, for example `no connection to localhost: Connection refused (os error 111)`.
    #[must_use]
    pub fn cause(&self) -> &str {
        match self {
            Self::NotSent(cause) | Self::Interrupted(cause) | Self::TimedOut(cause) => cause,
        }
    }
}

/// How errors of the tunnel through a proxy begin. Their type is not public.
const TUNNEL: &str = "tunnel error: ";

/// How their causes begin here.
const NO_TUNNEL: &str = "the proxy opened no tunnel";

/// The text of the last error of a chain. The outer errors hold the URL and add little, except for that of a proxy.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let (mut last, mut through_proxy) = (error, false);
    while let Some(source) = last.source() {
        last = source;
        through_proxy |= last.to_string().starts_with(TUNNEL);
    }
    let text = last.to_string();
    let text = match text.strip_prefix(TUNNEL).unwrap_or(&text) {
        text if through_proxy => format!("{NO_TUNNEL}: {text}"),
        text => text.to_owned(),
    };
    // The server chooses the names in its certificate.
    Clean::line(&text).chars().take(MAX_CAUSE).collect()
}
