//! The protocol "claim, send, record" as a model whose every history is looked at: at most one acceptance.
//!
//! One object and two replicas that are both always active. Whatever takes time (a deadline, the takeover, a lagging
//! watch) may happen at any moment, and clocks may show anything. Writes and requests may be lost, or arrive long after
//! their sender gave up on them; answers may be lost; a process may die anywhere and come back with a cache as old as it
//! gets; users, owners of providers and others may edit what is theirs.
//!
//! Of the operator this asks its own functions: what to do (`decide`), what to write (`record`, `resolve`), whose a claim
//! is (`kubernetes::ownership`), what a process remembers (`context::journal::Own`). [`core`] remembers their answers.
//! Modelled is the rest: the API server (a compare-and-swap; its other rules are held to, not enforced), the service, and
//! the shell between them. Not in it: waiting for a provider or a payload, the pace, answers other than 202, 429 and
//! none, `spec.retryPolicy.rules`, the time to live, `observedGeneration`, statuses that do not fit into the object.
//!
//! Each [`World`] is a different surrounding, small enough for all its histories. Random walks with fixed seeds go on
//! where that ends: deeper, and with everything at once.
//!
//! A model that cannot fail proves nothing: each [`Variant`] takes something out of the protocol, and is shown to fail.
//!
//! `MODEL_STEPS=20000000 cargo test --test model walks` walks that many steps in each world.

#![cfg(test)]

mod core;
mod moment;
mod object;
mod promises;
mod protocol;
mod rules;
mod walk;
mod world;

use crate::object::Note;
use crate::promises::{AT_MOST_ONCE, DESTINATION, EVENT, EVENT_ONCE, FOLLOWED, HELD, ID};
use crate::protocol::Protocol;
use crate::walk::{Found, shortest, walk};
use crate::world::{Act, Variant, World};
use stateright::{Checker, HasDiscoveries, Model};

/// Steps of random walks in each world.
const STEPS: usize = 50_000;

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Looks at every history in `world`. With fewer states than `at_least`, the bounds would leave doubt.
fn holds(world: World, at_least: usize) {
    let checker = Protocol::new(Variant::AsBuilt, world)
        .checker()
        .threads(threads())
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let states = checker.unique_state_count();
    println!("{}: {states} states, histories of up to {} steps", world.name, checker.max_depth());
    checker.assert_properties();
    assert!(states >= at_least, "{states} states");
}

#[test]
fn it_holds_in_every_history_of_two_replicas() {
    holds(World::PLAIN, 500_000);
}

#[test]
fn it_holds_in_every_history_in_which_a_user_asks_for_another_attempt() {
    holds(World::RESOLVED, 600_000);
}

#[test]
fn it_holds_in_every_history_in_which_a_user_says_what_became_of_the_attempt() {
    holds(World::ANSWERED, 280_000);
}

#[test]
fn it_holds_in_every_history_of_an_object_that_is_annotated_from_the_beginning() {
    holds(World::ANNOTATED, 500_000);
}

#[test]
fn it_holds_in_every_history_of_a_copy() {
    holds(World::COPIED, 3_000);
}

#[test]
fn it_holds_in_every_history_in_which_the_object_and_its_provider_are_edited() {
    holds(World::EDITED, 700_000);
}

#[test]
fn it_holds_in_every_history_in_which_the_object_is_created_again() {
    holds(World::RECREATED, 100_000);
}

#[test]
fn it_holds_in_every_history_in_which_the_config_map_of_the_event_is_edited() {
    holds(World::EXTERNAL, 380_000);
}

#[test]
fn it_holds_in_every_history_of_an_execution_that_is_followed() {
    holds(World::FOLLOWED, 600_000);
}

#[test]
fn it_holds_in_every_history_in_which_clocks_are_wrong() {
    holds(World::CLOCKS, 170_000);
}

#[test]
fn it_holds_in_every_history_under_at_least_once() {
    holds(World::AT_LEAST_ONCE, 1_400_000);
}

#[test]
fn the_protocol_holds_in_random_walks_and_nothing_is_stuck() {
    let steps = std::env::var("MODEL_STEPS").map_or(STEPS, |steps| steps.parse().expect("a number"));
    for (seed, world) in (1..).zip(World::ALL) {
        match walk(&Protocol::new(Variant::AsBuilt, world.at_large()), seed, steps) {
            Ok(walked) => println!("{}: {walked:?}", world.name),
            Err(found) => panic!("{}: {found:#?}", world.name),
        }
    }
}

/// Looks for the shortest history in which `variant` breaks a promise, and expects one of at most `steps` steps.
fn breaks(variant: Variant, world: World, promise: &'static str, steps: usize) {
    let actions = shortest(&Protocol::new(variant, world), promise).expect("a model that can fail");
    println!("{variant:?} in {} steps: {actions:#?}", actions.len());
    assert!(actions.len() <= steps, "{} steps", actions.len());
}

/// The world in which others do these things only, once.
fn acted(world: World, acts: &'static [Act]) -> World {
    World { acts, most_acts: u8::from(!acts.is_empty()), ..world }
}

#[test]
fn sending_before_claiming_is_found_to_break_it() {
    breaks(Variant::SendFirst, World::PLAIN, AT_MOST_ONCE, 6);
}

#[test]
fn a_claim_without_resource_version_is_found_to_break_it() {
    breaks(Variant::BlindClaim, World::PLAIN, AT_MOST_ONCE, 8);
}

#[test]
fn resuming_an_own_claim_after_a_restart_is_found_to_break_it() {
    breaks(Variant::HolderIsPodName, World::PLAIN, AT_MOST_ONCE, 8);
}

#[test]
fn retrying_a_timeout_is_found_to_break_it() {
    breaks(Variant::TimeoutIsRetried, World::PLAIN, AT_MOST_ONCE, 10);
}

#[test]
fn sending_again_after_a_takeover_is_found_to_break_it() {
    breaks(Variant::TakeoverSends, World::PLAIN, AT_MOST_ONCE, 10);
}

#[test]
fn forgetting_that_a_claim_is_being_handed_back_is_found_to_break_it() {
    breaks(Variant::HandBackIsForgotten, World::PLAIN, AT_MOST_ONCE, 14);
}

#[test]
fn handing_back_an_attempt_that_was_begun_is_found_to_break_it() {
    breaks(Variant::SentIsHandedBack, World::PLAIN, AT_MOST_ONCE, 11);
}

#[test]
fn forgetting_an_attempt_whose_object_is_there_is_found_to_break_it() {
    breaks(Variant::SentIsForgotten, World::PLAIN, AT_MOST_ONCE, 11);
}

#[test]
fn sending_a_claim_that_was_read_again_though_it_was_sent_is_found_to_break_it() {
    breaks(Variant::ReadClaimIsUnsent, World::PLAIN, AT_MOST_ONCE, 10);
}

#[test]
fn sending_for_an_earlier_claim_to_another_destination_is_found_to_break_it() {
    breaks(Variant::ReadClaimIsAnyClaim, World::EXTERNAL, DESTINATION, 8);
}

#[test]
fn sending_for_an_earlier_claim_of_another_event_is_found_to_break_it() {
    breaks(Variant::ReadClaimIsAnyClaim, World::EXTERNAL, EVENT, 8);
}

#[test]
fn sending_what_the_answer_to_the_claim_forbids_is_found_to_break_it() {
    breaks(Variant::ClaimIsNotRead, acted(World::EDITED, &[Act::Suspend(true)]), HELD, 5);
}

#[test]
fn sending_an_event_that_was_edited_during_a_backoff_is_found_to_break_it() {
    let world = acted(World::EDITED, &[Act::EditEvent]);
    breaks(Variant::AnyEventIsSent, world, EVENT_ONCE, 9);
}

#[test]
fn sending_a_config_map_that_was_edited_during_a_backoff_is_found_to_break_it() {
    let world = acted(World::EXTERNAL, &[Act::EditSource]);
    breaks(Variant::AnyEventIsSent, world, EVENT_ONCE, 9);
}

#[test]
fn taking_an_empty_list_for_a_proof_is_found_to_break_it() {
    breaks(Variant::EmptyListIsProof, acted(World::RESOLVED, &[]), AT_MOST_ONCE, 12);
}

#[test]
fn taking_a_request_id_from_the_list_is_found_to_break_it() {
    breaks(Variant::ListNamesTheRequest, acted(World::RESOLVED, &[]), ID, 6);
}

#[test]
fn asking_todays_provider_about_an_attempt_is_found_to_break_it() {
    let world = acted(World::FOLLOWED, &[Act::EditProvider]);
    breaks(Variant::TodaysProviderIsAsked, world, DESTINATION, 6);
}

#[test]
fn obeying_an_annotation_of_an_attempt_under_way_is_found_to_break_it() {
    let world = acted(World::RESOLVED, &[Act::Annotate(Note::Retry)]);
    breaks(Variant::AnnotationIsNotNoted, world, AT_MOST_ONCE, 13);
}

#[test]
fn obeying_the_annotation_of_a_copy_is_found_to_break_it() {
    breaks(Variant::AnnotationIsNotNoted, acted(World::COPIED, &[]), AT_MOST_ONCE, 8);
}

#[test]
fn taking_a_typo_for_a_request_id_is_found_to_break_it() {
    let world = acted(World::RESOLVED, &[Act::Annotate(Note::Typo)]);
    breaks(Variant::AnyTextIsAnId, world, ID, 3);
}

#[test]
fn following_a_request_id_that_a_user_typed_is_found_to_break_it() {
    let world = acted(World::FOLLOWED, &[Act::Annotate(Note::Id)]);
    breaks(Variant::TypedIdIsFollowed, world, FOLLOWED, 10);
}

#[test]
fn not_counting_ambiguous_attempts_is_found_to_break_at_least_once() {
    let world = World { crashes: 0, ..World::AT_LEAST_ONCE };
    breaks(Variant::AmbiguousIsNotCounted, world, AT_MOST_ONCE, 16);
}

#[test]
fn a_claim_that_nobody_takes_over_is_found_to_be_stuck() {
    let model = Protocol::new(Variant::NobodyTakesOver, World::PLAIN.at_large());
    let found = walk(&model, 1, STEPS);
    assert!(matches!(found, Err(Found::Stuck(_))), "{found:#?}");
}
