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

    /// False if there were none.
    pub(crate) fn remove(&self, urn: &str) -> bool {
        self.0.lock().remove(urn).is_some()
    }

    /// The settings of all URNs that begin like this, in the order of the URNs.
    pub(crate) fn list(&self, beginning: &str) -> Vec<(String, Setting)> {
        let all = self.0.lock();
        let found = all.iter().filter(|(urn, _)| urn.starts_with(beginning));
        found.map(|(urn, setting)| (urn.clone(), setting.clone())).collect()
    }
}
