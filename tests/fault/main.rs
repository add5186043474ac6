//! Faults against a real broker: it is killed, links are closed, queues are deleted, the
//! program is stopped in the middle of its work, and everything that can be wrong in a
//! configuration is.

#![allow(clippy::unwrap_used, reason = "a test that fails may say so by panicking")]

mod broker_killed;
mod mistakes;
mod program;
mod stopped;
