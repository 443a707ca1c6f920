//! Random edits under random faults, and a soak with kills: whatever comes, the ledger and the statuses agree.
//!
//! `make campaign SEED=7` plays other edits and faults, `make soak MINUTES=60` goes on for that long. In `make test` both
//! are small, and the seed is the same in every run.

use crate::chance::Chance;
use crate::judge::{PAST_TAKEOVER, acceptances, accepted, at_most_once, invoke_many, settled, sound};
use crate::proxy::{At, Fault, Proxy};
use functiongraph_emulator::Function;
use functiongraph_operator::api::invocation::{Outcome, RESOLVE};
use functiongraph_operator::api::{FunctionGraphProvider, FunctionInvocation};
use functiongraph_operator::clock;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use testkit::{KEY, Operator, World, plane, until};

/// Objects of a campaign in `make test`, and in `make campaign`.
const OBJECTS: (usize, usize) = (40, 400);

/// Edits for each object of a campaign.
const EDITS: usize = 4;

/// Faults of a campaign on the way to the API server, for each ten objects.
const FAULTS: usize = 3;

/// Objects of a round of the soak in `make test`, and in `make soak`.
const ROUND: (usize, usize) = (120, 40_000);

/// In a soak something happens after this many objects, and in a small one eight times.
const OBJECTS_PER_EVENT: usize = 1000;

/// What may meet a call in a campaign. Nothing here lasts longer than the timeout of a call.
const API_FAULTS: [Fault; 12] = [
    Fault::AnswerLost,
    Fault::Reset,
    Fault::AnswerLate(2),
    Fault::AnswerLate(12),
    Fault::ArrivesLate(12),
    Fault::Refused(404),
    Fault::Refused(409),
    Fault::Refused(429),
    Fault::Refused(500),
    Fault::Refused(503),
    Fault::Committed(500),
    Fault::Committed(504),
];

/// What the cloud does now and then, in the emulator's own JSON.
fn cloud_faults() -> Vec<Value> {
    vec![
        json!({"status": {"status": 429}}),
        json!({"status": {"status": 503}}),
        json!({"status": {"status": 504}}),
        json!({"acceptThen": {"status": 504}}),
        json!("dropBefore"),
        json!("dropAfter"),
        json!("truncatedBody"),
    ]
}

/// Random faults of status writes.
fn faults(chance: &mut Chance, count: usize, writes: usize) -> BTreeMap<At, Fault> {
    (0..count).map(|_| (At::StatusWrite(1 + chance.below(writes)), chance.one_of(&API_FAULTS))).collect()
}

/// What one object of a campaign was last told to do.
#[derive(Clone, Copy, Debug, Default)]
struct Wishes {
    suspend: bool,
    cancel: bool,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_edits_under_random_faults_leave_nothing_behind() {
    let mut chance = Chance::from_variable("SEED");
    let objects = if std::env::var_os("SEED").is_some() { OBJECTS.1 } else { OBJECTS.0 };
    let world = World::with(|config| {
        config.functions =
            vec![Function { answer_latency: Duration::from_millis(50), ..Function::named("hello") }];
    });
    let world = world.await;
    world.provider().await;
    let proxy = Proxy::with(plane().await, faults(&mut chance, objects * FAULTS / 10, objects * 3)).await;
    let operator = world.operator().kubeconfig(&proxy.kubeconfig()).await;
    let second = world.operator().kubeconfig(&proxy.kubeconfig()).await;
    let third = world.operator().kubeconfig(&proxy.kubeconfig()).await;
    let mut wishes = BTreeMap::new();
    for number in 0..objects {
        let (name, wish) = (format!("o-{number}"), Wishes { suspend: chance.below(3) == 0, cancel: false });
        let function = if chance.below(8) == 0 { "missing" } else { "hello" };
        let spec = json!({"function": {"name": function}, "payload": {"tag": name}, "suspend": wish.suspend});
        world.invoke(&name, spec).await;
        wishes.insert(name, (function, wish));
    }
    for _ in 0..objects * EDITS {
        let name = format!("o-{}", chance.below(objects));
        let wish = &mut wishes.get_mut(&name).expect("it was made").1;
        edit(&world, &mut chance, &name, wish).await;
    }
    // Everything comes to rest: the cloud is well, keys are right, and nothing is held back.
    world.emulator.clear_faults();
    world.secret(KEY.1).await;
    for (name, (_, wish)) in &mut wishes {
        wish.suspend = false;
        change(&world, name, json!({"spec": {"suspend": false}})).await;
    }

    let ended = settled(&world, PAST_TAKEOVER * 2).await;
    judge(&world, &wishes, &ended);
    for object in &ended {
        let (name, generation) = (object.name_any(), object.metadata.generation);
        world.until_status(&name, |status| status.observed_generation == generation).await;
    }
    println!("{} faults were met", proxy.met());
    for operator in [operator, second, third] {
        sound(&operator);
        assert!(operator.stop().await.success());
    }
}

/// One legal edit of an object, of its provider, of the credential, or of the cloud.
async fn edit(world: &World, chance: &mut Chance, name: &str, wish: &mut Wishes) {
    match chance.below(12) {
        0 => {
            let bound = json!({"spec": {"limits": {"maxRequestsPerSecond": 20 + chance.below(200)}}});
            world.change::<FunctionGraphProvider>("default", bound).await;
        }
        1 => world.secret(chance.one_of(&[KEY.1, "a-secret-key-that-is-not-the-right-one00"])).await,
        2 | 3 => {
            let action = cloud_faults().swap_remove(chance.below(cloud_faults().len()));
            world.fault(json!({"when": {"next": 1}, "action": action}));
        }
        4 => {
            wish.cancel |= change(world, name, json!({"spec": {"cancel": true}})).await;
        }
        5 => {
            let value = chance.one_of(&["Fail", "Retry", "nonsense", "Accepted:"]);
            let annotations = json!({"metadata": {"annotations": {RESOLVE: value}}});
            change(world, name, annotations).await;
        }
        _ => {
            let suspend = chance.below(2) == 0;
            if change(world, name, json!({"spec": {"suspend": suspend}})).await {
                wish.suspend = suspend;
            }
        }
    }
}

/// Edits an object, unless the admission policy refuses that, as it does when the object has finished.
async fn change(world: &World, name: &str, edit: Value) -> bool {
    let patch = Patch::Merge(edit);
    match world.api::<FunctionInvocation>().patch(name, &PatchParams::default(), &patch).await {
        Ok(_) => true,
        Err(kube::Error::Api(status)) if status.code == 403 && status.message.contains("denied request") => {
            false
        }
        Err(error) => panic!("{name}: {error}"),
    }
}

/// Each end is one that the last spec allows, and agrees with the ledger.
fn judge(world: &World, wishes: &BTreeMap<String, (&str, Wishes)>, ended: &[FunctionInvocation]) {
    let counts = acceptances(world);
    for object in ended {
        let (name, status) = (object.name_any(), object.status.as_ref().expect("a status"));
        let ((function, wish), count) = (wishes[&name], counts.get(&name).copied().unwrap_or_default());
        let about = format!("{name} {wish:?}, accepted {count} times: {status:#?}");
        let retried = object.annotations().get(RESOLVE).is_some_and(|value| value == "Retry");
        // After an ambiguous attempt, only the resolve annotation lets the operator send again.
        assert!(count <= 1 || retried, "{about}");
        match status.outcome {
            Some(Outcome::Accepted) => {
                let ids: Vec<_> = world.accepted(&name).into_iter().map(|entry| entry.request_id).collect();
                assert!(status.request_id.as_ref().is_some_and(|id| ids.contains(id)), "{about}");
            }
            Some(Outcome::Failed) => {
                let resolved = object.annotations().get(RESOLVE).is_some_and(|value| value == "Fail");
                assert!(function == "missing" || resolved, "{about}");
                assert!(count == 0 || resolved, "{about}");
            }
            Some(Outcome::Cancelled) => assert!(wish.cancel && count == 0, "{about}"),
            Some(Outcome::Unknown) => assert!(count <= 1 || retried, "{about}"),
            other => panic!("{other:?}: {about}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_soak_with_kills_and_faults_accepts_nothing_twice() {
    let minutes: Option<u64> = std::env::var("MINUTES").ok().map(|text| text.parse().expect("a number"));
    let (round, until_then) = match minutes {
        None => (ROUND.0, clock::monotonic()),
        Some(minutes) => (ROUND.1, clock::monotonic() + Duration::from_mins(minutes)),
    };
    let mut chance = Chance::from_variable("SEED");
    let (mut objects, mut unknown, mut kills, mut rounds) = (0, 0, 0, 0);
    loop {
        let (doubt, killed) = soak(&mut chance, round, minutes.is_some()).await;
        (objects, unknown, kills, rounds) = (objects + round, unknown + doubt, kills + killed, rounds + 1);
        println!("round {rounds}: {objects} objects, {unknown} unknown, {kills} kills, none accepted twice");
        if clock::monotonic() >= until_then {
            return;
        }
    }
}

/// One round: three replicas, and faults all the while. Returns how many objects are unknown, and the kills.
async fn soak(chance: &mut Chance, objects: usize, kills: bool) -> (usize, usize) {
    let function = Function { answer_latency: Duration::from_millis(20), ..Function::named("hello") };
    let world = World::with(|config| config.functions = vec![function]).await;
    world.provider().await;
    let proxy = Proxy::with(plane().await, faults(chance, objects / 20, objects * 2)).await;
    let start = || world.operator().kubeconfig(&proxy.kubeconfig());
    let mut replicas: Vec<Operator> = vec![start().await, start().await, start().await];
    let mut killed = 0;
    let chaos = async {
        let events = (objects / OBJECTS_PER_EVENT).max(8);
        for event in 1..=events {
            // The last fifth is left to those that are still there.
            accepted(&world, objects * event * 4 / events / 5).await;
            let victim = chance.below(replicas.len());
            match chance.below(3) {
                0 if kills => {
                    let dead = std::mem::replace(&mut replicas[victim], start().await);
                    dead.kill().await;
                    sound(&dead);
                    killed += 1;
                }
                1 => {
                    replicas[victim].signal("STOP");
                    let goal = world.emulator.ledger().len() + objects / events / 5;
                    // The others go on, unless all that is left is its own.
                    let others = until(async || world.emulator.ledger().len() >= goal);
                    let _ = tokio::time::timeout(Duration::from_secs(10), others).await;
                    replicas[victim].signal("CONT");
                }
                _ => {
                    let action = cloud_faults().swap_remove(chance.below(cloud_faults().len()));
                    world.fault(json!({"when": {"next": 3}, "action": action}));
                }
            }
        }
    };
    tokio::join!(invoke_many(&world, objects), chaos);

    let ended = settled(&world, PAST_TAKEOVER * 2).await;
    assert_eq!(ended.len(), objects);
    let unknown = at_most_once(&world, &ended);
    for replica in &replicas {
        sound(replica);
        assert!(replica.stop().await.success());
    }
    let all = world.api::<FunctionInvocation>();
    // The API server ends a request after a minute. Until then it has deleted some.
    let gone = async {
        while all.delete_collection(&DeleteParams::default(), &ListParams::default()).await.is_err() {}
    };
    tokio::time::timeout(PAST_TAKEOVER * 2, gone).await.expect("they can go");
    (unknown, killed)
}
