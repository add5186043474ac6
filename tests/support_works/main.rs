//! The test support, held to its promises: the tests of the project stand on it.
//! Most of it needs a broker, and some of it oslo.messaging.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod account;
mod broker_choice;
mod node;
mod processes;
mod proxy;
mod python;
