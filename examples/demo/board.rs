//! What is known about the invocations, and whether each is where it said it would end.

use functiongraph_operator::api::{Condition, ConditionStatus, ConditionType, FunctionInvocation};
use jiff::Timestamp;
use kube::ResourceExt;
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
    /// The reason that its annotation gives.
    pub expected: String,
    /// What there is instead.
    pub found: Row,
}

/// All invocations by name.
#[derive(Debug)]
pub struct Board {
    expected: BTreeMap<String, String>,
    rows: BTreeMap<String, Row>,
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
    /// An empty one, with the reason in which each example ends.
    pub fn new(expected: BTreeMap<String, String>) -> Self {
        Self { expected, rows: BTreeMap::new() }
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
        changes
    }

    /// All rows, by name.
    pub fn rows(&self) -> &BTreeMap<String, Row> {
        &self.rows
    }

    /// How many examples there are.
    pub fn examples(&self) -> usize {
        self.expected.len()
    }

    /// The examples that are not where they said they would end.
    pub fn mismatches(&self) -> Vec<Mismatch> {
        let found = |name: &String| self.rows.get(name).cloned().unwrap_or_default();
        self.expected
            .iter()
            .map(|(name, expected)| Mismatch {
                name: name.clone(),
                expected: expected.clone(),
                found: found(name),
            })
            .filter(|mismatch| mismatch.found.reason != mismatch.expected)
            .collect()
    }
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
            "status": {"conditions": [condition]}});
        Arc::new(serde_json::from_value(object).unwrap())
    }

    fn board(expected: &[(&str, &str)]) -> Board {
        Board::new(expected.iter().map(|&(name, reason)| (name.into(), reason.into())).collect())
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
