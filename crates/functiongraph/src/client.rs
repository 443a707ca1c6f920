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

pub use crate::transport::{BuildError, ClientOptions, LoadCaBundle, TlsError};

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
    /// A client for `endpoint`. The first of a process reads the system's
    /// certificate authorities, and so a file or a folder.
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
    /// A text of the answer that repeats something of the credential or of the signature is withheld. Needs a Tokio runtime with time and
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
        let (seen, shown) = self.send(call, invocation.draft(), form.cap()).await?;
        Ok(Answer::read(form, &seen, &shown))
    }

    /// Asks whether the service lets this credential in, by a call that changes nothing: it lists one function of a
    /// project. [`Answer::verdict_of_call`] says what the answer means.
    ///
    /// Time and credential as in [`invoke`](Self::invoke). Both editions of the API know this call.
    ///
    /// # Caveats
    /// A credential that may only invoke is let in and answered 403. The gateway may refuse with 429 before it looks at
    /// a credential, and an address that it does not know with 404 and `APIG.0101`.
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

    /// Lists records of asynchronous invocations of a function, newest or oldest first as the service likes.
    ///
    /// Time and credential as in [`invoke`](Self::invoke). API v2, which is the only one that knows this call.
    ///
    /// # Caveats
    /// No document says how long records are kept, nor how soon after the invocation they are there: a missing one
    /// means nothing. Ask with the URN that was invoked.
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

    /// Asks for the end of an asynchronous invocation. [`Answer::is_success`] says whether it was granted.
    ///
    /// Time and credential as in [`invoke`](Self::invoke). API v2, which is the only one that knows this call.
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

    /// Reads how the service treats asynchronous invocations of a function.
    ///
    /// Time and credential as in [`invoke`](Self::invoke). API v2, which is the only one that knows this call.
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

    /// Reads what a function is allowed to take: among other things, whether it is switched off.
    ///
    /// Time and credential as in [`invoke`](Self::invoke). API v2, which is the only one that knows this call.
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

    /// Sends what a call asks for, and reads up to `cap` bytes of the answer's body.
    async fn send(&self, call: Call<'_>, draft: Draft, cap: usize) -> Result<(Seen, Shown), SendError> {
        let Call { urn, credential, signed_at, timeout } = call;
        let request = draft.finish(&self.endpoint, Some(urn.project_id()), credential, signed_at);
        self.exchange(request, credential, signed_at, timeout, cap).await
    }

    /// Sends a request, and says what it showed beside what was seen.
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
        // The date of a page is evidence, and only the service's own will do.
        if seen.status != 200 {
            retry_after::measure_from(&mut seen.headers, signed_at);
        }
        Ok((seen, shown))
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
