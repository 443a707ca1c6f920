//! Why a provider cannot be used, in sentences for the owner of an invocation. That user may not be allowed to read the
//! provider, so the message has everything that they may know.

use super::Reconcile;
use crate::api::condition::ConditionType;
use crate::api::invocation::{ProviderKind, ProviderRef};
use crate::api::{AnyProvider, Reason};
use crate::context::grants::Grant;
use crate::context::providers::Standing;
use crate::lifecycle::State;
use kube::runtime::reflector::Store;

/// A message lists this many other providers at most.
const MAX_LISTED: usize = 5;

impl Reconcile<'_> {
    /// Why the provider cannot be used, if that is known, and what to do. An invocation that may have been accepted must
    /// not be created again.
    pub(super) async fn unusable(&self) -> Option<String> {
        let context = self.context;
        let namespace = self.namespace();
        let reference = &self.object.spec.provider_ref;
        let to_send = matches!(State::of(self.view.status), State::Fresh | State::Open { .. });
        if is_cluster_scoped(reference) && context.cluster_provider_store.is_none() {
            let why = "This operator serves only some namespaces and uses no ClusterFunctionGraphProvider.";
            let then = " Create a new FunctionInvocation for a FunctionGraphProvider.";
            return Some(if to_send { format!("{why}{then}") } else { why.to_owned() });
        }
        let then =
            if to_send { " The operator sends the invocation when the provider is ready." } else { "" };
        if !context.knows_provider(self.object) {
            let missing = missing(reference, namespace);
            // If each waiting object told of every change among the others, one edit would cost a write for each of them.
            if let Some(said) = self.said(&missing) {
                return Some(said);
            }
            let others = if to_send { self.others(namespace).await } else { Vec::new() };
            return Some(missing + &alternatives(&others) + then);
        }
        // The provider's own message may differ between replicas, and they would overwrite each other's. It may also name
        // the Secret and the endpoint of another team.
        match context.providers.standing(&self.provider) {
            Standing::NotReady(reason, _) => Some(not_ready(reference, namespace, reason) + then),
            Standing::Unseen | Standing::Ready(_) => None,
        }
    }

    /// The message of the object, if that is why it waits.
    fn said(&self, why: &str) -> Option<String> {
        let ready = self.view.status.condition(ConditionType::Ready)?;
        let said = ready.reason == Reason::WaitingForProvider && ready.message.starts_with(why);
        said.then(|| ready.message.clone())
    }

    /// The providers that a namespace may use: its own, and the cluster-scoped ones that admit it.
    async fn others(&self, namespace: &str) -> Vec<String> {
        let context = self.context;
        let own = context.provider_store.state().into_iter().map(AnyProvider::Namespaced);
        let own = own.filter(|provider| provider.meta().namespace.as_deref() == Some(namespace));
        let shared = context.cluster_provider_store.iter().flat_map(Store::state).map(AnyProvider::Cluster);
        let all: Vec<_> = own.chain(shared).collect();
        if all.is_empty() {
            return Vec::new();
        }
        // Without its labels the namespace is admitted by name only.
        let labels = context.namespaces.labels(&context.clients.calls, namespace).await.ok().flatten();
        let admits = |provider: &AnyProvider| {
            Grant::of(provider).is_ok_and(|grant| grant.admits(namespace, labels.as_ref()))
        };
        let mut names: Vec<_> = all.iter().filter(|provider| admits(provider)).map(full_name).collect();
        names.sort();
        names
    }
}

fn is_cluster_scoped(reference: &ProviderRef) -> bool {
    reference.kind == ProviderKind::ClusterFunctionGraphProvider
}

fn full_name(provider: &AnyProvider) -> String {
    let kind = match provider {
        AnyProvider::Namespaced(_) => "FunctionGraphProvider",
        AnyProvider::Cluster(_) => "ClusterFunctionGraphProvider",
    };
    format!("{kind} {}", provider.meta().name.as_deref().unwrap_or_default())
}

fn missing(reference: &ProviderRef, namespace: &str) -> String {
    let name = &reference.name;
    if is_cluster_scoped(reference) {
        format!("ClusterFunctionGraphProvider {name} does not exist. Ask your platform team for a provider.")
    } else {
        format!(
            "FunctionGraphProvider {name} does not exist in namespace {namespace}. Create it, or ask your platform team for a provider."
        )
    }
}

/// What to do with an invocation that was not sent, if its namespace may use these other providers.
fn alternatives(others: &[String]) -> String {
    if others.is_empty() {
        return String::new();
    }
    let more = if others.len() > MAX_LISTED { ", and others" } else { "" };
    let listed = others.iter().take(MAX_LISTED).map(String::as_str).collect::<Vec<_>>().join(", ");
    format!(
        " The namespace may use: {listed}{more}. To use one of these, create a new FunctionInvocation with its kind and name in spec.providerRef."
    )
}

fn not_ready(reference: &ProviderRef, namespace: &str, reason: Reason) -> String {
    let (name, word) = (&reference.name, reason.as_str());
    if !is_cluster_scoped(reference) {
        return format!(
            "FunctionGraphProvider {name} is not ready ({word}): kubectl describe fgp {name} -n {namespace} says why."
        );
    }
    let why = match reason {
        Reason::SecretNotFound | Reason::CredentialsInvalid => "its credential cannot be used",
        Reason::EndpointUnreachable => "its endpoint does not answer",
        Reason::EndpointRefused => "the operator does not allow its endpoint",
        Reason::Throttled => "FunctionGraph throttles it",
        _ => "its configuration cannot be used",
    };
    format!(
        "ClusterFunctionGraphProvider {name} is not ready ({word}): {why}. Ask your platform team if this lasts."
    )
}
