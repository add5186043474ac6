//! Whole flows on the memory driver: a notifier, a bus, a listener with endpoints, and what
//! becomes of each notification. The clock is paused, so no test waits for real time.

#![allow(clippy::unwrap_used, reason = "a test that fails may say so by panicking")]
#![allow(
    clippy::needless_pass_by_value,
    reason = "an endpoint method takes its arguments by value"
)]

mod arguments;
mod blocking;
mod borrowed;
mod build;
mod config;
mod compressed;
mod copies;
mod dead_letter;
mod delays;
mod ending;
mod evidence;
mod endpoints;
mod executor;
mod filter;
mod health;
mod inputs;
mod instances;
mod lifecycle;
mod logging;
mod notifier;
mod operating;
mod order;
mod outcome;
mod owed;
mod poison;
mod pool;
mod priority;
mod prepared;
mod program_code;
mod retry;
mod rig;
mod sending;
mod serializer;
mod session;
mod slots;
mod spool;
mod steps;
mod suspects;
