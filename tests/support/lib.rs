//! What the tests share: a private RabbitMQ node, a TCP proxy with the network's faults, peers
//! that run the real oslo.messaging, a raw AMQP client, a wait with a deadline, and for the tests
//! of faults their list, what a worker is told, and the count of what became of each message.
//! Every test binary of this crate calls it; nothing here knows `listener`. All of it listens on
//! 127.0.0.1 only, and all processes end with the test process, however that one ends.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "test support: a panic is how it reports, and its users read the source"
)]

pub mod account;
pub mod amqp;
pub mod fault_list;
pub mod fault_table;
pub mod impostor;
pub mod job;
mod management;
pub mod proxy;
mod pump;
pub mod python_peer;
pub mod rabbit_host;
pub mod rabbit_node;
pub mod raw;
pub mod wait;

/// What tests put where a secret stands. `tests/run` fails if anything printed it.
pub const SECRET: &str = "s3cr3t!canary";

pub use account::{Account, Record};
pub use amqp::Amqp;
pub use impostor::Impostor;
pub use job::{Act, Job, WorkerOptions};
pub use proxy::{Proxy, Toxics};
pub use python_peer::{ListenerOptions, NotifierOptions, PythonListener, PythonNotifier};
pub use rabbit_host::RabbitHost;
pub use rabbit_node::{RabbitNode, cluster, harmed, oslo_url, shared};
pub use wait::wait_until;
