//! Writes statuses, always as a compare-and-swap: claims, answers and everything else.
//!
//! Every write is a merge patch with the `resourceVersion` of the object that the decision was made from. The API
//! server refuses it (409) if anybody wrote in between. A patch without one cannot be built.

use super::ownership::{Ownership, holds, ownership, owns};
use super::{CALL_TIMEOUT, Error, answer, bounded, fit, found, with_causes};
use crate::api::invocation::{Payload, SUBMITTED_AS};
use crate::api::{AnyProvider, FunctionGraphProviderStatus, FunctionInvocation, FunctionInvocationStatus};
use crate::clock;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Debug;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, SemaphorePermit};

/// After the claim is requested, its attempt must start to send within this time. It is far below the takeover time,
/// so that a delayed owner does not send while another process decides.
const SEND_WINDOW: Duration = Duration::from_secs(10);

/// How long the operator retries to record an answer before it leaves that to a later reconcile. Longer than another
/// replica needs to take the attempt over, after which no later reconcile would come.
const RECORD_TIMEOUT: Duration = Duration::from_mins(5);

/// Memory for answers of the API server while they are read, in KiB: each repeats its whole object. An object that
/// needs more waits until others are finished.
const MAX_ANSWERS_KIB: u32 = 24 * 1024;

/// Copies of an answer in memory while it is read: as received, as text, and as the payload in the object.
const COPIES: usize = 3;

static ANSWERS: Semaphore = Semaphore::const_new(MAX_ANSWERS_KIB as usize);

/// Reserves memory for an answer that repeats this object.
async fn answer_memory(object: &FunctionInvocation) -> Option<SemaphorePermit<'static>> {
    let payload = object.spec.payload.as_ref().map_or(0, Payload::stored_bytes);
    let kib = payload.saturating_mul(COPIES).div_ceil(1024);
    let kib = u32::try_from(kib).unwrap_or(u32::MAX).clamp(1, MAX_ANSWERS_KIB);
    // The semaphore is never closed.
    ANSWERS.acquire_many(kib).await.ok()
}

/// Proof that this process owns one attempt that has not been sent. It cannot be copied, and sending consumes it.
#[derive(Debug)]
pub struct Claim {
    object: FunctionInvocation,
    number: i64,
    expires: Instant,
}

impl Claim {
    /// The object right after the claim was written: fresh, with its payload.
    pub fn object(&self) -> &FunctionInvocation {
        &self.object
    }

    pub fn number(&self) -> i64 {
        self.number
    }

    /// Whether it is too late to start to send.
    pub fn has_expired(&self, now: Instant) -> bool {
        now >= self.expires
    }

    /// Takes the inline event out of the object and leaves its digest.
    pub fn take_event(&mut self) -> Option<Vec<u8>> {
        let (event, digest) = self.object.spec.payload.take()?.into_event();
        self.object.spec.payload = Some(digest);
        event
    }

    /// Gives up the proof, and returns the object to write to.
    pub fn spend(self) -> FunctionInvocation {
        self.object
    }
}

/// Result of a claim.
#[derive(Debug)]
pub enum Claimed {
    /// This process owns the attempt.
    Ours(Box<Claim>),
    /// Another writer was first. The current object.
    Lost(Box<FunctionInvocation>),
    /// The object is gone.
    Gone,
    /// The API server refuses the write permanently.
    Refused(String),
    /// The object would become too large with the claim.
    TooLarge,
}

/// Why a status is not written.
#[derive(Debug)]
pub enum NotWritten {
    /// Another writer was first.
    Conflict,
    /// The object is gone.
    Gone,
    /// The API server refuses the write permanently; its message.
    Refused(String),
    /// The object would exceed the maximum size of a stored object.
    TooLarge(String),
    /// Unknown: the write may have happened.
    Unknown(Error),
}

/// Result of recording an answer.
#[derive(Debug)]
pub enum Recorded {
    /// Recorded. The current object.
    Done(Box<FunctionInvocation>),
    /// The object does not exist.
    Gone,
    /// The attempt no longer belongs to this process: the object was re-created, or another process took over.
    TooLate(&'static str),
    /// The API server refuses the write permanently.
    Refused(String),
    /// The API server did not accept it within the time for records.
    Unwritten(Error),
}

/// Writes the claim `status` (with attempt `number` of this process) and finds out who owns it.
///
/// A conflict, an error or a lost answer does not say who won. The operator then reads the object live. The attempt
/// is its own if the object holds its claim, and `unsent` says that this process has not sent it.
///
/// # Errors
/// The API server had an error or did not answer, and this process does not own the attempt. A later reconcile checks
/// again.
pub async fn claim(
    client: &Client,
    object: &FunctionInvocation,
    status: &FunctionInvocationStatus,
    number: i64,
    unsent: impl Fn() -> bool,
) -> Result<Claimed, Error> {
    let _memory = answer_memory(object).await;
    let expires = clock::monotonic() + SEND_WINDOW;
    let ours = |fresh: &FunctionInvocation| owns(object, fresh, status, unsent());
    let proof = |object| Claimed::Ours(Box::new(Claim { object, number, expires }));
    match patch(namespaced(client, object)?, object, status).await {
        Ok(fresh) if ours(&fresh) => Ok(proof(fresh)),
        // An older CRD or an admission webhook has removed our attempt from the write.
        Ok(_) => Ok(Claimed::Refused(
            "the API server dropped the attempt from the status. Install the CRDs of this version of the operator".into(),
        )),
        Err(error) => match NotWritten::from(error) {
            NotWritten::Gone => Ok(Claimed::Gone),
            NotWritten::Refused(why) => Ok(Claimed::Refused(why)),
            NotWritten::TooLarge(_) => Ok(Claimed::TooLarge),
            open @ (NotWritten::Conflict | NotWritten::Unknown(_)) => match (get(client, object).await?, open) {
                (None, _) => Ok(Claimed::Gone),
                (Some(fresh), _) if ours(&fresh) => Ok(proof(fresh)),
                // Only a conflict means that another writer was first.
                (Some(_), NotWritten::Unknown(error)) => Err(error),
                (Some(fresh), _) => Ok(Claimed::Lost(Box::new(fresh))),
            },
        },
    }
}

impl From<Error> for NotWritten {
    fn from(error: Error) -> Self {
        let Some((code, message)) = answer(&error).map(|status| (status.code, status.message.clone())) else {
            return Self::Unknown(error);
        };
        match code {
            404 => Self::Gone,
            409 => Self::Conflict,
            // etcd's own limit arrives as a 500.
            413 => Self::TooLarge(message),
            500 if ["request is too large", "message larger than max"]
                .iter()
                .any(|text| message.contains(text)) =>
            {
                Self::TooLarge(message)
            }
            400 | 403 | 422 => Self::Refused(message),
            _ => Self::Unknown(error),
        }
    }
}

/// Writes `status` to the object that the decision was made from. Returns the current object.
pub async fn write(
    client: &Client,
    object: &FunctionInvocation,
    status: &FunctionInvocationStatus,
) -> Result<Box<FunctionInvocation>, NotWritten> {
    let _memory = answer_memory(object).await;
    Ok(Box::new(slim(patch(namespaced(client, object)?, object, status).await?)))
}

/// Marks an object with its own uid in an annotation, under the same guard as a claim. A separate write, because the
/// API server accepts only the status in a write to `/status`.
pub async fn mark(
    client: &Client,
    object: &FunctionInvocation,
) -> Result<Box<FunctionInvocation>, NotWritten> {
    let _memory = answer_memory(object).await;
    let api: Api<FunctionInvocation> = namespaced(client, object)?;
    let uid = object.uid().ok_or(Error::Incomplete("uid"))?;
    let resource_version = object.resource_version().ok_or(Error::Incomplete("resourceVersion"))?;
    let metadata = json!({"resourceVersion": resource_version, "annotations": {SUBMITTED_AS: uid}});
    let body = Patch::Merge(json!({"metadata": metadata}));
    Ok(Box::new(slim(bounded(api.patch(&object.name_any(), &PatchParams::default(), &body)).await?)))
}

/// The object without the text of its payload, which is not needed again.
fn slim(mut object: FunctionInvocation) -> FunctionInvocation {
    object.spec.payload = object.spec.payload.take().map(Payload::without_text);
    object
}

/// Records the result of an attempt of this process, with retries: only this process knows the answer.
///
/// `compose` makes the status from the current object. After [`NotWritten::TooLarge`] it is called again for a smaller
/// one each time; `None` means that there is no smaller one. After a failed try, the operator reads the object live.
/// It writes while the attempt still belongs to this process and no final result is recorded.
pub async fn record(
    client: &Client,
    object: &FunctionInvocation,
    compose: impl Fn(&FunctionInvocation, usize) -> Option<FunctionInvocationStatus>,
) -> Recorded {
    let give_up = clock::monotonic() + RECORD_TIMEOUT;
    let (mut pause, mut tried) = (Duration::from_millis(50), false);
    let mut live: Option<FunctionInvocation> = None;
    let mut too_large = 0;
    loop {
        let current = live.as_ref().unwrap_or(object);
        let Some(status) = compose(current, too_large) else {
            return Recorded::Refused("the object is too large for a status".into());
        };
        let error = match write(client, current, &status).await {
            Ok(fresh) if holds(&fresh, &status) => return Recorded::Done(fresh),
            Ok(_) => return Recorded::Refused("the API server dropped the status".into()),
            Err(NotWritten::Refused(why)) => return Recorded::Refused(why),
            Err(NotWritten::TooLarge(_)) => {
                too_large += 1;
                continue;
            }
            // A write can get 404 although the object exists (a CRD without its status subresource, a proxy). Only a
            // live read shows that it is gone.
            Err(NotWritten::Conflict | NotWritten::Gone) => None,
            Err(NotWritten::Unknown(error)) => Some(error),
        };
        if clock::monotonic() >= give_up {
            return Recorded::Unwritten(error.unwrap_or(Error::Timeout(CALL_TIMEOUT)));
        }
        if error.is_some() || tried {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
        tried = true;
        match get(client, object).await.map(|live| live.map(slim)) {
            Ok(None) => return Recorded::Gone,
            Ok(Some(fresh)) => match ownership(object, &fresh, &status) {
                Ownership::Ours => live = Some(fresh),
                Ownership::Written => return Recorded::Done(Box::new(fresh)),
                Ownership::Lost(why) => return Recorded::TooLate(why),
            },
            Err(error) => {
                tracing::debug!(error = with_causes(&error), "cannot read an object after a failed record");
            }
        }
    }
}

/// The current object, read live; `None` if it is gone.
pub async fn get(client: &Client, object: &FunctionInvocation) -> Result<Option<FunctionInvocation>, Error> {
    let namespace = object.metadata.namespace.as_deref().ok_or(Error::Incomplete("namespace"))?;
    find(client, namespace, &object.name_any()).await
}

/// The current object of that name; `None` if it does not exist.
pub async fn find(client: &Client, namespace: &str, name: &str) -> Result<Option<FunctionInvocation>, Error> {
    let api: Api<FunctionInvocation> = Api::namespaced(client.clone(), namespace);
    found(bounded(api.get(name)).await)
}

/// Deletes exactly the object that the decision was made from. Another object of the same name, or a changed one,
/// stays. False if there was nothing to delete.
pub async fn delete(client: &Client, object: &FunctionInvocation) -> Result<bool, Error> {
    let api: Api<FunctionInvocation> = namespaced(client, object)?;
    let exactly = Preconditions { uid: object.uid(), resource_version: object.resource_version() };
    let parameters = DeleteParams { preconditions: Some(exactly), ..DeleteParams::background() };
    match bounded(api.delete(&object.name_any(), &parameters)).await {
        Ok(_) => Ok(true),
        Err(error) if answer(&error).is_some_and(|s| matches!(s.code, 404 | 409)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes a provider's status. False if somebody else wrote the provider or deleted it meanwhile.
///
/// # Errors
/// The API server did not answer, had an error, or refused the write.
pub async fn write_provider(
    client: &Client,
    provider: &AnyProvider,
    status: &FunctionGraphProviderStatus,
) -> Result<bool, Error> {
    let written = match provider {
        AnyProvider::Namespaced(own) => patch(namespaced(client, &**own)?, &**own, status).await.map(drop),
        AnyProvider::Cluster(shared) => patch(Api::all(client.clone()), &**shared, status).await.map(drop),
    };
    match written {
        Ok(()) => Ok(true),
        Err(error) if answer(&error).is_some_and(|s| matches!(s.code, 404 | 409)) => Ok(false),
        Err(error) => Err(error),
    }
}

fn namespaced<K>(client: &Client, object: &K) -> Result<Api<K>, Error>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    let namespace = object.meta().namespace.as_deref().ok_or(Error::Incomplete("namespace"))?;
    Ok(Api::namespaced(client.clone(), namespace))
}

/// The only way to write a status. Absent fields are written as null, which a merge patch removes.
async fn patch<K, S>(api: Api<K>, object: &K, status: &S) -> Result<K, Error>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
    S: Serialize,
{
    #[derive(Debug, Serialize)]
    struct Body<'a> {
        metadata: Metadata<'a>,
        status: Value,
    }
    #[derive(Debug, Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Metadata<'a> {
        resource_version: &'a str,
    }
    let resource_version =
        object.meta().resource_version.as_deref().ok_or(Error::Incomplete("resourceVersion"))?;
    let mut status =
        serde_json::to_value(status).map_err(|error| Error::Call(kube::Error::SerdeError(error)))?;
    fit::status(&K::kind(&()), &mut status);
    let body = Body { metadata: Metadata { resource_version }, status };
    bounded(api.patch_status(&object.name_any(), &PatchParams::default(), &Patch::Merge(body))).await
}
