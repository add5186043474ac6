//! Typed, reliable listeners for notifications.
//!
//! A program annotates methods and calls one function:
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
//!     /// A payload may borrow strings without escapes; an outcome decides what happens to the notification.
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
//! It reads and writes the wire format of OpenStack's oslo.messaging, so a listener replaces a
//! Python one, and a [`Notifier`] a Python notifier, without changes to the other services.
//! Notifications come from RabbitMQ; without a broker the same program runs in memory.
//!
//! # Guarantees
//!
//! - **At least once.** A delivery is acknowledged only after every matching endpoint method has handled
//!   it, or after persistent copies of it are confirmed: in a retry, quarantine or dead-letter queue.
//!   While a copy cannot be made, the original stays unacknowledged, its pending methods are paused, and
//!   the listener is not ready; after 15 minutes a confirmed copy at the end of its own queue replaces
//!   it, unless the notification is ordered (`ordered_by`, or the executor `sequential`).
//! - **Only failed methods are retried.** An error, a panic or a timeout is retried with growing delays,
//!   in retry queues of the broker; after the last attempt the notification is dead-lettered, its body
//!   unchanged and the reason in its headers. A retry does not call methods that have already handled
//!   it.
//! - **No notification blocks the others.** A notification that crashes the process (a poison message)
//!   is recognised, quarantined, handled one at a time, and dead-lettered if it crashes further
//!   processes; the notifications around it are handled. A flood of `info` does not delay `error`.
//! - **It reconnects.** When the broker is killed, a connection is closed, the network is cut or a queue
//!   is deleted, the listener reconnects, with growing delays, to the next host. 42 faults of brokers,
//!   networks, processes and peers are listed; each has a test that accounts for every message, or a
//!   reason why it has none.
//! - **Resources are bounded**: deliveries, bytes and concurrent calls. Invalid input does not end the
//!   process, and secrets do not appear in logs and errors.
//! - **A notifier reports what happened to every notification**: confirmed, returned, refused, or
//!   unknown. With the feature `spool` it stores notifications on disk while the broker is unreachable,
//!   and sends them in order later. The files contain payloads and contexts, and only the user of the
//!   process may read them.
//! - **Existing queues and exchanges are used as they are**, and nothing is ever deleted; the permission
//!   to configure is needed only for what is missing. With a `rabbit://` URL missing ones are declared
//!   as oslo.messaging declares them; with an `amqp://` URL they are durable.
//! - **Shutdown is graceful.** On SIGTERM running methods finish, deliveries that were not started are
//!   released, and the process exits with code 0; other listeners receive the rest.
//! - **Mistakes are compile errors that suggest a fix**, at the token that is wrong: all errors of
//!   syntax and signatures at once, then type errors.
//! - **Errors say what to do**: every other mistake that can be found without I/O is reported in one
//!   error, with a fix, and never with a password.
//! - **The wire format is oslo.messaging's.** A notification sent by Python arrives as it does at
//!   Python's own listener, and the other way round, in both envelope versions.
//!
//! # Where to look
//!
//! | to | see |
//! |---|---|
//! | write endpoints, and test them | [`guide`]: every form, and every mistake with what the compiler says |
//! | decide what happens to a notification | [`Outcome`], [`permanent`], [`retry_after`]; [`guide::failures`] |
//! | use your own argument types | [`FromNotification`] |
//! | run it, configured by environment variables | [`listen`](listen()); [`Config`] has the variables |
//! | run it within a program | [`Listener::builder`]: [`ListenerBuilder`] and its [`options`] |
//! | watch it: probes, metrics, alerts | [`Listener::health`], [`Listener::is_ready`], [`observe`] |
//! | read dead letters | [`queues`]: the names of the queues, and their headers |
//! | configure it, also with the file of an OpenStack service | [`guide::configuration`] |
//! | run it well: the user, policies, dead letters, Kubernetes | [`guide::operating`] |
//! | send notifications | [`Notifier`]; [`guide::sending`] |
//! | replace a program that uses oslo.messaging | [`guide::oslo`]: each of its behaviours, and what differs |
//! | convert payloads and contexts on the wire | [`Serializer`] |
//! | handle redelivered notifications only once | [`Inbox`], [`MemoryInbox`] |
//! | keep endpoints of a library linked | [`link!`] |
//! | choose and tune the transport | [`Transport::open`], [`RabbitOptions`](options::RabbitOptions) |
//! | connect to RabbitMQ without a URL | [`Rabbit::builder`](driver::Rabbit::builder) |
#![cfg_attr(feature = "testing", doc = "| test against a broker that fails | [`testing`] |")]
//! | write a driver | [`driver`]; [`envelope`] has the wire format |
//!
//! # Logging
//!
//! It logs with [`tracing`](https://docs.rs/tracing). Install a subscriber, such as that of
//! `tracing-subscriber`, with a filter such as `info,lapin=off`: lapin logs the bodies of messages that a
//! broker returns.
//!
//! # Requirements
//!
//! - tokio, with the features `macros` and `rt-multi-thread` for `#[tokio::main]`. A runtime that the program
//!   builds itself needs `enable_all`.
//! - serde, with the feature `derive`, for payloads.
//! - `serde_json`, for payloads of any JSON (`serde_json::Value`); with its feature `raw_value` for
//!   `&RawValue`. It is a public dependency: [`Context`], [`Serializer`] and [`Notification`] have its types.
//!
//! Not supported yet: metrics (an [`Observer`] receives events).
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `rabbit` | yes | the RabbitMQ driver |
//! | `macros` | yes | the attribute `notification_endpoint`, without which no endpoint can be written |
//! | `config` | yes | the TOML file that `LISTENER_CONFIG` names |
//! | `tls` | no | TLS for the RabbitMQ driver, through rustls with ring, which compiles C and assembly |
//! | `oslo-config` | yes | the files of oslo.config that `LISTENER_OSLO_CONFIG` names, and `OS_<GROUP>__<OPTION>` |
//! | `spool` | no | the notifier's spool on disk: `options::SpoolOptions` |
//! | `routing` | no | reading the rules of `output::Routing` from a YAML file |
//! | `tracing-layer` | no | the layers of `tracing` in `layers`, which send errors and log records as notifications |
//! | `testing` | no | the module `testing`: an in-memory broker that fails as RabbitMQ can, for tests of programs |

#![cfg_attr(docsrs, feature(doc_cfg))]

// First, for their macros.
#[macro_use]
mod redact;
#[macro_use]
mod setters;
mod future;
pub mod guide;
// In the order in which a delivery passes through them.
mod transport;
mod drivers;
pub mod envelope;
mod serializer;
mod notification;
mod target;
mod filter;
mod order;
pub mod extract;
mod batch;
mod endpoint;
mod dispatch;
mod outcome;
mod inbox;
mod observer;
mod runtime;
mod notifier;
#[cfg(feature = "tracing-layer")]
pub mod layers;
mod config;
mod listen;
mod link;
#[doc(hidden)]
pub mod __private;

pub use crate::batch::{Batch, BatchItem, BatchOutcome, IntoBatchOutcome, ItemIndex};
pub use crate::config::Config;
pub use crate::endpoint::Endpoint;
pub use crate::endpoint::configured::{Configured, EndpointExt, IntoEndpoint};
pub use crate::envelope::{Compression, EnvelopeVersion};
pub use crate::extract::{
    Attempt, FromNotification, ReceivedAt, State, Trace, Versioned, VersionedPayload,
};
pub use crate::filter::Filter;
pub use crate::future::BoxFuture;
pub use crate::inbox::{Inbox, InboxEntry, MemoryInbox};
pub use crate::listen::listen;
pub use crate::notification::context::Context;
pub use crate::notification::delivery_info::DeliveryInfo;
pub use crate::notification::metadata::Metadata;
pub use crate::notification::priority::Priority;
pub use crate::notification::trace::TraceContext;
pub use crate::notification::{Notification, PartError};
pub use crate::notifier::Notifier;
pub use crate::notifier::builder::NotifierBuilder;
pub use crate::notifier::error::NotifyError;
pub use crate::notifier::pending::PendingNotification;
pub use crate::notifier::receipt::Receipt;
pub use crate::notifier::retry::Retry;
pub use crate::observer::{Event, Observer};
pub use crate::order::OrderKey;
pub use crate::outcome::kind::{Classified, ErrorKind, permanent, retry_after, transient};
pub use crate::outcome::{BoxError, IntoOutcome, Outcome};
pub use crate::runtime::Listener;
pub use crate::runtime::builder::ListenerBuilder;
pub use crate::runtime::error::Error;
pub use crate::runtime::health::Health;
pub use crate::serializer::{
    JsonPayloadSerializer, NoOpSerializer, RequestContextSerializer, Serializer,
};
pub use crate::target::Target;
pub use crate::transport::Transport;
#[cfg(feature = "macros")]
pub use listener_macros::notification_endpoint;

/// How listeners and notifiers are configured in a program. `RabbitOptions` documents the options that a
/// transport URL may have.
pub mod options {
    #[cfg_attr(
        not(feature = "rabbit"),
        allow(dead_code, reason = "only options of URLs have a scope")
    )]
    pub(crate) mod declare;
    mod duration;
    pub(crate) mod listener;
    pub(crate) mod nearest;
    pub(crate) mod notifier;
    #[cfg_attr(
        not(feature = "rabbit"),
        allow(dead_code, reason = "some kinds of values are only in URLs")
    )]
    pub(crate) mod value;

    pub use self::listener::{
        Executor, ListenerOptions, OnFailure, OnUnknownPriority, PoisonOptions, RetryOptions,
        RetryStorage,
    };
    #[cfg(feature = "rabbit")]
    pub use crate::drivers::{FailoverStrategy, LoginMethod, RabbitOptions, TlsVersion};
    #[doc(no_inline)]
    pub use crate::envelope::Limits;
    #[cfg(feature = "spool")]
    pub use crate::notifier::spool::{SpoolOptions, WhenFull};
}

/// Events of a listener and its deliveries, its state and its endpoints, and the state of a notifier's spool.
pub mod observe {
    pub use crate::endpoint::EndpointDefinition;
    pub use crate::endpoint::policy::EndpointPolicy;
    pub use crate::filter::rule::FilterRule;
    #[cfg(feature = "spool")]
    pub use crate::notifier::spool::Spooled;
    #[doc(no_inline)]
    pub use crate::observer::{Event, Observer};
    #[doc(no_inline)]
    pub use crate::runtime::health::Health;
    pub use crate::runtime::health::{Pause, QueueHealth, TransportHealth};
    #[doc(no_inline)]
    pub use crate::transport::driver::ConnectionState;
}

pub mod error {
    //! All errors.
    //!
    //! | call | error |
    //! |---|---|
    //! | [`Config::from_env`](crate::Config::from_env), [`Config::from_variables`](crate::Config::from_variables) | [`ConfigError`] |
    //! | [`Transport::open`](crate::Transport::open) | [`OpenError`], with a [`UrlError`] |
    //! | [`ListenerBuilder::build`](crate::ListenerBuilder::build) | [`BuildError`], with each [`Problem`] |
    //! | [`listen`](crate::listen()), and starting, running and stopping a [`Listener`](crate::Listener) | [`Error`], which contains those above |
    //! | [`NotifierBuilder::build`](crate::NotifierBuilder::build) | [`NotifierBuildError`] |
    //! | [`Notifier::notify`](crate::Notifier::notify) and the methods for each priority | [`NotifyError`], with [`Unsent`] topics and a [`SpoolError`] |
    //! | an extractor or an argument | [`PartError`], [`MissingState`] |
    //! | a method of an endpoint | [`Failure`], from its [`IntoOutcome`](crate::IntoOutcome) |
    //! | [`Transport`](crate::Transport)'s `subscribe`, `send` and `journal` | [`ConnectError`], [`SendError`], [`JournalError`] |
    //! | [`Delivery::settle`](crate::driver::Delivery::settle) | [`SettleError`] |
    //! | [`envelope`](crate::envelope)'s `open`, `read` and `encode` | [`DecodeError`], [`EncodeError`] |
    //! | a constructor of [`Filter`](crate::Filter) | [`FilterError`] |
    //! | parsing a priority, an order key, a compression | [`UnknownPriority`], [`UnknownOrderKey`], [`UnknownCompression`] |
    //!
    //! `Display` of an error shows its message without its causes, which are its sources; `Debug`, which `main`
    //! prints for an error that it returns, shows both.

    pub use crate::config::ConfigError;
    #[doc(no_inline)]
    pub use crate::envelope::{DecodeError, EncodeError, UnknownCompression};
    #[doc(no_inline)]
    pub use crate::extract::MissingState;
    pub use crate::filter::FilterError;
    #[doc(no_inline)]
    pub use crate::notification::PartError;
    pub use crate::notification::priority::UnknownPriority;
    #[doc(no_inline)]
    pub use crate::notifier::error::NotifyError;
    pub use crate::notifier::error::{
        NotifierBuildError, OutputError, OutputErrors, SpoolError, Unsent,
    };
    pub use crate::notifier::outputs::name::UnknownOutput;
    #[cfg(feature = "routing")]
    pub use crate::notifier::outputs::yaml::RoutingError;
    pub use crate::order::UnknownOrderKey;
    pub use crate::outcome::{Failure, MethodResult};
    #[doc(no_inline)]
    pub use crate::runtime::error::Error;
    pub use crate::runtime::error::{BuildError, EndpointLocation, Problem};
    pub use crate::transport::error::OpenError;
    #[doc(no_inline)]
    pub use crate::transport::error::{ConnectError, JournalError, SendError, SettleError};
    pub use crate::transport::executor::NoRuntime;
    pub use crate::transport::url::UrlError;
}

/// Where a notifier sends, in addition to the broker or instead of it.
pub mod output {
    pub use crate::notifier::outputs::collect::TestOutput;
    pub use crate::notifier::outputs::notification::OutputNotification;
    pub use crate::notifier::outputs::routing::Routing;
    pub use crate::notifier::outputs::rule::Rule;
    pub use crate::notifier::outputs::{NotifierOutput, Output};
}

/// The contract of drivers (raw messages, queues and routes), and RabbitMQ's driver.
pub mod driver {
    #[cfg(feature = "rabbit")]
    pub use crate::drivers::{Rabbit, RabbitBuilder};
    pub use crate::transport::delivery::{
        Delivery, HeaderValue, Headers, Properties, Settle, Settlement, Settler,
    };
    pub use crate::transport::demand::Demand;
    pub use crate::transport::driver::{
        Binding, Capabilities, ConnectionState, Consumer, Driver, JournalAppend, JournalRead,
        MAX_DELAY, MAX_TIMEOUT, Outgoing, Route, Subscribed, Subscription,
    };
    #[doc(no_inline)]
    pub use crate::transport::error::OpenError;
    pub use crate::transport::error::{ConnectError, JournalError, SendError, SettleError};
    #[doc(no_inline)]
    pub use crate::transport::url::UrlError;
    pub use crate::transport::url::{Host, TransportUrl};
}

/// The default exchange and topic, routing keys, the names of side queues (except retry queues, which
/// the driver names), and the headers of the copies in them.
pub mod queues {
    pub use crate::runtime::settle::copy_headers as headers;
    pub use crate::target::{
        DEFAULT_EXCHANGE, DEFAULT_TOPIC, dead_letter_queue, quarantine_journal, quarantine_queue,
        routing_key,
    };
}

/// An in-memory broker that injects RabbitMQ's failures, reproducibly from a seed.
///
/// A [`Process`](testing::Process) of the [`Model`](testing::Model) is a driver. The model uses tokio's clock
/// only: with a paused clock, on one thread, no test waits for a delay.
///
/// ```
/// use listener::testing::Model;
/// use listener::{Context, Listener, Notifier, Transport, notification_endpoint};
///
/// struct Billing;
///
/// #[notification_endpoint(register = false)]
/// impl Billing {
///     async fn info(&self, event_type: &str) {
///         println!("{event_type}");
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?;
/// # runtime.block_on(async {
/// let model = Model::new(7);
/// // Half of the sends lose their connection.
/// model.change(|conditions| conditions.lost_sends = 50);
/// let transport = Transport::new(model.process(), "model");
/// let listener = Listener::builder().transport(transport.clone()).endpoint(Billing).build()?;
/// listener.start().await?;
///
/// let notifier = Notifier::builder(transport).build()?;
/// for _ in 0..10 {
///     notifier.info(&Context::new(), "instance.create.end", &()).await?;
/// }
/// model.lose_connections("the network is cut");
/// tokio::time::sleep(std::time::Duration::from_secs(60)).await;
/// listener.shutdown().await?;
/// assert_eq!(model.depths().values().sum::<usize>(), 0, "all are handled, and there is no dead letter");
/// # Ok(())
/// # })
/// # }
/// ```
#[cfg(feature = "testing")]
pub mod testing {
    pub use crate::drivers::{Conditions, DeliveryLimit, FaultCounts, Model, Process};
}
