//! Which namespaces may use a provider, by what is known of their labels at the moment.

use crate::api::AnyProvider;
use crate::clock;
use crate::kubernetes::{Error, namespaces};
use kube::Client;
use kube::core::{ParseExpressionError, Selector, SelectorExt};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// Labels that were read longer ago count as unknown: a namespace that loses its label is shut out within
/// seconds, and a burst of invocations costs few reads. They can only admit: a refusal ends an invocation, so the labels
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
    /// Whether it admits a namespace with these labels, if they are known.
    pub fn admits(&self, namespace: &str, labels: Option<&Labels>) -> bool {
        match self {
            Self::Own => true,
            Self::Names(names) => names.iter().any(|name| name == namespace),
            Self::Labels(selector) => labels.is_some_and(|labels| selector.matches(labels)),
        }
    }

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

/// Labels of a namespace.
pub type Labels = BTreeMap<String, String>;

impl Namespaces {
    /// Whether a namespace may use a provider with this grant.
    pub async fn admitted(&self, client: &Client, grant: &Grant, namespace: &str) -> Result<bool, Error> {
        if !matches!(grant, Grant::Labels(_)) {
            return Ok(grant.admits(namespace, None));
        }
        let fresh = self.fresh(namespace, clock::monotonic());
        Ok(grant.admits(namespace, fresh.as_ref())
            || grant.admits(namespace, self.read(client, namespace).await?.as_ref()))
    }

    /// The labels of a namespace, perhaps as they were a moment ago; `None` if it does not exist.
    pub async fn labels(&self, client: &Client, namespace: &str) -> Result<Option<Labels>, Error> {
        match self.fresh(namespace, clock::monotonic()) {
            Some(labels) => Ok(Some(labels)),
            None => self.read(client, namespace).await,
        }
    }

    async fn read(&self, client: &Client, namespace: &str) -> Result<Option<Labels>, Error> {
        // The age counts from the question: an answer that took long is as old as that.
        let asked = clock::monotonic();
        let labels = namespaces::labels(client, namespace).await?;
        let Some(read) = &labels else { return Ok(None) };
        let mut all = self.0.lock();
        if all.len() > MOST {
            all.clear();
        }
        all.insert(namespace.to_owned(), (asked, read.clone()));
        drop(all);
        Ok(labels)
    }

    fn fresh(&self, namespace: &str, now: Instant) -> Option<Labels> {
        let all = self.0.lock();
        let (asked, labels) = all.get(namespace)?;
        (now.saturating_duration_since(*asked) < FRESH).then(|| labels.clone())
    }
}
