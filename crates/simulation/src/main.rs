//! Plays simulations: `simulation SEED` plays one and prints its history, `simulation --seeds 1..1000` looks for seeds
//! that break a promise.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::expect_used,
    reason = "what it shows is its result, and it ends where it cannot go on"
)]

use clap::Parser;
use simulation::plan::Plan;
use simulation::play::play;
use simulation::{lock, mutants};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Plays the whole operator on virtual time, with chance drawn from a seed.
#[derive(Parser)]
struct Args {
    /// Play this seed, and print its history.
    seed: Option<u64>,

    /// Play this number of seeds, and print the history of the first that breaks a promise.
    #[arg(long, default_value_t = 100)]
    seeds: u64,

    /// Begin with this seed.
    #[arg(long, default_value_t = 1)]
    from: u64,

    /// Put faults into the operator, and look for the seeds that find them: those faults whose name has this in it.
    #[arg(long, num_args = 0..=1, default_missing_value = "")]
    mutants: Option<String>,
}

/// The search says how far it is after this number of seeds.
const PROGRESS: u64 = 20;

/// Set in the process that plays.
const SEED: &str = "SIMULATION_SEED";

fn main() -> ExitCode {
    if let Some(seed) = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok()) {
        return play_here(seed);
    }
    let args = Args::parse();
    if let Some(seed) = args.seed {
        let played = process(&this_program(), seed);
        print!("{}", String::from_utf8_lossy(&played.stdout));
        eprint!("{}", String::from_utf8_lossy(&played.stderr));
        return if played.status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    if let Some(filter) = &args.mutants {
        return hunt(filter, &args);
    }
    match search(&this_program(), &args) {
        None => {
            println!("{} seeds from {}: every promise holds", args.seeds, args.from);
            ExitCode::SUCCESS
        }
        Some((seed, played)) => {
            print!("{}", String::from_utf8_lossy(&played.stdout));
            eprint!("{}", String::from_utf8_lossy(&played.stderr));
            println!("play it again with: SEED={seed} make simulate");
            ExitCode::FAILURE
        }
    }
}

/// The first seed that breaks a promise of this program.
fn search(program: &Path, args: &Args) -> Option<(u64, Output)> {
    let (next, end) = (AtomicU64::new(args.from), args.from + args.seeds);
    let found: Mutex<BTreeMap<u64, Output>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while lock(&found).is_empty() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let done = seed - args.from;
                    if done > 0 && done.is_multiple_of(PROGRESS) {
                        eprintln!("{done} of {} seeds", args.seeds);
                    }
                    let played = process(program, seed);
                    if !played.status.success() {
                        lock(&found).insert(seed, played);
                    }
                }
            });
        }
    });
    found.into_inner().unwrap_or_else(PoisonError::into_inner).pop_first()
}

/// Looks for the seed that finds each mutant.
fn hunt(filter: &str, args: &Args) -> ExitCode {
    let mut missed = false;
    let hunted = mutants::build(filter, |mutant, program| {
        if let Some((seed, played)) = search(program, args) {
            let history = String::from_utf8_lossy(&played.stdout);
            let how = history.lines().last().unwrap_or_default();
            println!(
                "| {} | {seed} | {} |",
                mutant.name,
                how.split_once("promise: ").map_or(how, |(_, how)| how)
            );
        } else {
            missed = true;
            println!("| {} | not found | |", mutant.name);
        }
    });
    match hunted {
        Ok(()) if !missed => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn this_program() -> PathBuf {
    std::env::current_exe().expect("this program")
}

/// Plays a seed in a process of its own.
fn process(program: &Path, seed: u64) -> Output {
    let mut play = Command::new(program);
    play.env_clear().env(SEED, seed.to_string()).env("LD_PRELOAD", env!("VIRTUAL_TIME"));
    if let Some(log) = std::env::var_os("SIMULATION_LOG") {
        play.env("SIMULATION_LOG", log);
    }
    play.output().expect("the program starts")
}

fn play_here(seed: u64) -> ExitCode {
    if let Ok(filter) = std::env::var("SIMULATION_LOG") {
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let played = runtime.block_on(play(Plan::of(seed)));
    print!("{}", played.history);
    match played.broken {
        None => ExitCode::SUCCESS,
        Some(broken) => {
            println!("seed {seed} breaks a promise: {broken}");
            ExitCode::FAILURE
        }
    }
}
