//! What alerts and dashboard are made of exists: every metric that they name, and every runbook.

use functiongraph_operator::api::{self, Reason};
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
        members: 1,
        remembered: 0,
        owned: 0,
        ready: true,
        providers: vec![provider],
        waiting_for_none: vec![],
        oldest: vec![("p".into(), 1.0)],
        followed: one(),
        unknown: one(),
        silences: vec![("unfinished", Duration::ZERO)],
        namespaces: [("n".to_owned(), true)].into(),
    };
    let metrics = Metrics::default();
    metrics.requested("p", Some(202), Duration::ZERO, None);
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
        assert!(runbooks.remove(name), "{name} has no runbook");
    }
    assert!(runbooks.is_empty(), "runbooks without an alert: {runbooks:?}");
}

#[test]
fn alerts_dashboard_and_manual_name_only_metrics_that_exist() {
    let exported = exported();
    assert!(exported.contains("functiongraph_operator_build_info"), "{exported:?}");
    for file in ["alerts.yaml", "alerts_test.yaml", "dashboard.json"] {
        let named = named(&read(&format!("charts/functiongraph-operator/files/{file}")));
        assert!(!named.is_empty());
        assert!(named.is_subset(&exported), "{file}: {:?}", named.difference(&exported));
    }
    let manual = named(&read("docs/operations.md"));
    let prefix = BTreeSet::from([PREFIX.to_owned()]);
    assert!((&manual - &prefix).is_subset(&exported), "{manual:?}");
}

#[test]
fn every_panel_of_the_dashboard_says_what_it_shows_and_asks_what_the_variables_say() {
    let board: Value =
        serde_json::from_str(&read("charts/functiongraph-operator/files/dashboard.json")).unwrap();
    let variables = board["templating"]["list"].as_array().unwrap();
    let names: BTreeSet<_> = variables.iter().map(|variable| variable["name"].as_str().unwrap()).collect();
    assert_eq!(names, BTreeSet::from(["datasource", "job", "namespace", "provider"]));
    let panels = board["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_i64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let title = panel["title"].as_str().unwrap();
        assert!(panel["description"].as_str().is_some_and(|text| text.len() > 20), "{title}");
        for target in panel["targets"].as_array().unwrap() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            let expression = target["expr"].as_str().unwrap();
            let selectors = expression.matches(PREFIX).count();
            for filter in ["namespace=~\"$namespace\"", "job=~\"$job\""] {
                assert_eq!(expression.matches(filter).count(), selectors, "{title}: {expression}");
            }
        }
    }
}

/// Whether a path of kube-state-metrics leads somewhere in a schema.
fn leads(schema: &Value, path: &[Value]) -> bool {
    let Some((first, rest)) = path.split_first() else { return true };
    match first.as_str().unwrap() {
        "metadata" => true,
        chosen if chosen.starts_with('[') => leads(&schema["items"], rest),
        name => schema["properties"].get(name).is_some_and(|inner| leads(inner, rest)),
    }
}

#[test]
fn what_kube_state_metrics_is_to_read_stands_in_the_definitions() {
    let file = read("charts/functiongraph-operator/files/kube-state-metrics.yaml");
    let file: Value = serde_saphyr::from_str(&file).unwrap();
    let definitions: Vec<_> =
        api::crds().iter().map(|definition| serde_json::to_value(definition).unwrap()).collect();
    let mut paths = 0;
    let mut check = |schema: &Value, path: &Value| {
        assert!(leads(schema, path.as_array().unwrap()), "{path} leads nowhere");
        paths += 1;
    };
    for resource in file["spec"]["resources"].as_array().unwrap() {
        let kind = &resource["groupVersionKind"];
        let definition = definitions.iter().find(|one| one["spec"]["names"]["kind"] == kind["kind"]).unwrap();
        let version = &definition["spec"]["versions"][0];
        assert_eq!((&definition["spec"]["group"], &version["name"]), (&kind["group"], &kind["version"]));
        let schema = &version["schema"]["openAPIV3Schema"];
        for metric in resource["metrics"].as_array().unwrap() {
            let each = &metric["each"];
            let what = each.get("gauge").or_else(|| each.get("info")).unwrap();
            let mut inner = schema;
            if let Some(path) = what.get("path") {
                check(schema, path);
                for name in path.as_array().unwrap() {
                    inner = &inner["properties"][name.as_str().unwrap()];
                }
                inner = inner.get("items").unwrap_or(inner);
            }
            let labels = what.get("labelsFromPath").and_then(Value::as_object).into_iter().flatten();
            labels.map(|(_, path)| path).chain(what.get("valueFrom")).for_each(|path| check(inner, path));
        }
    }
    assert!(paths > 8, "{paths} paths");
}
