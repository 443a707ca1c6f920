//! The share of a namespace: it may have as much as it leaves free for the others.

use std::collections::BTreeMap;

/// Permits, or memory, and how much of that each namespace holds.
///
/// A namespace gets another permit only while it holds fewer than are free. So one alone holds half of them at most, two
/// hold a third each, and there is one left for the next. This needs to know neither who will come nor how long a permit
/// is held, which nobody does before the answer.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Shares {
    capacity: usize,
    total: usize,
    held: BTreeMap<String, usize>,
}

// === impl Shares ===

impl Shares {
    pub fn new(capacity: usize) -> Self {
        Self { capacity, ..Self::default() }
    }

    /// Whether the namespace may hold `count` more.
    pub fn admit(&self, namespace: &str, count: usize) -> bool {
        let free = self.capacity.saturating_sub(self.total);
        self.held(namespace) < free && count <= free
    }

    pub fn hold(&mut self, namespace: &str, count: usize) {
        self.total += count;
        match self.held.get_mut(namespace) {
            Some(held) => *held += count,
            None => drop(self.held.insert(namespace.to_owned(), count)),
        }
    }

    pub fn release(&mut self, namespace: &str, count: usize) {
        let Some(held) = self.held.get_mut(namespace) else { return };
        let released = count.min(*held);
        (*held, self.total) = (*held - released, self.total - released);
        if *held == 0 {
            self.held.remove(namespace);
        }
    }

    fn held(&self, namespace: &str) -> usize {
        self.held.get(namespace).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many permits each namespace gets, if each in turn takes what it can get.
    fn taken(capacity: usize, namespaces: usize) -> Vec<usize> {
        let mut shares = Shares::new(capacity);
        (0..namespaces)
            .map(|namespace| {
                let name = namespace.to_string();
                while shares.admit(&name, 1) {
                    shares.hold(&name, 1);
                }
                shares.held(&name)
            })
            .collect()
    }

    #[test]
    fn each_namespace_leaves_as_many_as_it_takes() {
        assert_eq!(taken(32, 6), [16, 8, 4, 2, 1, 1]);
        assert_eq!(taken(1, 2), [1, 0]);
        assert_eq!(taken(2, 2), [1, 1]);
    }

    #[test]
    fn what_is_released_is_free_again_and_leaves_nothing_behind() {
        let mut shares = Shares::new(4);
        shares.hold("a", 3);
        assert!(!shares.admit("a", 1) && shares.admit("b", 1) && !shares.admit("b", 2));
        shares.release("a", 5);
        shares.release("b", 1);
        assert_eq!(shares, Shares::new(4));
    }

    #[test]
    fn namespaces_that_come_together_get_equal_shares() {
        let mut shares = Shares::new(30);
        for _ in 0..30 {
            for name in ["a", "b"] {
                if shares.admit(name, 1) {
                    shares.hold(name, 1);
                }
            }
        }
        assert_eq!((shares.held("a"), shares.held("b")), (10, 10));
    }
}
