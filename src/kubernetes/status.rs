//! Writes statuses, always as a compare-and-swap: the claim, the record and everything else.
//!
//! Every write is a merge patch that carries the `resourceVersion` of the object it was decided from, so
//! that the API server refuses it (409) when anybody wrote in between. A patch without one cannot be built.

use super::ownership::{Ownership, holds, ownership, owns};
use super::{Error, answer, bounded, fit, found};
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

/// From the moment a claim is asked for, its attempt must begin to send within this time. Far below the
/// takeover time, so that an owner that was held up does not send into somebody else's decision.
const SEND_WINDOW: Duration = Duration::from_secs(10);

/// How long a record is tried before it is left to a later run: longer than it takes another replica to give
/// the attempt up, after which no later run would come by.
const RECORD: Duration = Duration::from_mins(5);

/// What the answers of the API server may take of memory while they are read, in KiB: each repeats its whole object. An
/// object that needs more waits until others are through.
const ANSWERS_KIB: u32 = 24 * 1024;

/// An answer is held three times while it is read: as it came, as text, and as the payload in the object.
const COPIES: usize = 3;

static ANSWERS: Semaphore = Semaphore::const_new(ANSWERS_KIB as usize);

/// Room for an answer that repeats this object.
async fn room(object: &FunctionInvocation) -> Option<SemaphorePermit<'static>> {
    let payload = object.spec.payload.as_ref().map_or(0, Payload::stored_bytes);
    let kib = payload.saturating_mul(COPIES).div_ceil(1024);
    let kib = u32::try_from(kib).unwrap_or(u32::MAX).clamp(1, ANSWERS_KIB);
    // Nobody closes it.
    ANSWERS.acquire_many(kib).await.ok()
}

/// Proof that this process owns one attempt that has not been sent. It cannot be copied, and sending
/// consumes it.
#[derive(Debug)]
pub struct Claim {
    object: FunctionInvocation,
    number: i64,
    expires: Instant,
}

impl Claim {
    /// The object as it was when the claim was written: fresh, with its payload.
    #[must_use]
    pub fn object(&self) -> &FunctionInvocation {
        &self.object
    }

    /// The attempt's number.
    #[must_use]
    pub fn number(&self) -> i64 {
        self.number
    }

    /// Whether it is too late to begin to send.
    #[must_use]
    pub fn has_expired(&self, now: Instant) -> bool {
        now >= self.expires
    }

    /// Takes the inline event out of the object, which keeps its digest.
    pub fn take_event(&mut self) -> Option<Vec<u8>> {
        let (event, digest) = self.object.spec.payload.take()?.into_event();
        self.object.spec.payload = Some(digest);
        event
    }

    /// Gives up the proof; what is left is the object to write to.
    #[must_use]
    pub fn spend(self) -> FunctionInvocation {
        self.object
    }
}

/// What became of a claim.
#[derive(Debug)]
pub enum Claimed {
    /// We own the attempt.
    Ours(Box<Claim>),
    /// Somebody else wrote first. The object as it is now.
    Lost(Box<FunctionInvocation>),
    /// The object is gone.
    Gone,
    /// The API server refuses the write for good.
    Refused(String),
    /// The object has no room for the claim.
    TooLarge(String),
}

/// What became of a write.
#[derive(Debug)]
pub enum Written {
    /// It stands. The object as it is now.
    Done(Box<FunctionInvocation>),
    /// Somebody else wrote first.
    Conflict,
    /// The object is gone.
    Gone,
    /// The API server refuses the write for good.
    Refused(String),
    /// The object has no room for it.
    TooLarge(String),
}

/// What became of a record.
#[derive(Debug)]
pub enum Recorded {
    /// It stands. The object as it is now.
    Done(Box<FunctionInvocation>),
    /// The object is not there.
    Gone,
    /// The attempt is no longer ours to write: the object was made anew, or went on without us.
    TooLate(&'static str),
    /// The API server refuses the write for good.
    Refused(String),
    /// The API server could not be brought to take it within the time for records.
    Unwritten(Error),
}

/// Writes the claim `status` (which holds attempt `number` of this process) and finds out who owns it.
///
/// A conflict, an error or a lost answer says nothing about who won: the object is then read live, and the
/// attempt is ours if it holds what we claimed and `unsent` says that this process has not sent it.
///
/// # Errors
/// When the API server had trouble of its own, or did not answer, and the attempt is not ours: a later reconcile finds
/// what is there.
pub async fn claim(
    client: &Client,
    object: &FunctionInvocation,
    status: &FunctionInvocationStatus,
    number: i64,
    unsent: impl Fn() -> bool,
) -> Result<Claimed, Error> {
    let _room = room(object).await;
    let expires = clock::monotonic() + SEND_WINDOW;
    let ours = |fresh: &FunctionInvocation| owns(object, fresh, status, unsent());
    let proof = |object| Claimed::Ours(Box::new(Claim { object, number, expires }));
    match patch(namespaced(client, object)?, object, status).await {
        Ok(fresh) if ours(&fresh) => Ok(proof(fresh)),
        // An older CRD or an admission webhook has taken our attempt out of the write.
        Ok(_) => Ok(Claimed::Refused(
            "the API server did not keep the attempt that was written. Install the CRDs of this version of the operator".into(),
        )),
        Err(error) => match verdict(error) {
            Verdict::Gone => Ok(Claimed::Gone),
            Verdict::Refused(why) => Ok(Claimed::Refused(why)),
            Verdict::TooLarge(why) => Ok(Claimed::TooLarge(why)),
            open @ (Verdict::Conflict | Verdict::Unknown(_)) => match (get(client, object).await?, open) {
                (None, _) => Ok(Claimed::Gone),
                (Some(fresh), _) if ours(&fresh) => Ok(proof(fresh)),
                // Only a conflict means that somebody else wrote first.
                (Some(_), Verdict::Unknown(error)) => Err(error),
                (Some(fresh), _) => Ok(Claimed::Lost(Box::new(fresh))),
            },
        },
    }
}

/// What an error says about a write.
enum Verdict {
    /// Somebody else wrote first.
    Conflict,
    /// The object is gone.
    Gone,
    /// It is refused for good; the API server's own words.
    Refused(String),
    /// The object would be larger than what is stored.
    TooLarge(String),
    /// Nothing: the write may have happened.
    Unknown(Error),
}

fn verdict(error: Error) -> Verdict {
    let Some((code, message)) = answer(&error).map(|status| (status.code, status.message.clone())) else {
        return Verdict::Unknown(error);
    };
    match code {
        404 => Verdict::Gone,
        409 => Verdict::Conflict,
        // etcd's own limit arrives as a 500.
        413 => Verdict::TooLarge(message),
        500 if ["request is too large", "message larger than max"]
            .iter()
            .any(|text| message.contains(text)) =>
        {
            Verdict::TooLarge(message)
        }
        400 | 403 | 422 => Verdict::Refused(message),
        _ => Verdict::Unknown(error),
    }
}

/// Writes `status` over the object that it was decided from.
///
/// # Errors
/// When the API server did not answer or had trouble of its own; the write may have happened.
pub async fn write(
    client: &Client,
    object: &FunctionInvocation,
    status: &FunctionInvocationStatus,
) -> Result<Written, Error> {
    let _room = room(object).await;
    written(patch(namespaced(client, object)?, object, status).await)
}

/// Marks an object with its own uid, in an annotation, under the same guard as a claim. The claim itself cannot do
/// that: the API server takes nothing but the status from a write to `/status`.
///
/// # Errors
/// When the API server did not answer or had trouble of its own; the write may have happened.
pub async fn mark(client: &Client, object: &FunctionInvocation) -> Result<Written, Error> {
    let _room = room(object).await;
    let api: Api<FunctionInvocation> = namespaced(client, object)?;
    let uid = object.uid().ok_or(Error::Incomplete("uid"))?;
    let resource_version = object.resource_version().ok_or(Error::Incomplete("resourceVersion"))?;
    let metadata = json!({"resourceVersion": resource_version, "annotations": {SUBMITTED_AS: uid}});
    let body = Patch::Merge(json!({"metadata": metadata}));
    written(bounded(api.patch(&object.name_any(), &PatchParams::default(), &body)).await)
}

fn written(result: Result<FunctionInvocation, Error>) -> Result<Written, Error> {
    match result.map_err(verdict) {
        Ok(fresh) => Ok(Written::Done(Box::new(slim(fresh)))),
        Err(Verdict::Gone) => Ok(Written::Gone),
        Err(Verdict::Conflict) => Ok(Written::Conflict),
        Err(Verdict::Refused(why)) => Ok(Written::Refused(why)),
        Err(Verdict::TooLarge(why)) => Ok(Written::TooLarge(why)),
        Err(Verdict::Unknown(error)) => Err(error),
    }
}

/// The object without the text of its payload, which nobody needs again.
fn slim(mut object: FunctionInvocation) -> FunctionInvocation {
    object.spec.payload = object.spec.payload.take().map(Payload::without_text);
    object
}

/// Writes what an attempt of ours ended with, and does not give up easily: the answer is known to this
/// process alone.
///
/// `compose` makes the status from the object as it is; asked again after [`Written::TooLarge`], a smaller one each
/// time, and none when there is no smaller one. Each try is decided from a live read once the first has failed; it is
/// written while the attempt is still ours and nothing final is known of it.
pub async fn record(
    client: &Client,
    object: &FunctionInvocation,
    compose: impl Fn(&FunctionInvocation, usize) -> Option<FunctionInvocationStatus>,
) -> Recorded {
    let give_up = clock::monotonic() + RECORD;
    let (mut pause, mut tried) = (Duration::from_millis(50), false);
    let mut live: Option<FunctionInvocation> = None;
    let mut too_large = 0;
    loop {
        let current = live.as_ref().unwrap_or(object);
        let Some(status) = compose(current, too_large) else {
            return Recorded::Refused("the object has no room for a status".into());
        };
        let error = match write(client, current, &status).await {
            Ok(Written::Done(fresh)) if holds(&fresh, &status) => return Recorded::Done(fresh),
            Ok(Written::Done(_)) => {
                return Recorded::Refused("the API server did not keep what was written".into());
            }
            Ok(Written::Refused(why)) => return Recorded::Refused(why),
            Ok(Written::TooLarge(_)) => {
                too_large += 1;
                continue;
            }
            // A write can be answered 404 while the object is there (a CRD without its status subresource, a proxy in
            // between): only a live read says that it is gone.
            Ok(Written::Conflict | Written::Gone) => None,
            Err(error) => Some(error),
        };
        if clock::monotonic() >= give_up {
            return Recorded::Unwritten(error.unwrap_or(Error::Timeout));
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
            Err(error) => tracing::debug!(%error, "looking at an object whose record failed"),
        }
    }
}

/// The object as it is now, not as any cache has it; `None` if it is gone.
///
/// # Errors
/// When the API server did not answer or had trouble of its own.
pub async fn get(client: &Client, object: &FunctionInvocation) -> Result<Option<FunctionInvocation>, Error> {
    let namespace = object.metadata.namespace.as_deref().ok_or(Error::Incomplete("namespace"))?;
    find(client, namespace, &object.name_any()).await
}

/// The object of that name as it is now; `None` if there is none.
///
/// # Errors
/// When the API server did not answer or had trouble of its own.
pub async fn find(client: &Client, namespace: &str, name: &str) -> Result<Option<FunctionInvocation>, Error> {
    let api: Api<FunctionInvocation> = Api::namespaced(client.clone(), namespace);
    found(bounded(api.get(name)).await)
}

/// Deletes exactly the object that was decided on: another of the same name, or one that changed since,
/// stays.
///
/// # Errors
/// When the API server did not answer or had trouble of its own.
pub async fn delete(client: &Client, object: &FunctionInvocation) -> Result<(), Error> {
    let api: Api<FunctionInvocation> = namespaced(client, object)?;
    let exactly = Preconditions { uid: object.uid(), resource_version: object.resource_version() };
    let parameters = DeleteParams { preconditions: Some(exactly), ..DeleteParams::background() };
    match bounded(api.delete(&object.name_any(), &parameters)).await {
        Ok(_) => Ok(()),
        Err(error) if answer(&error).is_some_and(|s| matches!(s.code, 404 | 409)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Writes a provider's status.
///
/// # Errors
/// When the API server did not take it; a conflict is an error too, because the next reconcile decides again.
pub async fn write_provider(
    client: &Client,
    provider: &AnyProvider,
    status: &FunctionGraphProviderStatus,
) -> Result<(), Error> {
    match provider {
        AnyProvider::Namespaced(own) => patch(namespaced(client, &**own)?, &**own, status).await.map(drop),
        AnyProvider::Cluster(shared) => patch(Api::all(client.clone()), &**shared, status).await.map(drop),
    }
}

fn namespaced<K>(client: &Client, object: &K) -> Result<Api<K>, Error>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    let namespace = object.meta().namespace.as_deref().ok_or(Error::Incomplete("namespace"))?;
    Ok(Api::namespaced(client.clone(), namespace))
}

/// The one way to write a status. Absent fields are written as null, which a merge patch removes.
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
