//! What others cost: hostile neighbours of the same account, a replica that goes, one pace for all replicas, and executions
//! that the operator follows among those of others.

use crate::report::{self, Figure, Report};
use crate::stage::{Sample, Stage};
use crate::{in_parallel, stop};
use functiongraph_emulator::Api as FunctionGraph;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use testkit::Operator;

/// Samples of a tenant, and how many are made each second.
const SAMPLES: (u32, u32) = (200, 20);

/// Objects of each kind of hostile neighbour.
const HOSTILE: usize = 50;

/// Objects of the run with one pace, and what the endpoint admits each second.
const PACE: (usize, u32) = (1500, 50);

/// Requests of others in FunctionGraph's list.
const OTHERS: usize = 10_000;

/// How long the list calls are counted.
const FOLLOWED: Duration = Duration::from_mins(1);

pub async fn run(stage: &Stage, report: &mut Report) {
    neighbours(stage, report).await;
    one_pace(stage, report).await;
    failover(stage, report).await;
    following(stage, report).await;
}

/// Makes the samples of one tenant at a steady pace, and returns how long each waited, in milliseconds.
pub async fn steady(stage: &Stage, namespace: &str, (samples, per_second): (u32, u32)) -> Vec<f64> {
    let mut tick = tokio::time::interval(Duration::from_secs(1) / per_second);
    let mut created: Vec<Sample> = Vec::new();
    for number in 0..samples {
        tick.tick().await;
        created.push(stage.create_timed(namespace, number as usize).await);
    }
    stage.until_settled(namespace).await;
    created.into_iter().map(|sample| stage.wait_of(&sample)).collect()
}

/// A tenant alone, and beside one of the same account whose functions are throttled, fail, time out and take minutes.
async fn neighbours(stage: &Stage, report: &mut Report) {
    let operator = stage.operator_everywhere();
    operator.ready().await;
    let (alone, beside) = (stage.namespace("alone").await, stage.namespace("beside").await);
    let hostile = stage.namespace("hostile").await;
    for namespace in [&alone, &beside, &hostile] {
        stage.provider(namespace, 1000, 64).await;
    }
    let mut before = steady(stage, &alone, SAMPLES).await;
    for spec in hostile_specs() {
        stage.create_of(&hostile, HOSTILE, &spec).await;
    }
    let mut waits = steady(stage, &beside, SAMPLES).await;
    stop(operator).await;
    let ratio = report::quantile(&mut waits, 0.99) / report::quantile(&mut before, 0.99);
    report.add(Figure::at_most("hostile_neighbour_p99_over_alone", ratio, 2.0, "").note(&format!(
        "p99 {:.0} ms beside {} throttled, failing, timing out and long calls of one account",
        report::quantile(&mut waits, 0.99),
        HOSTILE * hostile_specs().len()
    )));
}

fn hostile_specs() -> [Value; 4] {
    let hasty = json!({"initialDelaySeconds": 1, "maxDelaySeconds": 1, "retryAfterMaxSeconds": 0, "backoffLimit": 1000});
    [
        json!({"function": {"name": "busy"}, "retryPolicy": hasty}),
        json!({"function": {"name": "failing"}, "deliveryPolicy": "AtLeastOnce", "retryPolicy": hasty}),
        json!({"function": {"name": "silent"}, "invocationType": "Sync", "requestTimeoutSeconds": 1}),
        json!({"function": {"name": "silent"}, "invocationType": "Sync", "requestTimeoutSeconds": 90}),
    ]
}

/// Three replicas, and an endpoint that admits a number of requests each second: what reaches it?
async fn one_pace(stage: &Stage, report: &mut Report) {
    let (objects, admitted) = PACE;
    let namespace = stage.namespace("one-pace").await;
    stage.provider(&namespace, 10_000, 64).await;
    stage.create_many(&namespace, objects, 64).await;
    stage.limit(Some(admitted));
    let asked = stage.requests();
    let operators: Vec<Operator> = (0..3).map(|_| stage.operator(&namespace)).collect();
    stage.until_asked(asked + 1).await;
    let started = Instant::now();
    stage.until_settled(&namespace).await;
    let per_second = (stage.requests() - asked) as f64 / started.elapsed().as_secs_f64();
    stage.limit(None);
    for operator in operators {
        stop(operator).await;
    }
    report.add(
        Figure::at_most("three_replicas_posts_per_second", per_second, 52.5, "/s")
            .note(&format!("refused ones included; the endpoint admits {admitted} each second")),
    );
}

/// The longest wait of what is created right after one of two replicas goes: killed, then stopped.
async fn failover(stage: &Stage, report: &mut Report) {
    for (name, goal, kill) in [("failover_killed_s", 20.0, true), ("failover_stopped_s", 2.0, false)] {
        let namespace = stage.namespace(if kill { "killed" } else { "stopped" }).await;
        stage.provider(&namespace, 1000, 64).await;
        let [stays, goes] = [stage.operator(&namespace), stage.operator(&namespace)];
        for operator in [&stays, &goes] {
            while operator.metric("functiongraph_operator_members", &[]).await < 2.0 {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        if kill {
            goes.kill().await;
        } else {
            goes.stop().await;
        }
        let mut waits = steady(stage, &namespace, (100, 20)).await;
        stop(stays).await;
        report.add(Figure::at_most(name, report::quantile(&mut waits, 1.0) / 1000.0, goal, "s"));
    }
}

/// Two executions of an hour among the requests of others to the same functions.
async fn following(stage: &Stage, report: &mut Report) {
    let namespace = stage.namespace("following").await;
    stage.provider(&namespace, 1000, 64).await;
    let operator = stage.operator(&namespace);
    let spec =
        json!({"function": {"name": "long"}, "completionPolicy": "Executed", "activeDeadlineSeconds": 86400});
    stage.create_of(&namespace, 2, &spec).await;
    let asked = stage.requests();
    in_parallel(0..OTHERS, 32, |number| stage.send("long", number)).await;
    stage.until_asked(asked + OTHERS as u64 + 2).await;
    // The rounds right after the start are shorter.
    tokio::time::sleep(FOLLOWED).await;
    let before = stage.calls_of(FunctionGraph::ListAsync);
    tokio::time::sleep(FOLLOWED).await;
    let calls = (stage.calls_of(FunctionGraph::ListAsync) - before) as f64;
    stop(operator).await;
    report.add(
        Figure::at_most("list_calls_per_minute_following_two", calls, 2.0, "")
            .note("two executions of an hour among 10,000 requests of others, in the second minute"),
    );
}
