//! What the tests share: a private RabbitMQ node, a TCP proxy that can be cut or stalled,
//! peers that run the real oslo.messaging, a raw AMQP client, and a wait with a deadline.
//! Every test binary of this crate calls it; nothing here knows `listener`. All of it listens on
//! 127.0.0.1 only, and all processes end with the test process, however that one ends.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "test support: a panic is how it reports, and its users read the source"
)]

pub mod amqp;
mod management;
pub mod proxy;
pub mod python_peer;
pub mod rabbit_host;
pub mod rabbit_node;
pub mod raw;
pub mod wait;

/// What tests put where a secret stands. `tests/run` fails if anything printed it.
pub const SECRET: &str = "s3cr3t!canary";

pub use amqp::Amqp;
pub use proxy::Proxy;
pub use python_peer::{ListenerOptions, NotifierOptions, PythonListener, PythonNotifier};
pub use rabbit_host::RabbitHost;
pub use rabbit_node::{RabbitNode, shared};
pub use wait::wait_until;
