//! Merges the watches of several parts of the cluster into one, for one store. A part that the operator cannot read does
//! not delay the others, and joins later.

use futures::stream::{BoxStream, SelectAll};
use futures::{StreamExt, stream};
use kube::Resource;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::{self, Event};
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

/// Events of a watch.
pub type Events<K> = BoxStream<'static, watcher::Result<Event<K>>>;

/// The watch of one part.
pub struct Part<K> {
    /// The namespace; `None` for the whole cluster.
    pub namespace: Option<String>,
    /// Whether it can be read from the start.
    pub permitted: bool,
    /// Its events.
    pub events: Events<K>,
}

type Numbered<K> = BoxStream<'static, (usize, watcher::Result<Event<K>>)>;

/// All parts.
struct Merged<K: Resource<DynamicType = ()> + Clone + 'static> {
    store: Store<K>,
    namespaces: Vec<Option<String>>,
    /// The objects of each part that its list has brought so far, until they are compared with those in the store.
    listed: Vec<HashSet<ObjectRef<K>>>,
    /// Parts whose list is complete and not yet compared with the store.
    complete: Vec<usize>,
    /// Parts whose first list is still to be read. One after the other: an object may take megabytes while it is read.
    unread: VecDeque<(usize, Numbered<K>)>,
    /// All others, also those that come later.
    open: SelectAll<Numbered<K>>,
    /// Whether the first list of the whole has begun.
    begun: bool,
    /// Whether it has ended.
    filled: bool,
    /// Objects that went unnoticed, found by comparison.
    gone: Vec<K>,
}

/// The events of all parts as those of one watch. Its first list is complete when those of all parts are, but for parts
/// that cannot be read. Later events come one by one, even those of a list.
pub fn merged<K>(parts: Vec<Part<K>>, store: Store<K>) -> Events<K>
where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
{
    let mut merged = Merged {
        store,
        namespaces: parts.iter().map(|part| part.namespace.clone()).collect(),
        listed: parts.iter().map(|_| HashSet::new()).collect(),
        complete: Vec::new(),
        unread: VecDeque::new(),
        open: SelectAll::new(),
        begun: false,
        filled: false,
        gone: Vec::new(),
    };
    for (number, Part { permitted, events, .. }) in parts.into_iter().enumerate() {
        let events = events.map(move |event| (number, event)).boxed();
        if permitted {
            merged.unread.push_back((number, events));
        } else {
            merged.open.push(events);
        }
    }
    stream::unfold(merged, |mut merged| async { Some((merged.next().await?, merged)) }).boxed()
}

// === impl Merged ===

impl<K: Resource<DynamicType = ()> + Clone> Merged<K> {
    async fn next(&mut self) -> Option<watcher::Result<Event<K>>> {
        loop {
            if !self.filled && self.unread.is_empty() && !self.complete.is_empty() {
                self.filled = true;
                return Some(Ok(Event::InitDone));
            }
            // The caller has put the event before this one into the store.
            if self.filled {
                self.compare();
            }
            if let Some(object) = self.gone.pop() {
                return Some(Ok(Event::Delete(object)));
            }
            let (part, event) = self.receive().await?;
            match event {
                Ok(event) => {
                    if let Some(event) = self.translated(part, event) {
                        return Some(Ok(event));
                    }
                }
                Err(error) => {
                    self.open(part);
                    return Some(Err(error));
                }
            }
        }
    }

    async fn receive(&mut self) -> Option<(usize, watcher::Result<Event<K>>)> {
        let Self { unread, open, .. } = self;
        let first = async { unread.front_mut()?.1.next().await };
        tokio::select! {
            Some(event) = first => Some(event),
            Some(event) = open.next() => Some(event),
            else => None,
        }
    }

    /// The event of the merged watch for the event of a part.
    fn translated(&mut self, part: usize, event: Event<K>) -> Option<Event<K>> {
        match event {
            Event::Init => {
                // A list that begins again: what was complete is not any more.
                self.listed[part].clear();
                self.complete.retain(|complete| *complete != part);
                (!std::mem::replace(&mut self.begun, true)).then_some(Event::Init)
            }
            Event::InitApply(object) => {
                self.listed[part].insert(ObjectRef::from_obj(&object));
                Some(if self.filled { Event::Apply(object) } else { Event::InitApply(object) })
            }
            Event::InitDone => {
                self.complete.push(part);
                self.open(part);
                None
            }
            Event::Apply(_) | Event::Delete(_) if self.filled => Some(event),
            Event::Apply(object) => {
                self.listed[part].insert(ObjectRef::from_obj(&object));
                Some(Event::InitApply(object))
            }
            Event::Delete(object) => {
                self.listed[part].remove(&ObjectRef::from_obj(&object));
                None
            }
        }
    }

    /// The first list of a part is complete, or cannot be read now: the next one's turn.
    fn open(&mut self, part: usize) {
        if let Some((_, events)) = self.unread.pop_front_if(|(first, _)| *first == part) {
            self.open.push(events);
        }
    }

    /// Finds the objects in the store that the complete lists do not have.
    fn compare(&mut self) {
        for part in std::mem::take(&mut self.complete) {
            let listed = std::mem::take(&mut self.listed[part]);
            let namespace = self.namespaces[part].as_ref();
            let is_gone = |object: &Arc<K>| {
                (namespace.is_none() || object.meta().namespace.as_ref() == namespace)
                    && !listed.contains(&ObjectRef::from_obj(&**object))
            };
            let gone = self.store.state().into_iter().filter(is_gone);
            self.gone.extend(gone.map(Arc::unwrap_or_clone));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::channel::mpsc::{self, UnboundedSender};
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::core::Status;
    use kube::runtime::{WatchStreamExt, reflector};
    use std::task::Poll;

    type Sender = UnboundedSender<watcher::Result<Event<ConfigMap>>>;

    /// Watches of namespaces `a`, `b` and so on, and the store behind them.
    struct Bench {
        send: Vec<Sender>,
        store: Store<ConfigMap>,
        events: Events<ConfigMap>,
    }

    impl Bench {
        fn new(permitted: &[bool]) -> Self {
            let (store, writer) = reflector::store();
            let (send, parts) = permitted
                .iter()
                .zip('a'..)
                .map(|(permitted, name)| {
                    let (send, receive) = mpsc::unbounded();
                    let (namespace, permitted) = (Some(name.to_string()), *permitted);
                    (send, Part { namespace, permitted, events: receive.boxed() })
                })
                .unzip();
            let events = merged(parts, store.clone()).reflect(writer).boxed();
            Self { send, store, events }
        }

        /// What comes of these events of a namespace: `i` for a list that begins, `.` for one that is complete, an
        /// object's letter in a list, `+` or `-` before one that is applied or deleted, and `!` for an error.
        async fn seen(&mut self, namespace: char, events: &str) -> String {
            let (send, of) = (&self.send[namespace as usize - 'a' as usize], namespace.to_string());
            let object = |name: Option<char>| {
                let mut object = ConfigMap::default();
                (object.metadata.namespace, object.metadata.name) =
                    (Some(of.clone()), name.map(String::from));
                object
            };
            let mut letters = events.chars();
            while let Some(letter) = letters.next() {
                let event = match letter {
                    'i' => Ok(Event::Init),
                    '.' => Ok(Event::InitDone),
                    '+' => Ok(Event::Apply(object(letters.next()))),
                    '-' => Ok(Event::Delete(object(letters.next()))),
                    '!' => Err(watcher::Error::WatchError(Status::failure("", "Forbidden").boxed())),
                    name => Ok(Event::InitApply(object(Some(name)))),
                };
                send.unbounded_send(event).unwrap();
            }
            let mut seen = String::new();
            while let Poll::Ready(Some(event)) = futures::poll!(self.events.next()) {
                let name = |object: ConfigMap| object.metadata.name.unwrap();
                let (sign, name) = match event {
                    Ok(Event::Init) => ("i", String::new()),
                    Ok(Event::InitDone) => (".", String::new()),
                    Ok(Event::InitApply(object)) => ("", name(object)),
                    Ok(Event::Apply(object)) => ("+", name(object)),
                    Ok(Event::Delete(object)) => ("-", name(object)),
                    Err(_) => ("!", String::new()),
                };
                seen.extend([sign, &name]);
            }
            seen
        }

        fn stored(&self) -> Vec<String> {
            let name = |object: &Arc<ConfigMap>| object.metadata.name.clone().unwrap();
            let mut names: Vec<_> = self.store.state().iter().map(name).collect();
            names.sort();
            names
        }
    }

    #[tokio::test]
    async fn lists_of_several_parts_are_one_list_and_later_ones_change_only_their_own_part() {
        let mut bench = Bench::new(&[true, true]);
        // The second is not read before its turn.
        assert_eq!(bench.seen('b', "ixy.").await, "");
        assert_eq!(bench.seen('a', "imn.").await, "imnxy.");
        assert_eq!(bench.stored(), ["m", "n", "x", "y"]);
        assert_eq!(bench.seen('a', "+o-m").await, "+o-m");
        // A list that is read again, after a deletion that nobody told.
        assert_eq!(bench.seen('b', "iyz.").await, "+y+z-x");
        assert_eq!(bench.stored(), ["n", "o", "y", "z"]);
    }

    #[tokio::test]
    async fn what_changes_while_other_parts_are_read_is_in_the_store_in_the_end() {
        let mut bench = Bench::new(&[true, true]);
        assert_eq!(bench.seen('a', "imn.+o-m").await, "imno");
        assert_eq!(bench.seen('b', "ix.").await, "x.-m");
        assert_eq!(bench.stored(), ["n", "o", "x"]);
    }

    #[tokio::test]
    async fn a_part_that_cannot_be_read_keeps_no_other_waiting_and_comes_in_later() {
        let mut bench = Bench::new(&[true, true, false]);
        assert_eq!(bench.seen('b', "ix.").await, "");
        assert_eq!(bench.seen('a', "imn!").await, "imn!x.");
        assert_eq!(bench.seen('c', "iu.+v").await, "+u+v");
        assert_eq!(bench.seen('a', "in.").await, "+n-m");
        assert_eq!(bench.stored(), ["n", "u", "v", "x"]);
    }

    #[tokio::test]
    async fn nothing_is_complete_as_long_as_no_part_can_be_read() {
        let mut bench = Bench::new(&[true]);
        assert_eq!(bench.seen('a', "!im!").await, "!im!");
        assert_eq!(bench.seen('a', "in.").await, "n.-m");
        assert_eq!(bench.stored(), ["n"]);
    }

    #[tokio::test]
    async fn a_list_that_begins_again_before_those_of_the_others_are_complete_loses_nothing() {
        let mut bench = Bench::new(&[true, true]);
        assert_eq!(bench.seen('a', "imn.").await, "imn");
        bench.seen('a', "!im").await;
        bench.seen('b', "ix.").await;
        bench.seen('a', "n.").await;
        assert_eq!(bench.stored(), ["m", "n", "x"]);

        let mut bench = Bench::new(&[true, true]);
        assert_eq!(bench.seen('a', "imn.").await, "imn");
        bench.seen('a', "!imn.").await;
        bench.seen('b', "ix.").await;
        assert_eq!(bench.stored(), ["m", "n", "x"]);
    }
}
