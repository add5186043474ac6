//! The notifier: it sends notifications, with one method for each priority. `builder.rs` has its options,
//! `outputs/` where notifications go, `fan_out.rs` passes them to several outputs, `send.rs` writes and sends
//! them to the broker, `window.rs` limits those in flight, and `spool/` stores
//! notifications on disk while the broker does not confirm them.

pub(crate) mod builder;
pub(crate) mod error;
mod fan_out;
mod message;
pub(crate) mod outputs;
pub(crate) mod pending;
pub(crate) mod receipt;
mod redaction;
pub(crate) mod retry;
mod send;
mod window;
#[cfg(feature = "spool")]
pub(crate) mod spool;
#[cfg(not(feature = "spool"))]
#[path = "no_spool.rs"]
mod spool;

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::envelope::EncodeError;
use crate::notification::context::Context;
use crate::notification::priority::Priority;
use crate::notification::trace::TraceContext;
use crate::notifier::builder::{NotifierBuilder, Parts};
use crate::notifier::error::{NotifierBuildError, NotifyError};
use crate::notifier::fan_out::FanOut;
use crate::notifier::outputs::Output;
use crate::notifier::pending::PendingNotification;
use crate::notifier::receipt::Receipt;
use crate::notifier::retry::Retry;
use crate::notifier::send::{Header, Settings};
#[cfg(feature = "spool")]
use crate::notifier::spool::{Spool, Spooled};
use crate::notifier::window::Permit;
use crate::transport::{Transport, executor};

/// Sends notifications as oslo.messaging's `Notifier` does, with one difference: when a method
/// returns `Ok`, a crash does not lose the notification (see [`Receipt`]); otherwise the caller gets an
/// error.
///
/// Cheap to clone; clones share the connection and the window. Many notifications may be in flight at
/// once, up to [`window`](NotifierBuilder::window): call it from many tasks, or await many calls together.
/// On the same topic and priority, a notification whose call begins after another call has returned
/// arrives after that one's; the order of concurrent calls is not defined.
///
/// With a spool (feature `spool`) notifications are written to the disk of this machine while the broker
/// is unreachable, and sent later. Without one the caller decides what to do; [`NotifyError`] says what
/// may help.
///
/// ```
/// use listener::{Context, Notifier, Transport};
/// use serde::Serialize;
///
/// #[derive(Serialize)]
/// struct Created {
///     instance_id: String,
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let transport = Transport::open("memory://doc-notifier")?;
/// let notifier = Notifier::builder(transport).publisher_id("compute.host1").build()?;
/// let context = Context::new().with("request_id", "req-1");
/// let payload = Created { instance_id: "i-1".to_owned() };
/// notifier.info(&context, "instance.create.end", &payload).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Notifier {
    transport: Transport,
    publisher_id: Option<Arc<str>>,
    retry: Retry,
    trace: Option<Arc<TraceContext>>,
    settings: Arc<Settings>,
}

impl Notifier {
    /// A builder for a notifier that uses this transport.
    pub fn builder(transport: Transport) -> NotifierBuilder {
        NotifierBuilder::new(transport)
    }

    /// The same notifier with another publisher id. Cheap: it shares the connection.
    #[must_use]
    pub fn with_publisher_id(&self, publisher_id: impl Into<Arc<str>>) -> Self {
        Self { publisher_id: Some(publisher_id.into()), ..self.clone() }
    }

    /// The same notifier with another number of retries. Cheap: it shares the connection.
    #[must_use]
    pub fn with_retry(&self, retry: Retry) -> Self {
        Self { retry, ..self.clone() }
    }

    /// The same notifier, which writes this trace into the context of each notification, in place of one that
    /// is there. Cheap: it shares the connection.
    ///
    /// A context that is forwarded unchanged keeps its trace without this.
    #[must_use]
    pub fn with_trace_context(&self, trace: TraceContext) -> Self {
        Self { trace: Some(Arc::new(trace)), ..self.clone() }
    }

    /// Whether notifications go anywhere: false only if `noop` is its only output. A program can then save
    /// the work of making payloads.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        let settings = &self.settings;
        !(matches!(settings.outputs[..], [Output::Noop]) && settings.routings.is_empty())
    }

    /// Sends a notification at this priority to every topic. It has one message id for all of them. The
    /// receipt says whether the broker confirmed it or the spool keeps it; without a spool it is always
    /// [`Receipt::Confirmed`]. With other [outputs](NotifierBuilder::output) it goes to each of them.
    ///
    /// Dropping the future stops waiting; whether it was sent is then unknown.
    ///
    /// # Errors
    /// It could not be written, or some topic did not confirm it in time, or some output did not take it; the
    /// others may have it. There is no tokio runtime with timers here. [`NotifyError`] says whether to call again.
    pub async fn notify<P: Serialize + ?Sized>(
        &self,
        priority: Priority,
        ctxt: &Context,
        event_type: &str,
        payload: &P,
    ) -> Result<Receipt, NotifyError> {
        executor::check()?;
        let header = self.header(priority, event_type);
        let Some(version) = self.settings.only_version() else {
            let outputs = FanOut(&self.settings);
            let prepared = outputs.prepare(header, ctxt, payload)?;
            // Boxed, so that the future of the usual case stays small.
            return Box::pin(outputs.pass(&self.transport, header, prepared)).await;
        };
        let messages = self.settings.write(version, header, ctxt, payload)?;
        self.settings.send(&self.transport, messages, self.retry).await
    }

    /// Begins to send a notification, and returns its result as a future, which need not be awaited before the
    /// next call. Waits while [`window`](NotifierBuilder::window) enqueued notifications are in flight.
    ///
    /// On the same topic and priority, notifications arrive in the order of the calls, as long as the connection
    /// lives. If the future is dropped, the notification is sent nevertheless, and an error is logged.
    ///
    /// ```
    /// use listener::{Context, Notifier, Transport};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use listener::Priority::Info;
    ///
    /// let notifier = Notifier::builder(Transport::open("memory://doc-enqueue")?).build()?;
    /// let mut pending = Vec::new();
    /// for number in 0..100 {
    ///     pending.push(notifier.enqueue(Info, &Context::new(), "counted", &number).await?);
    /// }
    /// for sent in pending {
    ///     sent.await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// It could not be written, or the window stayed full until the timeout; nothing was sent. The future has
    /// the errors of sending, as [`notify`](Self::notify).
    pub async fn enqueue<P: Serialize + ?Sized>(
        &self,
        priority: Priority,
        ctxt: &Context,
        event_type: &str,
        payload: &P,
    ) -> Result<PendingNotification, NotifyError> {
        executor::check()?;
        let (notifier, event_type) = (self.clone(), event_type.to_owned());
        let of_result = event_type.clone();
        let settings = &self.settings;
        if let Some(version) = settings.only_version() {
            let messages =
                settings.write(version, self.header(priority, &event_type), ctxt, payload)?;
            let bytes = messages.iter().map(|message| message.body.len()).sum();
            let permit = self.queued(bytes).await?;
            let sending = Box::pin(async move {
                let _permit = permit;
                notifier.settings.send(&notifier.transport, messages, notifier.retry).await
            });
            return Ok(PendingNotification::start(sending, of_result).await);
        }
        let payload = serde_json::to_value(payload).map_err(EncodeError::Payload)?;
        let (context, permit) = (ctxt.clone(), self.queued(0).await?);
        let sending = Box::pin(async move {
            let _permit = permit;
            notifier.notify(priority, &context, &event_type, &payload).await
        });
        Ok(PendingNotification::start(sending, of_result).await)
    }

    async fn queued(&self, bytes: usize) -> Result<Permit, NotifyError> {
        let Settings { queue, timeout, .. } = &*self.settings;
        let permit = queue.enter(bytes, *timeout).await.map(|(permit, _)| permit);
        permit.ok_or(NotifyError::WindowFull { window: queue.notifications, after: *timeout })
    }

    fn header<'s>(&'s self, priority: Priority, event_type: &'s str) -> Header<'s> {
        let (publisher_id, retry) = (self.publisher_id.as_deref(), self.retry);
        Header { publisher_id, priority, event_type, retry, trace: self.trace.as_deref() }
    }

    /// Waits for the confirmations in flight, then closes the transport's connection for sending, which its
    /// other users share: their next call opens it again. Listeners stay connected.
    ///
    /// First it waits until the spool is empty, for at most the timeout of one call. What is then still in
    /// the spool stays there for the next notifier with this directory.
    pub async fn close(&self) {
        if let Some(spool) = &self.settings.spool {
            spool.drained(self.settings.timeout).await;
        }
        self.transport.close().await;
    }

    #[cfg(feature = "spool")]
    /// The present content of the spool; without a spool, empty.
    #[must_use]
    pub fn spooled(&self) -> Spooled {
        self.settings.spool.as_ref().map(Spool::spooled).unwrap_or_default()
    }
}

impl NotifierBuilder {
    /// Builds the notifier. It connects when it first sends.
    ///
    /// This does no I/O, except for a spool: its directory is created, locked and read, and a task of the
    /// current runtime sends its content from now on.
    ///
    /// # Errors
    /// Invalid names and an empty window; all such mistakes are reported together. If there are none, a
    /// spool that cannot be opened: another notifier uses it, a file cannot be read or written, or there is
    /// no tokio runtime.
    pub fn build(self) -> Result<Notifier, NotifierBuildError> {
        let Parts { transport, publisher_id, retry, settings } = self.parts()?;
        Ok(Notifier { transport, publisher_id, retry, trace: None, settings: Arc::new(settings) })
    }
}

/// Makes a method for each priority.
macro_rules! priorities {
    ($($method:ident $priority:ident)*) => {
        impl Notifier {
            $(
                #[doc = concat!("Sends a notification with priority `", stringify!($method), "`.")]
                /// The receipt says whether the broker confirmed it or the spool keeps it.
                ///
                /// # Errors
                /// As [`notify`](Self::notify).
                pub async fn $method<P: Serialize + ?Sized>(
                    &self,
                    ctxt: &Context,
                    event_type: &str,
                    payload: &P,
                ) -> Result<Receipt, NotifyError> {
                    self.notify(Priority::$priority, ctxt, event_type, payload).await
                }
            )*
        }
    };
}

priorities! {
    audit Audit
    debug Debug
    info Info
    warn Warn
    error Error
    critical Critical
    sample Sample
}

impl fmt::Debug for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notifier")
            .field("transport", &self.transport)
            .field("publisher_id", &self.publisher_id)
            .field("settings", &self.settings)
            .finish()
    }
}
