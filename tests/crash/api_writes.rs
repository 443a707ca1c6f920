//! Every status write of a small piece of work meets every fault on its way to the API server and back.

use crate::judge::{PAST_TAKEOVER, acceptances, invoke, settled, sound};
use crate::proxy::{Fault, Hit, Kind, Proxy};
use functiongraph_operator::api::FunctionInvocation;
use functiongraph_operator::api::invocation::{AttemptState, Outcome};
use futures::{FutureExt, StreamExt};
use kube::ResourceExt;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use testkit::{Operator, PATIENCE, World};

/// The work: each of them takes two status writes, a claim and a record.
const OBJECTS: [&str; 3] = ["a", "b", "c"];

/// Status writes of the work without faults.
const WRITES: usize = 2 * OBJECTS.len();

/// The kills come first: what they leave behind waits for the takeover while the others have their turn.
pub const FAULTS: [Fault; 17] = [
    Fault::KilledAfter,
    Fault::KilledBefore,
    Fault::Hang,
    // Beyond the deadline of a call (15 s), beyond the send window (10 s), and just late.
    Fault::AnswerLate(20),
    Fault::AnswerLate(12),
    Fault::AnswerLate(2),
    Fault::ArrivesLate(20),
    Fault::AnswerLost,
    Fault::Reset,
    Fault::Refused(404),
    Fault::Refused(409),
    Fault::Refused(410),
    Fault::Refused(429),
    Fault::Refused(500),
    Fault::Refused(503),
    Fault::Committed(500),
    Fault::Committed(504),
];

/// Cases under way at once: most of them wait most of the time.
pub const AT_ONCE: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_status_write_survives_every_fault() {
    let cases = FAULTS.iter().flat_map(|fault| (1..=WRITES).map(|at| (*fault, at)));
    let running = cases.map(|(fault, at)| async move {
        let case = async { Case::start(fault, at).await.judge().await };
        (fault, at, AssertUnwindSafe(case).catch_unwind().await)
    });
    let ended: Vec<_> = futures::stream::iter(running).buffer_unordered(AT_ONCE).collect().await;

    let mut failed: Vec<String> = Vec::new();
    let mut abandoned = Vec::new();
    for (fault, at, result) in ended {
        match result {
            Ok(Some(case)) => abandoned.push(case),
            Ok(None) => {}
            Err(_panic) => failed.push(format!("{fault:?} at write {at}")),
        }
    }
    assert!(failed.is_empty(), "see above: {failed:#?}");
    assert!(abandoned.len() >= OBJECTS.len() * 2, "kills between claim and record: {}", abandoned.len());
    futures::future::join_all(abandoned.iter().map(Case::judge_takeover)).await;
}

/// One fault at one write.
struct Case {
    fault: Fault,
    world: World,
    proxy: Proxy,
    /// The operator that does the work in the end.
    operator: Operator,
}

// === impl Case ===

impl Case {
    /// Does the work, with another operator if the first was killed.
    async fn start(fault: Fault, at: usize) -> Self {
        let world = World::new().await;
        world.provider().await;
        let proxy = Proxy::start(&[(at, fault)]).await;
        let mut operator = world.operator().kubeconfig(&proxy.kubeconfig()).start();
        proxy.aim(operator.pid());
        operator.ready().await;
        for name in OBJECTS {
            invoke(&world, name).await;
        }
        if matches!(fault, Fault::KilledBefore | Fault::KilledAfter) {
            operator.ended().await;
            sound(&operator);
            operator = world.operator().kubeconfig(&proxy.kubeconfig()).start();
            operator.ready().await;
        }
        Self { fault, world, proxy, operator }
    }

    /// Whether all is well as far as it can be said before a takeover; the case itself if one has to follow.
    async fn judge(self) -> Option<Self> {
        // All that can be done at once is done when another one has been served meanwhile.
        invoke(&self.world, "meanwhile").await;
        let meanwhile = self.world.finished("meanwhile").await;
        let successor = holder(&meanwhile);
        let mut abandoned = Vec::new();
        for name in OBJECTS {
            let alive = successor.clone();
            let decided = move |object: Option<&FunctionInvocation>| {
                object.is_some_and(|object| {
                    outcome(object).is_some() || (is_claimed(object) && holder(object) != alive)
                })
            };
            let object = self.world.until(name, decided).await;
            if outcome(&object).is_none() {
                abandoned.push(name);
            }
        }
        let hit = self.proxy.hit().expect("the fault was met");
        self.judge_abandoned(&hit, &abandoned);
        for name in OBJECTS.iter().filter(|name| !abandoned.contains(name)) {
            self.judge_accepted(name).await;
        }
        self.judge_writes(&hit);
        if abandoned.is_empty() {
            self.judge_stillness().await;
            return None;
        }
        Some(self)
    }

    /// Only a kill leaves a claim behind, and what is left behind has been sent once at most.
    fn judge_abandoned(&self, hit: &Hit, abandoned: &[&str]) {
        let about = format!("{:?} {hit:?}: {abandoned:?}", self.fault);
        let counts = acceptances(&self.world);
        let (left, accepted) = match (self.fault, hit.kind) {
            // Untouched, so it was claimed again; or recorded, and all is done.
            (Fault::KilledBefore, Kind::Claim) | (Fault::KilledAfter, Kind::Record) => (false, 1),
            // Claimed, never sent.
            (Fault::KilledAfter, Kind::Claim) => (true, 0),
            // Sent and answered, not recorded.
            (Fault::KilledBefore, Kind::Record) => (true, 1),
            _ => {
                assert!(abandoned.is_empty(), "{about}");
                (false, 1)
            }
        };
        assert_eq!(abandoned.contains(&hit.name.as_str()), left, "{about}");
        assert_eq!(counts.get(&hit.name).copied().unwrap_or_default(), accepted, "{about}");
        assert!(counts.values().all(|count| *count <= 1), "{about}: {counts:?}");
    }

    async fn judge_accepted(&self, name: &str) {
        let object: FunctionInvocation = self.world.api().get(name).await.expect("the object is there");
        let ledger = self.world.accepted(name);
        let status = object.status.expect("a status");
        assert_eq!(status.outcome, Some(Outcome::Accepted), "{:?} {name}", self.fault);
        assert_eq!(ledger.len(), 1, "{:?} {name}", self.fault);
        assert_eq!(status.request_id.as_ref(), Some(&ledger[0].request_id), "{:?} {name}", self.fault);
        assert_eq!(status.attempts, Some(1), "{:?} {name}", self.fault);
    }

    /// A fault costs one write more, or two where a claim came back too late and had to be made anew.
    fn judge_writes(&self, hit: &Hit) {
        let killed = matches!(self.fault, Fault::KilledBefore | Fault::KilledAfter);
        let too_late = matches!(self.fault, Fault::AnswerLate(seconds) if seconds > 10);
        for (name, count) in self.proxy.writes() {
            let cost = match (name == hit.name, too_late && hit.kind == Kind::Claim) {
                (true, true) => 2,
                (true, false) => 1,
                (false, _) => usize::from(killed),
            };
            assert!(count <= 2 + cost, "{:?} {hit:?}: {count} writes of {name}", self.fault);
        }
    }

    /// The claims of the dead are given up, and nothing is sent for them.
    async fn judge_takeover(&self) {
        let before = acceptances(&self.world);
        let objects = settled(&self.world, PAST_TAKEOVER).await;
        for object in &objects {
            let state = object.status.as_ref().and_then(|status| status.attempt.as_ref()?.state);
            let expected = match outcome(object) {
                Some(Outcome::Accepted) => AttemptState::Accepted,
                Some(Outcome::Unknown) => AttemptState::Ambiguous,
                other => panic!("{} ended as {other:?}", object.name_any()),
            };
            assert_eq!(state, Some(expected), "{:?} {}", self.fault, object.name_any());
        }
        assert!(objects.iter().any(|object| outcome(object) == Some(Outcome::Unknown)));
        assert_eq!(acceptances(&self.world), before, "{:?}", self.fault);
        self.judge_stillness().await;
    }

    /// What is settled is not touched again, and nothing broke on the way.
    async fn judge_stillness(&self) {
        let versions = |objects: Vec<FunctionInvocation>| -> BTreeMap<String, Option<String>> {
            objects.iter().map(|object| (object.name_any(), object.resource_version())).collect()
        };
        let before = versions(settled(&self.world, PATIENCE).await);
        // Long enough for whatever was still to come: another one is served meanwhile.
        invoke(&self.world, "afterwards").await;
        let mut after = versions(settled(&self.world, PATIENCE).await);
        after.remove("afterwards").expect("it was served");
        assert_eq!(before, after, "{:?}", self.fault);
        assert!(acceptances(&self.world).values().all(|count| *count <= 1), "{:?}", self.fault);
        sound(&self.operator);
        assert!(self.operator.stop().await.success());
    }
}

fn outcome(object: &FunctionInvocation) -> Option<Outcome> {
    object.status.as_ref().and_then(|status| status.outcome)
}

fn holder(object: &FunctionInvocation) -> Option<String> {
    object.status.as_ref().and_then(|status| status.attempt.as_ref()?.holder.clone())
}

fn is_claimed(object: &FunctionInvocation) -> bool {
    let state = object.status.as_ref().and_then(|status| status.attempt.as_ref()?.state);
    state == Some(AttemptState::Claimed)
}
