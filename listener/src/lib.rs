//! Typed, reliable listeners for notifications.
//!
//! A program annotates its handlers and calls one function:
//!
//! ```no_run
//! use listener::{Context, Metadata, Outcome, notification_endpoint};
//! use serde::Deserialize;
//!
//! #[derive(Deserialize)]
//! struct Instance {
//!     instance_id: String,
//! }
//!
//! #[derive(Deserialize)]
//! struct Fault<'f> {
//!     code: u32,
//!     message: &'f str,
//! }
//!
//! #[derive(Default)]
//! struct Billing;
//!
//! #[notification_endpoint(publisher_id = r"^compute\.")]
//! impl Billing {
//!     /// The five arguments of oslo.messaging, by name; any of them, in any order.
//!     async fn info(&self, ctxt: &Context, event_type: &str, payload: Instance, metadata: &Metadata) {
//!         println!("{event_type}: {} {:?} {}", payload.instance_id, ctxt, metadata.message_id());
//!     }
//!
//!     /// A payload may borrow; an outcome says what becomes of the notification.
//!     async fn error(&self, payload: Fault<'_>) -> Outcome {
//!         if payload.code == 0 { Outcome::Handled } else { Outcome::dead_letter(payload.message.to_owned()) }
//!     }
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), listener::Error> {
//!     listener::listen().await
//! }
//! ```
//!
//! It speaks the wire format of OpenStack's oslo.messaging in both directions, so a listener
//! takes the place of a Python one, and a [`Notifier`] that of a Python notifier, beside
//! services that do not change. RabbitMQ is the engine; without a broker the same program
//! runs in memory.
//!
//! # What it promises
//!
//! - At least once: a delivery is acknowledged when every endpoint that wants it has handled
//!   it, or when a confirmed copy of it stands in the dead-letter queue `<queue>.dead`.
//!   Never before.
//! - What fails, panics, or cannot be read goes to the dead letters with the reason in its
//!   headers ([`runtime::headers`] names them), body untouched. Nothing is dropped, and
//!   nothing spins.
//! - A connection that is lost is made again, for as long as the program runs.
//! - Bounded: prefetch, deliveries in work, sizes ([`Options`]).
//!
//! # Where to look
//!
//! [`guide`] has every form of an endpoint, and every mistake in one; [`link!`] keeps the
//! endpoints of a library in the program; [`Listener`] is the running service; [`Outcome`] what
//! a method may say; [`FromNotification`] arguments of the program's own;
//! [`Config`] the environment variables of [`listen`](listen()); [`envelope`] the wire.
//!
//! # Features
//!
//! `rabbit`: the RabbitMQ driver. `macros`: the attribute. `config`: the TOML file that
//! `LISTENER_CONFIG` names. These three are on by default. `spool`: the notifier's spool on
//! disk.

// First, for its macro.
#[macro_use]
mod shown;
#[cfg(feature = "macros")]
pub mod guide;
// In the order of a delivery's way.
pub mod transport;
pub mod drivers;
pub mod envelope;
pub mod serializer;
pub mod notification;
pub mod target;
pub mod filter;
pub mod order;
pub mod extract;
pub mod endpoint;
pub mod dispatch;
pub mod outcome;
pub mod inbox;
pub mod observe;
pub mod runtime;
pub mod notifier;
pub mod config;
mod listen;
mod link;
mod nearest;
#[doc(hidden)]
pub mod __private;

pub use crate::config::Config;
pub use crate::endpoint::Endpoint;
pub use crate::envelope::{Compression, Version};
pub use crate::extract::FromNotification;
pub use crate::extract::attempt::{Attempt, ReceivedAt};
pub use crate::extract::state::State;
pub use crate::extract::versioned::{Versioned, VersionedPayload};
pub use crate::inbox::{Inbox, InboxEntry, MemoryInbox};
pub use crate::listen::listen;
pub use crate::notification::context::Context;
pub use crate::notification::delivery_info::DeliveryInfo;
pub use crate::notification::metadata::Metadata;
pub use crate::notification::priority::Priority;
pub use crate::notification::{Notification, PartError};
pub use crate::notifier::error::NotifyError;
pub use crate::notifier::{Notifier, Safe};
pub use crate::order::OrderKey;
pub use crate::outcome::kind::{Classified, ErrorKind, permanent, retry_after, transient};
pub use crate::outcome::{BoxError, Outcome};
pub use crate::runtime::Listener;
pub use crate::runtime::error::Error;
pub use crate::runtime::options::{Executor, Options};
pub use crate::serializer::Serializer;
pub use crate::target::Target;
pub use crate::transport::Transport;
#[cfg(feature = "macros")]
pub use listener_macros::notification_endpoint;
