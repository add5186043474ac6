//! Tests of the test support, on which all other tests depend. Most of them need a broker, and some
//! oslo.messaging.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod account;
mod broker_choice;
mod node;
mod processes;
mod proxy;
mod python;
