//! What happens in one simulation, drawn from its seed.

use crate::api_server::store::Key;
use fastrand::Rng;
use serde_json::{Value, json};
use std::fmt;
use std::ops::Range;
use std::time::Duration;

/// From here on nobody does anything, and no request is disturbed.
pub const CALM_AFTER: Duration = Duration::from_mins(8);

/// How long the operator has to finish everything after that: longer than a takeover, a lookup and the longest backoff.
pub const TO_THE_END: Duration = Duration::from_mins(25);

const HOUR: i64 = 3600;

const YEAR: i64 = 365 * 24 * HOUR;

/// The secret access key that FunctionGraph accepts, and the password that IAM accepts.
pub const SECRET_KEY: &str = "the-secret-access-key";

/// The namespace that is judged.
pub const TEAM: &str = "team";

/// The namespace of a tenant who is up to no good.
pub const HOSTILE: &str = "hostile";

/// What functions of the hostile tenant do.
const ODD_FUNCTIONS: [&str; 6] = ["quick", "slow", "throttled", "failing", "hanging", "missing"];

/// What happens in one simulation.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its seed.
    pub seed: u64,
    /// The number of replicas.
    pub replicas: usize,
    /// How many of a thousand requests are disturbed.
    pub trouble: u32,
    /// When that is half of them.
    pub storms: Vec<Range<Duration>>,
    /// What may happen to a request, by its number in the list of all fates. A few that come together find more than all.
    pub fates: u32,
    /// How far behind a watch may be.
    pub watch_lag: Duration,
    /// One of this number of events is behind.
    pub watch_lags_every: u8,
    /// How long after its acceptance a request appears in FunctionGraph's list.
    pub list_lag: Duration,
    /// Whether the provider lets the operator read FunctionGraph's list from the beginning.
    pub lookup: bool,
    /// When a replica and the API server do not reach each other.
    pub cuts: Vec<Cut>,
    /// When the wall clock of all is set, FunctionGraph's too, and by how many seconds. It only goes forward: executions need
    /// that.
    pub wall: Option<(Duration, i64)>,
    /// When the clock of a replica's node is off.
    pub skew: Option<Skew>,
    /// How long a token lives, if providers log in with a password for one. Else they have access keys.
    pub token_lifetime: Option<Duration>,
    /// Whether nothing happens but what a hostile tenant does.
    pub is_peaceful: bool,
    /// What is done.
    pub acts: Vec<(When, Act)>,
}

/// When a replica and the API server do not reach each other.
#[derive(Clone, Debug)]
pub struct Cut {
    /// The replica.
    pub replica: usize,
    /// From when to when.
    pub when: Range<Duration>,
    /// Whether that is so for its Lease only.
    pub lease_only: bool,
}

/// When the clock of a replica's node is off.
#[derive(Clone, Debug)]
pub struct Skew {
    /// The replica.
    pub replica: usize,
    /// From when to when.
    pub when: Range<Duration>,
    /// How far, in seconds.
    pub by: i64,
}

/// When somebody does something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// This long after the beginning.
    At(Duration),
    /// This long after an attempt of an invocation is first in a state.
    After {
        /// The invocation.
        object: Key,
        /// The state.
        state: &'static str,
        /// How long.
        pause: Duration,
    },
}

/// What somebody does.
#[derive(Clone, Debug)]
pub enum Act {
    /// Creates an object.
    Create(Key, Value),
    /// Merges a change into an object.
    Change(Key, Value),
    /// Deletes an object.
    Delete(Key),
    /// A replica is killed.
    Kill(usize),
    /// A replica is asked to stop, and starts again after its drain.
    Stop(usize),
    /// The API server forgets old versions.
    Compact,
    /// All Leases are deleted.
    LoseLeases,
    /// The clock of the API server is this number of seconds off from now on.
    SetClock(i64),
    /// A user says that an attempt of the first invocation was accepted as the request of the second.
    Steal(Key, Key),
}

// === impl Plan ===

impl Plan {
    /// The plan of a seed.
    pub fn of(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let replicas = rng.usize(1..=3);
        let trouble = one_of(&mut rng, &[0, 10, 40, 120]);
        let storms = (0..rng.usize(0..3)).map(|_| {
            let begin = moment(&mut rng, 150_000);
            begin..begin + moment(&mut rng, 120_000)
        });
        let mut plan = Self {
            seed,
            replicas,
            trouble,
            storms: storms.collect(),
            fates: fates(&mut rng),
            watch_lag: Duration::from_secs(one_of(&mut rng, &[0, 5, 60])),
            watch_lags_every: one_of(&mut rng, &[2, 10]),
            list_lag: Duration::from_secs(one_of(&mut rng, &[0, 5, 600])),
            lookup: rng.bool(),
            cuts: (0..rng.usize(0..6).saturating_sub(3)).map(|_| cut(&mut rng, replicas)).collect(),
            wall: (rng.u8(..4) == 0).then(|| (moment(&mut rng, 300_000), one_of(&mut rng, &[HOUR, YEAR]))),
            skew: None,
            token_lifetime: token_lifetime(seed),
            is_peaceful: false,
            acts: Vec::new(),
        };
        if rng.u8(..3) == 0 {
            plan.draw_hostile_acts(&mut rng);
            if rng.bool() {
                plan.make_peaceful(&mut rng);
                return plan;
            }
        }
        plan.draw_acts(&mut rng);
        plan.skew = (rng.u8(..4) == 0).then(|| skew(&mut rng, replicas));
        plan
    }

    /// Nothing goes wrong for a team that does nothing odd.
    fn make_peaceful(&mut self, rng: &mut Rng) {
        (self.is_peaceful, self.trouble) = (true, 0);
        self.list_lag = Duration::ZERO;
        self.storms.clear();
        self.cuts.clear();
        for number in 0..rng.usize(1..20) {
            let mut spec = spec(rng);
            for (field, value) in [
                ("suspend", json!(false)),
                ("activeDeadlineSeconds", json!(600)),
                ("ttlSecondsAfterFinished", Value::Null),
            ] {
                spec[field] = value;
            }
            let at = When::At(moment(rng, 240_000));
            self.acts.push((at, Act::Create(invocation(TEAM, number), json!({"spec": spec}))));
        }
    }

    /// A tenant who does everything that a tenant may do.
    fn draw_hostile_acts(&mut self, rng: &mut Rng) {
        let keys: Vec<_> = (0..rng.usize(2..=40)).map(|number| invocation(HOSTILE, number)).collect();
        for key in &keys {
            let mut spec = spec(rng);
            spec["function"]["name"] = one_of(rng, &ODD_FUNCTIONS).into();
            spec["activeDeadlineSeconds"] = one_of(rng, &[120, 600]).into();
            if rng.bool() && spec.get("completionPolicy").is_none() {
                spec["invocationType"] = "Sync".into();
            }
            self.acts.push((When::At(moment(rng, 120_000)), Act::Create(key.clone(), json!({"spec": spec}))));
        }
        for _ in 0..rng.usize(0..2 * keys.len()) {
            let (at, key) = (moment(rng, 400_000), keys[rng.usize(..keys.len())].clone());
            let act = match rng.u8(..4) {
                0 => hostile_change(rng),
                1 => Act::Steal(key, invocation(TEAM, rng.usize(..4))),
                _ => edit(rng, key),
            };
            self.acts.push((When::At(at), act));
        }
    }

    fn draw_acts(&mut self, rng: &mut Rng) {
        let most = one_of(rng, &[4, 8, 16, 100]);
        let keys: Vec<_> = (0..rng.usize(2..=most)).map(|number| invocation(TEAM, number)).collect();
        for key in &keys {
            let at = When::At(moment(rng, 120_000));
            self.acts.push((at, Act::Create(key.clone(), json!({"spec": spec(rng)}))));
        }
        for _ in 0..rng.usize(0..2 * keys.len() + 4) {
            let when = self.soon_after_another(rng);
            let key = match &when {
                When::After { object, .. } => object.clone(),
                When::At(_) => keys[rng.usize(..keys.len())].clone(),
            };
            let act = act(rng, key, self.replicas);
            self.acts.push((when, act));
        }
        // In the end some objects stay suspended.
        let end = |act| (When::At(CALM_AFTER), act);
        let resume = json!({"spec": {"suspend": false}});
        let resumed = keys.into_iter().filter(|_| rng.u8(..3) > 0);
        self.acts.extend(resumed.map(|key| end(Act::Change(key, resume.clone()))));
    }

    /// Most that is interesting happens soon after something else.
    fn soon_after_another(&self, rng: &mut Rng) -> When {
        let (when, act) = &self.acts[rng.usize(..self.acts.len())];
        if let Act::Create(object, _) = act
            && rng.bool()
        {
            let state = one_of(rng, &["Claimed", "Claimed", "Ambiguous", "Accepted", "Rejected"]);
            let soon = one_of(rng, &[5, 50, 20_000]);
            return When::After { object: object.clone(), state, pause: moment(rng, soon) };
        }
        let soon = one_of(rng, &[30, 300, 5000, 150_000]);
        match when {
            When::At(at) => When::At((*at + moment(rng, soon)).min(CALM_AFTER)),
            When::After { object, state, pause } => {
                When::After { object: object.clone(), state, pause: *pause + moment(rng, soon) }
            }
        }
    }
}

fn one_of<T: Copy>(rng: &mut Rng, values: &[T]) -> T {
    values[rng.usize(..values.len())]
}

fn moment(rng: &mut Rng, within_millis: u64) -> Duration {
    Duration::from_millis(rng.u64(..within_millis))
}

fn cut(rng: &mut Rng, replicas: usize) -> Cut {
    let begin = moment(rng, 240_000);
    let when = begin..begin + moment(rng, 240_000);
    Cut { replica: rng.usize(..replicas), when, lease_only: rng.bool() }
}

fn skew(rng: &mut Rng, replicas: usize) -> Skew {
    let begin = moment(rng, 240_000);
    let when = begin..begin + moment(rng, 240_000);
    Skew { replica: rng.usize(..replicas), when, by: clock_step(rng) }
}

/// An hour or a year, forward or back.
fn clock_step(rng: &mut Rng) -> i64 {
    one_of(rng, &[HOUR, -HOUR, YEAR, -YEAR])
}

/// Drawn apart, so that everything else of a seed is the same with tokens and with access keys.
fn token_lifetime(seed: u64) -> Option<Duration> {
    let mut rng = Rng::with_seed(!seed);
    (rng.u8(..3) == 0).then(|| Duration::from_mins(one_of(&mut rng, &[2, 5, 20])))
}

fn fates(rng: &mut Rng) -> u32 {
    match rng.u8(..3) {
        0 => u32::MAX,
        1 => rng.u32(..),
        _ => (0..3).map(|_| 1 << rng.u32(..12)).sum(),
    }
}

fn spec(rng: &mut Rng) -> Value {
    let tag = format!("{:08x}", rng.u32(..));
    let mut spec = json!({
        "function": {"name": one_of(rng, &["quick", "slow"])},
        "payload": {"tag": tag},
        "requestTimeoutSeconds": one_of(rng, &[5, 30, 90]),
        "activeDeadlineSeconds": one_of(rng, &[120, 600, 3600]),
        "retryPolicy": {"backoffLimit": rng.u8(0..=6)},
        "suspend": rng.u8(..10) == 0,
    });
    if rng.u8(..3) == 0 {
        spec["providerRef"] = json!({"kind": "ClusterFunctionGraphProvider", "name": "shared"});
    }
    if rng.u8(..4) == 0 {
        spec["completionPolicy"] = "Executed".into();
    }
    if rng.u8(..4) == 0 {
        spec["deliveryPolicy"] = "AtLeastOnce".into();
        spec["retryPolicy"]["backoffLimit"] = rng.u8(0..3).into();
    }
    if rng.u8(..5) == 0 {
        spec["ttlSecondsAfterFinished"] = rng.u32(0..600).into();
    }
    spec
}

/// What a user does to an invocation.
fn edit(rng: &mut Rng, object: Key) -> Act {
    match rng.u8(..9) {
        0 => Act::Change(object, json!({"spec": {"suspend": true}})),
        1 => Act::Change(object, json!({"spec": {"suspend": false}})),
        2 => Act::Change(object, json!({"spec": {"cancel": true}})),
        3 | 4 => Act::Change(object, annotate("Retry")),
        5 => Act::Change(object, annotate("Fail")),
        6 => Act::Change(object, annotate("Accepted:0123abcd-0000-4000-8000-000000000000")),
        7 => Act::Delete(object),
        _ => Act::Create(object, json!({"spec": spec(rng)})),
    }
}

/// What somebody does, to this invocation if to any.
fn act(rng: &mut Rng, object: Key, replicas: usize) -> Act {
    match rng.u8(..18) {
        0 => change_secret(TEAM, if rng.bool() { SECRET_KEY } else { "a-wrong-key" }),
        1 => Act::Change(provider(TEAM), json!({"spec": {"lookup": {"enabled": rng.u8(..4) > 0}}})),
        2 => Act::Compact,
        3 => Act::Stop(rng.usize(..replicas)),
        4 => Act::LoseLeases,
        5 if rng.u8(..4) == 0 => Act::SetClock(clock_step(rng)),
        6 => Act::Steal(object, invocation(TEAM, rng.usize(..4))),
        7..=9 => Act::Kill(rng.usize(..replicas)),
        _ => edit(rng, object),
    }
}

/// What a hostile tenant does to its provider and its Secret.
fn hostile_change(rng: &mut Rng) -> Act {
    let change = |spec: Value| Act::Change(provider(HOSTILE), json!({"spec": spec}));
    match rng.u8(..7) {
        0 => change(json!({"endpoint": "https://elsewhere.test"})),
        1 => change(json!({"limits": {"maxInFlight": 1000, "maxRequestsPerSecond": 10_000}})),
        2 => change(json!({"limits": {"maxInFlight": 1, "maxRequestsPerSecond": 1}})),
        3 => Act::Delete(provider(HOSTILE)),
        4 => Act::Delete(secret(HOSTILE)),
        5 => {
            // It guesses at the secret of another.
            let guess = base64(&format!("guess-{}", rng.u8(..)));
            let data = json!({
                "accessKeyID": base64(&access_key_id(TEAM)), "secretAccessKey": guess,
                "userName": base64(TEAM), "password": guess,
            });
            Act::Change(secret(HOSTILE), json!({"data": data}))
        }
        _ => change_secret(HOSTILE, "another"),
    }
}

fn annotate(value: &str) -> Value {
    json!({"metadata": {"annotations": {"functiongraph.io/resolve": value}}})
}

fn change_secret(namespace: &str, text: &str) -> Act {
    let text = base64(text);
    Act::Change(secret(namespace), json!({"data": {"secretAccessKey": text, "password": text}}))
}

/// The key of an invocation.
pub fn invocation(namespace: &str, number: usize) -> Key {
    ("functioninvocations".into(), namespace.into(), format!("object-{number}"))
}

/// The key of the provider of all namespaces.
pub fn shared_provider() -> Key {
    ("clusterfunctiongraphproviders".into(), String::new(), "shared".into())
}

/// The key of a namespace's provider.
pub fn provider(namespace: &str) -> Key {
    ("functiongraphproviders".into(), namespace.into(), "default".into())
}

/// The key of the Secret of a namespace's provider.
pub fn secret(namespace: &str) -> Key {
    ("secrets".into(), namespace.into(), "key".into())
}

/// The id of the access key of a namespace's provider.
pub fn access_key_id(namespace: &str) -> String {
    format!("ACCESSKEY{:0>11}", namespace.to_uppercase())
}

/// As in the data of a Secret.
pub fn base64(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}

// === impl Act ===

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = |(plural, namespace, name): &Key| format!("{plural} {namespace}/{name}");
        match self {
            Self::Create(key, object) => write!(f, "creates {} {object}", place(key)),
            Self::Change(key, change) => write!(f, "changes {} {change}", place(key)),
            Self::Delete(key) => write!(f, "deletes {}", place(key)),
            Self::Kill(replica) => write!(f, "kills replica-{replica}"),
            Self::Stop(replica) => write!(f, "stops replica-{replica}"),
            Self::Compact => write!(f, "makes the API server forget old versions"),
            Self::LoseLeases => write!(f, "deletes all Leases"),
            Self::SetClock(seconds) => write!(f, "sets the API server's clock {seconds} s off"),
            Self::Steal(thief, owner) => {
                write!(f, "resolves {} with the id of {}", place(thief), place(owner))
            }
        }
    }
}
