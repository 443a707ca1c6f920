//! The status of a `FunctionInvocation`: what became of it. Written by the operator only.

use super::{Execution, InvocationResult};
use crate::api::{Condition, lenient, lenient_list, present};
use jiff::Timestamp;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What became of the invocation. Written by the operator only.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
// Boxed where most objects that wait have nothing: ten thousand of them are held in memory.
// One writer: atomic. The default lets kstatus (Helm --wait, Flux) see a new object as in progress.
#[schemars(extend("default" = {"observedGeneration": -1}, "x-kubernetes-map-type" = "atomic"))]
#[x_kube(validation = Rule::new("!has(oldSelf.attempt) || has(self.attempt)").message("a recorded attempt cannot be removed"))]
#[x_kube(validation = Rule::new("!has(self.attempt) || (has(oldSelf.attempt) ? (self.attempt.number == oldSelf.attempt.number || self.attempt.number == oldSelf.attempt.number + 1) : self.attempt.number == 1)").message("attempt numbers go up one by one"))]
#[x_kube(validation = Rule::new("!has(self.attempt) || !has(oldSelf.attempt) || self.attempt.number != oldSelf.attempt.number || self.attempt.holder == oldSelf.attempt.holder").message("an attempt keeps its holder"))]
#[x_kube(validation = Rule::new("!has(oldSelf.outcome) || oldSelf.outcome == 'Unknown' || (has(self.outcome) && self.outcome == oldSelf.outcome)").message("an outcome is final; only Unknown may still become known"))]
pub struct FunctionInvocationStatus {
    /// The generation of the spec that this status was judged from; −1 before the first look.
    #[serde(default, deserialize_with = "lenient")]
    pub observed_generation: Option<i64>,

    /// How it ended; absent until then. Selectable: `--field-selector status.outcome=Failed`.
    #[serde(default, deserialize_with = "lenient")]
    pub outcome: Option<Outcome>,

    /// The function, short: `package:name:qualifier`.
    #[serde(default, deserialize_with = "lenient")]
    #[schemars(length(max = 269))]
    pub function: Option<String>,

    /// The id that the service gave to the invocation.
    #[serde(default, rename = "requestID", deserialize_with = "lenient")]
    #[schemars(length(max = 64))]
    pub request_id: Option<String>,

    /// Where the id comes from.
    #[serde(default, rename = "requestIDSource", deserialize_with = "lenient")]
    pub request_id_source: Option<RequestIdSource>,

    /// The id of the instance that a `Reserved` invocation runs on.
    #[serde(default, rename = "instanceID", deserialize_with = "lenient")]
    #[schemars(length(max = 64))]
    pub instance_id: Option<String>,

    /// Requests that FunctionGraph's list shows around an ambiguous attempt: evidence for you, never a verdict. Only if
    /// there are at most five, and not under a cluster-scoped provider.
    #[serde(default, rename = "candidateRequestIDs", deserialize_with = "lenient")]
    #[schemars(length(max = 5), inner(length(max = 64)), extend("x-kubernetes-list-type" = "atomic"))]
    pub candidate_request_ids: Option<Vec<String>>,

    /// The value of the annotation `functiongraph.io/resolve` that the operator has handled, cut to 73 characters. The
    /// same value counts again only after you removed the annotation.
    #[serde(default, deserialize_with = "lenient")]
    #[schemars(length(max = 73))]
    pub resolution: Option<String>,

    /// The uid of the object that `attempt` was made for. Another than the object's own: the status was restored
    /// with a copy of it.
    #[serde(default, deserialize_with = "lenient")]
    #[schemars(length(max = 64))]
    pub submitted_as: Option<String>,

    /// What identifies the event of the first attempt: `sha256:` and the hash of its bytes, or, for an event from a
    /// Secret, its uid and resourceVersion. Another event is never sent for this object.
    #[serde(default, deserialize_with = "lenient")]
    #[schemars(length(max = 256))]
    pub event_version: Option<String>,

    /// From when `activeDeadlineSeconds` counts: the creation, or the latest resume or `Retry`.
    #[serde(default, deserialize_with = "lenient")]
    pub start_time: Option<Timestamp>,

    /// When the service's acceptance was seen.
    #[serde(default, deserialize_with = "lenient")]
    pub accepted_time: Option<Timestamp>,

    /// When FunctionGraph took the request to stop the execution.
    #[serde(default, deserialize_with = "lenient")]
    pub cancel_time: Option<Timestamp>,

    /// When it ended.
    #[serde(default, deserialize_with = "lenient")]
    pub completion_time: Option<Timestamp>,

    /// How many attempts were made.
    #[serde(default, deserialize_with = "lenient")]
    #[schemars(range(min = 0))]
    pub attempts: Option<i64>,

    /// How many of them were answered 429 or 503.
    #[serde(default, deserialize_with = "lenient")]
    #[schemars(range(min = 0))]
    pub throttled_attempts: Option<i64>,

    /// How many of them count against `retryPolicy.backoffLimit`.
    #[serde(default, deserialize_with = "lenient")]
    #[schemars(range(min = 0))]
    pub failed_attempts: Option<i64>,

    /// No further attempt before this time.
    #[serde(default, deserialize_with = "lenient")]
    pub next_attempt_time: Option<Timestamp>,

    /// The latest attempt.
    #[serde(default, deserialize_with = "present")]
    pub attempt: Option<Attempt>,

    /// The latest error.
    #[serde(default, deserialize_with = "lenient")]
    pub error: Option<Box<AttemptError>>,

    /// The execution, as far as the service has told: for `completionPolicy: Executed` and for `Sync`.
    #[serde(default, deserialize_with = "lenient")]
    pub execution: Option<Box<Execution>>,

    /// What a `Sync` invocation brought back.
    #[serde(default, deserialize_with = "lenient")]
    pub result: Option<Box<InvocationResult>>,

    /// `Accepted`, `Finished`, `Ready` from the first look on; `Reconciling`, `Stalled`, `Suspended` while
    /// they hold.
    #[serde(default, deserialize_with = "lenient_list")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub conditions: Vec<Condition>,
}

/// How an invocation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Outcome {
    /// The service accepted it.
    Accepted,
    /// The service reported that it was executed well.
    Executed,
    /// It was certainly not accepted and is not tried any more, or its execution failed.
    Failed,
    /// It cannot be known whether the service accepted it, or what became of the execution.
    Unknown,
    /// It was cancelled: before it was sent, or, as the service confirmed, while it was executed.
    Cancelled,
}

impl Outcome {
    /// The name as it stands in status and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::Executed => "Executed",
            Self::Failed => "Failed",
            Self::Unknown => "Unknown",
            Self::Cancelled => "Cancelled",
        }
    }

    /// Whether nothing can become better known: all but `Unknown`.
    #[must_use]
    pub fn is_final(self) -> bool {
        match self {
            Self::Accepted | Self::Executed | Self::Failed | Self::Cancelled => true,
            Self::Unknown => false,
        }
    }
}

/// Where a request id comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RequestIdSource {
    /// From the service's answer to the submission.
    Response,
    /// From the annotation `functiongraph.io/resolve`. Recorded, never followed or cancelled.
    User,
}

/// One attempt: the claim that is written before anything is sent, and what became of it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
// In the schema only: the rules on attempts read all three, and our own types read whatever was stored once.
#[schemars(extend("required" = ["holder", "number", "state"]))]
pub struct Attempt {
    // A field that cannot be read is left out of a write, which keeps what is stored: the rules on attempts would refuse
    // its removal for ever.
    /// 1, 2, 3 …
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    #[schemars(required, range(min = 1, max = 1_000_000))]
    pub number: Option<i64>,
    /// The process that owns the attempt: 128 random bits, new at every start.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    #[schemars(required, length(min = 1, max = 64))]
    pub holder: Option<String>,
    /// What is known about it.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    pub state: Option<AttemptState>,
    /// When it was claimed. For readers: no decision compares it with another machine's clock.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub claim_time: Option<Timestamp>,
    /// The endpoint that it was sent to. What follows the attempt goes there, or nowhere.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub endpoint: Option<String>,
    /// The URN that was invoked: region, project and function.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 300))]
    pub urn: Option<String>,
}

/// What is known about an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum AttemptState {
    /// Its holder may be sending it right now.
    Claimed,
    /// The service accepted it.
    Accepted,
    /// The service certainly refused it.
    Rejected,
    /// It certainly never left.
    NotSent,
    /// It cannot be known whether the service accepted it.
    Ambiguous,
}

/// The latest error.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttemptError {
    /// When it was seen.
    #[serde(default, deserialize_with = "lenient")]
    pub time: Option<Timestamp>,
    /// What kind of error it is.
    #[serde(default, deserialize_with = "lenient")]
    pub class: Option<ErrorClass>,
    /// The HTTP status of the answer, if there was one.
    #[serde(default, deserialize_with = "lenient")]
    pub http_status: Option<i64>,
    /// The service's error code, for example `FSS.1051`.
    #[serde(default, deserialize_with = "lenient")]
    #[schemars(length(max = 64))]
    pub code: Option<String>,
    /// The service's message, or what went wrong on our side.
    #[serde(default, deserialize_with = "lenient")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
    /// The gateway's own id of the exchange (`X-Request-Id`), for a support case.
    #[serde(default, rename = "gatewayRequestID", deserialize_with = "lenient")]
    #[schemars(length(max = 64))]
    pub gateway_request_id: Option<String>,
}

/// Kinds of error, by what they say about the one question that matters: was it accepted?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ErrorClass {
    /// 429: not accepted, too many requests.
    Throttled,
    /// 503: not accepted, service unavailable.
    Unavailable,
    /// 429 with "disabled": not accepted until somebody enables the function.
    FunctionDisabled,
    /// 401 and its kin: not accepted, because of the credential.
    Unauthenticated,
    /// Another 4xx: not accepted, for good.
    Rejected,
    /// 3xx: not accepted, never followed.
    Redirected,
    /// It never left: name resolution, connection or TLS handshake failed.
    NotSent,
    /// A timeout, a lost connection or an answer that leaves it open.
    Ambiguous,
}

impl ErrorClass {
    /// The name as it stands in status and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Throttled => "Throttled",
            Self::Unavailable => "Unavailable",
            Self::FunctionDisabled => "FunctionDisabled",
            Self::Unauthenticated => "Unauthenticated",
            Self::Rejected => "Rejected",
            Self::Redirected => "Redirected",
            Self::NotSent => "NotSent",
            Self::Ambiguous => "Ambiguous",
        }
    }
}
