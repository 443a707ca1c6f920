//! All calls to the API server, and the values that they return.

use crate::api::names::is_object_name;
use activity::Activity;
use http_body_util::BodyExt;
use kube::client::{Body, ClientBuilder, DynBody};
use kube::{Api, Client, Config};
use pages::Pages;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use time::ServerTime;
use tower::BoxError;
use tower::util::{BoxService, MapResponseLayer};

pub(crate) mod activity;
pub(crate) mod events;
mod fit;
pub(crate) mod leases;
pub(crate) mod namespaces;
pub mod ownership;
pub(crate) mod pages;
pub mod payload;
pub(crate) mod preflight;
pub(crate) mod providers;
pub(crate) mod requests;
pub(crate) mod reviews;
pub(crate) mod scope;
pub(crate) mod secrets;
pub(crate) mod status;
pub(crate) mod time;
pub(crate) mod tokens;

/// Timeout of a single call to the API server. After it, a write is looked up instead of awaited.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// Duration of one watch request, in seconds. Then the API server ends it even if nothing has changed, and the
/// operator repeats it. Bookmarks cannot replace this: none is sent while nothing changes.
pub(crate) const WATCH_SECONDS: u32 = 60;

/// Read timeout of a watch or a list. A little longer than a watch request, and than an API server needs for a list.
/// kube-runtime gives up a silent watch a second later, but without an error.
pub(crate) const WATCH_TIMEOUT: Duration = Duration::from_secs(64);

/// Maximum number of concurrent calls to the API server. About thirty connections saturate two cores of it with
/// writes; more only lengthen its queues.
const MAX_CALLS: usize = 64;

/// A failed call to the API server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// No answer in time; a write may have happened nevertheless.
    #[error("the API server did not answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// No connection, or an error as the answer.
    #[error("the request to the API server failed")]
    Call(#[source] kube::Error),
    /// The object lacks a field that every stored object has.
    #[error("the object has no {0}")]
    Incomplete(&'static str),
}

/// The causes of an error down to the first, as one text. A text that only repeats the one before is left out.
pub(crate) fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    for cause in std::iter::successors(error.source(), |cause| cause.source()) {
        match cause.downcast_ref::<kube::Error>() {
            // Its own text is a dump of the whole answer.
            Some(kube::Error::Api(status)) => {
                texts.push(format!("{} {}", status.code, status.message));
                break;
            }
            // Its own text is that of the next cause.
            Some(kube::Error::Service(_)) => {}
            _ => texts.push(cause.to_string()),
        }
    }
    texts.dedup_by(|next, text| text.contains(next.as_str()));
    texts.join(": ")
}

pub(crate) fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    match causes(error) {
        causes if causes.is_empty() => error.to_string(),
        causes => format!("{error}: {causes}"),
    }
}

impl Error {
    /// Whether the API server answered that the operator lacks a permission.
    pub fn is_forbidden(&self) -> bool {
        answer(self).is_some_and(kube::core::Status::is_forbidden)
    }

    /// Whether the API server refused the request, and will again: a permission is missing, a policy or a quota is against it,
    /// or the namespace does not exist.
    pub fn is_refusal(&self) -> bool {
        answer(self).is_some_and(|status| {
            (400..500).contains(&status.code) && ![408, 409, 429].contains(&status.code)
        })
    }

    /// Whether there was no connection to the API server, or it broke.
    #[must_use]
    pub fn is_disconnected(&self) -> bool {
        matches!(self, Self::Call(_)) && answer(self).is_none()
    }
}

/// The clients and the clock. Only watches may be silent for a minute.
#[derive(Clone)]
pub struct Clients {
    /// For all calls except lists and watches: bounded in time and number, and never retried by the library, because
    /// a repeated claim would conflict with its own first write.
    pub calls: Client,
    pub(crate) time: Arc<ServerTime>,
    connect: Arc<Connect>,
}

/// Connections to the API server, as the layers of a client see them.
pub type Connections = BoxService<http::Request<Body>, http::Response<Box<DynBody>>, BoxError>;

/// Makes connections with this read timeout.
type Connect = dyn Fn(Duration) -> Result<ClientBuilder<Connections>, kube::Error> + Send + Sync;

impl Clients {
    /// Builds the clients from one configuration.
    pub fn new(mut config: Config) -> Result<Self, kube::Error> {
        config.default_retry = false;
        config.connect_timeout = Some(Duration::from_secs(5));
        config.write_timeout = Some(CALL_TIMEOUT);
        // A new connection gives the next request its full timeout.
        config.reset_reader_on_write = true;
        Self::over(move |read_timeout| {
            let mut config = config.clone();
            config.read_timeout = Some(read_timeout);
            ClientBuilder::try_from(config)
        })
    }

    /// Builds the clients over connections that `connect` makes with a read timeout.
    pub fn over(
        connect: impl Fn(Duration) -> Result<ClientBuilder<Connections>, kube::Error> + Send + Sync + 'static,
    ) -> Result<Self, kube::Error> {
        let time = Arc::new(ServerTime::default());
        let reader = Arc::clone(&time);
        let calls = connect(CALL_TIMEOUT)?
            .with_layer(&MapResponseLayer::new(move |answer: http::Response<_>| {
                reader.read(answer.headers());
                answer
            }))
            .with_layer(&tower::buffer::BufferLayer::new(1024))
            .with_layer(&tower::limit::ConcurrencyLimitLayer::new(MAX_CALLS))
            .build();
        Ok(Self { calls, time, connect: Arc::new(connect) })
    }

    /// A client for one watch and its lists. Every wait ends after [`WATCH_TIMEOUT`] without a byte, and pages of
    /// lists are small. The client notes received bytes in `activity`.
    pub(crate) fn watch(&self, activity: &Activity) -> Result<Client, kube::Error> {
        let activity = activity.clone();
        let noting = MapResponseLayer::new(move |answer: http::Response<_>| {
            activity.answered(answer.status().is_success());
            answer.map(|body| {
                BodyExt::map_frame(body, move |frame| {
                    activity.note();
                    frame
                })
            })
        });
        let builder = (self.connect)(WATCH_TIMEOUT)?;
        let builder = builder.with_layer(&noting).with_layer(&tower::buffer::BufferLayer::new(4));
        Ok(builder.with_layer(&tower::layer::layer_fn(Pages::before)).build())
    }
}

/// Runs one call with the common timeout.
async fn bounded<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Error> {
    bounded_by(CALL_TIMEOUT, call).await
}

/// Runs one call with a timeout of its own.
async fn bounded_by<T>(
    timeout: Duration,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(timeout, call).await {
        Ok(result) => result.map_err(Error::Call),
        Err(_) => Err(Error::Timeout(timeout)),
    }
}

/// The API server's message, if it answered.
fn answer(error: &Error) -> Option<&kube::core::Status> {
    match error {
        Error::Call(kube::Error::Api(status)) => Some(status),
        Error::Call(_) | Error::Timeout(_) | Error::Incomplete(_) => None,
    }
}

/// The object of that name; `None` if it does not exist. An invalid name is `None` too, because it would be another
/// path.
async fn named<K>(api: &Api<K>, name: &str) -> Result<Option<K>, Error>
where
    K: Clone + DeserializeOwned + Debug,
{
    if !is_object_name(name) {
        return Ok(None);
    }
    found(bounded(api.get(name)).await)
}

/// Turns the API server's own "not found" into `None`. A 404 of a proxy is an error.
fn found<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(object) => Ok(Some(object)),
        Err(error) if answer(&error).is_some_and(kube::core::Status::is_not_found) => Ok(None),
        Err(error) => Err(error),
    }
}
