//! The client of one endpoint of the service.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use jiff::Timestamp;

use crate::answer::{Answer, Form, MAX_BODY, retry_after};
use crate::credentials::Credential;
use crate::endpoint::Endpoint;
use crate::error::SendError;
use crate::invocation::{CancelType, Invocation, Protocol};
use crate::records::{ListQuery, Listed, MAX_PAGE, Page};
use crate::request::Draft;
use crate::settings::{AsyncInvokeConfig, Fetched, FunctionConfig, Settings};
use crate::text::Shown;
use crate::transport::{Seen, Transport};
use crate::urn::FunctionUrn;

pub use crate::options::{BuildError, Carried, Carrier, ClientOptions, LoadCaBundle};
pub use crate::tls::TlsError;
pub use crate::transport::KeptClient;

/// A client for one endpoint. Clones are cheap and share their connections.
///
/// # Guarantees
/// * A call writes its request at most once: no retries, no redirects, no proxy (whatever the environment says).
/// * If a status arrives, you get it, even if the rest of the answer is cut, endless or late.
/// * Memory per call is bounded: 100 headers in less than 1 MiB (the HTTP library's limits), 64 KiB of body (256 KiB
///   of a function's result or of a page of records), no decompression.
/// * TLS 1.2 or newer, verified; HTTP/1.1.
#[derive(Clone)]
pub struct Client {
    transport: Transport,
    endpoint: Arc<Endpoint>,
}

impl Client {
    /// A client for `endpoint`. The first client of a process reads the system's certificate authorities from disk.
    ///
    /// # Errors
    /// The CA bundle holds no readable certificate, the endpoint is an address in a refused network, or the user
    /// agent is not a valid header value.
    pub fn new(endpoint: Endpoint, options: ClientOptions) -> Result<Self, BuildError> {
        Ok(Self { transport: Transport::new(&endpoint, options)?, endpoint: Arc::new(endpoint) })
    }

    /// Gets everything ready that a request needs, and keeps it in memory as long as the value that it returns. Requests
    /// meanwhile fail for reasons of the endpoint only.
    ///
    /// # Errors
    /// The CA bundle cannot be read again.
    pub async fn keep(&self) -> Result<KeptClient, SendError> {
        self.transport.keep().await
    }

    /// The endpoint of this client.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Sends one event to a function.
    ///
    /// `signed_at` is the current time; the service refuses a signature more than 15 minutes old. `timeout` bounds
    /// the whole exchange. Make it longer than the connect timeout, or an unreachable server counts as interrupted. A
    /// text in the answer that repeats a part of the credential or of the signature is withheld. Needs a Tokio
    /// runtime with time and network.
    ///
    /// # Errors
    /// There is no status. [`SendError::NotSent`] if certainly no byte of the request was written, otherwise
    /// [`SendError::Interrupted`] or [`SendError::TimedOut`]. A refusal by the service is an [`Answer`].
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
        let (seen, shown) = self.send(call, invocation.draft(), form.cap()).await?;
        Ok(Answer::read(form, &seen, &shown))
    }

    /// Checks whether the service accepts this credential, with a call that changes nothing: it lists one function of
    /// a project. [`Answer::verdict_of_call`] classifies the answer.
    ///
    /// Time and credential as in [`invoke`](Self::invoke). Both API editions have this call.
    ///
    /// # Caveats
    /// A credential that may only invoke gets 403, although it is valid. The gateway may answer 429 before it checks
    /// the credential, and 404 with `APIG.0101` for an unknown address.
    ///
    /// # Errors
    /// There is no status; see [`invoke`](Self::invoke).
    pub async fn check_credential(
        &self,
        project_id: &str,
        protocol: Protocol,
        credential: &Credential,
        signed_at: Timestamp,
        timeout: Duration,
    ) -> Result<Answer, SendError> {
        let query = [("marker", "0"), ("maxitems", "1")];
        let query = query.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let draft = Draft { query, ..Draft::new(Method::GET, protocol.functions(project_id)) };
        let request = draft.finish(&self.endpoint, Some(project_id), credential, signed_at);
        let (seen, shown) = self.exchange(request, credential, signed_at, timeout, MAX_BODY).await?;
        Ok(Answer::read(Form::Notice, &seen, &shown))
    }

    /// Lists records of asynchronous invocations of a function. The service does not document their order.
    ///
    /// Time and credential as in [`invoke`](Self::invoke). Only API v2 has this call.
    ///
    /// # Caveats
    /// No document says how long the service keeps records, nor how soon they appear: a missing record proves
    /// nothing. Use the same URN as for the invocation.
    ///
    /// # Errors
    /// There is no status; see [`invoke`](Self::invoke).
    pub async fn list_async_invocations(
        &self,
        urn: &FunctionUrn,
        query: &ListQuery,
        credential: &Credential,
        signed_at: Timestamp,
        timeout: Duration,
    ) -> Result<Listed, SendError> {
        let call = Call { urn, credential, signed_at, timeout };
        let (seen, shown) = self.send(call, query.draft(urn), MAX_PAGE).await?;
        let page = (seen.status == 200).then(|| Page::read(&seen.body, query.marker.as_deref(), &shown));
        Ok(match page.flatten() {
            Some(page) => Listed::Page(Page { date: retry_after::date_of(&seen.headers), ..page }),
            None => Listed::Answer(Answer::read(Form::Notice, &seen, &shown)),
        })
    }

    /// Cancels an asynchronous invocation. [`Answer::is_success`] says whether the service accepted that.
    ///
    /// Time and credential as in [`invoke`](Self::invoke). Only API v2 has this call.
    ///
    /// # Caveats
    /// Other invocations may end with it; see [`CancelType`].
    ///
    /// # Errors
    /// There is no status; see [`invoke`](Self::invoke).
    pub async fn cancel(
        &self,
        urn: &FunctionUrn,
        request_id: &str,
        how: CancelType,
        credential: &Credential,
        signed_at: Timestamp,
        timeout: Duration,
    ) -> Result<Answer, SendError> {
        let call = Call { urn, credential, signed_at, timeout };
        let (seen, shown) = self.send(call, how.draft(urn, request_id), MAX_BODY).await?;
        Ok(Answer::read(Form::Notice, &seen, &shown))
    }

    /// Reads the settings for asynchronous invocations of a function.
    ///
    /// Time and credential as in [`invoke`](Self::invoke). Only API v2 has this call.
    ///
    /// # Errors
    /// There is no status; see [`invoke`](Self::invoke).
    pub async fn async_invoke_config(
        &self,
        urn: &FunctionUrn,
        credential: &Credential,
        signed_at: Timestamp,
        timeout: Duration,
    ) -> Result<Fetched<AsyncInvokeConfig>, SendError> {
        self.fetch(Call { urn, credential, signed_at, timeout }).await
    }

    /// Reads the limits of a function, and whether it is switched off.
    ///
    /// Time and credential as in [`invoke`](Self::invoke). Only API v2 has this call.
    ///
    /// # Errors
    /// There is no status; see [`invoke`](Self::invoke).
    pub async fn function_config(
        &self,
        urn: &FunctionUrn,
        credential: &Credential,
        signed_at: Timestamp,
        timeout: Duration,
    ) -> Result<Fetched<FunctionConfig>, SendError> {
        self.fetch(Call { urn, credential, signed_at, timeout }).await
    }

    async fn fetch<T: Settings>(&self, call: Call<'_>) -> Result<Fetched<T>, SendError> {
        let (seen, shown) = self.send(call, T::draft(call.urn), MAX_BODY).await?;
        let fields = (seen.status == 200).then(|| serde_json::from_slice(&seen.body).ok());
        Ok(match fields.flatten() {
            Some(fields) => Fetched::Settings(T::read(&fields, &shown)),
            None => Fetched::Answer(Answer::read(Form::Notice, &seen, &shown)),
        })
    }

    /// Sends a call, and reads up to `cap` bytes of the answer's body.
    async fn send(&self, call: Call<'_>, draft: Draft, cap: usize) -> Result<(Seen, Shown), SendError> {
        let Call { urn, credential, signed_at, timeout } = call;
        let request = draft.finish(&self.endpoint, Some(urn.project_id()), credential, signed_at);
        self.exchange(request, credential, signed_at, timeout, cap).await
    }

    /// Sends a request. Also returns the secrets that the request held.
    async fn exchange(
        &self,
        request: Result<Request<Bytes>, http::Error>,
        credential: &Credential,
        signed_at: Timestamp,
        timeout: Duration,
        cap: usize,
    ) -> Result<(Seen, Shown), SendError> {
        let request = request.map_err(|error| SendError::not_built(&error))?;
        let shown = Shown::credential(credential).and_signature(&request);
        let mut seen = self.transport.send(request, timeout, cap).await?;
        // The date of a page is evidence, so only the service's own date counts.
        if seen.status != 200 {
            retry_after::measure_from(&mut seen.headers, signed_at);
        }
        Ok((seen, shown))
    }
}

/// Arguments that all calls share.
#[derive(Clone, Copy)]
struct Call<'a> {
    urn: &'a FunctionUrn,
    credential: &'a Credential,
    signed_at: Timestamp,
    timeout: Duration,
}

/// Shows only the endpoint.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}
