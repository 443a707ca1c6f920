//! What an answer, or its absence, teaches the levels of a gate.

use super::breaker::Admission;
use super::{FunctionKey, Gate, Level, Phase, Signal};
use std::collections::BTreeSet;
use std::time::Duration;

impl Gate {
    /// What an answer, or its absence, teaches each level.
    pub(super) fn learn(&mut self, function: &FunctionKey, number: u64, signal: Signal, chance: u64) {
        let (at, now) = (Admission { number, next: self.next_number }, self.now);
        match signal {
            Signal::Answered => {
                self.reached(number);
                self.account.accepted(number, now);
                self.tenants.answered(function, number, now);
            }
            Signal::Throttled { level: Level::Account, retry_after } => {
                self.reached(number);
                self.account_throttled(at, retry_after);
            }
            Signal::Throttled { level: Level::Function, retry_after } => {
                self.reached(number);
                if self.tenants.throttled(function, at, retry_after, now) {
                    self.recall(|granted| granted == function);
                }
                if self.tenants.throttle_at_once(now) {
                    self.account_throttled(at, None);
                }
            }
            Signal::Disabled => {
                self.reached(number);
                self.function_failed(function, at, true, chance);
            }
            Signal::FunctionFailed => {
                self.reached(number);
                self.function_failed(function, at, false, chance);
            }
            Signal::Unanswered => {
                self.failed_last = Some(function.clone());
                self.function_failed(function, at, false, chance);
            }
            Signal::Unreachable => self.unreachable(function, at, chance),
            Signal::Unused => {
                self.account.give_back();
                self.tenants.give_back(function);
            }
        }
    }

    /// The service has answered.
    fn reached(&mut self, number: u64) {
        self.account.answered(number);
        self.failing.clear();
        self.failed_last = None;
    }

    fn account_throttled(&mut self, at: Admission, retry_after: Option<Duration>) {
        if self.account.throttled(at, retry_after, self.now) {
            self.recall(|_| true);
        }
    }

    fn function_failed(&mut self, function: &FunctionKey, at: Admission, is_disabled: bool, chance: u64) {
        if self.tenants.failed(function, at, is_disabled, chance, self.now) {
            self.recall(|granted| granted == function);
        }
    }

    /// The request did not reach the service.
    fn unreachable(&mut self, function: &FunctionKey, at: Admission, chance: u64) {
        self.failing.insert(function.clone());
        self.failed_last = Some(function.clone());
        let may_open = self.is_the_account();
        if self.account.failed(at, may_open, chance, self.now) {
            self.tenants.close_breakers();
            self.recall(|_| true);
        } else if !self.account.is_suspect(self.now) {
            self.function_failed(function, at, false, chance);
        }
    }

    /// Whether failures come from two namespaces, or from two functions, where two are there to show them.
    fn is_the_account(&self) -> bool {
        if self.count_failing() > 1 {
            return true;
        }
        let is_held = |key: &&FunctionKey| {
            matches!(self.tenants.phase(key, self.now), Phase::BreakerOpen { .. } | Phase::Paused { .. })
        };
        let waiting = self.queue.functions().filter(|key| !is_held(key));
        let others = waiting.chain(self.tenants.sending()).filter(|key| !self.failing.contains(*key));
        let others: Vec<&FunctionKey> = others.collect();
        let of_other_namespaces = || others.iter().any(|key| !self.is_failing(&key.namespace));
        others.is_empty() || (self.failing.len() > 1 && !of_other_namespaces())
    }

    pub(super) fn is_failing(&self, namespace: &str) -> bool {
        self.failing.iter().any(|key| key.namespace == namespace)
    }

    /// The number of namespaces whose requests do not reach the service.
    pub(super) fn count_failing(&self) -> usize {
        self.failing.iter().map(|key| key.namespace.as_str()).collect::<BTreeSet<_>>().len()
    }
}
