//! The outside world on the Kubernetes side: every call to the API server is made from here.

use crate::api::names::is_object_name;
use kube::client::ClientBuilder;
use kube::{Api, Client, Config};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use time::ServerTime;
use tower::util::MapResponseLayer;

pub mod events;
mod fit;
pub mod namespaces;
pub mod payload;
pub mod preflight;
pub mod providers;
pub mod requests;
pub mod secrets;
pub mod status;
pub mod time;
pub mod tokens;

/// No single call to the API server may take longer. A write that takes longer than this is looked up
/// rather than waited for.
const CALL: Duration = Duration::from_secs(15);

/// How many calls to the API server may be under way at once: it serves two cores' worth of writes from
/// some thirty connections, and more only lengthen its queues.
const CALLS: usize = 64;

/// A call to the API server that did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It did not answer in time; a write may have happened all the same.
    #[error("the API server did not answer within {} s", CALL.as_secs())]
    Timeout,
    /// It could not be reached, or answered with an error.
    #[error("the API server could not do it")]
    Call(#[source] kube::Error),
    /// The object lacks what every stored object has; nothing can be done with it.
    #[error("the object has no {0}")]
    Incomplete(&'static str),
}

impl Error {
    /// Whether the API server does not allow it.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        answer(self).is_some_and(kube::core::Status::is_forbidden)
    }
}

/// The two clients, and the clock: watches sit silent for minutes, everything else must not.
#[derive(Clone)]
pub struct Clients {
    /// For watches: no read timeout.
    pub watch: Client,
    /// For everything else: bounded in time and number, and never repeated behind our back, because a
    /// repeated claim is answered 409 by its own first write.
    pub calls: Client,
    /// The API server's clock, as its answers tell it.
    pub time: Arc<ServerTime>,
}

impl Clients {
    /// Builds both from one configuration.
    ///
    /// # Errors
    /// When the configuration cannot be used, for example a certificate that cannot be read.
    pub fn new(mut config: Config) -> Result<Self, kube::Error> {
        config.default_retry = false;
        config.connect_timeout = Some(Duration::from_secs(5));
        let mut watching = config.clone();
        watching.read_timeout = None;
        watching.write_timeout = None;
        config.read_timeout = Some(CALL);
        config.write_timeout = Some(CALL);
        config.reset_reader_on_write = true;
        let time = Arc::new(ServerTime::default());
        let reader = Arc::clone(&time);
        let calls = ClientBuilder::try_from(config)?
            .with_layer(&MapResponseLayer::new(move |answer: http::Response<_>| {
                reader.read(answer.headers());
                answer
            }))
            .with_layer(&tower::buffer::BufferLayer::new(1024))
            .with_layer(&tower::limit::ConcurrencyLimitLayer::new(CALLS))
            .build();
        Ok(Self { watch: Client::try_from(watching)?, calls, time })
    }
}

/// Runs one call under the common deadline.
async fn bounded<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Error> {
    match tokio::time::timeout(CALL, call).await {
        Ok(result) => result.map_err(Error::Call),
        Err(_) => Err(Error::Timeout),
    }
}

/// The API server's own words, if it answered at all.
fn answer(error: &Error) -> Option<&kube::core::Status> {
    match error {
        Error::Call(kube::Error::Api(status)) => Some(status),
        Error::Call(_) | Error::Timeout | Error::Incomplete(_) => None,
    }
}

/// The object of that name; `None` if there is none, or if nothing can have this name: it would be another path.
async fn named<K>(api: &Api<K>, name: &str) -> Result<Option<K>, Error>
where
    K: Clone + DeserializeOwned + Debug,
{
    if !is_object_name(name) {
        return Ok(None);
    }
    found(bounded(api.get(name)).await)
}

/// Turns the API server's own "not found" into `None`; a 404 of a proxy in between is an error.
fn found<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(object) => Ok(Some(object)),
        Err(error) if answer(&error).is_some_and(kube::core::Status::is_not_found) => Ok(None),
        Err(error) => Err(error),
    }
}
