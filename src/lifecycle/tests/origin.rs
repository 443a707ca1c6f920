//! Objects that were restored from a backup or copied: none is sent before somebody says so.

use super::*;
use serde_json::{Value, json};

fn object(value: &Value) -> FunctionInvocation {
    let mut whole = json!({
        "apiVersion": "functiongraph.io/v1alpha1", "kind": "FunctionInvocation",
        "metadata": {"name": "a", "namespace": "n", "uid": "own", "creationTimestamp": at(0)}, "spec": {"function": {"name": "resize"}},
    });
    for (field, more) in value.as_object().unwrap() {
        match whole.get_mut(field).and_then(Value::as_object_mut) {
            Some(known) => known.extend(more.as_object().unwrap().clone()),
            None => whole[field] = more.clone(),
        }
    }
    serde_json::from_value(whole).unwrap()
}

fn next(object: &FunctionInvocation) -> Step {
    let view = View::of(object, true);
    let moment = Moment {
        now: at(1),
        holder: ME,
        progress: Progress::Nothing,
        unchanged_for: TAKEOVER,
        looked_up: false,
    };
    decide(&view, &moment)
}

fn is_restored(step: &Step) -> bool {
    matches!(step, Step::Conclude(Conclusion::Restored(_)))
}

#[test]
fn an_object_is_new_unless_its_label_its_mark_or_its_status_says_otherwise() {
    let label = json!({"velero.io/restore-name": "nightly"});
    let mark = |uid: &str| json!({"functiongraph.io/submitted-as": uid});
    for (value, expected) in [
        (json!({}), Origin::New),
        (json!({"metadata": {"labels": {"velero.io/backup-name": "b"}}}), Origin::New),
        (json!({"metadata": {"labels": label}}), Origin::Restored("nightly")),
        (json!({"metadata": {"annotations": mark("own")}}), Origin::New),
        (json!({"metadata": {"annotations": mark("other")}}), Origin::Copy("other")),
        (json!({"metadata": {"labels": label}, "status": {"submittedAs": "own"}}), Origin::New),
        (
            json!({"metadata": {"annotations": mark("own")}, "status": {"submittedAs": "other"}}),
            Origin::Copy("other"),
        ),
    ] {
        assert_eq!(Origin::of(&object(&value)), expected, "{value}");
    }
}

#[test]
fn a_copy_is_ambiguous_whatever_its_original_was_unless_that_was_certain() {
    let status =
        |state: &str| json!({"submittedAs": "other", "attempt": {"number": 2, "holder": ME, "state": state}});
    let annotations = json!({"functiongraph.io/submitted-as": "other"});
    let suspended =
        json!({"metadata": {"annotations": annotations}, "spec": {"suspend": true, "cancel": true}});
    assert!(is_restored(&next(&object(&suspended))));
    for state in ["Claimed", "Rejected", "NotSent", "Ambiguous"] {
        let copy = object(&json!({"status": status(state)}));
        assert!(is_restored(&next(&copy)), "{state}");
        let gone =
            json!({"status": status(state), "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
        assert!(!is_restored(&next(&object(&gone))), "{state}, being deleted");
    }
    for outcome in ["Accepted", "Executed", "Failed", "Cancelled", "Unknown"] {
        let mut status = status("Accepted");
        status["outcome"] = outcome.into();
        assert_eq!(next(&object(&json!({"status": status}))), Step::Rest, "{outcome}");
    }
}

#[test]
fn an_annotation_that_is_older_than_the_copy_counts_only_when_it_is_set_again() {
    for policy in [DeliveryPolicy::AtMostOnce, DeliveryPolicy::AtLeastOnce] {
        let mut copy = Object::new(spec(policy));
        (copy.restored, copy.resolve) = (true, Some("Retry".into()));
        assert_eq!(copy.next(at(1)), Step::Wait(at(10)));
        let Step::Conclude(conclusion) = copy.next(at(10)) else { panic!("{:?}", copy.next(at(10))) };
        copy.status = record::concluded(&copy.view(), &conclusion, at(10));
        assert_eq!((copy.status.outcome, copy.reason()), (Some(Outcome::Unknown), Some(Reason::Restored)));
        assert_eq!((copy.state(), copy.status.attempts), (Some(AttemptState::Ambiguous), None));
        assert_eq!(copy.next(at(12)), Step::Rest);

        copy.resolve = None;
        assert_eq!(copy.next(at(13)), Step::ForgetResolution);
        copy.status = record::resolution_forgotten(&copy.view(), at(13));
        copy.resolve = Some("Retry".into());
        assert_eq!(copy.next(at(14)), Step::Resolve(Resolution::Retry));
        copy.status = record::resolved(&copy.view(), &Resolution::Retry, at(14));
        assert_eq!(copy.next(at(15)), Step::Invoke { number: 2 });
    }
}

#[test]
fn what_was_restored_outlives_its_time_to_live_until_it_is_resolved() {
    let mut copy = Object::new(spec(DeliveryPolicy::AtMostOnce));
    (copy.restored, copy.spec.ttl_seconds_after_finished) = (true, Some(60));
    let Step::Conclude(conclusion) = copy.next(at(10)) else { panic!("{:?}", copy.next(at(10))) };
    copy.status = record::concluded(&copy.view(), &conclusion, at(10));
    assert_eq!(copy.next(at(100_000)), Step::Rest);
    copy.status = record::resolved(&copy.view(), &Resolution::Fail, at(100_000));
    assert_eq!(copy.next(at(100_065)), Step::Delete);
}

#[test]
fn only_what_was_never_claimed_is_marked_and_only_once() {
    let attempt = json!({"attempt": {"number": 1, "holder": ME, "state": "NotSent"}});
    for (value, unmarked) in [
        (json!({}), true),
        (json!({"status": {"observedGeneration": 1}}), true),
        (json!({"metadata": {"annotations": {"functiongraph.io/submitted-as": "own"}}}), false),
        (json!({"status": attempt}), false),
    ] {
        assert_eq!(crate::lifecycle::origin::is_unmarked(&object(&value)), unmarked, "{value}");
    }
}

#[test]
fn a_copy_that_came_back_as_unknown_is_not_deleted_before_it_is_resolved() {
    let status = json!({
        "submittedAs": "other", "outcome": "Unknown", "completionTime": at(0),
        "attempt": {"number": 1, "holder": ME, "state": "Ambiguous"},
    });
    let mut copy = object(&json!({"status": status}));
    copy.spec.ttl_seconds_after_finished = Some(0);
    assert_eq!(next(&copy), Step::Rest);
    copy.status.as_mut().unwrap().submitted_as = Some("own".into());
    assert_eq!(next(&copy), Step::Delete);
}
