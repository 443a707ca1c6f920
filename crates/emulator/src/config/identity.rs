//! What the identity services are told: whom they know, and for how long what they hand out is good.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What the identity services (IAM) are told. Without users they refuse everybody.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Identity {
    /// How long a token is good for; the real one takes a day.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub token_lifetime: Duration,
    /// The longest life of a temporary key: whoever asks for more gets this. Seconds make renewals visible.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub keys_lifetime: Duration,
    /// Who may log in with a password.
    pub users: Vec<User>,
    /// Projects beside the emulator's own, which is called as its region is. A name may occur twice.
    pub projects: Vec<Project>,
}

/// Who may log in with a password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct User {
    /// Name of the account.
    pub domain: String,
    /// Name of the user in it.
    pub name: String,
    /// The password.
    pub password: String,
}

/// A project that tokens can be for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Project {
    /// Its id.
    pub id: String,
    /// Its name; that of a region's main project is the region.
    pub name: String,
}

// === impl Identity ===

impl Default for Identity {
    fn default() -> Self {
        const DAY: Duration = Duration::from_hours(24);
        Self { token_lifetime: DAY, keys_lifetime: DAY, users: Vec::new(), projects: Vec::new() }
    }
}

impl Identity {
    /// Whether anybody could get a credential.
    pub(crate) fn knows_anybody(&self) -> bool {
        !self.users.is_empty()
    }

    /// The same with the emulator's own project in front, unless it is listed under a name of its own.
    pub(crate) fn with_project(&self, project_id: &str, region: &str) -> Self {
        let mut whole = self.clone();
        if whole.projects.iter().all(|project| project.id != project_id) {
            let own = Project { id: project_id.to_owned(), name: region.to_owned() };
            whole.projects.insert(0, own);
        }
        whole
    }
}
