//! The fair queue: namespaces take turns, then the functions within a namespace, then first come, first served.

use std::collections::{BTreeMap, BTreeSet};

use super::vocabulary::{FunctionKey, Ticket};

/// All objects that wait for a permit, by their arrival number.
///
/// # Guarantees
/// * Each round serves a namespace once, however many objects it has waiting. The same holds for a function within
///   its namespace.
/// * Adding and removing is O(log n), and removed objects leave no state behind. A search visits each function once.
#[derive(Debug, Default)]
pub(super) struct Queue {
    tickets: BTreeMap<u64, Ticket>,
    namespaces: Round<Round<BTreeSet<u64>>>,
}

/// Members that take turns. A served or new member goes to the end of the round.
#[derive(Debug)]
struct Round<T> {
    turns: BTreeMap<u64, String>,
    members: BTreeMap<String, (u64, T)>,
    next_turn: u64,
}

// === impl Queue ===

impl Queue {
    /// Adds `ticket` to the queue of its function, in the order of `arrival`. Also returns a ticket to its position.
    pub(super) fn push(&mut self, arrival: u64, ticket: Ticket) {
        let FunctionKey { namespace, function } = &ticket.function;
        self.namespaces.member(namespace).member(function).insert(arrival);
        self.tickets.insert(arrival, ticket);
    }

    /// The caller with this arrival number.
    pub(super) fn ticket(&self, arrival: u64) -> Option<&Ticket> {
        self.tickets.get(&arrival)
    }

    /// The functions that callers wait for, those in turn first.
    pub(super) fn functions(&self) -> impl Iterator<Item = &FunctionKey> {
        let functions = self.namespaces.in_turn().flat_map(Round::in_turn);
        functions.filter_map(|queue| self.tickets.get(queue.first()?)).map(|ticket| &ticket.function)
    }

    /// Removes the first caller of a function, which then goes to the end of its round. The others keep their turns.
    pub(super) fn pop(&mut self, FunctionKey { namespace, function }: &FunctionKey) -> Option<(u64, Ticket)> {
        let arrival = self.namespaces.serve(namespace, |functions| {
            let arrival = functions.serve(function, |queue| (queue.pop_first(), queue.is_empty())).flatten();
            (arrival, functions.is_empty())
        })??;
        self.tickets.remove(&arrival).map(|ticket| (arrival, ticket))
    }

    /// Removes a caller that does not want a permit any more.
    pub(super) fn remove(&mut self, arrival: u64) {
        let Some(Ticket { function: FunctionKey { namespace, function }, .. }) =
            self.tickets.remove(&arrival)
        else {
            return;
        };
        self.namespaces.visit(&namespace, |functions| {
            functions.visit(&function, |queue| {
                queue.remove(&arrival);
                queue.is_empty()
            });
            functions.is_empty()
        });
    }

    pub(super) fn len(&self) -> usize {
        self.tickets.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tickets.is_empty()
    }
}

// === impl Round ===

impl<T: Default> Round<T> {
    /// The member called `name`. A new one joins at the end of the round.
    fn member(&mut self, name: &str) -> &mut T {
        if !self.members.contains_key(name) {
            self.turns.insert(self.next_turn, name.to_owned());
        }
        let (_, member) = self.members.entry(name.to_owned()).or_insert_with(|| {
            self.next_turn += 1;
            (self.next_turn - 1, T::default())
        });
        member
    }
}

impl<T> Round<T> {
    fn in_turn(&self) -> impl Iterator<Item = &T> {
        self.turns.values().filter_map(|name| self.members.get(name)).map(|(_, member)| member)
    }

    /// Calls `take` with a member, which then goes to the end of the round. `take` also says whether the member is now
    /// empty and leaves.
    fn serve<R>(&mut self, name: &str, take: impl FnOnce(&mut T) -> (R, bool)) -> Option<R> {
        let (turn, member) = self.members.get_mut(name)?;
        self.turns.remove(turn);
        let (taken, emptied) = take(member);
        if emptied {
            self.members.remove(name);
        } else {
            *turn = self.next_turn;
            self.turns.insert(self.next_turn, name.to_owned());
            self.next_turn += 1;
        }
        Some(taken)
    }

    /// Calls `change` with a member out of turn. `change` says whether the member is now empty and leaves.
    fn visit(&mut self, name: &str, change: impl FnOnce(&mut T) -> bool) {
        if let Some((turn, member)) = self.members.get_mut(name)
            && change(member)
        {
            self.turns.remove(turn);
            self.members.remove(name);
        }
    }

    fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

impl<T> Default for Round<T> {
    fn default() -> Self {
        Self { turns: BTreeMap::new(), members: BTreeMap::new(), next_turn: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::Caller;

    fn push(queue: &mut Queue, arrival: u64, namespace: &str, function: &str) {
        let caller = Caller::Object { uid: arrival.to_string(), name: String::new() };
        let function = FunctionKey { namespace: namespace.into(), function: function.into() };
        queue.push(arrival, Ticket { caller, function });
    }

    fn pop(queue: &mut Queue) -> Option<(u64, Ticket)> {
        let function = queue.functions().next()?.clone();
        queue.pop(&function)
    }

    fn popped(queue: &mut Queue) -> Vec<u64> {
        std::iter::from_fn(|| pop(queue)).map(|(arrival, _)| arrival).collect()
    }

    #[test]
    fn one_function_is_served_in_the_order_of_arrival() {
        let mut queue = Queue::default();
        (0..5).for_each(|arrival| push(&mut queue, arrival, "a", "f"));
        assert_eq!(popped(&mut queue), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn namespaces_take_turns_and_so_do_the_functions_within_one() {
        let mut queue = Queue::default();
        for (arrival, (namespace, function)) in
            (0..).zip([("a", "f"), ("a", "f"), ("a", "f"), ("a", "g"), ("b", "f"), ("b", "f"), ("c", "f")])
        {
            push(&mut queue, arrival, namespace, function);
        }
        assert_eq!(popped(&mut queue), [0, 4, 6, 3, 5, 1, 2]);
    }

    #[test]
    fn a_function_that_is_passed_over_keeps_its_turn() {
        let mut queue = Queue::default();
        for (arrival, (namespace, function)) in (0..).zip([("a", "f"), ("a", "g"), ("b", "f"), ("b", "f")]) {
            push(&mut queue, arrival, namespace, function);
        }
        for expected in [1, 2] {
            let passed_over = |key: &&FunctionKey| (&*key.namespace, &*key.function) != ("a", "f");
            let function = queue.functions().find(passed_over).unwrap().clone();
            assert_eq!(queue.pop(&function).unwrap().0, expected);
        }
        assert_eq!(popped(&mut queue), [0, 3]);
    }

    #[test]
    fn a_returned_ticket_keeps_its_position() {
        let mut queue = Queue::default();
        (0..3).for_each(|arrival| push(&mut queue, arrival, "a", "f"));
        let (arrival, ticket) = pop(&mut queue).unwrap();
        queue.push(arrival, ticket);
        assert_eq!(popped(&mut queue), [0, 1, 2]);
    }

    #[test]
    fn a_removed_ticket_is_not_returned_and_leaves_nothing_behind() {
        let mut queue = Queue::default();
        for arrival in 0..4 {
            push(&mut queue, arrival, if arrival < 2 { "a" } else { "b" }, "f");
        }
        queue.remove(0);
        queue.remove(1);
        queue.remove(7);
        assert_eq!(queue.len(), 2);
        assert_eq!(popped(&mut queue), [2, 3]);
        let Queue { tickets, namespaces } = queue;
        assert!(tickets.is_empty() && namespaces.turns.is_empty() && namespaces.members.is_empty());
    }
}
