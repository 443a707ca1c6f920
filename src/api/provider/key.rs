//! The name of a provider.

use crate::api::invocation::{FunctionInvocation, ProviderKind, ProviderRef};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// The name of a provider: `namespace/name`, or `name` alone if it is cluster-scoped. Also its label in metrics.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ProviderKey(Arc<str>);

impl ProviderKey {
    /// The provider that an object names.
    pub fn of(object: &FunctionInvocation) -> Self {
        let ProviderRef { kind, name } = &object.spec.provider_ref;
        Self::new(*kind, object.metadata.namespace.as_deref().unwrap_or_default(), name)
    }

    /// The provider that an object of `namespace` means.
    pub fn new(kind: ProviderKind, namespace: &str, name: &str) -> Self {
        match kind {
            ProviderKind::ClusterFunctionGraphProvider => Self(name.into()),
            // A namespace has no slash in its name, so that the two kinds never meet.
            ProviderKind::FunctionGraphProvider | ProviderKind::Other => {
                Self(format!("{namespace}/{name}").into())
            }
        }
    }

    /// Its namespace, if it has one, and its name.
    pub fn parts(&self) -> (Option<&str>, &str) {
        self.0.split_once('/').map_or((None, &self.0), |(namespace, name)| (Some(namespace), name))
    }
}

impl Deref for ProviderKey {
    type Target = Arc<str>;

    fn deref(&self) -> &Arc<str> {
        &self.0
    }
}

impl fmt::Display for ProviderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
impl From<&str> for ProviderKey {
    fn from(label: &str) -> Self {
        Self(label.into())
    }
}
