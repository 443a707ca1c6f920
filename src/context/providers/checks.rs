//! What came of the operator's own checks of credentials, by whatever provider they were made.

use super::KeyName;
use crate::api::Reason;
use std::collections::HashMap;
use std::time::Instant;

/// This number of checks is remembered; beyond that all credentials are checked again.
const MOST: usize = 10_000;

/// What a check is about. Providers that ask the same share the answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    /// The credential.
    pub credential: String,
    /// Where it is used, as far as the credential's name does not say so.
    pub place: String,
}

/// What a check has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// FunctionGraph accepted the credential.
    Accepted,
    /// It accepted the credential and refused the rest. What it said.
    Restricted(String),
    /// The endpoint does not know the call, so nothing is proven.
    Unchecked {
        /// What it said.
        said: String,
        /// Whether it has answered an invocation since.
        used: bool,
    },
}

/// A check that proved nothing and is made again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unanswered {
    /// How often in a row.
    pub times: u32,
    /// Not before this it is made again.
    pub next_try: Instant,
    /// What it means for the provider.
    pub reason: Reason,
    /// The same in words.
    pub message: String,
}

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checked {
    /// An answer.
    Proven(Proof),
    /// None yet.
    Unanswered(Unanswered),
}

/// All checks that count.
#[derive(Default)]
pub struct Checks(HashMap<Subject, Checked>);

// === impl Subject ===

impl Subject {
    /// The name of a credential: an access key has one across providers, anything else is known by its source.
    #[must_use]
    pub fn credential<'a>(key: Option<&'a KeyName>, source: &'a str) -> &'a str {
        key.map_or(source, |key| &key.whole)
    }
}

// === impl Checks ===

impl Checks {
    /// What came of the last check.
    #[must_use]
    pub fn get(&self, subject: &Subject) -> Option<&Checked> {
        self.0.get(subject)
    }

    /// Remembers what came of a check.
    pub fn put(&mut self, subject: Subject, checked: Checked) {
        if self.0.len() >= MOST {
            self.0.clear();
        }
        self.0.insert(subject, checked);
    }

    /// A credential was refused: it has to prove itself again, wherever it is used.
    pub fn forget(&mut self, credential: &str) {
        self.0.retain(|subject, _| subject.credential != credential);
    }

    /// Whether FunctionGraph has accepted a credential anywhere.
    #[must_use]
    pub fn has_proven(&self, credential: &str) -> bool {
        self.0.iter().any(|(subject, checked)| {
            let proven = matches!(checked, Checked::Proven(Proof::Accepted | Proof::Restricted(_)));
            proven && subject.credential == credential
        })
    }

    /// The endpoint has answered an invocation. True if that is news.
    pub fn used(&mut self, subject: &Subject) -> bool {
        match self.0.get_mut(subject) {
            Some(Checked::Proven(Proof::Unchecked { used, .. })) => !std::mem::replace(used, true),
            Some(Checked::Proven(Proof::Accepted | Proof::Restricted(_)) | Checked::Unanswered(_)) | None => {
                false
            }
        }
    }
}
