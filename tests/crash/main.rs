//! At most once, whatever breaks: the real operator against a real API server and the emulator, while
//! processes are killed, stopped and replaced, the API server goes away, and every single write and request
//! in turn meets every fault.
//!
//! The emulator's ledger is the judge: the tag in each event is the object's name. Tests that have to outlive
//! the takeover time (two minutes, a constant of the protocol) share the wait and begin first; everything else
//! waits for conditions.
//!
//! The moments of the kills are the same in every run; `CRASH_SEED=<number>` chooses others.

#![cfg(test)]

mod campaign;
mod chance;
mod faults;
mod judge;
mod killed;
mod late;
mod lists;
mod members;
mod outage;
mod posts;
mod proxy;
mod replicas;
mod resolving;
mod silent;
mod stale;
mod stall;
