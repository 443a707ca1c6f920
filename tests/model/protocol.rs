//! The model: what can happen at a moment. What it does is in `rules`, what must hold in `promises`.

use crate::core::{Core, Todo};
use crate::moment::{Action, Doing, List, Moment, Process, Truth};
use crate::object::Clock;
use crate::promises;
use crate::world::{Variant, World};
use stateright::{Model, Property};

/// The model.
pub struct Protocol {
    pub variant: Variant,
    pub world: World,
    pub core: Core,
}

// === impl Protocol ===

impl Protocol {
    /// The model of a variant in a world.
    pub fn new(variant: Variant, world: World) -> Self {
        Self { variant, world, core: Core::new(world, variant) }
    }

    /// The ways to look at a version that lead to different things.
    pub fn looks(&self, moment: &Moment, process: u8, version: u8, looks: &mut Vec<Action>) {
        let (looker, object) = (&moment.processes[usize::from(process)], moment.version(version));
        let ways = [(false, Clock::Right), (true, Clock::Right), (true, Clock::Early), (true, Clock::Late)];
        let ways = if self.world.clocks { &ways[..] } else { &ways[..2] };
        let mut seen = Vec::new();
        for (late, clock) in ways.iter().copied() {
            let todo = self.todo(looker, object, late, clock);
            let is_too_much = matches!(todo, Todo::Invoke { number } if number > self.world.attempts);
            if todo == Todo::Nothing || is_too_much || seen.contains(&todo) {
                continue;
            }
            seen.push(todo);
            let lists: &[List] = match todo {
                Todo::LookUp => &[List::Nothing, List::Request],
                Todo::Follow | Todo::Stop => &[List::Nothing, List::Request, List::Gone],
                _ => &[List::Nothing],
            };
            looks.extend(lists.iter().map(|list| Action::Look {
                process,
                version,
                late,
                clock,
                list: *list,
            }));
        }
    }

    fn steps_of(&self, moment: &Moment, process: u8, actions: &mut Vec<Action>) {
        let state = &moment.processes[usize::from(process)];
        match state.doing {
            Doing::Nothing => {
                for version in state.cache..=moment.current().0 {
                    self.looks(moment, process, version, actions);
                }
                for (uid, own) in (0_u8..).zip(&state.own) {
                    let forgets =
                        |over| (over && self.world.forgets) || self.variant == Variant::SentIsForgotten;
                    if own.as_ref().is_some_and(|own| forgets(own.is_over())) {
                        actions.push(Action::Forget { process, uid });
                    }
                }
            }
            Doing::Claiming { .. } | Doing::Recording { .. } | Doing::Putting { .. } => {
                actions.push(Action::GiveUp { process, lost: true });
                if moment.late_writes() < self.world.late_writes {
                    actions.push(Action::GiveUp { process, lost: false });
                }
            }
            Doing::LookingAfterClaim { .. } | Doing::LookingAfterRecord { .. } => {
                actions.extend([Action::Read { process }, Action::ReadFails { process }]);
            }
            Doing::Owning { mine, prepared, .. } => {
                if self.may_send(mine, prepared).0 {
                    actions.push(Action::Send { process });
                }
                actions.push(Action::HandBack { process });
            }
            Doing::Sending { .. } => {
                actions.push(Action::TimeOut { process });
                if self.world.not_sent {
                    actions.push(Action::NotSent { process });
                }
            }
        }
        if moment.crashes < self.world.crashes {
            actions.push(Action::Crash { process });
            if state.doing != Doing::Nothing {
                actions.push(Action::CutShort { process });
            }
        }
    }
}

/// The number of the request with which the service accepts an attempt.
pub fn request(uid: u8, number: u8) -> u32 {
    u32::from(uid) * 100 + u32::from(number)
}

impl Model for Protocol {
    type State = Moment;
    type Action = Action;

    fn init_states(&self) -> Vec<Moment> {
        let mut truth = Truth::default();
        if self.world.copied {
            truth.accept(0, 0);
        }
        vec![Moment {
            versions: vec![self.core.created(0)],
            writes: Vec::new(),
            posts: Vec::new(),
            processes: [Process::new(0), Process::new(1)],
            leads_to: 0,
            source: 0,
            truth,
            next_holder: 2,
            crashes: 0,
            acts: 0,
        }]
    }

    fn actions(&self, moment: &Moment, actions: &mut Vec<Action>) {
        for process in 0..2 {
            self.steps_of(moment, process, actions);
        }
        for (write, state) in (0_u8..).zip(&moment.writes) {
            actions.push(Action::Commit { write, heard: false });
            if state.awaited {
                actions.push(Action::Commit { write, heard: true });
            }
        }
        for (post, sent) in (0_u8..).zip(&moment.posts) {
            let waits = moment.processes.iter().any(|process| self.waits_for(process, *sent));
            for heard in [true, false].into_iter().filter(|heard| waits || !heard) {
                actions.extend([true, false].map(|accept| Action::Serve { post, accept, heard }));
            }
        }
        if moment.acts < self.world.most_acts {
            actions.extend(self.world.acts.iter().map(|act| Action::Act { act: *act }));
        }
    }

    fn next_state(&self, moment: &Moment, action: Action) -> Option<Moment> {
        let mut next = moment.clone();
        self.happen(&mut next, action)?;
        (next != *moment).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        promises::all(self.world)
    }
}
