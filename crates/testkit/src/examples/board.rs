//! What is known about the invocations, and whether each is where it said it would end.

use super::plan::{Plan, missing};
use functiongraph_emulator::LedgerEntry;
use functiongraph_operator::api::{Condition, ConditionStatus, ConditionType, FunctionInvocation};
use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The reason shown for an object that was there and is gone.
const DELETED: &str = "Deleted";

/// One invocation as a reader sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// The function, short.
    pub function: String,
    /// The condition `Ready`: its status; absent before the operator's first look, and after the end.
    pub ready: Option<ConditionStatus>,
    /// Its reason.
    pub reason: String,
    /// Its message.
    pub message: String,
    /// The id that FunctionGraph gave.
    pub request_id: String,
    /// How often it was sent.
    pub attempts: i64,
    /// When it is sent again.
    pub next: Option<Timestamp>,
}

/// An example that is not where it said it would end.
#[derive(Debug, PartialEq)]
pub struct Mismatch {
    /// Its name.
    pub name: String,
    /// What is not as it should be.
    pub why: String,
    /// Whether it is only slow, and may still come there.
    pub slow: bool,
}

/// All invocations by name.
#[derive(Debug)]
pub struct Board {
    plans: BTreeMap<String, Plan>,
    rows: BTreeMap<String, Row>,
    /// The whole status of each.
    statuses: BTreeMap<String, Value>,
    /// The call by which FunctionGraph accepted each request or instance, by its id.
    calls: BTreeMap<String, &'static str>,
}

// === impl Row ===

impl Row {
    fn of(object: &FunctionInvocation) -> Self {
        let Some(status) = object.status.clone() else { return Self::default() };
        let ready = Condition::find(&status.conditions, ConditionType::Ready);
        Self {
            function: status.function.unwrap_or_default(),
            ready: ready.map(|condition| condition.status),
            reason: ready.map(|condition| condition.reason.as_str().to_owned()).unwrap_or_default(),
            message: ready.map(|condition| condition.message.clone()).unwrap_or_default(),
            request_id: status.request_id.unwrap_or_default(),
            attempts: status.attempts.unwrap_or_default(),
            next: status.next_attempt_time,
        }
    }

    /// What is left of the row of an object that is gone.
    fn gone(before: &Self) -> Self {
        let message = "The object is gone, as `kubectl get` would tell.".to_owned();
        Self { ready: None, reason: DELETED.into(), message, next: None, ..before.clone() }
    }
}

// === impl Board ===

impl Board {
    /// An empty one, with what becomes of each example.
    pub fn new(plans: BTreeMap<String, Plan>) -> Self {
        Self { plans, rows: BTreeMap::new(), statuses: BTreeMap::new(), calls: BTreeMap::new() }
    }

    /// Takes over what FunctionGraph has accepted by now.
    pub fn accepted(&mut self, ledger: Vec<LedgerEntry>) {
        self.calls = ledger
            .into_iter()
            .map(|LedgerEntry { api, request_id, instance_id, .. }| {
                (instance_id.unwrap_or(request_id), api.name())
            })
            .collect();
    }

    /// Takes over what there is now; returns what is new.
    pub fn update(&mut self, objects: &[Arc<FunctionInvocation>]) -> Vec<(String, Row)> {
        let present: BTreeSet<String> = objects.iter().map(|object| object.name_any()).collect();
        let gone = self.rows.iter().filter(|(name, _)| !present.contains(*name));
        let gone = gone.map(|(name, before)| (name.clone(), Row::gone(before)));
        let there = objects.iter().map(|object| (object.name_any(), Row::of(object)));
        let mut changes: Vec<_> =
            gone.chain(there).filter(|(name, row)| self.rows.get(name) != Some(row)).collect();
        changes.sort_by(|(a, _), (b, _)| a.cmp(b));
        self.rows.extend(changes.iter().cloned());
        self.statuses = objects.iter().map(|object| (object.name_any(), status(object))).collect();
        changes
    }

    /// All rows, by name.
    pub fn rows(&self) -> &BTreeMap<String, Row> {
        &self.rows
    }

    /// How many examples there are.
    pub fn examples(&self) -> usize {
        self.plans.len()
    }

    /// Whether an example is where it said it would end.
    pub fn has_ended(&self, name: &str) -> bool {
        self.plans.get(name).is_some_and(|plan| self.mismatch(name, plan).is_none())
    }

    /// The examples that are not where they said they would end.
    pub fn mismatches(&self) -> Vec<Mismatch> {
        self.plans.iter().filter_map(|(name, plan)| self.mismatch(name, plan)).collect()
    }

    /// Whether there is nothing left to wait for but what is slow.
    pub fn is_settled(&self) -> bool {
        self.plans.iter().all(|(name, plan)| plan.slow || self.mismatch(name, plan).is_none())
    }

    fn mismatch(&self, name: &str, plan: &Plan) -> Option<Mismatch> {
        let row = self.rows.get(name).cloned().unwrap_or_default();
        let why = if row.reason == plan.reason {
            let found = self.statuses.get(name).unwrap_or(&Value::Null);
            missing(&plan.status, found).or_else(|| self.other_call(plan.call.as_deref()?, found))?
        } else {
            let reason = if row.reason.is_empty() { "nothing" } else { &row.reason };
            format!("expected {}, got {reason}: {}", plan.reason, row.message)
        };
        Some(Mismatch { name: name.into(), why, slow: plan.slow })
    }

    /// What FunctionGraph's ledger says in place of the call that is expected.
    fn other_call(&self, expected: &str, status: &Value) -> Option<String> {
        let id = status["instanceID"].as_str().or(status["requestID"].as_str()).unwrap_or_default();
        match self.calls.get(id) {
            Some(call) if *call == expected => None,
            Some(call) => Some(format!("should be accepted by {expected}, and was by {call}")),
            None => Some(format!("FunctionGraph has no request {id:?}")),
        }
    }
}

fn status(object: &FunctionInvocation) -> Value {
    // What cannot be told is not there.
    serde_json::to_value(&object.status).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(name: &str, reason: &str) -> Arc<FunctionInvocation> {
        let condition = json!({"type": "Ready", "status": "True", "reason": reason, "message": "",
            "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let object = json!({"apiVersion": "functiongraph.io/v1alpha1", "kind": "FunctionInvocation",
            "metadata": {"name": name}, "spec": {"function": {"name": "f"}},
            "status": {"attempts": 1, "requestID": "id", "conditions": [condition]}});
        Arc::new(serde_json::from_value(object).unwrap())
    }

    fn board(expected: &[(&str, &str)]) -> Board {
        let plan = |reason: &str| Plan { reason: reason.into(), status: json!({}), ..Plan::default() };
        Board::new(expected.iter().map(|&(name, reason)| (name.into(), plan(reason))).collect())
    }

    #[test]
    fn an_example_that_was_never_seen_is_a_mismatch() {
        assert_eq!(board(&[("a", "Accepted")]).mismatches().len(), 1);
        assert_eq!(board(&[("a", "Deleted")]).mismatches().len(), 1);
    }

    #[test]
    fn an_example_with_another_reason_is_a_mismatch() {
        let mut board = board(&[("a", "Accepted"), ("b", "Rejected")]);
        board.update(&[object("a", "Accepted"), object("b", "Accepted")]);
        let names: Vec<_> = board.mismatches().into_iter().map(|mismatch| mismatch.name).collect();
        assert_eq!(names, ["b"]);
    }

    #[test]
    fn an_example_with_the_reason_and_without_the_status_is_a_mismatch() {
        let mut board = board(&[("a", "Accepted")]);
        board.update(&[object("a", "Accepted")]);
        assert!(board.has_ended("a"));
        for plan in board.plans.values_mut() {
            plan.status = json!({"attempts": 2});
        }
        assert!(!board.has_ended("a"));
        assert_eq!(board.mismatches()[0].why, "status.attempts should be 2, and is 1");
    }

    #[test]
    fn an_id_that_functiongraph_gave_by_another_call_or_never_is_a_mismatch() {
        let mut board = board(&[("a", "Accepted")]);
        board.plans.values_mut().for_each(|plan| plan.call = Some("v2/invocations".into()));
        board.update(&[object("a", "Accepted")]);
        assert_eq!(board.mismatches()[0].why, "FunctionGraph has no request \"id\"");
        board.calls.insert("id".into(), "v2/invocations-async");
        let why = "should be accepted by v2/invocations, and was by v2/invocations-async";
        assert_eq!(board.mismatches()[0].why, why);
        board.calls.insert("id".into(), "v2/invocations");
        assert_eq!(board.mismatches(), []);
    }

    #[test]
    fn what_is_slow_is_not_waited_for() {
        let mut board = board(&[("a", "Accepted"), ("b", "Accepted")]);
        board.update(&[object("a", "Accepted")]);
        assert!(!board.is_settled());
        for plan in board.plans.values_mut() {
            plan.slow = true;
        }
        assert!(board.is_settled());
        assert_eq!(board.mismatches().len(), 1);
    }

    #[test]
    fn what_was_there_and_is_gone_is_deleted() {
        let mut board = board(&[("a", "Deleted")]);
        board.update(&[object("a", "Accepted")]);
        assert_eq!(board.mismatches().len(), 1);
        let changes = board.update(&[]);
        assert_eq!(changes.len(), 1);
        assert_eq!(board.mismatches(), []);
    }

    #[test]
    fn only_what_is_new_is_returned() {
        let mut board = board(&[]);
        assert_eq!(board.update(&[object("a", "Accepted")]).len(), 1);
        assert_eq!(board.update(&[object("a", "Accepted"), object("b", "Accepted")]).len(), 1);
        assert_eq!(board.update(&[]).len(), 2);
        assert_eq!(board.update(&[]), []);
    }
}
