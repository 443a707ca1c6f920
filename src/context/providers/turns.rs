//! One at a time shows an unproven secret to a service: several failures at once would lock its principal.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OwnedMutexGuard;

/// The right to show a secret of one principal. It ends when it is dropped.
pub type Turn = OwnedMutexGuard<()>;

/// Who waits for a turn, by principal.
#[derive(Default)]
pub struct Turns(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl Turns {
    /// Waits for the turn of a principal.
    pub async fn take(&self, principal: &str) -> Turn {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(turns.entry(principal.to_owned()).or_default())
        };
        turn.lock_owned().await
    }
}
