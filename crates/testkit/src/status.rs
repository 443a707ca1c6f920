//! What the status of an invocation says.

use functiongraph_operator::api::{
    Condition, ConditionStatus, ConditionType, FunctionInvocationStatus, Reason,
};

/// Status and reason of a condition, if it is there.
pub fn condition(
    status: &FunctionInvocationStatus,
    type_: ConditionType,
) -> (Option<ConditionStatus>, Option<Reason>) {
    let found = Condition::find(&status.conditions, type_);
    (found.map(|c| c.status), found.map(|c| c.reason))
}

/// Status and reason of the condition `Ready`.
pub fn ready(status: &FunctionInvocationStatus) -> (Option<ConditionStatus>, Option<Reason>) {
    condition(status, ConditionType::Ready)
}

/// The message of the condition `Ready`.
pub fn message(status: &FunctionInvocationStatus) -> &str {
    Condition::find(&status.conditions, ConditionType::Ready).map_or("", |c| &c.message)
}
