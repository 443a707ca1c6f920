//! Every request of a small piece of work meets every fault on its way to FunctionGraph and back.

use crate::judge::sound;
use functiongraph_emulator::{Action, Config, Emulator, ErrorAnswer, Fault, Function, PlannedFault, When};
use functiongraph_operator::api::FunctionGraphProvider;
use functiongraph_operator::api::invocation::Outcome;
use futures::StreamExt;
use http::StatusCode;
use k8s_openapi::api::core::v1::Secret;
use serde_json::json;
use std::collections::BTreeMap;
use testkit::{KEY, World, access_keys, provider_spec, until, within};

/// The work: a request for each.
const OBJECTS: [&str; 3] = ["a", "b", "c"];

/// The key that takes the place of one that was refused.
const OTHER_KEY: (&str, &str) = ("OTHERACCESSKEY000001", "other-secret-key-00000000000000000000001");

/// Cases under way at once.
const AT_ONCE: usize = 12;

/// What a fault says about the request that it hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// It was certainly not accepted: it is sent again.
    NotAccepted,
    /// It was accepted, and the answer says so.
    Accepted,
    /// It was refused for good: it is not sent again.
    Refused,
    /// The answer leaves it open; `accepted` is the truth.
    Doubt { accepted: bool },
}

/// How the work is invoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Async,
    Sync,
    Reserved,
}

fn faults() -> Vec<(Action, Meaning)> {
    let status = |status| Action::Status(ErrorAnswer::of(status));
    vec![
        (Action::DropBefore, Meaning::Doubt { accepted: false }),
        (Action::DropAfter, Meaning::Doubt { accepted: true }),
        (Action::AcceptThen(ErrorAnswer::of(StatusCode::GATEWAY_TIMEOUT)), Meaning::Doubt { accepted: true }),
        (status(StatusCode::INTERNAL_SERVER_ERROR), Meaning::Doubt { accepted: false }),
        (status(StatusCode::BAD_GATEWAY), Meaning::Doubt { accepted: false }),
        (status(StatusCode::SERVICE_UNAVAILABLE), Meaning::NotAccepted),
        (status(StatusCode::TOO_MANY_REQUESTS), Meaning::NotAccepted),
        (status(StatusCode::UNAUTHORIZED), Meaning::NotAccepted),
        (status(StatusCode::NOT_FOUND), Meaning::Refused),
        (Action::Hang { accept: false }, Meaning::Doubt { accepted: false }),
        (Action::Hang { accept: true }, Meaning::Doubt { accepted: true }),
        (Action::TruncatedBody, Meaning::Accepted),
    ]
}

/// More refusals, for `make faults`.
fn refusals() -> impl Iterator<Item = (Action, Meaning)> {
    let refusal = |code| {
        let status = StatusCode::from_u16(code).expect("a status");
        (Action::Status(ErrorAnswer::of(status)), Meaning::Refused)
    };
    [400, 403, 409, 410, 413, 422].into_iter().map(refusal)
}

/// `make test` runs the asynchronous cases; with `PLAN=all`, `make faults` runs the others too, and each of them again
/// after a throttled request, so that it hits a second attempt.
fn cases() -> Vec<Case> {
    let all = std::env::var("PLAN").is_ok_and(|plan| plan == "all");
    let kinds: &[Kind] = if all { &[Kind::Async, Kind::Sync, Kind::Reserved] } else { &[Kind::Async] };
    let throttled: &[bool] = if all { &[false, true] } else { &[false] };
    let faults: Vec<_> = faults().into_iter().chain(refusals().filter(|_| all)).collect();
    let mut cases = Vec::new();
    for (kind, throttled) in
        kinds.iter().flat_map(|kind| throttled.iter().map(|throttled| (*kind, *throttled)))
    {
        for policy in ["AtMostOnce", "AtLeastOnce"] {
            for (action, meaning) in &faults {
                for at in 1 + u64::from(throttled)..=OBJECTS.len() as u64 {
                    let (number, action, meaning) = (cases.len(), action.clone(), *meaning);
                    cases.push(Case { number, kind, policy, action, meaning, at, throttled });
                }
            }
        }
    }
    cases
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_survives_every_fault() {
    let world = World::new().await;
    let operator = world.operator().await;
    let cases = cases();
    let count = cases.len();
    let running = cases.iter().map(|case| case.run(&world));
    futures::stream::iter(running).buffer_unordered(AT_ONCE).collect::<()>().await;
    println!("{count} cases");
    sound(&operator);
    assert!(operator.stop().await.success());
}

/// One fault at one request, with a provider and an emulator of its own.
#[derive(Debug)]
struct Case {
    number: usize,
    kind: Kind,
    policy: &'static str,
    action: Action,
    meaning: Meaning,
    /// The number of the request to meet it, counted from one.
    at: u64,
    /// Whether the requests before it are throttled; otherwise they are answered as always.
    throttled: bool,
}

// === impl Case ===

impl Case {
    async fn run(&self, world: &World) {
        let emulator = self.emulator().await;
        let provider = format!("p-{}", self.number);
        self.provider(world, &emulator, &provider).await;
        let hangs = matches!(self.action, Action::Hang { .. });
        for name in OBJECTS {
            let spec = json!({
                "function": {"name": "hello"}, "payload": {"tag": name},
                "providerRef": {"name": provider}, "deliveryPolicy": self.policy,
                "invocationType": format!("{:?}", self.kind),
                "requestTimeoutSeconds": if hangs { 1 } else { 30 },
            });
            world.invoke(&format!("{provider}-{name}"), spec).await;
        }
        self.fired(&emulator).await;
        if matches!(&self.action, Action::Status(answer) if answer.status == StatusCode::UNAUTHORIZED) {
            // A credential that was refused is not used again before its Secret holds another.
            let other = json!({"stringData": {"accessKeyID": OTHER_KEY.0, "secretAccessKey": OTHER_KEY.1}});
            world.change::<Secret>(&provider, other).await;
        }
        let mut outcomes = BTreeMap::new();
        for name in OBJECTS {
            let object = world.finished(&format!("{provider}-{name}")).await;
            outcomes.insert(name, object.status.unwrap().outcome.unwrap());
        }
        self.judge(&emulator, &outcomes);
        emulator.stop().await;
    }

    /// Requests before the one to hit meet a fault that does nothing, or are throttled.
    async fn emulator(&self) -> Emulator {
        let emulator = Emulator::start(Config {
            functions: vec![Function { reserved: self.kind == Kind::Reserved, ..Function::named("hello") }],
            access_keys: access_keys(&[KEY, OTHER_KEY]),
            ..Config::default()
        });
        let emulator = emulator.await.expect("the emulator starts");
        let throttle = Action::Status(ErrorAnswer::of(StatusCode::TOO_MANY_REQUESTS));
        let before = if self.throttled { throttle } else { Action::Delay(std::time::Duration::ZERO) };
        emulator.add_fault(Fault::new(When::Next(self.at - 1), before));
        emulator.add_fault(Fault::new(When::Next(1), self.action.clone()));
        emulator
    }

    async fn provider(&self, world: &World, emulator: &Emulator, name: &str) {
        let data = json!({"stringData": {"accessKeyID": KEY.0, "secretAccessKey": KEY.1}});
        world.create::<Secret>(name, data).await.expect("a secret");
        let mut spec = provider_spec(emulator);
        spec["credentials"]["accessKey"]["secretRef"]["name"] = name.into();
        world.create::<FunctionGraphProvider>(name, json!({"spec": spec})).await.expect("a provider");
    }

    async fn fired(&self, emulator: &Emulator) {
        let waits = |fault: &PlannedFault| fault.fault.action == self.action && fault.fired == 0;
        within(until(async || !emulator.faults().iter().any(waits))).await;
    }

    fn judge(&self, emulator: &Emulator, outcomes: &BTreeMap<&str, Outcome>) {
        let mut accepted: BTreeMap<String, usize> = BTreeMap::new();
        for entry in emulator.ledger() {
            *accepted.entry(entry.tag.expect("every event has a tag")).or_default() += 1;
        }
        let about = format!("{self:?}: {outcomes:?}, {accepted:?}");
        let total: usize = accepted.values().sum();
        let unknown = outcomes.values().filter(|outcome| **outcome == Outcome::Unknown).count();
        let good = if self.kind == Kind::Sync { Outcome::Executed } else { Outcome::Accepted };
        let rest = outcomes.values().filter(|outcome| **outcome == good).count();
        let refused = usize::from(self.meaning == Meaning::Refused);
        assert_eq!(unknown + rest + refused, OBJECTS.len(), "{about}");
        match (self.policy, self.meaning) {
            ("AtMostOnce", Meaning::Doubt { accepted: truth }) => {
                assert_eq!(unknown, 1, "{about}");
                assert_eq!(total, rest + usize::from(truth), "{about}");
            }
            (_, Meaning::Refused) => assert_eq!((unknown, total), (0, rest), "{about}"),
            (_, Meaning::NotAccepted | Meaning::Accepted) => {
                assert_eq!((unknown, total), (0, OBJECTS.len()), "{about}");
            }
            (_, Meaning::Doubt { accepted: truth }) => {
                assert_eq!((unknown, total), (0, OBJECTS.len() + usize::from(truth)), "{about}");
            }
        }
        if self.policy == "AtMostOnce" {
            assert!(accepted.values().all(|count| *count <= 1), "{about}");
        }
    }
}
