//! The settings of asynchronous invocations, each for one URN.

use std::collections::BTreeMap;

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

/// All settings by the URN they are for.
#[derive(Debug, Default)]
pub(crate) struct Settings(Mutex<BTreeMap<String, Setting>>);

impl Settings {
    /// Makes settings, or replaces them as a whole.
    pub(crate) fn put(&self, urn: String, config: AsyncInvokeConfig, now: Timestamp) -> Setting {
        let mut all = self.0.lock();
        let created = all.get(&urn).map_or(now, |present| present.created);
        let setting = Setting { config, created, modified: now };
        all.insert(urn, setting.clone());
        setting
    }

    pub(crate) fn get(&self, urn: &str) -> Option<Setting> {
        self.0.lock().get(urn).cloned()
    }
}
