//! The protocol "claim, send, record" as a model whose every history is looked at: at most one acceptance.
//!
//! One object, two replicas that are both always active, and no clocks: whatever takes time (a deadline, the
//! takeover, a lagging watch) may happen at any moment. Writes and requests may be lost, or arrive long after
//! their sender gave up on them; answers may be lost; a process may die anywhere and come back with a cache as
//! old as it gets; somebody else may edit the object.
//!
//! What to do next and what to write are not modelled but asked: [`core`] holds the answers of the operator's
//! own `decide` and `record` for every situation there is. Modelled is the rest: the API server (a
//! compare-and-swap, without the rules of the custom resource definition that would refuse even more), the
//! service, and the shell between them.
//!
//! A model that cannot fail proves nothing: six broken variants of the protocol are each shown to fail.
//!
//! `MODEL_STATES=60000000 cargo test --test model` looks at so many states of histories with two crashes, a foreign
//! edit and two late writes, the shortest first. Each counts as often as it is met: a quarter are different.

#![cfg(test)]

#[path = "model/core.rs"]
mod core;
#[path = "model/moment.rs"]
mod moment;
#[path = "model/protocol.rs"]
mod protocol;

use crate::protocol::{Bounds, Protocol, Variant};
use stateright::{Checker, HasDiscoveries, Model};

/// With fewer states than this, the bounds would leave doubt about the protocol.
const AT_LEAST: usize = 1_000_000;

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[test]
fn the_protocol_holds_in_every_history() {
    let wanted = std::env::var("MODEL_STATES").ok().map(|count| count.parse().expect("a number"));
    let model = Protocol::new(Variant::AsBuilt, if wanted.is_some() { Bounds::LARGE } else { Bounds::USUAL });
    let mut checker = model.checker().threads(threads());
    if let Some(count) = wanted {
        checker = checker.target_state_count(count);
    }
    let checker = checker.spawn_bfs().join();
    let states = checker.unique_state_count();
    println!("{states} different states, histories of up to {} steps", checker.max_depth());
    checker.assert_properties();
    assert!(states >= AT_LEAST, "{states} states");
}

/// Looks for a history in which `variant` breaks the promise, and expects one of at most `steps` steps.
fn breaks(variant: Variant, steps: usize) {
    // With one thread the history is the shortest one, on every machine.
    let checker = Protocol::new(variant, Bounds::USUAL)
        .checker()
        .threads(1)
        .finish_when(HasDiscoveries::AnyOf([Protocol::AT_MOST_ONCE].into()))
        .spawn_bfs()
        .join();
    let found = checker.discovery(Protocol::AT_MOST_ONCE).expect("a model that can fail");
    let actions = found.into_actions();
    println!("{variant:?} in {} steps: {actions:#?}", actions.len());
    assert!(actions.len() <= steps, "{} steps", actions.len());
}

#[test]
fn sending_before_claiming_is_found_to_break_it() {
    breaks(Variant::SendFirst, 6);
}

#[test]
fn a_claim_without_resource_version_is_found_to_break_it() {
    breaks(Variant::BlindClaim, 8);
}

#[test]
fn resuming_an_own_claim_after_a_restart_is_found_to_break_it() {
    breaks(Variant::HolderIsPodName, 8);
}

#[test]
fn retrying_a_timeout_is_found_to_break_it() {
    breaks(Variant::TimeoutIsRetried, 12);
}

#[test]
fn sending_again_after_a_takeover_is_found_to_break_it() {
    breaks(Variant::TakeoverSends, 12);
}

#[test]
fn forgetting_that_a_claim_is_being_handed_back_is_found_to_break_it() {
    breaks(Variant::HandBackIsForgotten, 16);
}
