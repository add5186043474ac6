//! Shared test support: a private RabbitMQ node, a TCP proxy with network faults, peers that run the
//! real oslo.messaging, a raw AMQP client, a wait with a deadline, and for the fault tests their list,
//! the options of a worker, and the account of each message. All test binaries of this crate use it; it
//! does not depend on `listener`. Everything listens on 127.0.0.1 only, and all processes end with the
//! test process, however that ends.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "test support: a panic is how it reports, and its users read the source"
)]

pub mod account;
pub mod amqp;
pub mod certificates;
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

/// The secret in tests. `tests/run` fails if anything prints it.
pub const SECRET: &str = "s3cr3t!canary";

pub use account::{Account, Record};
pub use amqp::Amqp;
pub use certificates::{Authority, Folder, Identity, TlsImpostor, Validity};
pub use impostor::Impostor;
pub use job::{Act, Job, WorkerOptions};
pub use proxy::{Proxy, Toxics};
pub use python_peer::{ListenerOptions, NotifierOptions, PythonListener, PythonNotifier};
pub use rabbit_host::RabbitHost;
pub use rabbit_node::{RabbitNode, cluster, harmed, oslo_url, shared};
pub use wait::wait_until;
