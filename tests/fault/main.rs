//! Faults against a real broker, under whole programs: each fault of `support/fault_list.rs` that
//! a RabbitMQ node can show, with an account of every message (`trial.rs`), and everything that
//! can be wrong in a configuration. `cargo run -p tests --bin fault_table` makes the table
//! `results.md` from what the last run has kept. `LISTENER_SOAK_SECONDS=600 cargo test -p tests
//! --test fault soak -- --include-ignored --nocapture` is the long form of `soak.rs`.

#![allow(clippy::unwrap_used, reason = "a test that fails may say so by panicking")]

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
