//! Interoperation with the real oslo.messaging, in both directions, over a real broker: our listener
//! receives the same as its listener, and its listener receives what our notifier sent.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod batches;
mod collect;
mod filters;
mod listen_from_python;
mod notify_to_python;
mod pools;
mod requeue;
mod samples;
mod starting_order;
mod urls;
