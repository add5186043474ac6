//! The notifier: it sends notifications, one method for each priority. How a notifier is made
//! is in `builder.rs`, how a notification is written and sent in `send.rs`; `window.rs` bounds
//! what is on its way, and `spool/` keeps on disk what the broker does not take for now.

pub(crate) mod builder;
pub(crate) mod error;
mod send;
mod message;
pub(crate) mod receipt;
mod window;
#[cfg(feature = "spool")]
pub(crate) mod spool;
#[cfg(not(feature = "spool"))]
#[path = "no_spool.rs"]
mod spool;

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::notification::context::Context;
use crate::notification::priority::Priority;
use crate::notifier::builder::{NotifierBuilder, Parts};
use crate::notifier::error::{NotifierBuildError, NotifyError};
use crate::notifier::receipt::Receipt;
use crate::notifier::send::{Settings, Subject};
#[cfg(feature = "spool")]
use crate::notifier::spool::{Spool, Spooled};
use crate::transport::{Transport, executor};

/// Sends notifications as oslo.messaging's `Notifier` does, with one difference: when a method
/// returns `Ok`, the notification is [`Receipt`], and an error is the caller's to see.
///
/// Cheap to clone; clones share the connection and the window. Many notifications may be on
/// their way at once, up to [`window`](NotifierBuilder::window): call it from many tasks, or
/// await many calls together. A notification that is sent after the call for another has
/// returned comes after it, on the same topic and priority; of calls that run at once, either
/// may come first.
///
/// With a spool (feature `spool`) notifications are written to this machine's disk while the
/// broker is away, and sent when it is back. Without one, what to do about an error is told by
/// [`NotifyError`].
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
    settings: Arc<Settings>,
}

impl Notifier {
    /// Makes a notifier on this transport.
    pub fn builder(transport: Transport) -> NotifierBuilder {
        NotifierBuilder::new(transport)
    }

    /// The same notifier under another publisher id. Cheap: it shares the connection.
    #[must_use]
    pub fn with_publisher_id(&self, publisher_id: impl Into<Arc<str>>) -> Self {
        Self { publisher_id: Some(publisher_id.into()), ..self.clone() }
    }

    /// Sends a notification at this priority to every topic. It has one message id for all of them. The
    /// receipt says whether the broker confirmed it or the spool keeps it; without a spool it is always
    /// [`Receipt::Confirmed`].
    ///
    /// Dropping the future stops waiting; whether it was sent is then unknown.
    ///
    /// # Errors
    /// It could not be written, or some topic did not confirm it in time; the others may
    /// have it. There is no tokio runtime with timers here. [`NotifyError`] says whether to call again.
    pub async fn notify<P: Serialize + ?Sized>(
        &self,
        priority: Priority,
        ctxt: &Context,
        event_type: &str,
        payload: &P,
    ) -> Result<Receipt, NotifyError> {
        executor::check()?;
        let publisher_id = self.publisher_id.as_deref();
        let subject = Subject { publisher_id, priority, event_type };
        let messages = self.settings.write(subject, ctxt, payload)?;
        self.settings.send(&self.transport, messages).await
    }

    /// Closes the connection that the notifiers of this transport share, once what is on its
    /// way is confirmed. A later call opens it again.
    ///
    /// What waits in the spool is waited for first, as long as one call may take; what then
    /// still waits stays there for the next notifier on its directory.
    pub async fn close(&self) {
        if let Some(spool) = &self.settings.spool {
            spool.drained(self.settings.timeout).await;
        }
        self.transport.close().await;
    }

    #[cfg(feature = "spool")]
    /// What the spool holds now; nothing if there is none.
    #[must_use]
    pub fn spooled(&self) -> Spooled {
        self.settings.spool.as_ref().map(Spool::spooled).unwrap_or_default()
    }
}

impl NotifierBuilder {
    /// Builds the notifier. It connects when it first sends.
    ///
    /// No I/O, but for the spool, if there is one: its directory is made, locked and read
    /// through, and what waits in it is sent from now on, in a task of the current runtime.
    ///
    /// # Errors
    /// Names that no broker takes, and an empty window, all such mistakes at once. Without any, a spool
    /// that cannot be opened: another notifier has it, a file cannot be read or written, or this
    /// is no tokio runtime.
    pub fn build(self) -> Result<Notifier, NotifierBuildError> {
        let Parts { transport, publisher_id, settings } = self.parts()?;
        Ok(Notifier { transport, publisher_id, settings: Arc::new(settings) })
    }
}

/// Makes a method for each priority.
macro_rules! priorities {
    ($($method:ident $priority:ident)*) => {
        impl Notifier {
            $(
                #[doc = concat!("Sends a notification at priority `", stringify!($method), "`.")]
                /// `Ok`: it is safe, as [`Receipt`] has it.
                ///
                /// # Errors
                /// As [`notify`](Self::notify).
                pub async fn $method<P: Serialize + ?Sized>(
                    &self,
                    ctxt: &Context,
                    event_type: &str,
                    payload: &P,
                ) -> Result<(), NotifyError> {
                    self.notify(Priority::$priority, ctxt, event_type, payload).await?;
                    Ok(())
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
