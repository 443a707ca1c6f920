//! What the operator costs, beside the floor: the least that keeps the promise, in the same run.
//!
//! The floor does for each existing object what cannot be left out: a status write with the resource version
//! (the claim), the request, a status write (the record). No watch, no queue, no decision. Both use the same
//! API server, the same emulator and the same signed requests, in turn. A second floor has no rules in the CRD, and a third
//! is naive: it sends first and writes once.
//!
//! `cargo bench --bench load memory` measures the memory at the start alone, and prints it; `replicas` the throughput alone,
//! `together` what others cost.
//!
//! Prints a table, and writes `benches/results.md` and `benches/results.json`. Takes about a quarter of an hour.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a measurement stops at what must not happen, prints, and reads the clock"
)]

mod memory;
mod report;
mod stage;
mod together;

use futures::{StreamExt, stream};
use report::{Figure, Report};
use stage::{Floor, Stage};
use std::time::{Duration, Instant};
use testkit::Operator;

/// Objects of one throughput run.
const OBJECTS: usize = 3000;

/// Rounds, each of the floors and of one, two and three replicas in turn; the median ratio counts.
const ROUNDS: usize = 3;

/// The largest number of replicas.
const REPLICAS: usize = 3;

/// Workers of the floor. More do not help: the API server is the limit on a machine of two cores.
const WORKERS: usize = 32;

/// Objects of the herd, and what its endpoint admits each second.
const HERD: (usize, u32) = (10_000, 100);

/// Samples of the latency run, and how many are made each second.
const SAMPLES: (u32, u32) = (600, 20);

/// How long the idle operator is watched.
const IDLE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() {
    // `cargo bench` and `cargo test --benches` pass flags of the usual harness; the latter must not measure.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    let mut report = Report::new();
    if std::env::args().any(|arg| arg == "memory") {
        memory::run(&mut report).await;
        return;
    }
    let stage = Stage::new().await;
    if std::env::args().any(|arg| arg == "together") {
        together::run(&stage, &mut report).await;
        return;
    }
    throughput(&stage, &mut report).await;
    if std::env::args().any(|arg| arg == "replicas") {
        return;
    }
    latency(&stage, &mut report).await;
    herd(&stage, &mut report).await;
    idle(&stage, &mut report).await;
    together::run(&stage, &mut report).await;
    drop(stage);
    memory::run(&mut report).await;
    report.finish();
}

/// One run of the operator: how fast it was, and what it cost.
struct Run {
    per_second: f64,
    /// For each object: status writes, other calls, refused writes.
    writes: f64,
    others: f64,
    conflicts: f64,
    /// Of one replica, in MiB.
    rss: f64,
    /// CPU time of all replicas for each object, in milliseconds.
    cpu: f64,
    /// The same of the API server.
    api_cpu: f64,
}

/// Throughput beside the floors with one, two and three replicas, and the API calls for each accepted invocation.
async fn throughput(stage: &Stage, report: &mut Report) {
    let (mut floors, mut runs) = ([const { Vec::new() }; FLOORS.len()], [const { Vec::new() }; REPLICAS]);
    for round in 1..=ROUNDS {
        for (&(name, floor, rules), floors) in FLOORS.iter().zip(&mut floors) {
            let run = alone(stage, &format!("floor-{round}-{name}"), floor, rules).await;
            println!("round {round}: {name} {:.0}/s, {:.2} ms of the API server an object", run.0, run.1);
            floors.push(run);
        }
        for (replicas, runs) in (1..).zip(&mut runs) {
            let run = replicated(stage, &format!("operators-{round}-{replicas}"), replicas).await;
            println!(
                "round {round}: {replicas} replicas {:.0}/s, {:.2} ms of the API server, {:.2} ms of the operator, {:.3} writes and {:.3} conflicts an object",
                run.per_second, run.api_cpu, run.cpu, run.writes, run.conflicts
            );
            runs.push(run);
        }
    }
    assert_eq!(stage.duplicates(), 0, "the ledger holds a tag twice");
    report_throughput(&floors, &runs, report);
}

/// The floors, by name: what they do, and whether the CRD has its rules.
const FLOORS: [(&str, Floor, bool); 3] =
    [("floor", Floor::Safe, true), ("norules", Floor::Safe, false), ("naive", Floor::Naive, true)];

/// One run of a floor: invocations a second, and milliseconds of the API server for each.
async fn alone(stage: &Stage, namespace: &str, floor: Floor, rules: bool) -> (f64, f64) {
    let namespace = stage.namespace(namespace).await;
    let objects = stage.create_many(&namespace, OBJECTS, 64).await;
    stage.rules(rules).await;
    let (started, cpu) = (Instant::now(), stage.api_cpu().await);
    stage.floor(objects, WORKERS, floor).await;
    let per_second = OBJECTS as f64 / started.elapsed().as_secs_f64();
    let cpu = stage.api_cpu().await.saturating_sub(cpu).as_secs_f64() * 1000.0;
    stage.rules(true).await;
    (per_second, each(cpu))
}

/// The part of one object of a throughput run.
fn each(sum: f64) -> f64 {
    sum / OBJECTS as f64
}

/// One run with this number of replicas.
async fn replicated(stage: &Stage, namespace: &str, replicas: usize) -> Run {
    let namespace = stage.namespace(namespace).await;
    stage.provider(&namespace, 10_000, 64).await;
    stage.create_many(&namespace, OBJECTS, 64).await;
    let (before, asked, api_cpu) = (stage.api_calls().await, stage.requests(), stage.api_cpu().await);
    let operators: Vec<Operator> = (0..replicas).map(|_| stage.operator(&namespace)).collect();
    let started = Instant::now();
    // The emulator says when all are sent. Only then is the API server asked, because each question costs it time.
    stage.until_asked(asked + OBJECTS as u64).await;
    stage.until_settled(&namespace).await;
    let per_second = OBJECTS as f64 / started.elapsed().as_secs_f64();
    let calls = stage.api_calls().await.since(&before);
    let rss = mib(&operators[0], "VmRSS");
    let milliseconds = |time: Duration| each(time.as_secs_f64() * 1000.0);
    let cpu = milliseconds(operators.iter().map(Operator::cpu).sum());
    let api_cpu = milliseconds(stage.api_cpu().await.saturating_sub(api_cpu));
    let mut conflicts = 0.0;
    for operator in operators {
        conflicts += operator.metric("functiongraph_operator_status_write_conflicts_total", &[]).await;
        stop(operator).await;
    }
    let (writes, others) = (each(calls.status_patches as f64), each(calls.others as f64));
    Run { per_second, writes, others, conflicts: each(conflicts), rss, cpu, api_cpu }
}

fn report_throughput(
    [floors, free, naive]: &[Vec<(f64, f64)>; FLOORS.len()],
    runs: &[Vec<Run>; REPLICAS],
    report: &mut Report,
) {
    let median = |runs: &[Run], figure: fn(&Run) -> f64| {
        report::median(&mut runs.iter().map(figure).collect::<Vec<_>>())
    };
    let ratio = |runs: &[f64], others: &[f64]| {
        let ratios = runs.iter().zip(others).map(|(run, other)| run / other);
        report::median(&mut ratios.collect::<Vec<_>>())
    };
    let rate = |floors: &[(f64, f64)]| floors.iter().map(|floor| floor.0).collect::<Vec<_>>();
    let cost = |floors: &[(f64, f64)]| floors.iter().map(|floor| floor.1).collect::<Vec<_>>();
    let speed = |runs: &[Run]| runs.iter().map(|run| run.per_second).collect::<Vec<_>>();
    let [one, two, three] = runs;
    report.add(
        Figure::at_least("throughput_over_floor", ratio(&speed(one), &rate(floors)), 0.95, "")
            .note("start of the operator included: reading and first look are part of the time"),
    );
    report.add(
        Figure::plain("throughput_over_naive", ratio(&speed(one), &rate(naive)), "")
            .note("one that sends first, writes once, and sends again after a crash"),
    );
    report.add(Figure::plain("floor_per_second", report::median(&mut rate(floors)), "/s"));
    report.add(Figure::plain("naive_per_second", report::median(&mut rate(naive)), "/s"));
    report.add(Figure::plain("operator_per_second", median(one, |run| run.per_second), "/s"));
    report.add(
        Figure::at_most("api_cpu_with_rules_over_without", ratio(&cost(floors), &cost(free)), 1.1, "")
            .note("CPU of the API server for claim and record, with the rules (CEL) of the CRD and without"),
    );
    let alone = speed(one);
    for (name, conflicts, runs) in [
        ("throughput_2_replicas_over_1", "conflicts_per_invocation_2_replicas", two),
        ("throughput_3_replicas_over_1", "conflicts_per_invocation_3_replicas", three),
    ] {
        let note = format!("{:.3} status patches an object", median(runs, |run| run.writes));
        report.add(Figure::at_least(name, ratio(&speed(runs), &alone), 1.0, "").note(&note));
        report.add(Figure::at_most(conflicts, median(runs, |run| run.conflicts), 0.01, ""));
    }
    report.add(
        Figure::at_most("api_writes_per_invocation", median(one, |run| run.writes), 2.0, "")
            .note("status patches by the API server's own count"),
    );
    report.add(
        Figure::at_most("other_calls_per_invocation", median(one, |run| run.others), 0.01, "")
            .note("gets, events, deletes and updates; lists and watches apart"),
    );
    report.add(
        Figure::at_most("operator_cpu_per_invocation_ms", median(one, |run| run.cpu), 0.6, "ms")
            .note("start of the operator included"),
    );
    report.add(Figure::plain("memory_after_3000_mib", median(one, |run| run.rss), "MiB"));
}

/// From the create request to the emulator's ledger, at a steady pace.
async fn latency(stage: &Stage, report: &mut Report) {
    let namespace = stage.namespace("latency").await;
    stage.provider(&namespace, 10_000, 64).await;
    let operator = stage.operator(&namespace);
    operator.ready().await;
    let mut waits = together::steady(stage, &namespace, SAMPLES).await;
    stop(operator).await;
    report.add(
        Figure::at_most("create_to_post_p50_ms", report::quantile(&mut waits, 0.5), 10.0, "ms")
            .note("from the create request answered to the emulator's acceptance"),
    );
    report.add(Figure::at_most("create_to_post_p99_ms", report::quantile(&mut waits, 0.99), 50.0, "ms"));
}

/// Ten thousand due at once, an endpoint that admits a hundred each second.
async fn herd(stage: &Stage, report: &mut Report) {
    let (objects, admitted) = HERD;
    let namespace = stage.namespace("herd").await;
    stage.provider(&namespace, 10_000, 64).await;
    stage.create_many(&namespace, objects, 512).await;
    stage.limit(Some(admitted));
    let (before, asked) = (stage.api_calls().await, stage.requests());
    let operator = stage.operator(&namespace);
    let started = Instant::now();
    operator.ready().await;
    report.add(
        Figure::at_most("restart_to_ready_s", started.elapsed().as_secs_f64(), 2.0, "s")
            .note("10,000 pending"),
    );
    stage.until_asked(asked + 1).await;
    report.add(
        Figure::at_most("restart_to_first_post_s", started.elapsed().as_secs_f64(), 3.0, "s")
            .note("10,000 pending"),
    );
    tokio::time::sleep(Duration::from_secs(5)).await;
    report.add(
        Figure::at_most("memory_10000_pending_mib", mib(&operator, "VmRSS"), 64.0, "MiB")
            .note("payloads of 0.5 KB, five seconds after the start"),
    );
    stage.until_settled(&namespace).await;
    let took = started.elapsed().as_secs_f64();
    let posts = (stage.requests() - asked) as f64;
    let calls = stage.api_calls().await.since(&before);
    stage.limit(None);
    stop(operator).await;
    assert_eq!(stage.duplicates(), 0, "the ledger holds a tag twice");
    let throttled = posts - objects as f64;
    // A request that was sent costs its claim and its record. What is left are notices and writes that were refused.
    let extra = calls.status_patches as f64 - 2.0 * posts;
    report.add(Figure::at_most("herd_posts_per_object", posts / objects as f64, 1.02, ""));
    report.add(Figure::at_most(
        "herd_time_over_ideal",
        took / (objects as f64 / f64::from(admitted)),
        1.1,
        "",
    ));
    report.add(
        Figure::at_most("api_writes_per_throttled_attempt", extra / throttled.max(1.0), 1.0, "")
            .note("beside the claim and the record of each request, see docs/guarantees.md"),
    );
}

/// Everything is settled: what does the operator still do?
async fn idle(stage: &Stage, report: &mut Report) {
    let operator = stage.operator_everywhere();
    operator.ready().await;
    let (before, cpu) = (stage.api_calls().await, operator.cpu());
    tokio::time::sleep(IDLE).await;
    let calls = stage.api_calls().await.since(&before);
    let settled = stage.settled().await;
    let used = operator.cpu().saturating_sub(cpu).as_secs_f64() / IDLE.as_secs_f64() * 100.0;
    let per_minute = calls.total() as f64 * 60.0 / IDLE.as_secs_f64();
    report.add(
        Figure::at_most("idle_calls_per_minute", per_minute, 0.0, "")
            .note(&format!("{settled} settled objects")),
    );
    report.add(Figure::at_most("idle_cpu_percent_of_a_core", used, 0.5, "%"));
    report.add(
        Figure::at_most("memory_settled_mib", mib(&operator, "VmRSS"), 64.0, "MiB")
            .note(&format!("{settled} settled objects, after a restart")),
    );
    stop(operator).await;
}

/// A figure of an operator's memory in MiB: `VmRSS`, or `VmHWM`, the most that it ever was.
fn mib(operator: &Operator, name: &str) -> f64 {
    operator.memory_kib(name) as f64 / 1024.0
}

/// Stops an operator, and shows what it has warned of.
async fn stop(operator: Operator) {
    operator.stop().await;
    for line in operator.log().lines().iter().filter(|line| line["level"] != "INFO") {
        println!("{line}");
    }
}

/// Runs `work` for every item, `width` at a time.
async fn in_parallel<I, T, F>(items: I, width: usize, work: impl Fn(I::Item) -> F) -> Vec<T>
where
    I: IntoIterator,
    F: Future<Output = T>,
{
    stream::iter(items).map(work).buffer_unordered(width).collect().await
}
