//! What must hold at every moment, and what must come about in some history.

use crate::moment::{Fault, Moment};
use crate::protocol::{Protocol, request};
use crate::world::World;
use functiongraph_operator::api::invocation::{AttemptState, Outcome};
use stateright::Property;

/// The promise.
pub const AT_MOST_ONCE: &str = "the service accepts no more than it is asked for";
pub const FINAL: &str = "what is finished only changes from unknown to known";
pub const RULES: &str = "no write breaks the API server's rules";
pub const DESTINATION: &str = "the status says where a request goes, and only there is it asked about";
pub const EVENT: &str = "every request carries the event that was claimed first";
pub const ID: &str = "a request id is from the answer to the attempt, or from a user";
pub const FOLLOWED: &str = "only a request that was answered is followed";
pub const HELD: &str = "what is suspended, cancelled or deleted is not sent";
pub const TRUE: &str = "what the status is sure of is true";

fn without(name: &'static str, fault: Fault) -> Property<Protocol> {
    let condition: fn(&Protocol, &Moment) -> bool = match fault {
        Fault::Unsettled => |_, moment| !moment.truth.has(Fault::Unsettled),
        Fault::Refused => |_, moment| !moment.truth.has(Fault::Refused),
        Fault::Astray => |_, moment| !moment.truth.has(Fault::Astray),
        Fault::OtherEvent => |_, moment| !moment.truth.has(Fault::OtherEvent),
        Fault::NotOurRequest => |_, moment| !moment.truth.has(Fault::NotOurRequest),
        Fault::Unwanted => |_, moment| !moment.truth.has(Fault::Unwanted),
    };
    Property::always(name, condition)
}

/// What is to hold in a world.
pub fn all(world: World) -> Vec<Property<Protocol>> {
    let mut all = vec![
        Property::always(AT_MOST_ONCE, at_most_once),
        without(FINAL, Fault::Unsettled),
        without(RULES, Fault::Refused),
        without(DESTINATION, Fault::Astray),
        without(EVENT, Fault::OtherEvent),
        Property::always(EVENT_ONCE, |_, moment: &Moment| {
            moment.truth.events.iter().all(|events| events.count_ones() <= 1)
        }),
        Property::always(ID, request_id_is_known),
        without(FOLLOWED, Fault::NotOurRequest),
        without(HELD, Fault::Unwanted),
        Property::always(TRUE, status_is_true),
        Property::sometimes("an acceptance is recorded", |model: &Protocol, moment: &Moment| {
            model.core.facts(moment.current().1).state == Some(AttemptState::Accepted)
        }),
        Property::sometimes("an acceptance stays unknown", |model: &Protocol, moment: &Moment| {
            let facts = model.core.facts(moment.current().1);
            moment.truth.accepted[0] == 1 && facts.outcome == Some(Outcome::Unknown)
        }),
    ];
    if world.name == World::PLAIN.name {
        all.push(Property::sometimes("a late answer refines what was unknown", late_answer));
    }
    if world.name == World::RESOLVED.name {
        all.push(Property::sometimes("a user has it run twice", |_, moment: &Moment| {
            moment.truth.accepted[0] == 2
        }));
    }
    all
}

/// Even where each request is the one that the status says, they are all the same.
pub const EVENT_ONCE: &str = "every request carries the same event";

fn at_most_once(model: &Protocol, moment: &Moment) -> bool {
    let truth = &moment.truth;
    (0..2).all(|uid| {
        truth.accepted[uid] <= model.world.most_accepted() + truth.heard[uid].min(truth.asked[uid])
    })
}

fn request_id_is_known(model: &Protocol, moment: &Moment) -> bool {
    let facts = model.core.facts(moment.current().1);
    let ours = moment.truth.was_accepted(facts.uid, facts.number);
    facts.id.is_none_or(|id| id == crate::object::TYPED || (ours && id == request(facts.uid, facts.number)))
}

fn status_is_true(model: &Protocol, moment: &Moment) -> bool {
    let facts = model.core.facts(moment.current().1);
    let accepted = moment.truth.accepted[usize::from(facts.uid)];
    if moment.truth.resolved || (model.world.at_least_once.is_some() && !facts.denies) {
        return true;
    }
    match facts.state {
        Some(AttemptState::Accepted) => accepted > 0,
        Some(AttemptState::Rejected | AttemptState::NotSent) => accepted == 0,
        Some(AttemptState::Claimed | AttemptState::Ambiguous) | None => !facts.denies || accepted == 0,
    }
}

fn late_answer(model: &Protocol, moment: &Moment) -> bool {
    let outcome = |object| model.core.facts(object).outcome;
    moment
        .versions
        .windows(2)
        .any(|pair| outcome(pair[0]) == Some(Outcome::Unknown) && outcome(pair[1]) == Some(Outcome::Accepted))
}
