//! Which namespaces may use a provider, by what is known of their labels at the moment.

use crate::api::AnyProvider;
use crate::clock;
use crate::kubernetes::{Error, namespaces};
use kube::Client;
use kube::core::{ParseExpressionError, Selector, SelectorExt};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Labels that were read longer ago count as unknown: a namespace that loses its label is shut out within
/// seconds, and a burst of invocations costs one read. They can only admit: a refusal ends an invocation, so the labels
/// are read again before it.
const FRESH: Duration = Duration::from_secs(5);

/// The number of namespaces that are remembered. Beyond that, all are read again.
const MOST: usize = 10_000;

/// Which namespaces may use a provider.
#[derive(Clone, Debug)]
pub enum Grant {
    /// Its own, which is the only one that can name it.
    Own,
    /// Those with these names.
    Names(Vec<String>),
    /// Those whose labels fit.
    Labels(Selector),
}

impl Grant {
    /// What a provider says.
    ///
    /// # Errors
    /// When its selector cannot be understood.
    pub fn of(provider: &AnyProvider) -> Result<Self, ParseExpressionError> {
        let Some(allowed) = provider.allowed_namespaces() else { return Ok(Self::Own) };
        match (&allowed.names, &allowed.selector) {
            (None, Some(selector)) => selector.clone().try_into().map(Self::Labels),
            // Neither, or both, is refused by the schema: what is listed counts, and nothing else.
            (names, _) => Ok(Self::Names(names.clone().unwrap_or_default())),
        }
    }
}

/// The labels of namespaces, as they were a moment ago.
#[derive(Default)]
pub struct Namespaces(Mutex<HashMap<String, (Instant, Labels)>>);

type Labels = BTreeMap<String, String>;

impl Namespaces {
    /// Whether a namespace may use a provider with this grant.
    ///
    /// # Errors
    /// When its labels are needed and the API server did not answer.
    pub async fn admitted(&self, client: &Client, grant: &Grant, namespace: &str) -> Result<bool, Error> {
        let selector = match grant {
            Grant::Own => return Ok(true),
            Grant::Names(names) => return Ok(names.iter().any(|name| name == namespace)),
            Grant::Labels(selector) => selector,
        };
        // The age counts from the question: an answer that took long is as old as that.
        let asked = clock::monotonic();
        if self.fresh(namespace, asked).is_some_and(|labels| selector.matches(&labels)) {
            return Ok(true);
        }
        let Some(labels) = namespaces::labels(client, namespace).await? else { return Ok(false) };
        let admitted = selector.matches(&labels);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() > MOST {
            all.clear();
        }
        all.insert(namespace.to_owned(), (asked, labels));
        Ok(admitted)
    }

    fn fresh(&self, namespace: &str, now: Instant) -> Option<Labels> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (asked, labels) = all.get(namespace)?;
        (now.saturating_duration_since(*asked) < FRESH).then(|| labels.clone())
    }
}
