//! The share of a namespace: no namespace holds more permits than it leaves free for the others.

use std::collections::BTreeMap;

/// Permits, and how many of them each namespace holds.
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
    /// Permits of which none is held.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { capacity, ..Self::default() }
    }

    /// Whether the namespace may hold one more.
    #[must_use]
    pub fn admit(&self, namespace: &str) -> bool {
        self.held(namespace) < self.capacity.saturating_sub(self.total)
    }

    /// The namespace holds `count` more.
    pub fn hold(&mut self, namespace: &str, count: usize) {
        self.total += count;
        match self.held.get_mut(namespace) {
            Some(held) => *held += count,
            None => drop(self.held.insert(namespace.to_owned(), count)),
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
                while shares.admit(&name) {
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
    fn namespaces_that_come_together_get_equal_shares() {
        let mut shares = Shares::new(30);
        for _ in 0..30 {
            for name in ["a", "b"] {
                if shares.admit(name) {
                    shares.hold(name, 1);
                }
            }
        }
        assert_eq!((shares.held("a"), shares.held("b")), (10, 10));
    }
}
