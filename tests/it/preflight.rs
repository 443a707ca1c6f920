//! Before any work: missing CRDs and permissions are named, and waited for.

use crate::cel::any;
use functiongraph_operator::api::invocation::Outcome;
use functiongraph_operator::api::{self, FunctionInvocation, GROUP};
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};
use testkit::control_plane::ControlPlane;
use testkit::{NOBODY, World, bare_plane, output, plane, text, until, within};
use tokio::process::Command;
use tokio::sync::OnceCell;

/// How the operator says what to do about a permission.
const GRANT: &str = "grant it as the Helm chart does in templates/rbac*.yaml";

/// A control plane without our CRDs, for the one test that installs them step by step.
static BARE: OnceCell<ControlPlane> = OnceCell::const_new();

#[tokio::test]
async fn t11_without_its_crds_it_says_what_to_install_and_begins_when_they_are_there() {
    let bare = BARE.get_or_init(bare_plane).await;
    let world = World::on(bare, |_| {}).await;
    let operator = world.operator().start();
    let said = operator
        .lacks(|said| {
            said.contains(
                "is not installed: install the Helm chart with crds.install=true, or kubectl apply -f crds/",
            )
        })
        .await;
    for name in ["functioninvocations.functiongraph.io", "functiongraphproviders.functiongraph.io"] {
        assert!(said.contains(&format!("custom resource definition {name} is not installed")), "{said}");
    }
    assert_eq!(said.lines().count(), 2, "{said}");
    assert_eq!(operator.ask("/healthz").await.0, 200);

    // Definitions of somebody who thought that rules are for others.
    let [mut invocations, providers, _] = api::crds().to_vec().try_into().unwrap();
    let schema = invocations.spec.versions[0].schema.as_mut().unwrap().open_api_v3_schema.as_mut().unwrap();
    let mut rules = schema.x_kubernetes_validations.take().unwrap();
    let status = schema.properties.as_mut().unwrap().get_mut("status").unwrap();
    rules.extend(status.x_kubernetes_validations.take().unwrap());
    for definition in [&invocations, &providers] {
        Api::all(world.client.clone()).create(&PostParams::default(), definition).await.unwrap();
    }
    let said = operator.lacks(|said| said.contains("the rule")).await;
    assert_eq!(said.lines().count(), rules.len(), "{said}");
    for rule in rules {
        assert!(said.contains(&rule.rule), "{said}");
    }
    assert!(
        said.lines()
            .all(|line| line.ends_with("upgrade the Helm chart with crds.install=true, or apply crds/ again")),
        "{said}"
    );
    // Under such definitions a status can be taken away, and nothing puts the default in its place.
    world.invoke("without-status", json!({"function": {"name": "hello"}})).await;
    let api = any::<FunctionInvocation>(&world);
    let mut object = api.get("without-status").await.unwrap();
    object.data["status"] = Value::Null;
    let object = api.replace_status("without-status", &PostParams::default(), &object).await.unwrap();
    assert_eq!(object.data["status"], Value::Null);

    let kubectl = async |arguments: &[&str]| {
        let mut command = Command::from(bare.kubectl());
        command.args(arguments).args(["-f", concat!(env!("CARGO_MANIFEST_DIR"), "/crds")]);
        output(command, "").await
    };
    let said = kubectl(&["apply", "--server-side", "--force-conflicts"]).await;
    assert!(said.status.success(), "{}", text(&said.stderr));
    assert_eq!(text(&said.stderr), "", "the API server warns");
    operator.ready().await;
    world.provider().await;
    world.invoke("at-last", json!({"function": {"name": "hello"}})).await;
    for name in ["without-status", "at-last"] {
        assert_eq!(world.end(name).await.outcome, Some(Outcome::Accepted), "{name}");
    }
}

/// A role of the test's namespace for [`NOBODY`], and nothing of the cluster's.
async fn grant(world: &World, rules: &[Value]) {
    let namespace = &world.namespace;
    let subjects = json!([{"kind": "User", "name": NOBODY, "apiGroup": "rbac.authorization.k8s.io"}]);
    let object = |kind: &str, more: Value| {
        let mut object = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
            "metadata": {"name": "operator-under-test", "namespace": namespace},
        });
        object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        object
    };
    let reference =
        json!({"kind": "Role", "name": "operator-under-test", "apiGroup": "rbac.authorization.k8s.io"});
    let items = [
        object("Role", json!({"rules": rules})),
        object("RoleBinding", json!({"subjects": subjects, "roleRef": reference})),
    ];
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    plane().await.apply_yaml(&list.to_string()).await.unwrap();
}

#[tokio::test]
async fn t10_without_its_permissions_it_names_them_and_with_them_it_needs_no_more() {
    let world = World::new().await;
    world.provider().await;
    world.invoke("permitted", json!({"function": {"name": "hello"}})).await;
    let operator = world.operator().user(NOBODY).start();
    let rule = |group: &str, resources: &[&str], verbs: &[&str]| json!({"apiGroups": [group], "resources": resources, "verbs": verbs});
    let ours = [
        rule(GROUP, &["functioninvocations"], &["get", "list", "watch", "delete"]),
        rule(GROUP, &["functiongraphproviders"], &["get", "list", "watch"]),
        rule(GROUP, &["functioninvocations/status", "functiongraphproviders/status"], &["patch"]),
        rule("", &["configmaps"], &["get"]),
    ];
    let secrets = rule("", &["secrets"], &["get"]);

    let said = operator.lacks(|said| said.contains("permission to get configmaps")).await;
    for what in [
        "get functioninvocations",
        "list functioninvocations",
        "watch functioninvocations",
        "delete functioninvocations",
        "patch functioninvocations/status",
        "get functiongraphproviders",
        "list functiongraphproviders",
        "watch functiongraphproviders",
        "patch functiongraphproviders/status",
        "get secrets",
        "get configmaps",
    ] {
        let line = format!("permission to {what} in namespace {}: {GRANT}", world.namespace);
        assert!(said.lines().any(|said| said == line), "{what}: {said}");
    }
    assert_eq!(said.lines().count(), 11, "{said}");

    grant(&world, &ours).await;
    let expected = format!("permission to get secrets in namespace {}: {GRANT}\n", world.namespace);
    operator.lacks(|said| said == expected).await;
    assert_eq!(world.get("permitted").await.status.unwrap().observed_generation, Some(-1));

    let marking = world.operator().user(NOBODY).flags(&["--restore-guard"]).start();
    let patch = format!("permission to patch functioninvocations in namespace {}: {GRANT}", world.namespace);
    marking.lacks(|said| said.lines().any(|said| said == patch)).await;
    drop(marking);

    // Not even Events: they are a courtesy.
    grant(&world, &[ours.as_slice(), &[secrets]].concat()).await;
    operator.ready().await;
    for verb in ["create", "patch"] {
        let line = format!("permission to {verb} events in namespace {}: {GRANT}", world.namespace);
        assert!(world.logs().contains(&line), "{line}");
    }
    // Nor Leases: it works alone without them.
    for verb in ["get", "list", "watch", "create", "update", "delete"] {
        let line = format!("permission to {verb} leases in namespace default: {GRANT}");
        within(until(async || world.logs().contains(&line))).await;
    }
    assert_eq!(world.end("permitted").await.outcome, Some(Outcome::Accepted));
    world.invoke("refused", json!({"function": {"name": "nowhere"}})).await;
    assert_eq!(world.end("refused").await.outcome, Some(Outcome::Failed));
    world.config_map("event", "event", "{}").await;
    let source = json!({"configMapKeyRef": {"name": "event", "key": "event"}});
    let spec = json!({"function": {"name": "hello"}, "payloadFrom": source, "ttlSecondsAfterFinished": 0});
    world.invoke("gone", spec).await;
    world.disappears("gone").await;
    assert_eq!(world.emulator.ledger().len(), 2);
    assert!(operator.stop().await.success());
}
