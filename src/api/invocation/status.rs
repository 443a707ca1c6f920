//! The status of a `FunctionInvocation`. Only the operator writes it.

use super::{Execution, InvocationResult};
use crate::api::{Condition, ConditionType, lenient, lenient_list, present};
use jiff::Timestamp;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::apply;
use strum::{IntoStaticStr, VariantArray};

/// State and result of the invocation. Only the operator writes it.
#[apply(Option => #[serde(default, deserialize_with = "lenient")])]
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
// Boxed fields are empty for most waiting objects, of which the operator holds ten thousand in memory.
// Atomic, because there is one writer. The default makes kstatus (Helm --wait, Flux) show a new object as in
// progress.
#[schemars(extend("default" = {"observedGeneration": -1}, "x-kubernetes-map-type" = "atomic"))]
// Each field that a rule reads costs the API server a copy of the schema of all its siblings, at every status write. So a rule
// reads few fields here, and more in `attempt`, which is small.
#[x_kube(validation = Rule::new("has(oldSelf.attempt) ? has(self.attempt) : self.?attempt.?number.orValue(1) == 1").message("attempt numbers go up one by one from 1, and a recorded attempt cannot be removed"))]
#[x_kube(validation = Rule::new("oldSelf.?outcome.orValue('Unknown') == 'Unknown' || has(self.outcome)").message("an outcome is final; only Unknown may change"))]
pub struct FunctionInvocationStatus {
    /// The generation of the spec that this status describes; -1 before the first reconcile.
    pub observed_generation: Option<i64>,

    /// The final result; absent before the end. Use it as a selector: `--field-selector status.outcome=Failed`.
    #[x_kube(validation = Rule::new("self == oldSelf || oldSelf == 'Unknown'").message("an outcome is final; only Unknown may change"))]
    pub outcome: Option<Outcome>,

    /// The function in short: `package:name:qualifier`.
    #[schemars(length(max = 269))]
    pub function: Option<String>,

    /// FunctionGraph's id of the invocation.
    #[serde(rename = "requestID")]
    #[schemars(length(max = 64))]
    pub request_id: Option<String>,

    /// Source of the request id.
    #[serde(rename = "requestIDSource")]
    pub request_id_source: Option<RequestIdSource>,

    /// The id of the instance that executes a `Reserved` invocation.
    #[serde(rename = "instanceID")]
    #[schemars(length(max = 64))]
    pub instance_id: Option<String>,

    /// Requests in FunctionGraph's list around an ambiguous attempt. They are evidence for you; the operator does not
    /// use them. Present only if there are at most five, and never with a cluster-scoped provider.
    #[serde(rename = "candidateRequestIDs")]
    #[schemars(length(max = 5), inner(length(max = 64)), extend("x-kubernetes-list-type" = "atomic"))]
    pub candidate_request_ids: Option<Vec<String>>,

    /// The last value of the annotation `functiongraph.io/resolve` that the operator has handled, cut to 73
    /// characters. Remove the annotation before you set the same value again.
    #[schemars(length(max = 73))]
    pub resolution: Option<String>,

    /// The uid of the object that `attempt` was made for. If it differs from the object's own uid, the status was
    /// restored with a copy of that object.
    #[schemars(length(max = 64))]
    pub submitted_as: Option<String>,

    /// Identifies the event of the first attempt: `sha256:` and the hash of its bytes, or uid and resourceVersion of
    /// the Secret. The operator never sends another event for this object.
    #[schemars(length(max = 256))]
    pub event_version: Option<String>,

    /// Start of `activeDeadlineSeconds`: the creation, or the latest resume or `Retry`.
    pub start_time: Option<Timestamp>,

    /// When the operator saw that FunctionGraph had accepted the invocation.
    pub accepted_time: Option<Timestamp>,

    /// When FunctionGraph accepted the request to stop the execution.
    pub cancel_time: Option<Timestamp>,

    /// When the object finished.
    pub completion_time: Option<Timestamp>,

    /// Number of attempts.
    #[schemars(range(min = 0))]
    pub attempts: Option<i64>,

    /// Number of attempts that FunctionGraph answered with 429 or 503.
    #[schemars(range(min = 0))]
    pub throttled_attempts: Option<i64>,

    /// Number of attempts that count against `retryPolicy.backoffLimit`.
    #[schemars(range(min = 0))]
    pub failed_attempts: Option<i64>,

    /// Time of the next attempt; none before it.
    pub next_attempt_time: Option<Timestamp>,

    /// The latest attempt.
    #[serde_with(skip_apply)]
    #[serde(default, deserialize_with = "present")]
    pub attempt: Option<Attempt>,

    /// The latest error.
    pub error: Option<Box<AttemptError>>,

    /// The execution, as far as FunctionGraph has reported it: for `completionPolicy: Executed` and for `Sync`.
    pub execution: Option<Box<Execution>>,

    /// The result of a `Sync` invocation.
    pub result: Option<Box<InvocationResult>>,

    /// `Accepted`, `Finished` and `Ready` from the first reconcile on; `Reconciling`, `Stalled` and `Suspended` while
    /// they are true.
    #[serde(default, deserialize_with = "lenient_list")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub conditions: Vec<Condition>,
}

impl FunctionInvocationStatus {
    /// The condition of this type, if there is one.
    pub(crate) fn condition(&self, type_: ConditionType) -> Option<&Condition> {
        Condition::find(&self.conditions, type_)
    }
}

/// Final result of an invocation.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, IntoStaticStr, VariantArray,
)]
pub enum Outcome {
    /// FunctionGraph accepted it.
    Accepted,
    /// FunctionGraph reported a successful execution.
    Executed,
    /// FunctionGraph certainly did not accept it and the operator does not retry, or its execution failed.
    Failed,
    /// FunctionGraph may have accepted it, or the result of its execution is unknown.
    Unknown,
    /// Cancelled before it was sent, or FunctionGraph confirmed that it stopped the execution.
    Cancelled,
}

impl Outcome {
    /// The name in status and metrics.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Whether the outcome is final: all except `Unknown`.
    pub fn is_final(self) -> bool {
        match self {
            Self::Accepted | Self::Executed | Self::Failed | Self::Cancelled => true,
            Self::Unknown => false,
        }
    }
}

/// Source of a request id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RequestIdSource {
    /// FunctionGraph's answer to the submission.
    Response,
    /// The annotation `functiongraph.io/resolve`. The operator records this id, but never follows or cancels the
    /// request.
    User,
}

/// One attempt: the claim that the operator writes before it sends anything, and its result.
#[apply(Option => #[serde(default, deserialize_with = "lenient")])]
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
// Required in the schema only, because the rules on attempts read all three. The Rust types read any stored object.
#[schemars(extend("required" = ["holder", "number", "state"]))]
#[x_kube(validation = Rule::new("self.number == oldSelf.number || self.number == oldSelf.number + 1").message("attempt numbers go up one by one"))]
#[x_kube(validation = Rule::new("self.number != oldSelf.number || self.holder == oldSelf.holder").message("an attempt keeps its holder"))]
#[x_kube(validation = Rule::new("self.number == oldSelf.number || oldSelf.state in ['Rejected', 'NotSent', 'Ambiguous']").message("a new attempt may follow only an attempt that was certainly not accepted, or an ambiguous one under deliveryPolicy AtLeastOnce"))]
pub struct Attempt {
    // A write leaves out a field that cannot be read, which keeps the stored value. The rules on attempts would
    // refuse its removal for ever.
    /// The number of the attempt: 1, 2, 3 …
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, range(min = 1, max = 1_000_000))]
    pub number: Option<i64>,
    /// The process that owns the attempt: 128 random bits, new at every start.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, length(min = 1, max = 64))]
    pub holder: Option<String>,
    /// Result of the attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    pub state: Option<AttemptState>,
    /// When the attempt was claimed. For your information: the operator does not compare it with another machine's
    /// clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim_time: Option<Timestamp>,
    /// The endpoint of the attempt. The operator follows or cancels the invocation only at this endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub endpoint: Option<String>,
    /// The invoked URN: region, project and function.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 300))]
    pub urn: Option<String>,
}

/// Result of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum AttemptState {
    /// Its holder may be sending it now.
    Claimed,
    /// FunctionGraph accepted it.
    Accepted,
    /// FunctionGraph certainly refused it.
    Rejected,
    /// The operator certainly did not send it.
    NotSent,
    /// FunctionGraph may have accepted it.
    Ambiguous,
}

/// The latest error.
#[apply(Option => #[serde(default, deserialize_with = "lenient")])]
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttemptError {
    /// When the error occurred.
    pub time: Option<Timestamp>,
    /// Class of the error.
    pub class: Option<ErrorClass>,
    /// The HTTP status of the answer, if there was one.
    pub http_status: Option<i64>,
    /// FunctionGraph's error code, for example `FSS.1051`.
    #[schemars(length(max = 64))]
    pub code: Option<String>,
    /// FunctionGraph's message, or the operator's own error.
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
    /// The gateway's id of the request (`X-Request-Id`), for a support case.
    #[serde(rename = "gatewayRequestID")]
    #[schemars(length(max = 64))]
    pub gateway_request_id: Option<String>,
}

/// Classes of errors. Each says whether FunctionGraph accepted the invocation.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, IntoStaticStr, VariantArray,
)]
pub enum ErrorClass {
    /// 429: not accepted, too many requests.
    Throttled,
    /// 503: not accepted, service unavailable.
    Unavailable,
    /// 429 with "disabled": not accepted until you enable the function.
    FunctionDisabled,
    /// 401 and similar: not accepted, because of the credential.
    Unauthenticated,
    /// Another 4xx: not accepted, permanently.
    Rejected,
    /// 3xx: not accepted. The operator follows no redirect.
    Redirected,
    /// Not sent: name resolution, connection or TLS handshake failed.
    NotSent,
    /// A timeout, a lost connection, or an ambiguous answer.
    Ambiguous,
}

impl ErrorClass {
    /// The name in status and metrics.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
