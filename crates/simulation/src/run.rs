//! Plays seeds in processes of their own, and reads what they show.

use crate::plan::Plan;
use crate::play::{WALL_STEP, play};
use ahash::random_state::{RandomSource, set_random_source};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Write, read_to_string, stdin};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Set in the process that plays. What is set for it has the same length in all runs of a seed: where its stack begins
/// depends on that, and hash maps take chance from addresses.
const SEED: &str = "SIMULATION_SEED";

/// `1` if the process that plays reads what may happen from its standard input.
const KEPT: &str = "SIMULATION_KEPT";

/// A step of the wall clock: its time since the beginning, in milliseconds, and its length in seconds.
const WALL: &str = "SIMULATION_WALL";

/// The filter of the operator's log.
const LOG: &str = "SIMULATION_LOG";

/// Stands between the history and the names of what has happened.
const NAMES: &str = "--\n";

/// What a process that plays a seed has shown.
pub struct Run {
    /// Who did what.
    pub history: String,
    /// The first promise that was broken, and by what.
    pub broken: Option<String>,
    /// The acts and disturbances that have happened, by their names.
    pub happened: Vec<String>,
    /// The number of invocations that were created.
    pub invocations: u64,
    /// The log.
    pub log: String,
}

// === impl Run ===

impl Run {
    /// Plays a seed with a program: all that happens in it, or only what is `kept`.
    pub fn of(program: &Path, seed: u64, kept: Option<&BTreeSet<String>>) -> Self {
        let mut play = Command::new(program);
        let wall = Plan::of(seed).wall.filter(|_| kept.is_none_or(|kept| kept.contains(WALL_STEP)));
        let (at, by) = wall.unwrap_or_default();
        play.env_clear().env("LD_PRELOAD", env!("VIRTUAL_TIME")).env(SEED, seed.to_string());
        play.env(WALL, format!("{:>12} {by:>12}", at.as_millis()));
        play.env(KEPT, if kept.is_some() { "1" } else { "0" });
        play.env(LOG, format!("{:<100}", std::env::var(LOG).unwrap_or_default()));
        let play = play.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut play = play.spawn().expect("the program starts");
        let mut input = play.stdin.take().expect("its standard input");
        for name in kept.into_iter().flatten() {
            writeln!(input, "{name}").expect("the program reads");
        }
        drop(input);
        let output = play.wait_with_output().expect("the program ends");
        let text = String::from_utf8_lossy(&output.stdout);
        let (history, names) = text.split_once(NAMES).unwrap_or((&text, ""));
        let last = history.lines().last().unwrap_or_default();
        let broken = match (output.status.success(), last.split_once("promise: ")) {
            (true, _) => None,
            (false, Some((_, broken))) => Some(broken.to_owned()),
            (false, None) => Some(format!("a simulation comes to its end: {}", output.status)),
        };
        Self {
            broken,
            happened: names.lines().map(str::to_owned).collect(),
            invocations: last.split(' ').find_map(|word| word.parse().ok()).unwrap_or_default(),
            history: history.to_owned(),
            log: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The promise that was broken, without what broke it.
    pub fn promise(&self) -> Option<&str> {
        self.broken.as_deref().map(|broken| broken.split_once(": ").map_or(broken, |(promise, _)| promise))
    }
}

/// What hash maps take for chance that otherwise take addresses of memory: those change when somebody reads the log.
#[derive(Default)]
struct Counter(AtomicUsize);

impl RandomSource for Counter {
    fn gen_hasher_seed(&self) -> usize {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// Plays the seed that this process was started for, if it was started for one.
pub fn play_here() -> Option<(String, ExitCode)> {
    let seed = std::env::var(SEED).ok()?.parse().ok()?;
    let set = |name| std::env::var(name).unwrap_or_default();
    set_random_source(Counter::default()).expect("ahash was not used before");
    // Even one that logs nothing takes its part of chance.
    let filter = set(LOG);
    let filter = if filter.trim().is_empty() { "off" } else { filter.trim() };
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let kept = (set(KEPT) == "1").then(|| {
        let names = read_to_string(stdin()).expect("names");
        names.lines().map(str::to_owned).collect()
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let played = runtime.block_on(play(Plan::of(seed), kept));
    let (mut text, code) = (played.history, i32::from(played.broken.is_some()));
    let verdict =
        played.broken.map_or("every promise holds".into(), |broken| format!("breaks a promise: {broken}"));
    let _ = write!(text, "{} invocations under seed {seed}: {verdict}\n{NAMES}", played.invocations);
    text.extend(played.happened.iter().map(|name| format!("{name}\n")));
    Some((text, u8::try_from(code).unwrap_or(1).into()))
}
