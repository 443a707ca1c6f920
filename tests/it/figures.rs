//! What alerts and dashboard are made of exists: every metric that they name, and every runbook.

use functiongraph_operator::api::Reason;
use functiongraph_operator::metrics::{Metrics, ProviderNow, Reading};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

const PREFIX: &str = "functiongraph_operator_";

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn alerts() -> Vec<Value> {
    let file: Value =
        serde_saphyr::from_str(&read("charts/functiongraph-operator/files/alerts.yaml")).unwrap();
    let groups = file["groups"].as_array().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap()).cloned().collect()
}

/// The names of all samples that the operator can give.
fn exported() -> BTreeSet<String> {
    // A metric without a sample is not exported at all.
    let provider = ProviderNow {
        name: "p".into(),
        ready: true,
        reason: Reason::ProviderReady,
        expires_at: Some(jiff::Timestamp::UNIX_EPOCH),
        not_renewed: false,
        in_flight: 0,
        waiting: 0,
        held: false,
        rate: 1.0,
    };
    let one = || vec![("p".to_owned(), 1)];
    let reading = Reading {
        ready: true,
        providers: vec![provider],
        waiting_for_none: vec![],
        oldest: vec![("p".into(), 1.0)],
        followed: one(),
        unknown: one(),
    };
    let metrics = Metrics::default();
    metrics.requested("p", Some(202), Duration::ZERO);
    metrics.accepted("p", Duration::ZERO);
    let text = metrics.text(&reading);
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types
        .flat_map(|(name, kind)| {
            let endings: &[&str] = match kind {
                "counter" => &["_total"],
                "histogram" => &["_bucket", "_count", "_sum"],
                "info" => &["_info"],
                _ => &[""],
            };
            endings.iter().map(move |ending| format!("{name}{ending}"))
        })
        .collect()
}

/// The names of our metrics in an expression.
fn named(text: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !is_name(c)).filter(|word| word.starts_with(PREFIX)).map(ToOwned::to_owned).collect()
}

#[test]
fn every_alert_says_how_bad_it_is_what_it_means_and_where_its_runbook_is() {
    let manual = read("docs/operations.md");
    let mut runbooks: BTreeSet<_> = manual
        .split_once("\n## Alerts\n")
        .map(|(_, rest)| rest.split("\n## ").next().unwrap())
        .unwrap()
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .collect();
    let alerts = alerts();
    assert!(!alerts.is_empty());
    for alert in &alerts {
        let name = alert["alert"].as_str().unwrap();
        let severity = alert["labels"]["severity"].as_str().unwrap_or_default();
        assert!(["critical", "warning", "info"].contains(&severity), "{name}: {severity}");
        for word in ["summary", "description"] {
            assert!(
                alert["annotations"][word].as_str().is_some_and(|text| text.ends_with('.')),
                "{name}: {word}"
            );
        }
        let anchor = format!(
            "https://github.com/functiongraph/functiongraph-operator/blob/main/docs/operations.md#{}",
            name.to_lowercase()
        );
        assert_eq!(alert["annotations"]["runbook_url"], anchor, "{name}");
        assert!(runbooks.remove(name), "{name} has no runbook");
    }
    assert!(runbooks.is_empty(), "runbooks without an alert: {runbooks:?}");
}

#[test]
fn alerts_dashboard_and_manual_name_only_metrics_that_exist() {
    let exported = exported();
    assert!(exported.contains("functiongraph_operator_build_info"), "{exported:?}");
    for file in ["alerts.yaml", "alerts_test.yaml"] {
        let named = named(&read(&format!("charts/functiongraph-operator/files/{file}")));
        assert!(!named.is_empty());
        assert!(named.is_subset(&exported), "{file}: {:?}", named.difference(&exported));
    }
    let manual = named(&read("docs/operations.md"));
    let prefix = BTreeSet::from([PREFIX.to_owned()]);
    assert!((&manual - &prefix).is_subset(&exported), "{manual:?}");
}
