//! The settings of asynchronous invocations for each URN, and the status log of the project.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use parking_lot::Mutex;

use crate::config::AsyncInvokeConfig;

/// Settings, and the time of their last change.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Setting {
    pub(crate) config: AsyncInvokeConfig,
    pub(crate) created: Timestamp,
    pub(crate) modified: Timestamp,
}

/// All settings.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    /// By URN.
    each: Mutex<BTreeMap<String, Setting>>,
    /// Whether the project has a log stream for states.
    status_log: AtomicBool,
}

impl Settings {
    /// Creates or replaces settings.
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

    /// Removes all settings, and the log stream.
    pub(crate) fn clear(&self) {
        self.each.lock().clear();
        self.status_log.store(false, Ordering::Relaxed);
    }

    /// Removes the settings of all URNs with this prefix.
    pub(crate) fn remove_all(&self, beginning: &str) {
        self.each.lock().retain(|urn, _| !urn.starts_with(beginning));
    }

    /// Creates the log stream for states.
    pub(crate) fn enable_status_log(&self) {
        self.status_log.store(true, Ordering::Relaxed);
    }

    pub(crate) fn has_status_log(&self) -> bool {
        self.status_log.load(Ordering::Relaxed)
    }

    /// The settings of all URNs with this prefix, in the order of the URNs.
    pub(crate) fn list(&self, beginning: &str) -> Vec<(String, Setting)> {
        let all = self.each.lock();
        let found = all.iter().filter(|(urn, _)| urn.starts_with(beginning));
        found.map(|(urn, setting)| (urn.clone(), setting.clone())).collect()
    }
}
