//! Which calls for credentials are made at the same time: one of each principal, because several that fail at once would lock
//! it, and few of each namespace, because silent services of one tenant must not keep the providers of others waiting.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A reconcile of a provider waits this long for its turn, and then comes again: while it waits it keeps others out.
const TURN_TIMEOUT: Duration = Duration::from_millis(500);

/// Calls of one namespace at the same time: a fraction of the providers that are reconciled at the same time.
const NAMESPACE_CALLS_MAX: usize = 16;

/// The right to make one call. It ends when it is dropped.
pub struct Turn {
    _principal: OwnedSemaphorePermit,
    _namespace: OwnedSemaphorePermit,
}

/// The calls under way.
#[derive(Default)]
pub struct Turns {
    principals: Calls,
    namespaces: Calls,
}

/// Calls by a name.
#[derive(Default)]
struct Calls(Mutex<HashMap<String, Arc<Semaphore>>>);

impl Turns {
    /// A turn of a principal and of a namespace, if there is one soon.
    pub async fn take(&self, principal: &str, namespace: &str) -> Option<Turn> {
        let both = async {
            let principal = self.principals.of(principal, 1).acquire_owned().await.ok()?;
            let namespace = self.namespaces.of(namespace, NAMESPACE_CALLS_MAX).acquire_owned().await.ok()?;
            Some(Turn { _principal: principal, _namespace: namespace })
        };
        tokio::time::timeout(TURN_TIMEOUT, both).await.ok()?
    }
}

impl Calls {
    fn of(&self, name: &str, most: usize) -> Arc<Semaphore> {
        let mut calls = self.0.lock();
        calls.retain(|_, calls| Arc::strong_count(calls) > 1);
        Arc::clone(calls.entry(name.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(most))))
    }
}
