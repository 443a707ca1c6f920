//! The Leases by which the processes of the operator know each other: one for each process, in the operator's namespace.

use super::scope::Scope;
use super::{Error, answer, bounded_by};
use futures::{Stream, StreamExt, future};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::time::Duration;

/// The label of the Leases. Processes that serve the same namespaces have the same value, and share the work.
pub const LABEL: &str = "functiongraph.io/members";

/// Timeout of a call about a Lease. A renewal that takes longer is repeated while the process is still a member.
const LEASE_TIMEOUT: Duration = Duration::from_secs(3);

/// The Leases of the processes that share the work, and the own one among them.
pub struct Leases {
    api: Api<Lease>,
    /// The value of [`LABEL`].
    group: String,
    /// The own Lease without what a renewal writes.
    own: Lease,
    /// The resource version of the own Lease, as far as it is known.
    version: Option<String>,
    /// Whether the own Lease may be stored.
    stored: bool,
}

/// The process that a Lease is of.
#[derive(Clone, Debug)]
pub struct Identity {
    pub name: String,
    /// The holder, as in the claims of this process.
    pub holder: String,
    /// The uid of the Pod of that name, with which the Lease is deleted.
    pub pod_uid: Option<String>,
}

/// Something that the watch brought.
#[derive(Debug)]
pub enum Event {
    /// All Leases, by name, with their resource versions.
    Listed(BTreeMap<String, String>),
    /// A Lease was written: its name and its resource version.
    Written(String, String),
    /// A Lease was deleted.
    Deleted(String),
}

impl Leases {
    /// The Leases of the processes that serve `scope`. The client is for nothing else: a renewal must not wait behind other
    /// calls.
    pub fn new(
        client: Client,
        namespace: &str,
        scope: &Scope,
        Identity { name, holder, pod_uid }: Identity,
        duration: Duration,
    ) -> Self {
        let group = group(scope);
        let labels = BTreeMap::from([
            ("app.kubernetes.io/managed-by".to_owned(), "functiongraph-operator".to_owned()),
            (LABEL.to_owned(), group.clone()),
        ]);
        let spec = LeaseSpec {
            holder_identity: Some(holder),
            lease_duration_seconds: i32::try_from(duration.as_secs()).ok(),
            ..LeaseSpec::default()
        };
        let pod = |uid| OwnerReference {
            api_version: "v1".into(),
            kind: "Pod".into(),
            name: name.clone(),
            uid,
            ..OwnerReference::default()
        };
        let owner_references = pod_uid.map(|uid| vec![pod(uid)]);
        let metadata = ObjectMeta {
            name: Some(name.clone()),
            labels: Some(labels),
            owner_references,
            ..ObjectMeta::default()
        };
        Self {
            api: Api::namespaced(client, namespace),
            group,
            own: Lease { metadata, spec: Some(spec) },
            version: None,
            stored: false,
        }
    }

    /// Writes the own Lease, with the resource version that is stored. Returns the new one; `None` if somebody else wrote or
    /// deleted it meanwhile, and the renewal is to be repeated.
    pub async fn renew(&mut self, now: Timestamp) -> Result<Option<String>, Error> {
        let name = self.own.metadata.name.clone().unwrap_or_default();
        let version = match self.version.take() {
            Some(version) => Some(version),
            None => in_time(self.api.get_opt(&name)).await?.and_then(|lease| lease.metadata.resource_version),
        };
        self.own.metadata.resource_version.clone_from(&version);
        if let Some(spec) = &mut self.own.spec {
            let now = MicroTime(now);
            spec.acquire_time.get_or_insert_with(|| now.clone());
            spec.renew_time = Some(now);
        }
        self.stored = true;
        let parameters = PostParams::default();
        let written = match version {
            Some(_) => in_time(self.api.replace(&name, &parameters, &self.own)).await,
            None => in_time(self.api.create(&parameters, &self.own)).await,
        };
        match written {
            Ok(lease) => {
                self.version = lease.metadata.resource_version;
                Ok(self.version.clone())
            }
            Err(error) if self.own.metadata.resource_version.is_some() && is(&error, 404) => Ok(None),
            Err(error) if is(&error, 409) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes the own Lease, whichever renewal was the last to arrive.
    pub async fn give_up(&self) -> Result<(), Error> {
        if !self.stored {
            return Ok(());
        }
        self.delete(self.own.metadata.name.as_deref().unwrap_or_default(), None).await
    }

    /// Deletes a Lease, unless its resource version is another one by now.
    pub async fn delete(&self, name: &str, version: Option<String>) -> Result<(), Error> {
        let preconditions = Preconditions { resource_version: version, uid: None };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match in_time(self.api.delete(name, &parameters)).await {
            Err(error) if !is(&error, 404) && !is(&error, 409) => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// What happens to the Leases. It begins again after an error.
    pub fn events(&self) -> impl Stream<Item = Event> + Send + use<> {
        let configuration = watcher::Config::default().labels(&format!("{LABEL}={}", self.group));
        let events = watcher(self.api.clone(), configuration).default_backoff();
        let mut listed = BTreeMap::new();
        events.filter_map(move |event| future::ready(event.ok().and_then(|event| read(event, &mut listed))))
    }
}

/// What an event of the watch says. `listed` collects a list.
fn read(event: watcher::Event<Lease>, listed: &mut BTreeMap<String, String>) -> Option<Event> {
    let ends = |lease: Lease| Some((lease.metadata.name?, lease.metadata.resource_version?));
    match event {
        watcher::Event::Init => {
            listed.clear();
            None
        }
        watcher::Event::InitApply(lease) => {
            listed.extend(ends(lease));
            None
        }
        watcher::Event::InitDone => Some(Event::Listed(std::mem::take(listed))),
        watcher::Event::Apply(lease) => ends(lease).map(|(name, version)| Event::Written(name, version)),
        watcher::Event::Delete(lease) => ends(lease).map(|(name, _)| Event::Deleted(name)),
    }
}

/// Runs one call about a Lease within its own timeout.
async fn in_time<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Error> {
    bounded_by(LEASE_TIMEOUT, call).await
}

fn is(error: &Error, code: u16) -> bool {
    answer(error).is_some_and(|status| status.code == code)
}

/// The value of [`LABEL`] for processes that serve the same namespaces.
fn group(scope: &Scope) -> String {
    match scope {
        Scope::Cluster => "cluster".into(),
        Scope::Namespaces(names) => {
            let digest: [u8; 32] = Sha256::digest(names.iter().cloned().collect::<Vec<_>>().join(",")).into();
            let hex = digest.iter().take(8).map(|byte| format!("{byte:02x}"));
            format!("namespaces-{}", hex.collect::<String>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_share_the_work_if_they_serve_the_same_namespaces() {
        let of =
            |names: &[&str]| group(&Scope::of(&names.iter().map(ToString::to_string).collect::<Vec<_>>()));
        assert_eq!(of(&[]), "cluster");
        assert_eq!(of(&["a", "b"]), of(&["b", "a"]));
        assert_eq!(of(&["a"]), "namespaces-ca978112ca1bbdca");
        assert_ne!(of(&["a", "b"]), of(&["a"]));
        assert!(of(&["a"]).len() <= 63);
    }
}
