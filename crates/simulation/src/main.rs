//! Plays simulations: `simulation SEED` plays one and prints its history, `simulation --seeds 1000` looks for seeds
//! that break a promise.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::expect_used,
    reason = "what it shows is its result, and it ends where it cannot go on"
)]

use clap::Parser;
use functiongraph_operator::clock;
use simulation::run::{Run, play_here};
use simulation::shrink::shrink;
use simulation::{lock, mutants};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Plays the whole operator on virtual time, with chance drawn from a seed.
#[derive(Parser)]
struct Args {
    /// Play this seed, and print its history.
    seed: Option<u64>,

    /// If the seed breaks a promise, leave out what is not needed for that.
    #[arg(long, requires = "seed")]
    shrink: bool,

    /// Play this number of seeds, and print the history of the first that breaks a promise, as short as possible.
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
const PROGRESS: u64 = 100;

fn main() -> ExitCode {
    if let Some((text, code)) = play_here() {
        print!("{text}");
        return code;
    }
    let (args, program) = (Args::parse(), std::env::current_exe().expect("this program"));
    if let Some(seed) = args.seed {
        return show(&program, seed, args.shrink);
    }
    if let Some(filter) = &args.mutants {
        return hunt(filter, &args);
    }
    let (began, invocations) = (clock::monotonic(), AtomicU64::new(0));
    if let Some((seed, _)) = search(&program, &args, &invocations) {
        return show(&program, seed, true);
    }
    let (count, seconds) = (invocations.into_inner(), began.elapsed().as_secs().max(1));
    let Args { seeds, from, .. } = args;
    println!(
        "{seeds} seeds from {from}: every promise holds. {count} invocations in {seconds} s, {} per second",
        count / seconds
    );
    ExitCode::SUCCESS
}

/// Shows the history of a seed; `shrunk` to what it needs to break its promise.
fn show(program: &Path, seed: u64, shrunk: bool) -> ExitCode {
    let mut run = Run::of(program, seed, None);
    if let (true, Some(promise)) = (shrunk, run.promise()) {
        let all = run.happened.len();
        let shortest = shrink(run.happened.clone(), |kept| {
            let run = Run::of(program, seed, Some(kept));
            (run.promise() == Some(promise)).then_some(run.happened)
        });
        run = Run::of(program, seed, Some(&shortest.iter().cloned().collect()));
        println!("{}{} of {all} acts and disturbances: {shortest:#?}", run.history, shortest.len());
        println!("play it again with: SEED={seed} SHRINK=1 make simulate");
    } else {
        print!("{}", run.history);
    }
    eprint!("{}", run.log);
    if run.broken.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The first seed that breaks a promise of this program. Adds the invocations of the others.
fn search(program: &Path, args: &Args, invocations: &AtomicU64) -> Option<(u64, Run)> {
    let (next, end) = (AtomicU64::new(args.from), args.from + args.seeds);
    let found: Mutex<BTreeMap<u64, Run>> = Mutex::default();
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
                    let run = Run::of(program, seed, None);
                    invocations.fetch_add(run.invocations, Ordering::Relaxed);
                    if run.broken.is_some() {
                        lock(&found).insert(seed, run);
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
    let hunted = mutants::build(filter, |mutant, program: &Path| {
        if let Some((seed, run)) = search(program, args, &AtomicU64::new(0)) {
            println!("| {} | {seed} | {} |", mutant.name, run.broken.unwrap_or_default());
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
