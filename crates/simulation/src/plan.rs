//! What happens in one simulation, drawn from its seed.

use fastrand::Rng;
use serde_json::{Value, json};
use std::fmt;
use std::ops::Range;
use std::time::Duration;

/// From here on nobody does anything, and no request is disturbed.
pub const CALM_AFTER: Duration = Duration::from_mins(8);

/// How long the operator has to finish everything after that: longer than a takeover, a lookup and the longest backoff.
pub const TO_THE_END: Duration = Duration::from_mins(25);

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
    /// How long after its acceptance a request appears in FunctionGraph's list.
    pub list_lag: Duration,
    /// What is done, in the order of time.
    pub acts: Vec<(Duration, Act)>,
}

/// What somebody does.
#[derive(Clone, Debug)]
pub enum Act {
    /// A user creates an invocation.
    Create(String, Value),
    /// A user merges a change into an invocation.
    Change(String, Value),
    /// A user deletes an invocation.
    Delete(String),
    /// An administrator changes the Secret of the credential.
    ChangeSecret(&'static str),
    /// An administrator merges a change into the provider.
    ChangeProvider(Value),
    /// A replica is killed.
    Kill(usize),
    /// A replica is asked to stop, and starts again after its drain.
    Stop(usize),
    /// The API server forgets old versions.
    Compact,
}

/// The secret access key that FunctionGraph accepts.
pub const SECRET_KEY: &str = "the-secret-access-key";

// === impl Plan ===

impl Plan {
    /// The plan of a seed.
    pub fn of(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let replicas = rng.usize(1..=3);
        let trouble = *rng.choice(&[0, 10, 40, 120]).unwrap_or(&0);
        let names: Vec<String> = (0..rng.usize(2..=6)).map(|number| format!("object-{number}")).collect();
        let storms = (0..rng.usize(0..3)).map(|_| {
            let begin = moment(&mut rng, 150_000);
            begin..begin + moment(&mut rng, 120_000)
        });
        let storms = storms.collect();
        let fates = if rng.bool() { u32::MAX } else { rng.u32(..) };
        let watch_lag = Duration::from_secs(*rng.choice(&[0, 5, 60]).unwrap_or(&0));
        let list_lag = Duration::from_secs(*rng.choice(&[0, 5, 600]).unwrap_or(&0));
        let mut acts: Vec<_> = names
            .iter()
            .map(|name| (moment(&mut rng, 120_000), Act::Create(name.clone(), spec(&mut rng))))
            .collect();
        for _ in 0..rng.usize(0..16) {
            // Most that is interesting happens soon after something else.
            let (number, name) = (rng.usize(..acts.len()), names[rng.usize(..names.len())].clone());
            let soon = *rng.choice(&[30, 300, 5000, 150_000]).unwrap_or(&30);
            let at = acts[number].0 + moment(&mut rng, soon);
            acts.push((at.min(CALM_AFTER), act(&mut rng, name, replicas)));
        }
        // In the end all is as it should be.
        let end = CALM_AFTER;
        acts.push((end, Act::ChangeSecret(SECRET_KEY)));
        for name in names {
            acts.push((end, Act::Change(name, json!({"spec": {"suspend": false}}))));
        }
        acts.sort_by_key(|(at, _)| *at);
        Self { seed, replicas, trouble, storms, fates, watch_lag, list_lag, acts }
    }
}

fn moment(rng: &mut Rng, within_millis: u64) -> Duration {
    Duration::from_millis(rng.u64(..within_millis))
}

fn spec(rng: &mut Rng) -> Value {
    let tag = format!("{:08x}", rng.u32(..));
    let mut spec = json!({
        "function": {"name": *rng.choice(&["quick", "slow"]).unwrap_or(&"quick")},
        "payload": {"tag": tag},
        "requestTimeoutSeconds": *rng.choice(&[5, 30, 90]).unwrap_or(&30),
        "activeDeadlineSeconds": *rng.choice(&[120, 600, 3600]).unwrap_or(&600),
        "retryPolicy": {"backoffLimit": rng.u8(0..=6)},
        "suspend": rng.u8(..10) == 0,
    });
    if rng.u8(..4) == 0 {
        spec["completionPolicy"] = "Executed".into();
    }
    if rng.u8(..6) == 0 {
        spec["deliveryPolicy"] = "AtLeastOnce".into();
    }
    if rng.u8(..5) == 0 {
        spec["ttlSecondsAfterFinished"] = rng.u32(0..600).into();
    }
    spec
}

fn act(rng: &mut Rng, name: String, replicas: usize) -> Act {
    let annotate = |value: &str| json!({"metadata": {"annotations": {"functiongraph.io/resolve": value}}});
    match rng.u8(..16) {
        0 => Act::Change(name, json!({"spec": {"suspend": true}})),
        1 => Act::Change(name, json!({"spec": {"suspend": false}})),
        2 => Act::Change(name, json!({"spec": {"cancel": true}})),
        3 | 4 => Act::Change(name, annotate("Retry")),
        5 => Act::Change(name, annotate("Fail")),
        6 => Act::Change(name, annotate("Accepted:0123abcd-0000-4000-8000-000000000000")),
        7 => Act::Delete(name),
        8 => Act::Create(name, spec(rng)),
        9 => Act::ChangeSecret(if rng.bool() { SECRET_KEY } else { "a-wrong-key" }),
        10 => Act::ChangeProvider(json!({"spec": {"lookup": {"enabled": rng.u8(..4) > 0}}})),
        11 => Act::Compact,
        12 => Act::Stop(rng.usize(..replicas)),
        _ => Act::Kill(rng.usize(..replicas)),
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(name, spec) => write!(f, "creates {name} {spec}"),
            Self::Change(name, change) => write!(f, "changes {name} {change}"),
            Self::Delete(name) => write!(f, "deletes {name}"),
            Self::ChangeSecret(text) => write!(f, "sets the secret access key to {text}"),
            Self::ChangeProvider(change) => write!(f, "changes the provider {change}"),
            Self::Kill(replica) => write!(f, "kills replica-{replica}"),
            Self::Stop(replica) => write!(f, "stops replica-{replica}"),
            Self::Compact => write!(f, "makes the API server forget old versions"),
        }
    }
}
