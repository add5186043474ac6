//! Typed, reliable listeners for notifications.
//!
//! A program annotates its handlers and calls one function:
//!
//! ```no_run
//! use std::borrow::Cow;
//!
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
//!     #[serde(borrow)]
//!     message: Cow<'f, str>,
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
//!     /// A payload may borrow what has no escapes; an outcome says what becomes of the notification.
//!     async fn error(&self, payload: Fault<'_>) -> Outcome {
//!         match payload.code {
//!             0 => Outcome::Handled,
//!             _ => Outcome::dead_letter(payload.message.into_owned()),
//!         }
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
//! - **At least once.** A delivery is acknowledged when every endpoint that wants it has handled
//!   it, or when confirmed, persistent copies stand in its place: in a retry queue, or in the
//!   dead-letter queue `<queue>.dead`. While a copy cannot be made, the original stays
//!   unacknowledged, its methods pause, and readiness says so; after 15 minutes a confirmed copy in
//!   its own queue takes its place, unless order is kept.
//! - **What fails is tried again, for those who failed.** An error, a panic or a call that takes
//!   too long is tried again with growing pauses, held back by the broker, and then goes to the
//!   dead letters, body untouched, with the reason in its headers. The methods that handled it
//!   are not called again.
//! - **Nothing spins, and nothing takes the others along.** A notification that ends the process
//!   is recognised, worked on alone, and given up; its neighbours are handled. A flood of `info`
//!   holds up no `error`.
//! - **It stays up.** A broker that is killed, a connection that is closed, a link that is cut,
//!   a queue that is deleted: the listener attaches again, with growing pauses, to the next
//!   host. Of 42 faults of brokers, networks, processes and peers each is a test that accounts
//!   for every message, or names the reason why it is none.
//! - **It takes a bounded part of the machine**: deliveries, bytes and calls at once; bad input
//!   ends no process, and secrets stay out of logs and errors.
//! - **A notifier tells what became of a notification**: confirmed, returned, refused, or
//!   perhaps sent. With the feature `spool` it keeps notifications on disk while the broker is
//!   away, and sends them in order when it is back. The spool's files hold payloads and
//!   contexts, for this user to read only.
//! - **Existing queues and exchanges are used as they are**, and nothing is ever deleted; it
//!   works without permission to configure. With a `rabbit://` URL missing ones are declared as
//!   oslo.messaging declares them, with an `amqp://` URL they are durable.
//! - **It stops in order.** SIGTERM lets methods finish, gives back what was not begun, and ends
//!   with code 0; the next listener gets the rest.
//! - **Mistakes are compile errors that suggest a fix**, at the token that is wrong: all mistakes of
//!   form at once, and those of types once the form is right.
//! - **It says what is wrong**: every other mistake that can be found without I/O in one error,
//!   with a fix, and never a password.
//! - **It is the same wire.** What Python's notifier sends arrives as at Python's own listener,
//!   and the reverse, in both envelope versions.
//!
//! # Where to look
//!
//! | to | see |
//! |---|---|
//! | write endpoints, and test them | [`guide`]: every form, and every mistake with what the compiler says |
//! | say what becomes of a notification | [`Outcome`], [`permanent`], [`retry_after`]; [`guide::failures`] |
//! | take arguments of the program's own | [`FromNotification`] |
//! | run it, configured from outside | [`listen`](listen()); [`Config`] has the variables |
//! | run it within a program | [`Listener::builder`]: [`ListenerBuilder`], [`RetryOptions`], [`OnFailure`], [`Options`] |
//! | watch it: probes, metrics, alerts | [`Listener::health`], [`Listener::is_ready`], [`Observer`] |
//! | run it well: the account, policies, dead letters, Kubernetes | [`guide::operating`] |
//! | send notifications | [`Notifier`] |
//! | handle duplicates once | [`Inbox`], [`MemoryInbox`] |
//! | keep endpoints of a library linked | [`link!`] |
//! | choose and tune the transport | [`Transport::open`], [`drivers`]; [`envelope`] has the wire |
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
mod duration;
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
pub use crate::notifier::builder::NotifierBuilder;
pub use crate::notifier::error::NotifyError;
pub use crate::notifier::{Notifier, Safe};
pub use crate::observe::{Event, Observer};
pub use crate::order::OrderKey;
pub use crate::outcome::kind::{Classified, ErrorKind, permanent, retry_after, transient};
pub use crate::outcome::{BoxError, Outcome};
pub use crate::runtime::Listener;
pub use crate::runtime::builder::ListenerBuilder;
pub use crate::runtime::error::Error;
pub use crate::runtime::health::Health;
pub use crate::runtime::options::{
    Executor, OnFailure, OnUnknownPriority, Options, PoisonOptions, RetryOptions, RetryPlace,
};
pub use crate::serializer::Serializer;
pub use crate::target::Target;
pub use crate::transport::Transport;
#[cfg(feature = "macros")]
pub use listener_macros::notification_endpoint;
