//! How a watch reads existing objects: as a stream, one object at a time, or in small pages if the API server streams
//! no lists.

use crate::kubernetes::{WATCH_SECONDS, pages};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use kube::runtime::watcher;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use std::fmt::Debug;

type Events<K> = BoxStream<'static, watcher::Result<watcher::Event<K>>>;

/// A watch that starts with streamed lists.
struct Lists<K> {
    name: &'static str,
    events: Events<K>,
    /// The same watch with pages, until it is used.
    paged: Option<Events<K>>,
    /// Whether a streamed list has started and is not complete.
    listing: bool,
}

/// The events of a watch. Kubernetes 1.33 refuses streamed lists by default, 1.34 and later with
/// `--feature-gates=WatchList=false`.
pub fn watch<K>(
    api: Api<K>,
    name: &'static str,
    fields: &str,
) -> impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static + use<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let config = watcher::Config::default().fields(fields).timeout(WATCH_SECONDS);
    let paged = watcher(api.clone(), config.clone().page_size(pages::FIRST_PAGE_OBJECTS)).boxed();
    let events = watcher(api, config.streaming_lists()).boxed();
    let lists = Lists { name, events, paged: Some(paged), listing: false };
    stream::unfold(lists, |mut lists| async { Some((lists.next().await?, lists)) })
}

// === impl Lists ===

impl<K> Lists<K> {
    async fn next(&mut self) -> Option<watcher::Result<watcher::Event<K>>> {
        loop {
            let event = self.events.next().await?;
            if self.paged.is_none() {
                return Some(event);
            }
            let broke_off = self.listing;
            match &event {
                Ok(watcher::Event::Init) if !broke_off => self.listing = true,
                Ok(watcher::Event::InitDone) => self.listing = false,
                Ok(watcher::Event::Init) => self.turn_pages("a streamed list ended before it was complete"),
                Err(watcher::Error::WatchStartFailed(kube::Error::Api(status))) if status.is_invalid() => {
                    self.turn_pages("the API server does not stream lists");
                }
                // It may never become complete, for example because it takes longer than a watch request. Pages make
                // progress.
                Err(watcher::Error::WatchFailed(_) | watcher::Error::WatchError(_)) if broke_off => {
                    self.turn_pages("a streamed list broke off");
                    return Some(event);
                }
                Ok(_) | Err(_) => {}
            }
            if self.paged.is_some() {
                return Some(event);
            }
        }
    }

    /// Reads all further lists in pages.
    fn turn_pages(&mut self, reason: &'static str) {
        if let Some(paged) = self.paged.take() {
            tracing::info!(watch = self.name, reason, "reading lists in pages from now on");
            self.events = paged;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;
    use watcher::{Error, Event};

    /// Results of a streamed watch and of its paged version, as letters: `i` for the start of a list, an object's own
    /// letter, `.` for a complete list, `!` for an error.
    async fn seen(streamed: Vec<watcher::Result<Event<char>>>, paged: &str) -> String {
        let events = |events| stream::iter(events).boxed();
        let in_pages: Vec<_> = paged.chars().map(|letter| Ok(event(letter))).collect();
        let lists =
            Lists { name: "test", events: events(streamed), paged: Some(events(in_pages)), listing: false };
        let letters = stream::unfold(lists, |mut lists| async { Some((lists.next().await?, lists)) });
        let letter = |event| match event {
            Ok(Event::Init) => 'i',
            Ok(Event::InitDone) => '.',
            Ok(Event::InitApply(letter) | Event::Apply(letter) | Event::Delete(letter)) => letter,
            Err(_) => '!',
        };
        letters.map(letter).collect().await
    }

    fn event(letter: char) -> Event<char> {
        match letter {
            'i' => Event::Init,
            '.' => Event::InitDone,
            letter => Event::InitApply(letter),
        }
    }

    fn status(code: u16, reason: &str) -> Box<Status> {
        Status::failure("", reason).with_code(code).boxed()
    }

    fn refused(code: u16, reason: &str) -> Error {
        Error::WatchStartFailed(kube::Error::Api(status(code, reason)))
    }

    #[tokio::test]
    async fn a_streamed_list_that_is_refused_or_never_complete_is_read_in_pages() {
        let invalid = vec![Err(refused(422, "Invalid"))];
        assert_eq!(seen(invalid, "ip.").await, "ip.");
        let ended = vec![Ok(event('i')), Ok(event('s')), Ok(event('i'))];
        assert_eq!(seen(ended, "ip.").await, "isip.");
        let broken = vec![Ok(event('i')), Err(Error::WatchError(status(410, "Expired")))];
        assert_eq!(seen(broken, "ip.").await, "i!ip.");
    }

    #[tokio::test]
    async fn lists_stay_streamed_when_they_are_complete_or_cannot_begin_yet() {
        let later = vec![Err(refused(429, "TooManyRequests")), Ok(event('i')), Ok(event('.'))];
        assert_eq!(seen(later, "ip.").await, "!i.");
        let broken = || Err(Error::WatchError(status(410, "Expired")));
        let complete = vec![Ok(event('i')), Ok(event('.')), broken(), Ok(event('i')), Ok(event('.'))];
        assert_eq!(seen(complete, "ip.").await, "i.!i.");
    }
}
