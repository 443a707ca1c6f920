//! The rules: what each thing that can happen does. What the operator's own functions decide is asked of them.

use crate::core::{Asked, Object, Todo, What, progress};
use crate::moment::{Action, Doing, Fault, List, Moment, Post, Prepared, Process, Truth, Write};
use crate::object::{Answer, Clock, Note};
use crate::protocol::{Protocol, request};
use crate::world::{Act, Variant};
use functiongraph_operator::api::invocation::{AttemptState, Outcome};
use functiongraph_operator::context::journal::Stage;
use functiongraph_operator::kubernetes::ownership::Ownership;
use functiongraph_operator::lifecycle::Progress;

impl Protocol {
    /// Process `p` sends a write of `object` over version `base`.
    fn write(&self, moment: &mut Moment, p: usize, base: Option<u8>, object: Object, retry: bool) {
        let from = moment.processes[p].holder;
        moment.writes.push(Write { from, awaited: true, base, object, retry });
        moment.tidy(self.world.lag);
    }

    /// The same for what follows from no exchange.
    fn put(&self, moment: &mut Moment, p: usize, index: u8, object: Object) {
        moment.processes[p].doing = Doing::Putting { mine: moment.version(index) };
        self.write(moment, p, Some(index), object, false);
    }

    fn hand_back(&self, moment: &mut Moment, p: usize, (mine, base): (Object, u8), object: Object) {
        let (facts, process) = (self.core.facts(mine), &mut moment.processes[p]);
        if self.variant != Variant::HandBackIsForgotten {
            process.remember(facts.uid, facts.number, Stage::Returned);
        }
        process.doing = Doing::Putting { mine };
        self.write(moment, p, Some(base), object, false);
    }

    pub fn todo(&self, process: &Process, object: Object, late: bool, clock: Clock) -> Todo {
        let facts = self.core.facts(object);
        let is_own = facts.is_claimed && facts.holder == Some(process.holder);
        let remembered = if is_own { process.progress(facts.uid, facts.number) } else { Progress::Nothing };
        let remembered = match remembered {
            Progress::Sent if self.variant == Variant::SentIsHandedBack => Progress::Nothing,
            other => other,
        };
        self.core.todo(Asked { object, holder: process.holder, progress: progress(remembered), late, clock })
    }

    fn look(&self, moment: &mut Moment, p: usize, index: u8, todo: Todo, list: List) -> Option<()> {
        let object = moment.version(index);
        let facts = self.core.facts(object);
        moment.processes[p].cache = index;
        match todo {
            Todo::Nothing => return None,
            Todo::Invoke { .. } => self.claim(moment, p, index),
            Todo::Save => {
                let own = moment.processes[p].own[usize::from(facts.uid)];
                let answer = *own.as_ref()?.answer(facts.number.into())?;
                moment.processes[p].doing = Doing::Recording { mine: object, answer };
                let written = self.core.write(object, What::Answer(answer));
                self.write(moment, p, Some(index), written, false);
            }
            Todo::HandBack(_) if self.variant == Variant::HolderIsPodName => {
                let prepared = Prepared { endpoint: moment.leads_to, event: moment.source };
                moment.processes[p].doing = Doing::Owning { mine: object, base: index, prepared };
            }
            Todo::HandBack(written) => self.hand_back(moment, p, (object, index), written),
            Todo::Put { object: written, retry } => {
                // A write that changes nothing makes a new version all the same: so many of them are looked at.
                if written == object {
                    moment.acts += 1;
                    if moment.acts > self.world.most_acts {
                        return None;
                    }
                }
                moment.processes[p].doing = Doing::Putting { mine: object };
                self.write(moment, p, Some(index), written, retry);
            }
            Todo::LookUp | Todo::Follow | Todo::Stop => self.ask(moment, p, index, todo, list)?,
        }
        Some(())
    }

    fn claim(&self, moment: &mut Moment, p: usize, index: u8) {
        let object = moment.version(index);
        let inline = self.core.facts(object).event;
        let event = if self.world.external { moment.source } else { inline };
        let prepared = Prepared { endpoint: moment.leads_to, event };
        if self.variant != Variant::AnyEventIsSent && self.core.is_other_event(object, event) {
            let written = self.core.write(object, What::OtherEvent { event });
            return self.put(moment, p, index, written);
        }
        let holder = moment.processes[p].holder;
        let wrote = self.core.write(object, What::Claim { holder, endpoint: prepared.endpoint, event });
        if self.variant == Variant::SendFirst {
            moment.processes[p].doing = Doing::Owning { mine: wrote, base: index, prepared };
            return;
        }
        moment.processes[p].doing = Doing::Claiming { wrote, prepared };
        let base = (self.variant != Variant::BlindClaim).then_some(index);
        self.write(moment, p, base, wrote, false);
    }

    /// Asks the service about an attempt.
    fn ask(&self, moment: &mut Moment, p: usize, index: u8, todo: Todo, list: List) -> Option<()> {
        let object = moment.version(index);
        let facts = self.core.facts(object);
        let leads_there = facts.endpoint == Some(moment.leads_to);
        let asks = leads_there || self.variant == Variant::TodaysProviderIsAsked;
        if asks {
            moment.truth.note(Fault::Astray, !leads_there);
            let is_ours = facts.id == Some(request(facts.uid, facts.number));
            moment.truth.note(Fault::NotOurRequest, todo != Todo::LookUp && !is_ours);
        }
        let what = match (todo, list) {
            (Todo::LookUp, List::Nothing) if asks && self.variant == Variant::EmptyListIsProof => {
                What::HandBack
            }
            (Todo::LookUp, List::Request) if asks && self.variant == Variant::ListNamesTheRequest => {
                What::Answer(Answer::FOREIGN)
            }
            (Todo::LookUp, List::Nothing | List::Request) => What::LookedUp,
            (Todo::Follow | Todo::Stop, List::Nothing) if !asks && !facts.says_elsewhere => What::Elsewhere,
            (Todo::Stop, List::Nothing) if asks => What::Stopping,
            (Todo::Follow | Todo::Stop, List::Request)
                if asks && moment.truth.was_accepted(facts.uid, facts.number) =>
            {
                What::Executed
            }
            (Todo::Follow | Todo::Stop, List::Gone) if asks => What::Vanished,
            _ => return None,
        };
        let written = self.core.write(object, what);
        self.put(moment, p, index, written);
        Some(())
    }

    /// The answer of the service, or the lack of one, is written.
    fn answered(&self, moment: &mut Moment, p: usize, answer: Answer) -> Option<()> {
        let Doing::Sending { mine, base } = moment.processes[p].doing else { return None };
        let facts = self.core.facts(mine);
        moment.processes[p].remember(facts.uid, facts.number, Stage::Answered(answer));
        moment.processes[p].doing = Doing::Recording { mine, answer };
        let written = self.core.write(mine, What::Answer(answer));
        self.write(moment, p, Some(base), written, false);
        Some(())
    }

    fn commit(&self, moment: &mut Moment, index: usize, heard: bool) -> Option<()> {
        let write = moment.writes.remove(index);
        let (current, old) = moment.current();
        let stands = write.base.is_none_or(|base| base == current);
        if stands {
            let new =
                if write.base.is_some() { write.object } else { self.core.overwritten(old, write.object) };
            self.judge(&mut moment.truth, old, new, write.retry);
            moment.versions.push(new);
            moment.tidy(self.world.lag);
        }
        if !write.awaited {
            return Some(());
        }
        let (base, fresh) = moment.current();
        let process = moment.process_of(write.from)?;
        match (process.doing, heard && stands) {
            (Doing::Claiming { wrote, prepared }, true) => {
                process.doing = self.owned(process, wrote, (fresh, base), prepared, false);
            }
            (Doing::Recording { mine, .. }, true) => self.saved(process, mine),
            (Doing::Putting { mine }, true) => {
                if self.core.facts(mine).is_claimed {
                    self.saved(process, mine);
                }
                process.doing = Doing::Nothing;
            }
            _ => process.not_answered(),
        }
        Some(())
    }

    fn saved(&self, process: &mut Process, mine: Object) {
        let facts = self.core.facts(mine);
        process.remember(facts.uid, facts.number, Stage::Saved);
        process.doing = Doing::Nothing;
    }

    /// What follows from the object after a claim; `read`: it was read, because the claim was not answered.
    fn owned(
        &self,
        process: &Process,
        wrote: Object,
        (fresh, base): (Object, u8),
        prepared: Prepared,
        read: bool,
    ) -> Doing {
        let claimed = self.core.facts(wrote);
        let unsent = process.progress(claimed.uid, claimed.number) == Progress::Nothing
            || (read && self.variant == Variant::ReadClaimIsUnsent);
        let found = self.core.facts(fresh);
        let is_a_claim = found.is_claimed && (found.holder, found.number) == (claimed.holder, claimed.number);
        let any = read && is_a_claim && self.variant == Variant::ReadClaimIsAnyClaim;
        let wanted = if any { fresh } else { wrote };
        if self.core.owns(wanted, fresh, unsent) {
            Doing::Owning { mine: fresh, base, prepared }
        } else {
            Doing::Nothing
        }
    }

    /// What is wrong with a version that follows another.
    fn judge(&self, truth: &mut Truth, old: Object, new: Object, retry: bool) {
        let changes = old != new;
        let (old, new) = (self.core.facts(old), self.core.facts(new));
        let refined = old.outcome == Some(Outcome::Unknown) && new.outcome.is_some();
        // Only a user's word, or an execution that is followed after all, opens what was unknown.
        let opened =
            old.outcome == Some(Outcome::Unknown) && (retry || new.state == Some(AttemptState::Accepted));
        truth.note(Fault::Unsettled, changes && old.outcome.is_some() && !refined && !opened);
        let follows = match old.state {
            None => true,
            Some(AttemptState::Rejected | AttemptState::NotSent) => new.number <= old.number + 1,
            Some(AttemptState::Ambiguous) if self.world.at_least_once.is_some() => {
                new.number <= old.number + 1
            }
            Some(AttemptState::Claimed | AttemptState::Accepted | AttemptState::Ambiguous) => {
                new.number == old.number
            }
        };
        let same_holder = old.number == 0 || new.number != old.number || new.holder == old.holder;
        truth.note(Fault::Refused, !follows || new.number < old.number || !same_holder);
        if retry {
            truth.heard[usize::from(new.uid)] += 1;
        }
        truth.resolved |= retry || (old.is_ambiguous && old.note.is_some() && !new.is_ambiguous);
    }

    fn read(&self, moment: &mut Moment, p: usize) -> Option<()> {
        let (index, fresh) = moment.current();
        let process = &mut moment.processes[p];
        match process.doing {
            Doing::LookingAfterClaim { wrote, prepared } => {
                process.doing = self.owned(process, wrote, (fresh, index), prepared, true);
            }
            Doing::LookingAfterRecord { mine, answer } => match self.core.ownership(mine, fresh, answer) {
                Ownership::Ours => {
                    process.doing = Doing::Recording { mine, answer };
                    let written = self.core.write(fresh, What::Answer(answer));
                    self.write(moment, p, Some(index), written, false);
                }
                Ownership::Written | Ownership::Lost(_) => self.saved(process, mine),
            },
            _ => return None,
        }
        Some(())
    }

    /// Whether an owner may send, as far as the object says; the event that it would send.
    pub fn may_send(&self, mine: Object, prepared: Prepared) -> (bool, u8) {
        let facts = self.core.facts(mine);
        let event = if self.world.external { prepared.event } else { facts.event };
        let same = self.world.external
            || self.variant == Variant::AnyEventIsSent
            || !self.core.is_other_event(mine, event);
        ((!facts.held || self.variant == Variant::ClaimIsNotRead) && same, event)
    }

    fn send(&self, moment: &mut Moment, p: usize) -> Option<()> {
        let Doing::Owning { mine, base, prepared } = moment.processes[p].doing else { return None };
        let (may, event) = self.may_send(mine, prepared);
        let facts = self.core.facts(mine);
        let truth = &mut moment.truth;
        truth.note(Fault::Unwanted, facts.held);
        truth.note(Fault::Astray, facts.endpoint != Some(prepared.endpoint));
        truth.note(Fault::OtherEvent, facts.claimed != Some(event));
        truth.events[usize::from(facts.uid)] |= 1 << event;
        let process = &mut moment.processes[p];
        process.remember(facts.uid, facts.number, Stage::Sent);
        process.doing = Doing::Sending { mine, base };
        moment.posts.push(Post { from: process.holder, uid: facts.uid, number: facts.number });
        moment.posts.sort_unstable();
        may.then_some(())
    }

    fn give_back(&self, moment: &mut Moment, p: usize) -> Option<()> {
        let Doing::Owning { mine, base, prepared } = moment.processes[p].doing else { return None };
        let (_, event) = self.may_send(mine, prepared);
        let changed = !self.core.facts(mine).held && self.core.is_other_event(mine, event);
        let what = if changed { What::NotAsClaimed { event } } else { What::HandBack };
        let written = self.core.write(mine, what);
        self.hand_back(moment, p, (mine, base), written);
        Some(())
    }

    fn serve(&self, moment: &mut Moment, index: usize, accept: bool, heard: bool) -> Option<()> {
        let post = moment.posts.remove(index);
        if accept {
            moment.truth.accept(post.uid, post.number);
        }
        let answer = match (heard, accept) {
            (false, _) => return Some(()),
            (true, true) => Answer::Accepted(request(post.uid, post.number)),
            (true, false) => Answer::Refused,
        };
        let p = moment.processes.iter().position(|process| self.waits_for(process, post))?;
        self.answered(moment, p, answer)
    }

    pub fn waits_for(&self, process: &Process, post: Post) -> bool {
        let Doing::Sending { mine, .. } = process.doing else { return false };
        let facts = self.core.facts(mine);
        process.holder == post.from && (facts.uid, facts.number) == (post.uid, post.number)
    }

    fn act(&self, moment: &mut Moment, act: Act) -> Option<()> {
        let current = moment.current().1;
        let facts = self.core.facts(current);
        moment.acts += 1;
        let changed = match act {
            Act::EditProvider => {
                moment.leads_to = 1 - moment.leads_to;
                return Some(());
            }
            Act::EditSource => {
                moment.source = 1 - moment.source;
                return self.world.external.then_some(());
            }
            Act::Recreate => (facts.uid == 0).then(|| self.core.created(1))?,
            Act::Touch => current,
            // The API server refuses edits of what has finished.
            _ if facts.outcome.is_some_and(Outcome::is_final) => return None,
            _ => self.core.act(current, act)?,
        };
        if let Act::Annotate(note) = act
            && facts.is_ambiguous
        {
            moment.truth.asked[usize::from(facts.uid)] += u8::from(note == Note::Retry);
        }
        moment.versions.push(changed);
        moment.tidy(self.world.lag);
        Some(())
    }

    /// Process `p` ends what it is doing, somewhere in the middle.
    fn cut_short(&self, moment: &mut Moment, p: usize) {
        let process = &mut moment.processes[p];
        for write in moment.writes.iter_mut().filter(|write| write.from == process.holder) {
            write.awaited = false;
        }
        process.doing = Doing::Nothing;
        moment.crashes += 1;
        moment.tidy(self.world.lag);
    }

    fn crash(&self, moment: &mut Moment, p: usize) {
        self.cut_short(moment, p);
        let process = &mut moment.processes[p];
        let renamed = self.variant != Variant::HolderIsPodName;
        *process = Process::new(if renamed { moment.next_holder } else { process.holder });
        moment.next_holder += u8::from(renamed);
    }

    pub fn happen(&self, moment: &mut Moment, action: Action) -> Option<()> {
        match action {
            Action::Look { process, version, late, clock, list } => {
                let todo =
                    self.todo(&moment.processes[usize::from(process)], moment.version(version), late, clock);
                self.look(moment, process.into(), version, todo, list)
            }
            Action::Forget { process, uid } => {
                moment.processes[usize::from(process)].own[usize::from(uid)] = None;
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
                }
                moment.tidy(self.world.lag);
                Some(())
            }
            Action::Read { process } => self.read(moment, process.into()),
            Action::ReadFails { process } => {
                // The attempt stays in memory; the next look at the object decides.
                moment.processes[usize::from(process)].doing = Doing::Nothing;
                Some(())
            }
            Action::Send { process } => self.send(moment, process.into()),
            Action::HandBack { process } => self.give_back(moment, process.into()),
            Action::Serve { post, accept, heard } => self.serve(moment, post.into(), accept, heard),
            Action::NotSent { process } => {
                let waiting = moment.processes[usize::from(process)];
                let index = moment.posts.iter().position(|post| self.waits_for(&waiting, *post))?;
                moment.posts.remove(index);
                self.answered(moment, process.into(), Answer::NotSent)
            }
            Action::TimeOut { process } => {
                let retried = self.variant == Variant::TimeoutIsRetried;
                let answer = if retried { Answer::NotSent } else { Answer::Silence };
                self.answered(moment, process.into(), answer)
            }
            Action::CutShort { process } => {
                self.cut_short(moment, process.into());
                Some(())
            }
            Action::Crash { process } => {
                self.crash(moment, process.into());
                Some(())
            }
            Action::Act { act } => self.act(moment, act),
        }
    }
}
