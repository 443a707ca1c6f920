//! A provider of either kind, for code that does not depend on the kind.

use super::{
    AllowedNamespaces, ClusterFunctionGraphProvider, FunctionGraphProvider, FunctionGraphProviderSpec,
    FunctionGraphProviderStatus, ProviderKey,
};
use crate::api::invocation::ProviderKind;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use std::sync::Arc;

/// Identifies a provider object and a version of its spec: uid and generation. Another object of the same name has
/// another uid.
pub(crate) type Edition = (String, i64);

/// Identifies a provider by its metadata.
pub(crate) fn edition_of(meta: &ObjectMeta) -> Edition {
    (meta.uid.clone().unwrap_or_default(), meta.generation.unwrap_or_default())
}

/// A provider of either kind.
#[derive(Clone, Debug)]
pub(crate) enum AnyProvider {
    /// For its own namespace.
    Namespaced(Arc<FunctionGraphProvider>),
    /// For the namespaces that it allows.
    Cluster(Arc<ClusterFunctionGraphProvider>),
}

impl AnyProvider {
    /// Its name as this process uses it.
    pub fn key(&self) -> ProviderKey {
        let kind = match self {
            Self::Namespaced(_) => ProviderKind::FunctionGraphProvider,
            Self::Cluster(_) => ProviderKind::ClusterFunctionGraphProvider,
        };
        ProviderKey::new(kind, self.namespace(), self.meta().name.as_deref().unwrap_or_default())
    }

    /// Its namespace; empty if it is cluster-scoped.
    pub fn namespace(&self) -> &str {
        self.meta().namespace.as_deref().unwrap_or_default()
    }

    /// Its metadata.
    pub fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Namespaced(provider) => &provider.metadata,
            Self::Cluster(provider) => &provider.metadata,
        }
    }

    /// Identifies the object and its spec.
    pub fn edition(&self) -> Edition {
        edition_of(self.meta())
    }

    /// Its endpoint and credential, without the fields of the kind.
    pub fn spec(&self) -> &FunctionGraphProviderSpec {
        match self {
            Self::Namespaced(provider) => &provider.spec,
            Self::Cluster(provider) => &provider.spec.provider,
        }
    }

    /// The same provider with this CA bundle.
    pub fn with_ca_bundle(&self, ca_bundle: Option<String>) -> Self {
        let mut provider = self.clone();
        match &mut provider {
            Self::Namespaced(provider) => Arc::make_mut(provider).spec.ca_bundle = ca_bundle,
            Self::Cluster(provider) => Arc::make_mut(provider).spec.provider.ca_bundle = ca_bundle,
        }
        provider
    }

    /// Its last written status.
    pub fn status(&self) -> Option<&FunctionGraphProviderStatus> {
        match self {
            Self::Namespaced(provider) => provider.status.as_ref(),
            Self::Cluster(provider) => provider.status.as_ref(),
        }
    }

    /// The allowed namespaces; `None` for a provider of its own namespace.
    pub fn allowed_namespaces(&self) -> Option<&AllowedNamespaces> {
        match self {
            Self::Namespaced(_) => None,
            Self::Cluster(provider) => Some(&provider.spec.allowed_namespaces),
        }
    }

    /// A reference to it, for Events.
    pub fn object_ref(&self) -> ObjectReference {
        match self {
            Self::Namespaced(provider) => provider.object_ref(&()),
            Self::Cluster(provider) => provider.object_ref(&()),
        }
    }
}
