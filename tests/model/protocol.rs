//! The rules: what each thing that can happen does, and what must hold afterwards.

use crate::core::{Answer, Core, Stand, What, Whose};
use crate::moment::{Action, Doing, Moment, Own, Post, Process, Stage, Version, Write};
use functiongraph_operator::api::invocation::{AttemptState, Outcome};
use functiongraph_operator::lifecycle::{Memory, Step};
use stateright::{Model, Property};

/// The protocol as it is built, or broken in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// As it is built.
    AsBuilt,
    /// The request goes first, the status after it.
    SendFirst,
    /// The claim carries no resourceVersion.
    BlindClaim,
    /// A restarted process has its predecessor's name and takes up its claims.
    HolderIsPodName,
    /// A request that is not answered in time counts as not sent.
    TimeoutIsRetried,
    /// A claim that is taken over is sent again.
    TakeoverSends,
    /// A claim that is being handed back may be taken for a fresh one.
    HandBackIsForgotten,
}

/// How much may happen in one history.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    attempts: u8,
    crashes: u8,
    edits: u8,
    late_writes: usize,
}

impl Bounds {
    /// For every run of the tests.
    pub const USUAL: Self = Self { attempts: 2, crashes: 1, edits: 0, late_writes: 1 };
    /// For the patient.
    pub const LARGE: Self = Self { attempts: 2, crashes: 2, edits: 1, late_writes: 2 };
}

/// The model.
pub struct Protocol {
    variant: Variant,
    bounds: Bounds,
    core: Core,
}

// === impl Protocol ===

impl Protocol {
    /// The promise.
    pub const AT_MOST_ONCE: &str = "the service accepts at most once";

    /// The model of a variant.
    pub fn new(variant: Variant, bounds: Bounds) -> Self {
        Self { variant, bounds, core: Core::ask() }
    }

    fn is_claimed(&self, version: Version) -> bool {
        self.core.meaning(version.stand).attempt == Some(AttemptState::Claimed)
    }

    /// Process `p` sends a write of `what` over version `base`.
    fn write(&self, moment: &mut Moment, p: usize, base: u8, what: What) {
        let (from, version) = (moment.processes[p].holder, moment.version(base));
        let version = if what == What::Claim {
            let stand = self.core.write(version.stand, what);
            Version { stand, attempt: version.attempt + 1, holder: from }
        } else if self.variant == Variant::SendFirst {
            let claimed = self.core.write(version.stand, What::Claim);
            Version { stand: self.core.write(claimed, what), attempt: version.attempt + 1, holder: from }
        } else {
            Version { stand: self.core.write(version.stand, what), ..version }
        };
        let blind = what == What::Claim && self.variant == Variant::BlindClaim;
        moment.writes.push(Write { from, awaited: true, base: (!blind).then_some(base), version });
        moment.writes.sort_unstable();
    }

    fn look(&self, moment: &mut Moment, p: usize, index: u8, late: bool) -> Option<()> {
        let version = moment.version(index);
        let process = &mut moment.processes[p];
        process.cache = index;
        let whose = if version.holder == process.holder && self.is_claimed(version) {
            Whose::Own(process.memory(version.attempt))
        } else {
            Whose::Others { late }
        };
        let put = |process: &mut Process| process.doing = Doing::Putting { attempt: version.attempt };
        let what = match self.core.step(version.stand, whose) {
            Step::Invoke { .. } if version.attempt == self.bounds.attempts => return None,
            Step::Invoke { .. } if self.variant == Variant::SendFirst => {
                process.doing = Doing::Owning { attempt: version.attempt + 1, base: index };
                return Some(());
            }
            Step::Invoke { .. } => {
                process.doing = Doing::Claiming { attempt: version.attempt + 1 };
                What::Claim
            }
            Step::Save => {
                let Some(Own { stage: Stage::Answered(answer), attempt }) = process.own else { return None };
                process.doing = Doing::Recording { attempt, answer };
                What::Answer(answer)
            }
            Step::HandBack if self.variant == Variant::HolderIsPodName => {
                process.doing = Doing::Owning { attempt: version.attempt, base: index };
                return Some(());
            }
            Step::HandBack => {
                self.hand_back(process, version.attempt);
                What::HandBack
            }
            Step::TakeOver if self.variant == Variant::TakeoverSends => {
                put(process);
                What::HandBack
            }
            Step::TakeOver | Step::GiveUpOwn => {
                put(process);
                What::InDoubt
            }
            // Nothing to do; the cache has moved on, and that was all.
            Step::Wait(_) | Step::Observe(_) | Step::Rest => return Some(()),
            Step::Conclude(_)
            | Step::Suspend
            | Step::Resume
            | Step::Delete
            | Step::LookUp
            | Step::Follow
            | Step::Stop
            | Step::Resolve(_)
            | Step::RefuseResolution
            | Step::ForgetResolution
            | Step::CorrectTimes
            | Step::Acknowledge => unreachable!("nobody asked for it"),
        };
        self.write(moment, p, index, what);
        Some(())
    }

    fn hand_back(&self, process: &mut Process, attempt: u8) {
        if self.variant != Variant::HandBackIsForgotten {
            process.remember(attempt, Stage::Returned);
        }
        process.doing = Doing::Putting { attempt };
    }

    /// The answer of the service, or the lack of one, is written.
    fn answered(&self, moment: &mut Moment, p: usize, answer: Answer) -> Option<()> {
        let process = &mut moment.processes[p];
        let Doing::Sending { attempt, base } = process.doing else { return None };
        process.remember(attempt, Stage::Answered(answer));
        process.doing = Doing::Recording { attempt, answer };
        self.write(moment, p, base, What::Answer(answer));
        Some(())
    }

    fn commit(&self, moment: &mut Moment, index: usize, heard: bool) -> Option<()> {
        let write = moment.writes.remove(index);
        if heard && !write.awaited {
            return None;
        }
        let (current, old) = moment.current();
        let stands = write.base.is_none_or(|base| base == current);
        if stands {
            let (before, after) = (self.core.meaning(old.stand), self.core.meaning(write.version.stand));
            let refined = before.outcome == Some(Outcome::Unknown) && after.outcome.is_some();
            moment.unsettled |= before.outcome.is_some() && !refined;
            moment.versions.push(write.version);
        }
        if !write.awaited {
            return Some(());
        }
        let new = moment.current().0;
        let process = moment.process_of(write.from)?;
        match (process.doing, heard && stands) {
            // A process owns an attempt only if it has not begun to do anything with it.
            (Doing::Claiming { attempt }, true) if process.memory(attempt) == Memory::Nothing => {
                process.doing = Doing::Owning { attempt, base: new };
            }
            (Doing::Recording { attempt, .. } | Doing::Putting { attempt }, true) => {
                process.remember(attempt, Stage::Saved);
                process.doing = Doing::Nothing;
            }
            _ => process.not_answered(),
        }
        Some(())
    }

    fn read(&self, moment: &mut Moment, p: usize) -> Option<()> {
        let (index, version) = moment.current();
        let meaning = self.core.meaning(version.stand);
        let process = &mut moment.processes[p];
        let is_own = |attempt| version.attempt == attempt && version.holder == process.holder;
        match process.doing {
            Doing::LookingAfterClaim { attempt } => {
                let ours =
                    is_own(attempt) && self.is_claimed(version) && process.memory(attempt) == Memory::Nothing;
                process.doing = if ours { Doing::Owning { attempt, base: index } } else { Doing::Nothing };
            }
            Doing::LookingAfterRecord { attempt, answer } => {
                let open = self.is_claimed(version)
                    || (meaning.outcome == Some(Outcome::Unknown) && answer != Answer::Silence);
                if is_own(attempt) && open {
                    process.doing = Doing::Recording { attempt, answer };
                    self.write(moment, p, index, What::Answer(answer));
                } else {
                    process.remember(attempt, Stage::Saved);
                    process.doing = Doing::Nothing;
                }
            }
            _ => return None,
        }
        Some(())
    }

    fn serve(&self, moment: &mut Moment, index: usize, accept: bool, heard: bool) -> Option<()> {
        let post = moment.posts.remove(index);
        moment.accepted += u8::from(accept);
        let waits = |process: &Process| {
            process.holder == post.from
                && matches!(process.doing, Doing::Sending { attempt, .. } if attempt == post.attempt)
        };
        let answer = match (heard, accept) {
            (false, _) => return Some(()),
            (true, true) => Answer::Accepted,
            (true, false) => Answer::Refused,
        };
        let p = moment.processes.iter().position(waits)?;
        self.answered(moment, p, answer)
    }

    fn happen(&self, moment: &mut Moment, action: Action) -> Option<()> {
        match action {
            Action::Look { process, version, late } => self.look(moment, process.into(), version, late),
            Action::Forget { process } => {
                moment.processes[usize::from(process)].own = None;
                Some(())
            }
            Action::Commit { write, heard } => self.commit(moment, write.into(), heard),
            Action::GiveUp { process, lost } => {
                let process = &mut moment.processes[usize::from(process)];
                let mine = |write: &Write| write.awaited && write.from == process.holder;
                let index = moment.writes.iter().position(mine)?;
                process.not_answered();
                if lost {
                    moment.writes.remove(index);
                } else {
                    moment.writes[index].awaited = false;
                    moment.writes.sort_unstable();
                }
                Some(())
            }
            Action::Read { process } => self.read(moment, process.into()),
            Action::ReadFails { process } => {
                // The attempt stays in memory; the next look at the object decides.
                moment.processes[usize::from(process)].doing = Doing::Nothing;
                Some(())
            }
            Action::Send { process } => {
                let process = &mut moment.processes[usize::from(process)];
                let Doing::Owning { attempt, base } = process.doing else { return None };
                process.remember(attempt, Stage::Sent);
                process.doing = Doing::Sending { attempt, base };
                moment.posts.push(Post { from: process.holder, attempt });
                moment.posts.sort_unstable();
                Some(())
            }
            Action::HandBack { process: p } => {
                let process = &mut moment.processes[usize::from(p)];
                let Doing::Owning { attempt, base } = process.doing else { return None };
                self.hand_back(process, attempt);
                self.write(moment, p.into(), base, What::HandBack);
                Some(())
            }
            Action::Serve { post, accept, heard } => self.serve(moment, post.into(), accept, heard),
            Action::NotSent { process } => {
                let holder = moment.processes[usize::from(process)].holder;
                let Doing::Sending { attempt, .. } = moment.processes[usize::from(process)].doing else {
                    return None;
                };
                let post = Post { from: holder, attempt };
                let index = moment.posts.iter().position(|other| *other == post)?;
                moment.posts.remove(index);
                self.answered(moment, process.into(), Answer::NotSent)
            }
            Action::TimeOut { process } => {
                let retried = self.variant == Variant::TimeoutIsRetried;
                let answer = if retried { Answer::NotSent } else { Answer::Silence };
                self.answered(moment, process.into(), answer)
            }
            Action::Crash { process } => {
                let process = &mut moment.processes[usize::from(process)];
                for write in moment.writes.iter_mut().filter(|write| write.from == process.holder) {
                    write.awaited = false;
                }
                moment.writes.sort_unstable();
                let renamed = self.variant != Variant::HolderIsPodName;
                *process = Process::new(if renamed { moment.next_holder } else { process.holder });
                moment.next_holder += u8::from(renamed);
                moment.crashes += 1;
                Some(())
            }
            Action::Edit => {
                moment.versions.push(moment.current().1);
                moment.edits += 1;
                Some(())
            }
        }
    }
}

impl Model for Protocol {
    type State = Moment;
    type Action = Action;

    fn init_states(&self) -> Vec<Moment> {
        let nobody = u8::MAX;
        vec![Moment {
            versions: vec![Version { stand: Stand::FRESH, attempt: 0, holder: nobody }],
            writes: Vec::new(),
            posts: Vec::new(),
            processes: [Process::new(0), Process::new(1)],
            accepted: 0,
            next_holder: 2,
            crashes: 0,
            edits: 0,
            unsettled: false,
        }]
    }

    fn actions(&self, moment: &Moment, actions: &mut Vec<Action>) {
        let current = moment.current().0;
        let room = moment.late_writes() < self.bounds.late_writes;
        for (process, state) in (0_u8..).zip(&moment.processes) {
            match state.doing {
                Doing::Nothing => {
                    for version in state.cache..=current {
                        actions.push(Action::Look { process, version, late: false });
                        if self.is_claimed(moment.version(version)) {
                            actions.push(Action::Look { process, version, late: true });
                        }
                    }
                    if matches!(state.own, Some(Own { stage: Stage::Saved, .. })) {
                        actions.push(Action::Forget { process });
                    }
                }
                Doing::Claiming { .. } | Doing::Recording { .. } | Doing::Putting { .. } => {
                    actions.push(Action::GiveUp { process, lost: true });
                    if room {
                        actions.push(Action::GiveUp { process, lost: false });
                    }
                }
                Doing::LookingAfterClaim { .. } | Doing::LookingAfterRecord { .. } => {
                    actions.extend([Action::Read { process }, Action::ReadFails { process }]);
                }
                Doing::Owning { .. } => {
                    actions.extend([Action::Send { process }, Action::HandBack { process }]);
                }
                Doing::Sending { .. } => {
                    actions.extend([Action::NotSent { process }, Action::TimeOut { process }]);
                }
            }
            if moment.crashes < self.bounds.crashes {
                actions.push(Action::Crash { process });
            }
        }
        for (write, state) in (0_u8..).zip(&moment.writes) {
            actions.push(Action::Commit { write, heard: false });
            if state.awaited {
                actions.push(Action::Commit { write, heard: true });
            }
        }
        for post in (0_u8..).take(moment.posts.len()) {
            for (accept, heard) in [(true, true), (true, false), (false, true), (false, false)] {
                actions.push(Action::Serve { post, accept, heard });
            }
        }
        if moment.edits < self.bounds.edits {
            actions.push(Action::Edit);
        }
    }

    fn next_state(&self, moment: &Moment, action: Action) -> Option<Moment> {
        let mut next = moment.clone();
        self.happen(&mut next, action)?;
        (next != *moment).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(Self::AT_MOST_ONCE, |_, moment: &Moment| moment.accepted <= 1),
            Property::always("what is settled only changes from unknown to known", |_, moment: &Moment| {
                !moment.unsettled
            }),
            Property::always(
                "what the status is sure of is true",
                |model: &Self, moment: &Moment| match model.core.meaning(moment.current().1.stand).attempt {
                    Some(AttemptState::Accepted) => moment.accepted == 1,
                    Some(AttemptState::Rejected | AttemptState::NotSent) => moment.accepted == 0,
                    Some(AttemptState::Claimed | AttemptState::Ambiguous) | None => true,
                },
            ),
            Property::sometimes(
                "an acceptance is recorded at the second attempt",
                |model: &Self, moment: &Moment| {
                    let current = moment.current().1;
                    let meaning = model.core.meaning(current.stand);
                    current.attempt == 2 && meaning.outcome == Some(Outcome::Accepted)
                },
            ),
            Property::sometimes("an acceptance stays unknown", |model: &Self, moment: &Moment| {
                let meaning = model.core.meaning(moment.current().1.stand);
                moment.accepted == 1 && meaning.outcome == Some(Outcome::Unknown)
            }),
            Property::sometimes("a late answer refines what was unknown", |model: &Self, moment: &Moment| {
                let outcome = |version: &Version| model.core.meaning(version.stand).outcome;
                moment.versions.windows(2).any(|pair| {
                    outcome(&pair[0]) == Some(Outcome::Unknown)
                        && outcome(&pair[1]) == Some(Outcome::Accepted)
                })
            }),
        ]
    }
}
