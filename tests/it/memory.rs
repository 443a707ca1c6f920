//! T17: memory does not depend on what tenants create. The operator runs in a memory cgroup of the chart's limit while
//! it meets what has killed it before. The kernel is the judge: at the limit it kills.
//!
//! `make test` runs these tests with the operator of the image (`TEST_OPERATOR`). By hand they run the one that cargo has
//! just built, which needs more.
//!
//! Making a cgroup takes root and a writable hierarchy. Elsewhere these tests say that they are left out.

use crate::looks::{message, ready};
use crate::world::{Operator, World, within};
use functiongraph_emulator::Function;
use functiongraph_operator::api::invocation::Outcome;
use functiongraph_operator::api::{FunctionGraphProvider, FunctionInvocation, Reason};
use futures::{StreamExt, stream};
use kube::CustomResourceExt;
use kube::api::{DeleteParams, ListParams};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// `resources.limits.memory` of the chart.
const LIMIT: &str = "134217728";

/// A memory cgroup of the chart's limit.
struct Cgroup {
    folder: PathBuf,
    version: Version,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

// === impl Cgroup ===

impl Cgroup {
    /// A new one; `None`, told on the terminal, where this machine gives none.
    fn new() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("functiongraph-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let made = Self::try_new(&name);
        if let Err(error) = &made {
            eprintln!("left out: no memory cgroup can be made here ({error}); run as root to have it");
        }
        made.ok()
    }

    fn try_new(name: &str) -> std::io::Result<Self> {
        let one = Path::new("/sys/fs/cgroup/memory");
        let (root, version) =
            if one.exists() { (one, Version::One) } else { (Path::new("/sys/fs/cgroup"), Version::Two) };
        if version == Version::Two {
            fs::write(root.join("cgroup.subtree_control"), "+memory")?;
        }
        let folder = root.join(name);
        fs::create_dir(&folder)?;
        let cgroup = Self { folder, version };
        cgroup.write(cgroup.file("memory.limit_in_bytes", "memory.max"), LIMIT)?;
        Ok(cgroup)
    }

    fn file<'a>(&self, one: &'a str, two: &'a str) -> &'a str {
        if self.version == Version::One { one } else { two }
    }

    fn write(&self, file: &str, text: &str) -> std::io::Result<()> {
        fs::write(self.folder.join(file), text)
    }

    /// Starts an operator in it, and waits until it works.
    async fn operator(&self, world: &World, flags: &[&str]) -> Operator {
        let operator = world.operator_starting(flags).await;
        self.write("cgroup.procs", &operator.pid().to_string()).expect("it is put into the cgroup");
        operator.ready().await;
        operator
    }

    /// Asserts that the kernel killed nobody in it.
    fn assert_alive(&self) {
        let events = fs::read_to_string(self.folder.join(self.file("memory.oom_control", "memory.events")));
        let events = events.expect("what happened in it");
        let kills = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        assert_eq!(kills, Some("0"), "{events}");
        let most =
            fs::read_to_string(self.folder.join(self.file("memory.max_usage_in_bytes", "memory.peak")));
        eprintln!("the most memory: {} bytes", most.unwrap_or_default().trim());
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The operator in it may take a moment to end; what stays is empty and small.
        let _ = fs::remove_dir(&self.folder);
    }
}

/// An event of about this number of bytes.
fn event(tag: &str, bytes: usize) -> Value {
    json!({"tag": tag, "filler": "e".repeat(bytes)})
}

/// Creates many objects of one shape.
async fn create(world: &World, count: usize, spec: impl Fn(&str) -> Value) -> Vec<String> {
    let names: Vec<String> = (0..count).map(|number| format!("o-{number}")).collect();
    let creating = stream::iter(&names).map(|name| {
        let object = json!({"spec": spec(name)});
        async move { world.create::<FunctionInvocation>(name, object).await.expect("it is stored") }
    });
    creating.buffer_unordered(4).for_each(|_| async {}).await;
    names
}

#[tokio::test]
async fn t17_suspended_objects_of_nearly_the_largest_size_do_not_end_the_operator() {
    let Some(cgroup) = Cgroup::new() else { return };
    let world = World::new().await;
    world.provider().await;
    let suspended = |name: &str| json!({"function": {"name": "hello"}, "payload": event(name, 1_480_000), "suspend": true});
    let names = create(&world, 40, suspended).await;
    let _operator = cgroup.operator(&world, &[]).await;
    for name in &names {
        world.says(name, Reason::Suspended).await;
    }
    cgroup.assert_alive();
}

#[tokio::test]
async fn t17_large_events_that_are_pending_at_the_start_do_not_end_the_operator() {
    let Some(cgroup) = Cgroup::new() else { return };
    let world = World::new().await;
    world.provider().await;
    let names =
        create(&world, 200, |name| json!({"function": {"name": "hello"}, "payload": event(name, 250_000)}))
            .await;
    let _operator = cgroup.operator(&world, &[]).await;
    for name in &names {
        assert_eq!(world.end(name).await.outcome, Some(Outcome::Accepted), "{name}");
    }
    cgroup.assert_alive();
    assert_eq!(world.emulator.ledger().len(), names.len());
}

#[tokio::test]
async fn t17_many_large_requests_in_flight_do_not_end_the_operator() {
    let Some(cgroup) = Cgroup::new() else { return };
    let slow = Function {
        latency: Duration::from_secs(3),
        result: Some("r".repeat(8000).into()),
        ..Function::named("slow")
    };
    let world = World::with(|config| config.functions.push(slow)).await;
    world.secret(crate::world::KEY.1).await;
    world.provider_with(json!({"limits": {"maxInFlight": 1000, "maxRequestsPerSecond": 1000}})).await;
    let spec = |name: &str| {
        json!({
            "function": {"name": "slow"}, "payload": event(name, 250_000), "invocationType": "Sync",
            "sync": {"captureResult": true},
        })
    };
    let _operator = cgroup.operator(&world, &[]).await;
    let names = create(&world, 300, spec).await;
    for name in &names {
        let status = world.end(name).await;
        assert_eq!(status.outcome, Some(Outcome::Executed), "{name}: {}", message(&status));
        assert_eq!(ready(&status).1, Some(Reason::Executed), "{name}");
    }
    cgroup.assert_alive();
    assert_eq!(world.emulator.ledger().len(), names.len());
}

#[tokio::test]
async fn t17_objects_that_are_deleted_in_line_are_forgotten() {
    let world = World::new().await;
    let operator = world.operator().await;
    let spec = |_: &str| json!({"function": {"name": "hello"}, "providerRef": {"name": "missing"}, "payload": event("", 100)});
    let names = create(&world, 200, spec).await;
    for name in &names {
        world.says(name, Reason::WaitingForProvider).await;
    }
    let waiting = async || operator.metric("functiongraph_operator_waiting", &["(missing)"]).await;
    assert!(waiting().await > 199.5);
    let all = world.api::<FunctionInvocation>();
    all.delete_collection(&DeleteParams::default(), &ListParams::default())
        .await
        .expect("they can be deleted");
    within(async {
        while waiting().await > 0.5 {
            tokio::time::sleep(Duration::from_millis(200)).await; // polls an address: nothing to await
        }
    })
    .await;
}

/// The largest `caBundle` that the API server takes, in characters.
fn largest_bundle() -> usize {
    let definition = serde_json::to_value(FunctionGraphProvider::crd()).expect("a definition");
    let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
    let length = definition.pointer(&format!("{spec}/properties/caBundle/maxLength"));
    usize::try_from(length.and_then(Value::as_u64).expect("a longest length")).expect("a small number")
}

/// Bundles of the largest size, all different, that hold an authority.
struct Bundles {
    size: usize,
    authority: String,
    others: Vec<String>,
}

impl Bundles {
    fn with(authority: &str) -> Self {
        let other = |number| {
            let certified = rcgen::generate_simple_self_signed([format!("authority-{number}.example.com")]);
            certified.expect("a certificate").cert.pem()
        };
        let others = (0..200).map(other).collect();
        Self { size: largest_bundle(), authority: authority.to_owned(), others }
    }

    /// Two of the others tell one bundle from the next.
    fn get(&self, number: usize) -> String {
        let others = &self.others;
        let begin = [&others[number % others.len()], &others[number / others.len()]];
        let mut bundle = self.authority.clone();
        for other in begin.into_iter().chain(others.iter().cycle().skip(number)) {
            if bundle.len() + other.len() > self.size {
                break;
            }
            bundle.push_str(other);
        }
        bundle
    }
}

#[tokio::test]
async fn t17_a_thousand_providers_with_large_bundles_of_their_own_do_not_end_the_operator() {
    const PROVIDERS: usize = 1000;
    let Some(cgroup) = Cgroup::new() else { return };
    let slow = Function { latency: Duration::from_secs(5), ..Function::named("slow") };
    let world = World::with(|config| config.functions.push(slow)).await;
    world.secret(crate::world::KEY.1).await;
    let bundles = Bundles::with(world.emulator.ca_pem());
    let names: Vec<_> = (0..PROVIDERS).map(|number| format!("p-{number}")).collect();
    let creating = stream::iter(names.iter().enumerate()).map(|(number, name)| {
        let (world, more) = (&world, json!({"caBundle": bundles.get(number)}));
        async move { world.provider_named(name, more).await }
    });
    creating.buffer_unordered(8).for_each(|()| async {}).await;
    let _operator = cgroup.operator(&world, &[]).await;
    for name in &names {
        world.provider_named_says(name, Reason::ProviderReady).await;
    }

    // All at once.
    let sending = stream::iter(&names).map(|name| {
        let spec =
            json!({"function": {"name": "slow"}, "invocationType": "Sync", "providerRef": {"name": name}});
        world.invoke(name, spec)
    });
    sending.buffer_unordered(32).for_each(|_| async {}).await;
    for name in &names {
        assert_eq!(world.end(name).await.outcome, Some(Outcome::Executed), "{name}");
    }
    cgroup.assert_alive();
    assert_eq!(world.emulator.ledger().len(), PROVIDERS);
}
