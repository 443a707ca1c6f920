//! Where the operator works: in the whole cluster, or in some of its namespaces.

use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use std::collections::BTreeSet;

/// Where the operator works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In all namespaces, and with cluster-scoped providers.
    Cluster,
    /// In these namespaces only.
    Namespaces(BTreeSet<String>),
}

impl Scope {
    /// The scope of these namespaces; none of them means the whole cluster.
    pub fn of(namespaces: &[String]) -> Self {
        match namespaces {
            [] => Self::Cluster,
            some => Self::Namespaces(some.iter().cloned().collect()),
        }
    }

    /// What is read by a request of its own: each namespace, or the whole cluster (`None`).
    pub fn parts(&self) -> Vec<Option<String>> {
        match self {
            Self::Cluster => vec![None],
            Self::Namespaces(names) => names.iter().cloned().map(Some).collect(),
        }
    }
}

/// The objects of a kind in one part of a [`Scope`].
pub fn objects<K>(client: Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    }
}
