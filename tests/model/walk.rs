//! Long histories, drawn by a fixed seed, and whether each of them can still come to an end; and the shortest history.

use crate::moment::{Action, Doing, List, Moment};
use crate::object::Clock;
use crate::protocol::Protocol;
use functiongraph_operator::api::invocation::Outcome;
use stateright::{Expectation, Model};
use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::iter::successors;

/// The longest walk.
const LONGEST: usize = 120;

/// From every state of a walk whose place in it is a multiple of this, the end is looked for.
const ENDS_EVERY: usize = 10;

/// No history needs more steps to its end, once nothing goes wrong any more.
const TO_THE_END: usize = 80;

/// What a walk has found.
#[derive(Debug)]
#[expect(dead_code, reason = "what it holds is printed")]
pub enum Found {
    /// A promise that does not hold after these steps.
    Broken(&'static str, Vec<Action>),
    /// A state from which no end is reached.
    Stuck(Vec<Action>),
}

/// How far the walks have come.
#[derive(Debug, Default)]
pub struct Walked {
    pub states: usize,
    pub deepest: usize,
}

/// A generator of numbers that are the same on every machine (xorshift64*).
struct Seed(u64);

impl Seed {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32;
        usize::try_from(drawn).expect("32 bits") % bound
    }
}

/// The shortest history after which `promise` does not hold, looking at all of them in order. (A checker of stateright
/// reports one of the shortest 1,500.)
pub fn shortest(model: &Protocol, promise: &str) -> Option<Vec<Action>> {
    let property = model.properties().into_iter().find(|property| property.name == promise)?;
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    let mut queue = VecDeque::from([(0, model.init_states().remove(0))]);
    // Of each state but the first: the number of the one before it, and what happened then.
    let (mut seen, mut reached, mut actions) = (HashSet::new(), Vec::new(), Vec::new());
    while let Some((number, moment)) = queue.pop_front() {
        model.actions(&moment, &mut actions);
        for action in actions.drain(..) {
            let Some(next) = model.next_state(&moment, action) else { continue };
            if !seen.insert(hasher.hash_one(&next)) {
                continue;
            }
            reached.push((number, action));
            if !(property.condition)(model, &next) {
                let before = |number: &usize| number.checked_sub(1).map(|last| reached[last].0);
                let numbers = successors(Some(reached.len()), before).filter(|number| *number > 0);
                let mut history: Vec<_> = numbers.map(|number| reached[number - 1].1).collect();
                history.reverse();
                return Some(history);
            }
            queue.push_back((reached.len(), next));
        }
    }
    None
}

/// Takes `steps` steps in random walks.
pub fn walk(model: &Protocol, start: u64, steps: usize) -> Result<Walked, Found> {
    let properties: Vec<_> = model
        .properties()
        .into_iter()
        .filter(|property| matches!(property.expectation, Expectation::Always))
        .collect();
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    let (mut chance, mut seen, mut walked) = (Seed(start), HashSet::new(), Walked::default());
    let mut taken = 0;
    while taken < steps {
        let mut moment = model.init_states().remove(0);
        let mut history = Vec::new();
        while history.len() < LONGEST && !is_over(model, &moment) {
            let Some((action, next)) = step(model, &moment, &mut chance) else { break };
            history.push(action);
            moment = next;
            taken += 1;
            seen.insert(hasher.hash_one(&moment));
            if let Some(broken) = properties.iter().find(|property| !(property.condition)(model, &moment)) {
                return Err(Found::Broken(broken.name, history));
            }
            if history.len() % ENDS_EVERY == 0 && !ends(model, moment.clone()) {
                return Err(Found::Stuck(history));
            }
        }
        walked.deepest = walked.deepest.max(history.len());
    }
    walked.states = seen.len();
    Ok(walked)
}

fn step(model: &Protocol, moment: &Moment, seed: &mut Seed) -> Option<(Action, Moment)> {
    let mut actions = Vec::new();
    model.actions(moment, &mut actions);
    while !actions.is_empty() {
        let mut place = seed.below(actions.len());
        // What may happen a few times only is drawn less often, so that it comes late in some walks.
        if is_rare(actions[place]) {
            place = seed.below(actions.len());
        }
        let action = actions.swap_remove(place);
        if let Some(next) = model.next_state(moment, action) {
            return Some((action, next));
        }
    }
    None
}

fn is_rare(action: Action) -> bool {
    matches!(action, Action::Crash { .. } | Action::CutShort { .. } | Action::Act { .. })
}

/// Whether nothing is left that could change anything.
fn is_over(model: &Protocol, moment: &Moment) -> bool {
    let outcome = model.core.facts(moment.current().1).outcome;
    let idle = moment.processes.iter().all(|process| process.doing == Doing::Nothing);
    idle && moment.writes.is_empty() && moment.posts.is_empty() && outcome.is_some_and(Outcome::is_final)
}

/// Whether the object ends, if from here on nothing goes wrong.
fn ends(model: &Protocol, mut moment: Moment) -> bool {
    for _ in 0..TO_THE_END {
        let Some(next) = calm_step(model, &moment) else {
            let facts = model.core.facts(moment.current().1);
            return facts.outcome.is_some() || facts.held;
        };
        moment = next;
    }
    false
}

/// The next step where writes and requests arrive and are answered, and time passes.
fn calm_step(model: &Protocol, moment: &Moment) -> Option<Moment> {
    let mut actions = Vec::new();
    for (write, state) in (0_u8..).zip(&moment.writes) {
        actions.push(Action::Commit { write, heard: state.awaited });
    }
    for post in (0_u8..).take(moment.posts.len()) {
        actions.extend([true, false].map(|heard| Action::Serve { post, accept: true, heard }));
    }
    for (process, state) in (0_u8..).zip(&moment.processes) {
        match state.doing {
            Doing::LookingAfterClaim { .. } | Doing::LookingAfterRecord { .. } => {
                actions.push(Action::Read { process });
            }
            Doing::Owning { .. } => {
                actions.extend([Action::Send { process }, Action::HandBack { process }]);
            }
            Doing::Sending { .. } => actions.push(Action::TimeOut { process }),
            Doing::Nothing | Doing::Claiming { .. } | Doing::Recording { .. } | Doing::Putting { .. } => {}
        }
    }
    let version = moment.current().0;
    for process in [0, 1] {
        if moment.processes[usize::from(process)].doing == Doing::Nothing {
            for clock in [Clock::Right, Clock::Late] {
                for list in [List::Request, List::Nothing, List::Gone] {
                    actions.push(Action::Look { process, version, late: true, clock, list });
                }
            }
        }
    }
    actions.into_iter().find_map(|action| model.next_state(moment, action))
}
