//! `make demo`: a Kubernetes API, a FunctionGraph and the operator on this machine, and what becomes of the
//! examples.

mod screen;
mod stage;
mod words;

use clap::Parser;
use functiongraph_emulator::Emulator;
use functiongraph_operator::api::FunctionInvocation;
use functiongraph_operator::{clock, crds};
use futures::StreamExt;
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt, reflector, watcher};
use screen::Screen;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::Path;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;
use testkit::Operator;
use testkit::control_plane::ControlPlane;
use testkit::examples::{self, Board, Deed, Manifests, Plan};
use tokio::signal::unix::{SignalKind, signal};

/// The examples take a quarter of a minute, slow ones aside; what is not there by now will not come.
const SETTLED_WITHIN: Duration = Duration::from_mins(2);

/// How often the table is drawn: often enough for its countdowns.
const FRAME: Duration = Duration::from_millis(200);

/// Where the examples are applied.
const NAMESPACE: &str = "default";

/// Shows the operator at work: a real Kubernetes API server, a local FunctionGraph that fails on purpose, the
/// operator, and an invocation for each thing worth seeing.
///
/// Everything runs on this machine, on free ports of 127.0.0.1, without containers, without root and without a
/// cloud account; your own clusters and kubeconfig are not touched. The invocations are the manifests in
/// examples/. On a terminal they are a table that changes as they do, elsewhere a line for each change. When all
/// have come to rest, it says how to go on by hand, and stays until Ctrl-C. Then everything is stopped and removed.
///
/// On a terminal there are colours, unless `NO_COLOR` is set.
#[derive(Debug, Parser)]
#[command(name = "demo", bin_name = "cargo run --example demo --", max_term_width = 100)]
struct Args {
    /// End as soon as every example is where it says it ends, or after two minutes (`make demo ONCE=1`). The exit
    /// status is 0 only if all are. Slow examples are left out.
    #[arg(long)]
    once: bool,
}

/// Everything that runs.
struct Demo {
    screen: Screen,
    operator: Operator,
    emulator: Emulator,
    plane: ControlPlane,
    examples: Manifests,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(code) => code,
        Err(error) => {
            crds::complain(&*error);
            ExitCode::FAILURE
        }
    }
}

async fn run(Args { once }: Args) -> Result<ExitCode, Box<dyn Error>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut stop = pin!(async {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {}, _ = hang_up.recv() => {} }
    });
    // What is dropped here while it starts is killed and removed.
    let mut demo = tokio::select! {
        demo = Demo::start(once) => demo?,
        () = &mut stop => return Ok(ExitCode::FAILURE),
    };
    let outcome = tokio::select! {
        outcome = demo.show(once) => outcome.map(Some),
        () = &mut stop => {
            let _ = demo.screen.say("\nStopping.\n"); // the terminal may be what is gone
            Ok(None)
        }
    };
    let log = match outcome {
        Ok(None | Some(true)) => None,
        Ok(Some(false)) | Err(_) => Some(stage::keep_log(&demo.operator)?),
    };
    demo.stop().await;
    if let Some(log) = log {
        Screen::new().say(format_args!("The operator's log is kept: {}\n", log.display()))?;
    }
    // Interrupted without a verdict, it ends well only if none was asked for.
    Ok(if outcome?.unwrap_or(!once) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What a person does to an object that gives this reason now; only once.
fn due(deeds: &mut BTreeMap<String, Deed>, name: &str, reason: &str) -> Option<Deed> {
    deeds.get(name).filter(|deed| deed.when == reason)?;
    deeds.remove(name)
}

/// Says that a part starts, and when it has.
async fn part<T>(
    screen: &Screen,
    name: &str,
    start: impl Future<Output = Result<T, stage::Error>>,
) -> Result<T, Box<dyn Error>> {
    screen.say(format_args!("{name:<24}"))?;
    let begin = clock::monotonic();
    let started = start.await;
    match &started {
        Ok(_) => screen.say(format_args!("ready after {:.1} s\n", begin.elapsed().as_secs_f64()))?,
        Err(_) => screen.say("failed\n")?,
    }
    Ok(started?)
}

// === impl Demo ===

impl Demo {
    async fn start(once: bool) -> Result<Self, Box<dyn Error>> {
        let screen = Screen::new();
        let mut examples = Manifests::read(Path::new(examples::FOLDER))?;
        let missing: BTreeSet<_> = examples
            .plans
            .values()
            .filter_map(|plan| plan.needs.clone())
            .filter(|needs| !stage::has(needs))
            .collect();
        for program in &missing {
            screen.say(words::without(program))?;
        }
        let startable = |plan: &Plan| plan.needs.as_ref().is_none_or(|program| !missing.contains(program));
        examples.keep(|plan| startable(plan) && !(once && plan.slow));
        let plane = part(&screen, "Kubernetes API server", stage::control_plane()).await?;
        let emulator = part(&screen, "FunctionGraph, local", stage::emulator()).await?;
        examples.point_at(&emulator.url(), emulator.ca_pem());
        let operator = part(&screen, "Operator", stage::operator(&plane)).await?;
        plane.apply_yaml(&examples::list(&examples.foundations)).await?;
        Ok(Self { screen, operator, emulator, plane, examples })
    }

    /// Shows what happens to the examples, and then, unless it is for `once`, whatever else happens, without end.
    /// Returns whether all are where they said they would end.
    async fn show(&mut self, once: bool) -> Result<bool, Box<dyn Error>> {
        let Self { screen, operator, emulator, plane, examples } = self;
        let invocations: Api<FunctionInvocation> = Api::namespaced(plane.client()?, NAMESPACE);
        let (objects, writer) = reflector::store();
        let watch = watcher(invocations.clone(), watcher::Config::default()).default_backoff();
        let mut changes = pin!(reflector(writer, watch).boxed());
        let mut board = Board::new(examples.plans.clone());
        let mut deeds = examples.deeds();
        let list = examples::list(&examples.invocations);
        let mut applying = pin!(plane.apply_yaml(&list));
        let mut applied = false;
        let mut settled = false;
        let mut frames = tokio::time::interval(FRAME);
        screen.say(words::opening(board.examples()))?;
        let start = clock::monotonic();
        loop {
            tokio::select! {
                done = &mut applying, if !applied => {
                    done?;
                    applied = true;
                }
                event = changes.next() => {
                    // The watch mends itself, and the next event tells all.
                    let Some(Ok(_)) = event else { continue };
                    for (name, row) in board.update(&objects.state()) {
                        if (settled || !screen.live()) && !row.reason.is_empty() {
                            screen.change(start.elapsed(), &name, &row)?;
                        }
                        if let Some(Deed { when: _, patch }) = due(&mut deeds, &name, &row.reason) {
                            if !screen.live() {
                                screen.deed(start.elapsed(), &name, &patch)?;
                            }
                            invocations.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await?;
                        }
                    }
                }
                _ = frames.tick(), if !settled => {
                    board.accepted(emulator.ledger());
                    let mismatches = board.mismatches();
                    settled = applied && (board.is_settled() || start.elapsed() > SETTLED_WITHIN);
                    if screen.live() {
                        screen.draw(&board, clock::now(), settled)?;
                    }
                    if settled {
                        screen.say(words::summary(board.examples(), &mismatches, start.elapsed()))?;
                        if once {
                            return Ok(mismatches.is_empty());
                        }
                        screen.say(words::by_hand(plane, emulator, operator).await?)?;
                    }
                }
                status = operator.exit() => return Err(operator.ended_with(status?).into()),
            }
        }
    }

    /// Stops everything, the operator first.
    async fn stop(self) {
        let Self { screen: _, operator, emulator, plane, examples: _ } = self;
        stage::stop(operator).await;
        emulator.stop().await;
        plane.stop();
    }
}
