//! The real oslo.messaging on the other side, in both directions, through a real broker: what
//! its notifier sends, we receive as its own listener does; what we send, its listener
//! receives as it was.

#![allow(clippy::unwrap_used, reason = "a test that fails may say so by panicking")]

mod collect;
mod listen_from_python;
mod notify_to_python;
mod samples;
mod starting_order;
