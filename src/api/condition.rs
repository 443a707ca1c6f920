//! Conditions: their types and reasons as closed lists, and the one rule for changing them.

use jiff::Timestamp;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a condition is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum ConditionType {
    /// The cloud accepted the submission: an answer 202 was seen.
    Accepted,
    /// Nothing more will happen, whether well or badly. `kubectl wait --for=condition=Finished`.
    Finished,
    /// The object reached what it was made for.
    Ready,
    /// Work is going on or is waiting for something; present only while true.
    Reconciling,
    /// It ended without success, or a person has to act; present only while true.
    Stalled,
    /// `spec.suspend` holds it back; present only while true.
    Suspended,
    /// The annotation `functiongraph.io/resolve` changed nothing; present only while true.
    ResolutionRefused,
    /// FunctionGraph throttles the provider, and the operator sends nothing for a while; present only while true.
    Paused,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It cannot be said yet, or not at all.
    Unknown,
}

/// Why a condition is as it is. Also the reasons of Events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Reason {
    /// An attempt is being made, or is about to be.
    Progressing,
    /// The service answered 429 or 503; it is tried again.
    Throttled,
    /// An attempt failed and is tried again after a pause.
    BackingOff,
    /// The provider is missing or not ready.
    WaitingForProvider,
    /// The object that `payloadFrom` names is missing.
    WaitingForPayload,
    /// Held back by `spec.suspend`.
    Suspended,
    /// Answer 202 seen.
    Accepted,
    /// Accepted, and its execution is followed.
    Running,
    /// Accepted, but the list that tells about its execution cannot be read at the moment.
    ListUnreadable,
    /// The service reported that it was executed well.
    Executed,
    /// The execution failed.
    ExecutionFailed,
    /// The service threw the request away before it ran.
    Discarded,
    /// Accepted, but what became of the execution cannot be known.
    ExecutionUnknown,
    /// The latest attempt is ambiguous, and FunctionGraph's list is read for evidence.
    LookingUp,
    /// Resolved with the annotation `functiongraph.io/resolve`.
    Resolved,
    /// It is due, and waits for its turn at the provider.
    Queued,
    /// Accepted, but the provider no longer leads to where the request was sent.
    DestinationChanged,
    /// The execution is not stopped: the provider does not allow it, or the service did not do it.
    StopRefused,
    /// It cannot be known whether the cloud accepted.
    OutcomeUnknown,
    /// It was restored from a backup or copied, and may have been submitted before.
    Restored,
    /// More failed attempts than `retryPolicy.backoffLimit` allows.
    BackoffLimitExceeded,
    /// `activeDeadlineSeconds` passed.
    DeadlineExceeded,
    /// The service refused the invocation for good.
    Rejected,
    /// The service answered with a redirect, which is never followed.
    RedirectRefused,
    /// The function is disabled in FunctionGraph.
    FunctionDisabled,
    /// The payload is not a JSON object, or too large.
    InvalidPayload,
    /// The provider does not allow this function.
    AccessDenied,
    /// The object asks for something that this version of the operator does not do.
    Unsupported,
    /// Cancelled before it was sent, or, as the service confirmed, while it was executed.
    Cancelled,
    /// The annotation `functiongraph.io/resolve` holds something else than `Retry`, `Fail` or a request id.
    NotUnderstood,
    /// The annotation `functiongraph.io/resolve` is on an object that has nothing to resolve.
    NothingToResolve,
    /// The annotation `functiongraph.io/resolve` was there before the attempt became ambiguous.
    ResolvedTooEarly,
    /// The annotation `functiongraph.io/resolve` names the request of another object.
    RequestIdInUse,
    /// The API server refuses what the operator writes; in Events only.
    StatusRefused,
    /// The provider can be used.
    ProviderReady,
    /// The endpoint is not acceptable: see the message.
    EndpointRefused,
    /// The endpoint did not answer several times in a row.
    EndpointUnreachable,
    /// The Secret that the provider names does not exist.
    SecretNotFound,
    /// The service does not accept the credential, or the Secret does not hold one.
    CredentialsInvalid,
}

impl Reason {
    /// The name as it stands in conditions and Events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Progressing => "Progressing",
            Self::Throttled => "Throttled",
            Self::BackingOff => "BackingOff",
            Self::WaitingForProvider => "WaitingForProvider",
            Self::WaitingForPayload => "WaitingForPayload",
            Self::Suspended => "Suspended",
            Self::Accepted => "Accepted",
            Self::Running => "Running",
            Self::ListUnreadable => "ListUnreadable",
            Self::Executed => "Executed",
            Self::ExecutionFailed => "ExecutionFailed",
            Self::Discarded => "Discarded",
            Self::ExecutionUnknown => "ExecutionUnknown",
            Self::LookingUp => "LookingUp",
            Self::Resolved => "Resolved",
            Self::StopRefused => "StopRefused",
            Self::OutcomeUnknown => "OutcomeUnknown",
            Self::Restored => "Restored",
            Self::BackoffLimitExceeded => "BackoffLimitExceeded",
            Self::DeadlineExceeded => "DeadlineExceeded",
            Self::Rejected => "Rejected",
            Self::RedirectRefused => "RedirectRefused",
            Self::FunctionDisabled => "FunctionDisabled",
            Self::InvalidPayload => "InvalidPayload",
            Self::AccessDenied => "AccessDenied",
            Self::Unsupported => "Unsupported",
            Self::Cancelled => "Cancelled",
            Self::Queued => "Queued",
            Self::DestinationChanged => "DestinationChanged",
            Self::NotUnderstood => "NotUnderstood",
            Self::NothingToResolve => "NothingToResolve",
            Self::ResolvedTooEarly => "ResolvedTooEarly",
            Self::RequestIdInUse => "RequestIdInUse",
            Self::StatusRefused => "StatusRefused",
            Self::ProviderReady => "ProviderReady",
            Self::EndpointRefused => "EndpointRefused",
            Self::EndpointUnreachable => "EndpointUnreachable",
            Self::SecretNotFound => "SecretNotFound",
            Self::CredentialsInvalid => "CredentialsInvalid",
        }
    }
}

/// One condition, in the shape of the Kubernetes API conventions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What it is about.
    #[serde(rename = "type")]
    pub type_: ConditionType,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// The generation of the spec that it was judged from.
    pub observed_generation: i64,
    /// When `status` last changed.
    pub last_transition_time: Timestamp,
    /// Why, in one word.
    pub reason: self::Reason, // `self::` because the derive brings a `Reason` of its own into scope
    /// Why, for a reader, and what to do next.
    #[schemars(length(max = 2048))]
    pub message: String,
}

/// The longest message of a condition, in characters: the schema allows 2,048.
const MESSAGE: usize = 1500;

/// `message` as a condition can hold it: short enough, and without control characters.
#[must_use]
pub fn fitting(message: &str) -> String {
    message.chars().take(MESSAGE).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// What a condition should say; [`Condition::put`] makes it a condition.
#[derive(Clone, Debug, PartialEq)]
pub struct ConditionUpdate {
    /// What it is about.
    pub type_: ConditionType,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Why, in one word.
    pub reason: Reason,
    /// Why, for a reader.
    pub message: String,
}

impl Condition {
    /// The condition of that type, if there is one.
    #[must_use]
    pub fn find(conditions: &[Self], type_: ConditionType) -> Option<&Self> {
        conditions.iter().find(|c| c.type_ == type_)
    }

    /// The new list for `updates`, in their order: a condition without one is dropped, and
    /// `lastTransitionTime` moves only where `status` changed.
    #[must_use]
    pub fn put(
        previous: &[Self],
        updates: Vec<ConditionUpdate>,
        generation: i64,
        now: Timestamp,
    ) -> Vec<Self> {
        updates
            .into_iter()
            .map(|ConditionUpdate { type_, status, reason, message }| {
                let last_transition_time = Self::find(previous, type_)
                    .filter(|old| old.status == status)
                    .map_or(now, |old| old.last_transition_time);
                let message = fitting(&message);
                Self { type_, status, observed_generation: generation, last_transition_time, reason, message }
            })
            .collect()
    }
}
