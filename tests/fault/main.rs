//! Faults of a real broker and of whole programs: each fault of `support/fault_list.rs`, with an
//! account of every message (`trial.rs`), and every mistake in a configuration. The program
//! `fault_table` (`cargo run -p tests --bin fault_table`) writes `results.md` from the records of the
//! last run. For a longer `soak.rs`: `LISTENER_SOAK_SECONDS=600 cargo test -p tests --test fault soak
//! -- --include-ignored --nocapture`.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod alarms;
mod broker;
mod broker_killed;
mod clock;
mod cluster;
mod durable_only;
mod endpoints;
mod input;
mod killed;
mod listed;

mod mistakes;
mod network;
mod operating;
mod poison;
mod process;
mod program;
mod queues;
mod signals;
mod soak;
mod stopped;
mod trial;
