//! The client of one endpoint of the service.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::answer::{Answer, Form};
use crate::credentials::Credential;
use crate::endpoint::Endpoint;
use crate::error::SendError;
use crate::invocation::Invocation;
use crate::request::Draft;
use crate::transport::{Seen, Transport};
use crate::urn::FunctionUrn;

pub use crate::transport::{BuildError, ClientOptions, TlsError};

/// A client for one endpoint. Clones are cheap and share their connections.
///
/// # Guarantees
/// * A call writes its request at most once: no retries, no redirects, no proxy (whatever the environment says).
/// * Once a status has been seen it is reported, even if the rest of the answer is cut, endless or late.
/// * Memory per call is bounded: 100 headers in less than 1 MiB (the HTTP library's limits), 64 KiB of body (256 KiB
///   of a function's result or of a page of records), no decompression.
/// * TLS 1.2 or newer, verified; HTTP/1.1.
#[derive(Clone)]
pub struct Client {
    transport: Transport,
    endpoint: Arc<Endpoint>,
}

impl Client {
    /// A client for `endpoint`. Reads the system's certificate authorities, and so a file or a folder.
    ///
    /// # Errors
    /// The CA bundle holds no readable certificate, the endpoint is an address in a refused network, or the user agent
    /// cannot stand in a header.
    pub fn new(endpoint: Endpoint, options: ClientOptions) -> Result<Self, BuildError> {
        Ok(Self { transport: Transport::new(&endpoint, options)?, endpoint: Arc::new(endpoint) })
    }

    /// Where this client sends to.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Sends one event to a function.
    ///
    /// `signed_at` is the current time; the service refuses a signature more than 15 minutes old. `timeout` bounds the
    /// whole exchange; give more than the connect timeout, or a server that cannot be reached counts as interrupted.
    /// Secrets of the credential that the answer repeats are left out of it. Needs a Tokio runtime with time and
    /// network.
    ///
    /// # Errors
    /// There is no status: [`SendError::NotSent`] if it is certain that no byte of the request was written,
    /// [`SendError::Interrupted`] otherwise. A refusal by the service is an [`Answer`].
    pub async fn invoke(
        &self,
        invocation: Invocation<'_>,
        credential: &Credential,
        signed_at: Timestamp,
        timeout: Duration,
    ) -> Result<Answer, SendError> {
        let form = Form::of(invocation.kind, invocation.protocol);
        let urn = invocation.urn;
        let call = Call { urn, credential, signed_at, timeout };
        let seen = self.send(call, invocation.draft(), form.cap()).await?;
        Ok(Answer::read(form, &seen, |text| credential.scrub(text)))
    }

    /// Sends what a call asks for, and reads up to `cap` bytes of the answer's body.
    async fn send(&self, call: Call<'_>, draft: Draft, cap: usize) -> Result<Seen, SendError> {
        let Call { urn, credential, signed_at, timeout } = call;
        let request = draft.finish(&self.endpoint, urn.project_id(), credential, signed_at);
        self.transport.send(request, timeout, cap).await
    }
}

/// What all calls have in common.
#[derive(Clone, Copy)]
struct Call<'a> {
    urn: &'a FunctionUrn,
    credential: &'a Credential,
    signed_at: Timestamp,
    timeout: Duration,
}

/// Says where it sends to, and nothing of what passed through it.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}
