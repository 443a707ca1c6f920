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

/// The secret access key that FunctionGraph accepts.
pub const SECRET_KEY: &str = "the-secret-access-key";

/// The namespace whose invocations must end as they should.
pub const TEAM: &str = "team";

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
    /// What is done.
    pub acts: Vec<(When, Act)>,
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
            acts: Vec::new(),
        };
        plan.draw_acts(&mut rng);
        plan
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
        // In the end all is as it should be.
        let end = |act| (When::At(CALM_AFTER), act);
        self.acts.push(end(change_secret(SECRET_KEY)));
        let resume = json!({"spec": {"suspend": false}});
        self.acts.extend(keys.into_iter().map(|key| end(Act::Change(key, resume.clone()))));
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

fn act(rng: &mut Rng, object: Key, replicas: usize) -> Act {
    let annotate = |value: &str| json!({"metadata": {"annotations": {"functiongraph.io/resolve": value}}});
    match rng.u8(..16) {
        0 => Act::Change(object, json!({"spec": {"suspend": true}})),
        1 => Act::Change(object, json!({"spec": {"suspend": false}})),
        2 => Act::Change(object, json!({"spec": {"cancel": true}})),
        3 | 4 => Act::Change(object, annotate("Retry")),
        5 => Act::Change(object, annotate("Fail")),
        6 => Act::Change(object, annotate("Accepted:0123abcd-0000-4000-8000-000000000000")),
        7 => Act::Delete(object),
        8 => Act::Create(object, json!({"spec": spec(rng)})),
        9 => change_secret(if rng.bool() { SECRET_KEY } else { "a-wrong-key" }),
        10 => Act::Change(provider(TEAM), json!({"spec": {"lookup": {"enabled": rng.u8(..4) > 0}}})),
        11 => Act::Compact,
        12 => Act::Stop(rng.usize(..replicas)),
        _ => Act::Kill(rng.usize(..replicas)),
    }
}

fn change_secret(text: &str) -> Act {
    Act::Change(secret(TEAM), json!({"data": {"secretAccessKey": base64(text)}}))
}

/// The key of an invocation.
pub fn invocation(namespace: &str, number: usize) -> Key {
    ("functioninvocations".into(), namespace.into(), format!("object-{number}"))
}

/// The key of a namespace's provider.
pub fn provider(namespace: &str) -> Key {
    ("functiongraphproviders".into(), namespace.into(), "default".into())
}

/// The key of the Secret of a namespace's provider.
pub fn secret(namespace: &str) -> Key {
    ("secrets".into(), namespace.into(), "key".into())
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
        }
    }
}
