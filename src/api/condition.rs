//! Conditions: their types and reasons as closed lists, and the only function that changes them.

use jiff::Timestamp;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

/// Type of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum ConditionType {
    /// FunctionGraph accepted the invocation.
    Accepted,
    /// The object is finished, successfully or not. Use it with `kubectl wait --for=condition=Finished`.
    Finished,
    /// The object is finished successfully.
    Ready,
    /// Work is in progress, or waits for something. Present only while true.
    Reconciling,
    /// The object failed, or you must act. Present only while true.
    Stalled,
    /// `spec.suspend` is true. Present only while true.
    Suspended,
    /// The annotation `functiongraph.io/resolve` had no effect. Present only while true.
    ResolutionRefused,
    /// FunctionGraph throttles the provider, and the operator sends nothing for a while. Present only while true.
    Paused,
}

/// Status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// The condition is true.
    True,
    /// The condition is false.
    False,
    /// The answer is not known, or not yet.
    Unknown,
}

/// Reason of a condition. Events use the same reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, IntoStaticStr)]
pub enum Reason {
    /// The operator sends the invocation, or is about to.
    Progressing,
    /// FunctionGraph answered 429 or 503; the operator retries.
    Throttled,
    /// An attempt failed; the operator retries after a pause.
    BackingOff,
    /// The provider is missing or not ready.
    WaitingForProvider,
    /// The object that `payloadFrom` names is missing.
    WaitingForPayload,
    /// Held back by `spec.suspend`.
    Suspended,
    /// FunctionGraph answered 202.
    Accepted,
    /// FunctionGraph accepted the invocation, and the operator follows its execution.
    Running,
    /// FunctionGraph accepted the invocation, but the operator cannot read the list with its execution at the moment.
    ListUnreadable,
    /// FunctionGraph reported a successful execution.
    Executed,
    /// FunctionGraph reported a failed execution.
    ExecutionFailed,
    /// FunctionGraph discarded the request before it ran.
    Discarded,
    /// FunctionGraph accepted the invocation, but the result of its execution is unknown.
    ExecutionUnknown,
    /// The latest attempt is ambiguous, and the operator reads FunctionGraph's list for evidence.
    LookingUp,
    /// You resolved it with the annotation `functiongraph.io/resolve`.
    Resolved,
    /// The object is due, and waits in the queue of its provider.
    Queued,
    /// FunctionGraph accepted the invocation, but the provider now has another endpoint, region or project.
    DestinationChanged,
    /// The execution was not stopped: the provider does not allow it, or FunctionGraph did not do it.
    StopRefused,
    /// FunctionGraph may have accepted the invocation.
    OutcomeUnknown,
    /// The object was restored from a backup or copied, and may have been submitted before.
    Restored,
    /// More failed attempts than `retryPolicy.backoffLimit` allows.
    BackoffLimitExceeded,
    /// `activeDeadlineSeconds` has passed.
    DeadlineExceeded,
    /// FunctionGraph refused the invocation permanently.
    Rejected,
    /// The endpoint answered with a redirect, which the operator never follows.
    RedirectRefused,
    /// The function is disabled in FunctionGraph.
    FunctionDisabled,
    /// The payload is not a JSON object, or too large.
    InvalidPayload,
    /// The provider does not allow this function.
    AccessDenied,
    /// The object uses a value that this version of the operator does not support.
    Unsupported,
    /// Cancelled before it was sent, or FunctionGraph confirmed that it stopped the execution.
    Cancelled,
    /// The value of the annotation `functiongraph.io/resolve` is not `Retry`, `Fail` or a request id.
    NotUnderstood,
    /// The annotation `functiongraph.io/resolve` is on an object that has nothing to resolve.
    NothingToResolve,
    /// The annotation `functiongraph.io/resolve` was set before the attempt became ambiguous.
    ResolvedTooEarly,
    /// The annotation `functiongraph.io/resolve` has the request id of another object.
    RequestIdInUse,
    /// The API server refuses the operator's write. Only in Events.
    StatusRefused,
    /// The provider can be used.
    ProviderReady,
    /// The endpoint is not acceptable; see the message.
    EndpointRefused,
    /// The endpoint repeatedly did not answer.
    EndpointUnreachable,
    /// The Secret that the provider names does not exist.
    SecretNotFound,
    /// FunctionGraph refuses the credential, or the Secret does not hold a credential.
    CredentialsInvalid,
}

impl Reason {
    /// The name in conditions and Events.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// One condition, as in the Kubernetes API conventions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Type of the condition.
    #[serde(rename = "type")]
    pub type_: ConditionType,
    /// Status of the condition: True, False or Unknown.
    pub status: ConditionStatus,
    /// The generation of the spec that the condition describes.
    pub observed_generation: i64,
    /// When `status` last changed.
    pub last_transition_time: Timestamp,
    /// The reason as a CamelCase name.
    pub reason: self::Reason, // `self::` because the derive brings a `Reason` of its own into scope
    /// A message for you: what happened, and what to do next.
    #[schemars(length(max = 2048))]
    pub message: String,
}

/// Maximum length of a message, in characters. The schema allows 2,048.
const MAX_MESSAGE_CHARS: usize = 1500;

/// `message` in a form that a condition allows: short enough, and without control characters.
pub(crate) fn fitting(message: &str) -> String {
    message.chars().take(MAX_MESSAGE_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The message of a condition that only repeats what `Ready` says in detail.
pub(crate) fn see_ready(type_: ConditionType) -> &'static str {
    match type_ {
        ConditionType::Reconciling => "In progress: see the condition Ready.",
        ConditionType::Stalled => "The operator does not go on by itself: see the condition Ready.",
        ConditionType::Suspended => "spec.suspend is true.",
        ConditionType::Accepted
        | ConditionType::Finished
        | ConditionType::Ready
        | ConditionType::ResolutionRefused
        | ConditionType::Paused => "See the condition Ready.",
    }
}

impl Condition {
    /// What a condition shall say; [`Self::put`] adds since when.
    pub(crate) fn new(type_: ConditionType, status: ConditionStatus, reason: Reason, message: &str) -> Self {
        let message = fitting(message);
        Self {
            type_,
            status,
            observed_generation: 0,
            last_transition_time: Timestamp::UNIX_EPOCH,
            reason,
            message,
        }
    }

    /// The condition of this type, if there is one.
    pub fn find(conditions: &[Self], type_: ConditionType) -> Option<&Self> {
        conditions.iter().find(|c| c.type_ == type_)
    }

    /// The new list for `wanted`, in that order. A condition that is not in it is removed, and `lastTransitionTime`
    /// changes only with `status`.
    pub(crate) fn put(previous: &[Self], wanted: Vec<Self>, generation: i64, now: Timestamp) -> Vec<Self> {
        let dated = |wanted: Self| {
            let same = Self::find(previous, wanted.type_).filter(|old| old.status == wanted.status);
            let last_transition_time = same.map_or(now, |old| old.last_transition_time);
            Self { observed_generation: generation, last_transition_time, ..wanted }
        };
        wanted.into_iter().map(dated).collect()
    }
}
