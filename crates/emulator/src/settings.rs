//! The settings of asynchronous invocations: each for one URN, and one for the project.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use parking_lot::Mutex;

use crate::config::AsyncInvokeConfig;

/// Settings, and since when.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Setting {
    pub(crate) config: AsyncInvokeConfig,
    pub(crate) created: Timestamp,
    pub(crate) modified: Timestamp,
}

/// All settings.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    /// By the URN they are for.
    each: Mutex<BTreeMap<String, Setting>>,
    /// Whether there is a place where states can be logged, in the project.
    status_log: AtomicBool,
}

impl Settings {
    /// Makes settings, or replaces them as a whole.
    pub(crate) fn put(&self, urn: String, config: AsyncInvokeConfig, now: Timestamp) -> Setting {
        let mut all = self.each.lock();
        let created = all.get(&urn).map_or(now, |present| present.created);
        let setting = Setting { config, created, modified: now };
        all.insert(urn, setting.clone());
        setting
    }

    pub(crate) fn get(&self, urn: &str) -> Option<Setting> {
        self.each.lock().get(urn).cloned()
    }

    /// False if there were none.
    pub(crate) fn remove(&self, urn: &str) -> bool {
        self.each.lock().remove(urn).is_some()
    }

    /// From now on there is a place where states can be logged.
    pub(crate) fn enable_status_log(&self) {
        self.status_log.store(true, Ordering::Relaxed);
    }

    pub(crate) fn has_status_log(&self) -> bool {
        self.status_log.load(Ordering::Relaxed)
    }

    /// The settings of all URNs that begin like this, in the order of the URNs.
    pub(crate) fn list(&self, beginning: &str) -> Vec<(String, Setting)> {
        let all = self.each.lock();
        let found = all.iter().filter(|(urn, _)| urn.starts_with(beginning));
        found.map(|(urn, setting)| (urn.clone(), setting.clone())).collect()
    }
}
