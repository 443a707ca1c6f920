//! Waiting for conditions: no test waits for a time.

use functiongraph_operator::clock;
use std::time::Duration;

/// Longer than any wait that succeeds, on a machine that is busy with other tests. The longest is for a
/// breaker to close, half a minute and more.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// The shortest pause between two questions.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

/// A pause is this many times as long as the question before it, so that asking takes little of the machine.
const PAUSE_FACTOR: u32 = 4;

/// Waits for what must happen soon.
pub async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it happens in time")
}

/// Asks again and again until `condition` holds, where there is nothing to await: a file, a counter, an address.
/// Has no end of its own: see [`within`].
pub async fn until(mut condition: impl AsyncFnMut() -> bool) {
    until_some(async || condition().await.then_some(())).await;
}

/// The same, until there is a value.
pub async fn until_some<T>(mut question: impl AsyncFnMut() -> Option<T>) -> T {
    loop {
        let asked = clock::monotonic();
        if let Some(value) = question().await {
            return value;
        }
        tokio::time::sleep((asked.elapsed() * PAUSE_FACTOR).max(SHORTEST_PAUSE)).await;
    }
}
