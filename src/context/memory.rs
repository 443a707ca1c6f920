//! Memory for events on their way, shared fairly: a namespace with large events and slow functions leaves room for others.

use crate::gate::Shares;
use parking_lot::Mutex;
use std::pin::pin;
use tokio::sync::Notify;

/// Events on their way may hold this much memory together, in KiB. Reading the answer to a claim and sending the event
/// takes up to three times as much for a moment.
const IN_FLIGHT_KIB: usize = 16 * 1024;

/// The memory that events on their way hold.
pub struct EventMemory {
    shares: Mutex<Shares>,
    freed: Notify,
}

/// Memory for one event. Dropping it gives the memory back.
pub struct Reserved<'a> {
    memory: &'a EventMemory,
    namespace: String,
    kib: usize,
}

impl Default for EventMemory {
    fn default() -> Self {
        Self { shares: Mutex::new(Shares::new(IN_FLIGHT_KIB)), freed: Notify::new() }
    }
}

impl EventMemory {
    /// Waits for memory for an event of a namespace.
    pub async fn reserve(&self, namespace: &str, bytes: usize) -> Reserved<'_> {
        let kib = bytes.div_ceil(1024).clamp(1, IN_FLIGHT_KIB);
        loop {
            let mut freed = pin!(self.freed.notified());
            freed.as_mut().enable();
            if self.take(namespace, kib) {
                return Reserved { memory: self, namespace: namespace.to_owned(), kib };
            }
            freed.await;
        }
    }

    fn take(&self, namespace: &str, kib: usize) -> bool {
        let mut shares = self.shares.lock();
        let admitted = shares.admit(namespace, kib);
        if admitted {
            shares.hold(namespace, kib);
        }
        admitted
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.memory.shares.lock().release(&self.namespace, self.kib);
        self.memory.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn t23_events_of_one_namespace_leave_memory_for_those_of_another() {
        let (memory, mib) = (EventMemory::default(), 1024 * 1024);
        let mut held = Vec::new();
        while let Some(reserved) = memory.reserve("hostile", mib).now_or_never() {
            held.push(reserved);
        }
        assert_eq!(held.len(), 8);
        assert!(memory.reserve("neighbour", 6 * mib).now_or_never().is_some());
        // One that waits gets the memory as soon as it is free.
        let mut waiting = Box::pin(memory.reserve("hostile", mib));
        assert!(waiting.as_mut().now_or_never().is_none());
        held.pop();
        assert!(waiting.now_or_never().is_some());
    }

    #[tokio::test]
    async fn an_event_larger_than_all_memory_gets_all_of_it_when_it_is_alone() {
        let memory = EventMemory::default();
        let all = memory.reserve("a", usize::MAX).now_or_never();
        assert!(all.is_some() && memory.reserve("b", 1).now_or_never().is_none());
        drop(all);
        assert!(memory.reserve("b", 1).now_or_never().is_some());
    }
}
