//! The outside world on the Kubernetes side: every call to the API server is made from here.

use crate::api::names::is_object_name;
use activity::Activity;
use http_body_util::BodyExt;
use kube::client::ClientBuilder;
use kube::{Api, Client, Config};
use pages::Pages;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use time::ServerTime;
use tower::util::MapResponseLayer;

pub mod activity;
pub mod events;
mod fit;
pub mod namespaces;
pub mod ownership;
pub mod pages;
pub mod payload;
pub mod preflight;
pub mod providers;
pub mod requests;
pub mod reviews;
pub mod scope;
pub mod secrets;
pub mod status;
pub mod time;
pub mod tokens;

/// No single call to the API server may take longer. A write that takes longer than this is looked up
/// rather than waited for.
const CALL: Duration = Duration::from_secs(15);

/// How long one request for a watch lasts, in seconds: then the API server ends it, also where nothing has happened, and
/// it is made again. Bookmarks would not do: none comes while nothing changes.
pub const WATCH_SECONDS: u32 = 60;

/// What receives nothing for this long is dead, a watch or a list. A little longer than a watch lasts, and than an API
/// server takes for a list; kube-runtime gives up a silent watch a second later, and would not say so.
pub const WATCH_TIMEOUT: Duration = Duration::from_secs(64);

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

/// The clients, and the clock: watches may be silent for a minute, everything else may not.
#[derive(Clone)]
pub struct Clients {
    /// For all calls but lists and watches: bounded in time and number, and never repeated behind our back, because
    /// a repeated claim is answered 409 by its own first write.
    pub calls: Client,
    /// The API server's clock, as its answers tell it.
    pub time: Arc<ServerTime>,
    watching: Config,
}

impl Clients {
    /// Builds them from one configuration.
    ///
    /// # Errors
    /// When the configuration cannot be used, for example a certificate that cannot be read.
    pub fn new(mut config: Config) -> Result<Self, kube::Error> {
        config.default_retry = false;
        config.connect_timeout = Some(Duration::from_secs(5));
        config.write_timeout = Some(CALL);
        // A connection that was idle for long gives the next request the whole time again.
        config.reset_reader_on_write = true;
        let mut watching = config.clone();
        watching.read_timeout = Some(WATCH_TIMEOUT);
        config.read_timeout = Some(CALL);
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
        Ok(Self { calls, time, watching })
    }

    /// A client for the lists of one watch and the watch itself: whatever it waits for ends after [`WATCH_TIMEOUT`]
    /// without a byte, and pages of lists are small. It notes in `activity` what comes.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn watch(&self, activity: &Activity) -> Result<Client, kube::Error> {
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
        let builder = ClientBuilder::try_from(self.watching.clone())?;
        let builder = builder.with_layer(&noting).with_layer(&tower::buffer::BufferLayer::new(4));
        Ok(builder.with_layer(&tower::layer::layer_fn(Pages::before)).build())
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
