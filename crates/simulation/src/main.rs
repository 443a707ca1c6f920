//! Plays simulations: `simulation SEED` plays one and prints its history, `simulation --seeds 1..1000` looks for seeds
//! that break a promise.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "what it shows is its result")]

use clap::Parser;
use simulation::plan::Plan;
use simulation::play::play;
use std::process::{Command, ExitCode, Output};
use std::sync::atomic::{AtomicU64, Ordering};

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
}

/// Set in the process that plays.
const SEED: &str = "SIMULATION_SEED";

fn main() -> ExitCode {
    if let Some(seed) = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok()) {
        return play_here(seed);
    }
    let args = Args::parse();
    if let Some(seed) = args.seed {
        let played = process(seed);
        print!("{}", String::from_utf8_lossy(&played.stdout));
        eprint!("{}", String::from_utf8_lossy(&played.stderr));
        return if played.status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let (next, end) = (AtomicU64::new(args.from), args.from + args.seeds);
    let failed = AtomicU64::new(u64::MAX);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while failed.load(Ordering::Relaxed) == u64::MAX {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    if !process(seed).status.success() {
                        failed.fetch_min(seed, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    match failed.into_inner() {
        u64::MAX => {
            println!("{} seeds from {}: every promise holds", args.seeds, args.from);
            ExitCode::SUCCESS
        }
        seed => {
            let played = process(seed);
            print!("{}", String::from_utf8_lossy(&played.stdout));
            eprint!("{}", String::from_utf8_lossy(&played.stderr));
            println!("play it again with: SEED={seed} make simulate");
            ExitCode::FAILURE
        }
    }
}

/// Plays a seed in a process of its own.
fn process(seed: u64) -> Output {
    let program = std::env::current_exe().expect("this program");
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
