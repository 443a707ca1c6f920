//! Every call of every story meets every fault: the plans of `make faults`.
//!
//! A story is the life of one invocation, with the calls that it takes. A plan is one story, one of its calls, and the
//! fault that this call meets. `make faults` runs all plans, `PLAN=7 make faults` runs one, `PLAN=7,8` two, and `make test` runs
//! every [`SAMPLE`]th.

use crate::judge::{PAST_TAKEOVER, acceptances, invoke, sound};
use crate::proxy::{At, Fault, Kind, Proxy};
use functiongraph_emulator::Function;
use functiongraph_operator::api::invocation::{AttemptState, Outcome, RESOLVE};
use functiongraph_operator::api::{FunctionInvocation, Reason};
use futures::{FutureExt, StreamExt};
use kube::ResourceExt;
use kube::runtime::wait::await_condition;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use testkit::{Operator, World, plane, ready};

/// `make test` runs every ninth plan.
const SAMPLE: usize = 9;

/// Plans under way at once: most of them wait most of the time.
const AT_ONCE: usize = 16;

/// Longer than the takeover time and the pauses before and after it.
const STORY_TIMEOUT: Duration = PAST_TAKEOVER.saturating_mul(2);

/// The invocation of a story.
const NAME: &str = "o";

/// What a status write of a story says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Write {
    /// It claims an attempt.
    Claim,
    /// It ends the claim with what became of the attempt.
    Answer,
    /// It says something else.
    Other,
}

/// What happens to the object beside the operator's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    /// Nothing.
    Nothing,
    /// It is created suspended, and resumed once it says so.
    Resume,
    /// Its ambiguous attempt is resolved, as `Fail`.
    Resolve,
    /// Its execution is stopped once it runs.
    Cancel,
    /// Another process claims it, and dies, before the operator starts.
    Abandon,
}

/// The life of one invocation.
struct Story {
    name: &'static str,
    /// Merged into the spec of the invocation.
    spec: Value,
    /// Faults of the emulator, in its own JSON.
    cloud: Vec<Value>,
    /// A fault that each plan of this story has, whatever else it has.
    given: Option<(At, Fault)>,
    /// Flags of the operator.
    flags: &'static [&'static str],
    act: Act,
    /// Its status writes without a fault.
    writes: &'static [Write],
    /// Its other calls without a fault, each once.
    calls: &'static [Kind],
    /// Its outcome; none if it is deleted.
    end: Option<Outcome>,
    /// How often the cloud accepts it.
    accepted: usize,
}

use Write::{Answer, Claim, Other};

/// All stories. New ones go to the end, because a plan is known by its number.
fn stories() -> Vec<Story> {
    let story = |name, writes| Story {
        name,
        spec: json!({}),
        cloud: Vec::new(),
        given: None,
        flags: &[],
        act: Act::Nothing,
        writes,
        calls: &[],
        end: Some(Outcome::Accepted),
        accepted: 1,
    };
    let next = |action: Value| vec![json!({"when": {"next": 1}, "action": action})];
    let gateway_timeout = || next(json!({"status": {"status": 504}}));
    let once = &[Claim, Answer];
    let twice = &[Claim, Answer, Claim, Answer];
    vec![
        Story {
            calls: &[Kind::Watch, Kind::Providers, Kind::ProviderStatus, Kind::Secret],
            ..story("accepted at once", once)
        },
        Story {
            spec: json!({"invocationType": "Sync"}),
            end: Some(Outcome::Executed),
            ..story("synchronous", once)
        },
        Story {
            spec: json!({"invocationType": "Reserved", "function": {"name": "kept"}}),
            ..story("reserved", once)
        },
        Story {
            flags: &["--restore-guard"],
            calls: &[Kind::Mark],
            ..story("marked by the restore guard", once)
        },
        Story { cloud: next(json!({"status": {"status": 429}})), ..story("throttled, then accepted", twice) },
        Story {
            cloud: next(json!({"status": {"status": 503}})),
            ..story("unavailable, then accepted", twice)
        },
        Story {
            cloud: next(json!({"status": {"status": 404}})),
            end: Some(Outcome::Failed),
            accepted: 0,
            ..story("refused for good", once)
        },
        Story {
            spec: json!({"deliveryPolicy": "AtLeastOnce"}),
            cloud: gateway_timeout(),
            ..story("ambiguous, then sent again", twice)
        },
        Story {
            cloud: gateway_timeout(),
            act: Act::Resolve,
            end: Some(Outcome::Failed),
            accepted: 0,
            ..story("ambiguous, then resolved", &[Claim, Answer, Other])
        },
        Story {
            spec: json!({"suspend": true}),
            act: Act::Resume,
            ..story("suspended, then resumed", &[Other, Other, Claim, Answer])
        },
        Story {
            spec: json!({"completionPolicy": "Executed"}),
            end: Some(Outcome::Executed),
            ..story("followed to its end", &[Claim, Answer, Other])
        },
        Story {
            spec: json!({"ttlSecondsAfterFinished": 0}),
            calls: &[Kind::Delete],
            end: None,
            ..story("deleted when finished", once)
        },
        Story {
            given: Some((At::StatusWrite(1), Fault::AnswerLate(12))),
            ..story("claimed too late and handed back", &[Claim, Answer, Claim, Answer])
        },
        Story {
            act: Act::Abandon,
            end: Some(Outcome::Unknown),
            accepted: 0,
            ..story("claimed by a process that died", &[Answer])
        },
        Story {
            spec: json!({"completionPolicy": "Executed", "function": {"name": "slow"}}),
            act: Act::Cancel,
            end: Some(Outcome::Cancelled),
            ..story("stopped while it runs", &[Claim, Answer, Other, Other])
        },
    ]
}

/// The kills come first: what they leave behind waits for the takeover while the others have their turn.
const FAULTS: [Fault; 21] = [
    Fault::KilledAfter,
    Fault::KilledBefore,
    Fault::Hang,
    // Beyond the timeout of a call (15 s), beyond the send window (10 s), and just late.
    Fault::AnswerLate(20),
    Fault::AnswerLate(12),
    Fault::AnswerLate(2),
    Fault::ArrivesLate(20),
    Fault::AnswerLost,
    Fault::Reset,
    Fault::Refused(400),
    Fault::Refused(403),
    Fault::Refused(404),
    Fault::Refused(409),
    Fault::Refused(410),
    Fault::Refused(413),
    Fault::Refused(422),
    Fault::Refused(429),
    Fault::Refused(500),
    Fault::Refused(503),
    Fault::Committed(500),
    Fault::Committed(504),
];

/// One call of one story meets one fault.
struct Plan {
    number: usize,
    story: Story,
    at: At,
    fault: Fault,
}

/// All plans, by their numbers.
fn plans() -> Vec<Plan> {
    let targets = |story: &Story| {
        let writes = (1..=story.writes.len()).map(At::StatusWrite);
        let calls = story.calls.iter().map(|kind| At::Call(*kind, 1));
        writes.chain(calls).collect::<Vec<_>>()
    };
    let fits = |story: &Story, at: At, fault: Fault| {
        // A watch has no end, so the proxy cannot wait for the whole answer.
        let streams = matches!(at, At::Call(Kind::Watch | Kind::Providers, _));
        let whole = matches!(
            fault,
            Fault::KilledAfter | Fault::AnswerLost | Fault::AnswerLate(_) | Fault::Committed(_)
        );
        !(streams && whole) && story.given.is_none_or(|(given, _)| given != at)
    };
    let mut plans = Vec::new();
    for fault in FAULTS {
        for (index, story) in stories().iter().enumerate() {
            for at in targets(story).into_iter().filter(|at| fits(story, *at, fault)) {
                let story = stories().swap_remove(index);
                plans.push(Plan { number: plans.len() + 1, story, at, fault });
            }
        }
    }
    plans
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_of_every_story_survives_every_fault() {
    let wanted = std::env::var("PLAN").unwrap_or_default();
    let all = plans();
    let total = all.len();
    let chosen: Vec<Plan> = match wanted.as_str() {
        "" => all.into_iter().filter(|plan| plan.number % SAMPLE == 1).collect(),
        "all" => all,
        numbers => {
            let number = |text: &str| text.parse().expect("PLAN is a number, some with commas, or `all`");
            let numbers: Vec<usize> = numbers.split(',').map(number).collect();
            all.into_iter().filter(|plan| numbers.contains(&plan.number)).collect()
        }
    };
    assert!(!chosen.is_empty(), "there are {total} plans");
    let count = chosen.len();
    let running = chosen.into_iter().map(async |plan| {
        let held = AssertUnwindSafe(plan.run()).catch_unwind().await.is_ok();
        if !wanted.is_empty() {
            println!("{}: {}", if held { "ok" } else { "FAILED" }, plan.title());
        }
        (plan, held)
    });
    let mut ended: Vec<_> = futures::stream::iter(running).buffer_unordered(AT_ONCE).collect().await;
    ended.sort_by_key(|(plan, _)| plan.number);
    println!("{count} of {total} plans");
    if wanted == "all" {
        println!("{}", table(&ended));
    }
    let failed: Vec<_> = ended.iter().filter(|(_, held)| !held).map(|(plan, _)| plan.title()).collect();
    assert!(failed.is_empty(), "see above, and run one alone with PLAN=<number>: {failed:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stories_take_the_calls_that_they_name() {
    let running = stories().into_iter().filter(|story| story.act != Act::Abandon).map(async |story| {
        let (world, proxy) = story.begin(None).await;
        let operator = world.operator().kubeconfig(&proxy.kubeconfig()).flags(story.flags).start();
        let object = story.live(&world).await;
        assert_eq!(object.as_ref().and_then(outcome), story.end, "{}", story.name);
        let accepted = acceptances(&world).get(NAME).copied().unwrap_or_default();
        assert_eq!(accepted, story.accepted, "{}", story.name);
        let calls = proxy.calls();
        let count = |kind| calls.get(&kind).copied().unwrap_or_default();
        let writes = count(Kind::Claim) + count(Kind::Record);
        assert_eq!(writes, story.writes.len(), "status writes of: {}", story.name);
        let claims = story.writes.iter().filter(|write| **write == Claim).count();
        assert_eq!(count(Kind::Claim), claims, "claims of: {}", story.name);
        for kind in story.calls {
            assert!(count(*kind) > 0, "{kind:?} of: {}", story.name);
        }
        sound(&operator);
        assert!(operator.stop().await.success());
    });
    futures::stream::iter(running).buffer_unordered(AT_ONCE).collect::<()>().await;
}

// === impl Story ===

impl Story {
    /// Makes the world of the story, up to the start of the operator.
    async fn begin(&self, fault: Option<(At, Fault)>) -> (World, Proxy) {
        let kept = Function { reserved: true, ..Function::named("kept") };
        let slow = Function {
            latency: Duration::from_hours(1),
            timeout: Duration::from_hours(2),
            ..Function::named("slow")
        };
        let world = World::with(|config| config.functions.extend([kept, slow])).await;
        world.provider().await;
        if self.act == Act::Cancel {
            world.allow_cancel().await;
        }
        for fault in &self.cloud {
            world.fault(fault.clone());
        }
        let mut spec = json!({"function": {"name": "hello"}, "payload": {"tag": NAME}});
        for (field, value) in self.spec.as_object().expect("an object") {
            spec[field] = value.clone();
        }
        world.invoke(NAME, spec).await;
        if self.act == Act::Abandon {
            let attempt = json!({"number": 1, "holder": "a process that died", "state": "Claimed"});
            let status = json!({"attempts": 1, "attempt": attempt});
            world.force_status(NAME, status).await.expect("it can be claimed");
        }
        let faults = fault.into_iter().chain(self.given).collect();
        (world, Proxy::with(plane().await, faults).await)
    }

    /// Does what the story does beside the operator, and waits for its end. Returns the object, unless it is deleted.
    async fn live(&self, world: &World) -> Option<FunctionInvocation> {
        match self.act {
            Act::Nothing | Act::Abandon => {}
            Act::Resume => {
                self.until(world, |object| {
                    object.status.as_ref().is_some_and(|status| ready(status).1 == Some(Reason::Suspended))
                })
                .await;
                world.change::<FunctionInvocation>(NAME, json!({"spec": {"suspend": false}})).await;
            }
            Act::Resolve => {
                let object = self.until(world, |object| outcome(object).is_some()).await;
                if object.as_ref().and_then(outcome) == Some(Outcome::Failed) {
                    return object;
                }
                let resolution = json!({"metadata": {"annotations": {RESOLVE: "Fail"}}});
                world.change::<FunctionInvocation>(NAME, resolution).await;
                return self.until(world, |object| outcome(object) == Some(Outcome::Failed)).await;
            }
            Act::Cancel => {
                // An attempt that a killed operator left behind ends as Unknown, and is never followed.
                let object = self.until(world, |object| {
                    outcome(object).is_some() || state(object) == Some(AttemptState::Accepted)
                });
                let object = object.await;
                if object.as_ref().and_then(outcome) == Some(Outcome::Failed) {
                    return object;
                }
                world.change::<FunctionInvocation>(NAME, json!({"spec": {"cancel": true}})).await;
            }
        }
        self.until(world, |object| outcome(object).is_some()).await
    }

    /// Waits for a condition, or until the object is gone where the story ends so.
    async fn until(
        &self,
        world: &World,
        holds: impl Fn(&FunctionInvocation) -> bool,
    ) -> Option<FunctionInvocation> {
        let deleted = self.end.is_none();
        let condition = |object: Option<&FunctionInvocation>| match object {
            // An Unknown object is kept, whatever its ttl says.
            Some(object) if deleted => outcome(object) == Some(Outcome::Unknown),
            Some(object) => holds(object),
            None => deleted,
        };
        let waiting = await_condition(world.api(), NAME, condition);
        let Ok(object) = tokio::time::timeout(STORY_TIMEOUT, waiting).await else {
            panic!("{}: {:#?}", self.name, world.get_opt(NAME).await.and_then(|object| object.status));
        };
        object.expect("the watch works")
    }
}

// === impl Plan ===

impl Plan {
    fn title(&self) -> String {
        format!("plan {}: {}; {:?} meets {:?}", self.number, self.story.name, self.at, self.fault)
    }

    fn kills(&self) -> bool {
        matches!(self.fault, Fault::KilledBefore | Fault::KilledAfter)
    }

    /// Lives the story with the fault, with another operator if the first one is killed, and judges what came of it.
    async fn run(&self) {
        let (world, proxy) = self.story.begin(Some((self.at, self.fault))).await;
        let start = || world.operator().kubeconfig(&proxy.kubeconfig()).flags(self.story.flags).start();
        let work = async {
            let first = start();
            proxy.aim(first.pid());
            if !self.kills() {
                return first;
            }
            first.exit().await.expect("it is killed");
            sound(&first);
            start()
        };
        let (operator, object) = tokio::join!(work, self.story.live(&world));
        assert!(proxy.hit().is_some(), "{}: no call met the fault", self.title());
        self.judge(&world, object.as_ref());
        self.judge_writes(&proxy);
        self.judge_stillness(&world, &operator).await;
    }

    /// Whether the fault leaves a claim behind that nobody alive can answer.
    fn abandons(&self) -> bool {
        let At::StatusWrite(number) = self.at else { return false };
        let claimed = self.story.writes[..number - 1].ends_with(&[Claim]);
        match (self.fault, self.story.writes[number - 1]) {
            (Fault::KilledAfter, Claim) => true,
            (Fault::KilledBefore, Answer) => claimed,
            _ => false,
        }
    }

    /// The outcome, the request id, and what the cloud has accepted.
    fn judge(&self, world: &World, object: Option<&FunctionInvocation>) {
        let accepted = acceptances(world).get(NAME).copied().unwrap_or_default();
        let at_most_once = self.story.spec["deliveryPolicy"] != "AtLeastOnce";
        let about = format!(
            "{}: accepted {accepted} times; {:#?}",
            self.title(),
            object.and_then(|o| o.status.as_ref())
        );
        if at_most_once {
            assert!(accepted <= 1, "{about}");
        }
        let too_large = self.fault == Fault::Refused(413)
            && matches!(self.at, At::StatusWrite(number) if self.story.writes[number - 1] == Claim);
        // What dies at another call may die in the middle of an attempt.
        let interrupted = self.kills()
            && matches!(self.at, At::Call(..))
            && object.and_then(outcome) == Some(Outcome::Unknown);
        let abandoned = self.abandons() || interrupted;
        let unknown = abandoned && at_most_once && self.story.act != Act::Resolve;
        let end = if unknown { Some(Outcome::Unknown) } else { self.story.end };
        // Without room for the claim nothing is sent, and what was sent before is as it was.
        let ends = [end, Some(Outcome::Failed), Some(Outcome::Unknown)];
        let ends = if too_large { &ends[..] } else { &ends[..1] };
        assert!(ends.contains(&object.and_then(outcome)), "{about}; expected one of {ends:?}");
        if too_large || abandoned {
            assert!(accepted <= self.story.accepted + usize::from(!at_most_once), "{about}");
        } else {
            assert_eq!(accepted, self.story.accepted, "{about}");
        }
        let Some(object) = object else { return };
        let id = object.status.as_ref().and_then(|status| status.request_id.as_deref());
        if matches!(outcome(object), Some(Outcome::Accepted))
            && self.story.spec["invocationType"] != "Reserved"
        {
            let ledger = world.accepted(NAME);
            assert!(ledger.iter().any(|entry| Some(entry.request_id.as_str()) == id), "{about}");
        }
    }

    /// A fault costs one write more, two where a claim has to be made again, and a kill leaves the successor's notes.
    fn judge_writes(&self, proxy: &Proxy) {
        let count = proxy.writes().get(NAME).copied().unwrap_or_default();
        // Whether it is told that it runs before it is stopped depends on when FunctionGraph's list is read.
        let told = usize::from(self.story.act == Act::Cancel);
        let most = self.story.writes.len() + 2 + told + usize::from(self.kills());
        assert!(count <= most, "{}: {count} status writes", self.title());
    }

    /// What has ended is not touched again, and nothing broke on the way.
    async fn judge_stillness(&self, world: &World, operator: &Operator) {
        operator.ready().await;
        let version = async || world.get_opt(NAME).await.map(|object| object.resource_version());
        let before = version().await;
        // Long enough for all that was still to come: another one is served meanwhile.
        invoke(world, "afterwards").await;
        let done = |object: Option<&FunctionInvocation>| object.is_some_and(|o| outcome(o).is_some());
        let served = await_condition(world.api(), "afterwards", done);
        assert!(tokio::time::timeout(STORY_TIMEOUT, served).await.is_ok(), "{}", self.title());
        assert_eq!(before, version().await, "{}", self.title());
        sound(operator);
        assert!(operator.stop().await.success());
    }
}

/// The plans of each story and what became of them, in Markdown.
fn table(ended: &[(Plan, bool)]) -> String {
    let mut rows: BTreeMap<usize, (&str, usize, usize, usize)> = BTreeMap::new();
    let order: Vec<_> = stories().iter().map(|story| story.name).collect();
    for (plan, held) in ended {
        let place = order.iter().position(|name| *name == plan.story.name).expect("a story");
        let calls = plan.story.writes.len() + plan.story.calls.len();
        let row = rows.entry(place).or_insert((plan.story.name, calls, 0, 0));
        row.2 += 1;
        row.3 += usize::from(*held);
    }
    let lines =
        rows.values().map(|(name, calls, plans, held)| format!("| {name} | {calls} | {plans} | {held} |"));
    let head = ["| the invocation is | calls | plans | held |".to_owned(), "|---|---|---|---|".to_owned()];
    head.into_iter().chain(lines).collect::<Vec<_>>().join("\n")
}

fn outcome(object: &FunctionInvocation) -> Option<Outcome> {
    object.status.as_ref().and_then(|status| status.outcome)
}

fn state(object: &FunctionInvocation) -> Option<AttemptState> {
    object.status.as_ref().and_then(|status| status.attempt.as_ref()?.state)
}
