//! What simulations promise: every seed holds, and is played the same each time.

#![cfg(test)]

use std::io;
use std::process::{Command, Output};

fn simulation(arguments: &[&str]) -> io::Result<Output> {
    logging(arguments, "")
}

fn logging(arguments: &[&str], filter: &str) -> io::Result<Output> {
    Command::new(env!("CARGO_BIN_EXE_simulation")).args(arguments).env("SIMULATION_LOG", filter).output()
}

#[test]
fn every_promise_holds_for_ten_seeds() {
    let played = simulation(&["--seeds=10"]).expect("the program starts");
    assert!(played.status.success(), "{}", String::from_utf8_lossy(&played.stdout));
}

#[test]
fn two_runs_of_a_seed_have_the_same_history_byte_by_byte_whether_they_log_or_not() {
    // Long ones: hundreds of requests, many in the same millisecond.
    for seed in ["11", "18", "21", "22", "27", "40"] {
        let [first, second] = ["", "debug"].map(|filter| {
            String::from_utf8(logging(&[seed], filter).expect("the program starts").stdout)
                .expect("a history")
        });
        assert!(first.lines().count() > 100, "{first}");
        assert_eq!(first, second);
    }
}

#[test]
fn every_mutant_has_its_place_in_the_source() {
    let lost = simulation::mutants::without_a_place().expect("the source");
    assert_eq!(lost, Vec::<&str>::new(), "adapt crates/simulation/src/mutants.rs");
}
