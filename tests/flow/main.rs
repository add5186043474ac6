//! Whole flows over the memory driver: a notifier, a bus and a listener with endpoints. The clock is
//! paused, so no test waits in real time.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(
    clippy::needless_pass_by_value,
    reason = "an endpoint method takes its arguments by value"
)]

mod arguments;
mod batch_failures;
mod batches;
mod blocking;
mod borrowed;
mod build;
mod capabilities;
mod compressed;
mod config;
mod copies;
mod dead_letter;
mod delays;
mod delivery_limit;
mod endpoints;
mod evidence;
mod filter;
mod health;
mod inputs;
mod instances;
mod lifecycle;
mod log_records;
mod logging;
mod named_instances;
mod notifier;
mod notifier_broker;
mod notifier_context;
mod notifier_enqueue;
mod notifier_outputs;
mod notifier_routing;
mod notifier_trace;
mod operating;
mod order;
mod oslo;
mod oslo_batches;
mod outcome;
mod pending;
mod poison;
mod pool;
mod prepared;
mod priority;
mod put_back;
mod retry;
mod rig;
mod sending;
mod serializer;
mod session;
mod shutdown;
mod slots;
mod spool;
mod spool_refusals;
mod steps;
mod suspects;
mod suspects_held;
mod suspects_quarantined;
mod tokio_runtime;
mod transports;
mod user_code;
mod window;
