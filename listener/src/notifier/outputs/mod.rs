//! The outputs of a notifier, named after the drivers of oslo.messaging: where its notifications go. This file
//! has their list and their names; each other file has one output. `../fan_out.rs` calls them.

pub(crate) mod collect;
mod glob;
mod log;
mod mask;
pub(crate) mod name;
pub(crate) mod notification;
pub(crate) mod routing;
pub(crate) mod rule;
#[cfg(feature = "routing")]
pub(crate) mod yaml;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::envelope::EnvelopeVersion;
use crate::future::BoxFuture;
use crate::notifier::outputs::collect::TestOutput;
use crate::notifier::outputs::name::UnknownOutput;
use crate::notifier::outputs::notification::OutputNotification;
use crate::outcome::BoxError;

/// An output of a program's own, in addition to those of this crate.
///
/// A notifier calls [`notify`](Self::notify) once for each notification, at the same time as its other
/// outputs, and drops the future after the notifier's timeout. An error or a panic is reported to the caller
/// as [`NotifyError::Outputs`](crate::NotifyError::Outputs); the other outputs are not affected.
///
/// ```
/// use listener::output::{NotifierOutput, OutputNotification};
/// use listener::{BoxError, BoxFuture, Context, Notifier, Receipt, Transport};
///
/// struct Stdout;
///
/// impl NotifierOutput for Stdout {
///     fn name(&self) -> &str {
///         "stdout"
///     }
///
///     fn notify<'a>(
///         &'a self,
///         notification: &'a OutputNotification,
///     ) -> BoxFuture<'a, Result<(), BoxError>> {
///         Box::pin(async move {
///             println!("{} {}", notification.event_type, notification.payload);
///             Ok(())
///         })
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let transport = Transport::open("memory://doc-output")?;
/// let notifier = Notifier::builder(transport).output(Stdout).build()?;
/// assert_eq!(notifier.info(&Context::new(), "x", &1).await?, Receipt::Local);
/// # Ok(())
/// # }
/// ```
pub trait NotifierOutput: Send + Sync + 'static {
    /// Its name, in errors and in the rules of a [`Routing`](crate::output::Routing).
    fn name(&self) -> &str;

    /// Takes one notification.
    ///
    /// # Errors
    /// It did not take the notification.
    fn notify<'a>(
        &'a self,
        notification: &'a OutputNotification,
    ) -> BoxFuture<'a, Result<(), BoxError>>;
}

/// Where a notifier sends its notifications. Named after the drivers of oslo.messaging, and parsed from their
/// names: `messaging`, `messagingv2`, `log`, `noop`, `test`.
///
/// ```
/// use listener::output::Output;
///
/// let output: Output = "messagingv2".parse()?;
/// assert_eq!(output.name(), "messagingv2");
/// assert!("messagingv3".parse::<Output>().unwrap_err().to_string().contains("messagingv2"));
/// # Ok::<(), listener::error::UnknownOutput>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub enum Output {
    /// The broker, in version 1 of the envelope.
    Messaging,
    /// The broker, in version 2 of the envelope. The default.
    MessagingV2,
    /// The program's log: an event of `tracing` at INFO, or at DEBUG, WARN or ERROR for these priorities and
    /// `critical`.
    ///
    /// Its target is `oslo.messaging.notification`, and its field `logger` is
    /// `oslo.messaging.notification.` with the event type, the name of the logger in oslo.messaging (targets
    /// of `tracing` are constants). Its message is JSON with the fields of the notification, without the
    /// context; passwords are replaced with `***`, as `mask_dict_password` of oslo.utils finds them.
    /// oslo.messaging does not log `audit` and `sample`; here they are logged at INFO.
    Log,
    /// Nowhere.
    Noop,
    /// A list in memory, for tests of programs.
    Test(TestOutput),
    /// An output of the program.
    Custom(Arc<dyn NotifierOutput>),
}

impl Output {
    /// The name: that of the driver in oslo.messaging, or of the program's output.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Messaging => "messaging",
            Self::MessagingV2 => "messagingv2",
            Self::Log => "log",
            Self::Noop => "noop",
            Self::Test(_) => "test",
            Self::Custom(output) => output.name(),
        }
    }

    /// The envelope version, if it sends to the broker.
    pub(super) const fn version(&self) -> Option<EnvelopeVersion> {
        match self {
            Self::Messaging => Some(EnvelopeVersion::V1),
            Self::MessagingV2 => Some(EnvelopeVersion::V2),
            _ => None,
        }
    }

    /// Passes a notification to an output other than the broker.
    pub(super) async fn notify(&self, notification: &OutputNotification) -> Result<(), BoxError> {
        match self {
            Self::Log => log::write(notification),
            Self::Test(list) => list.push(notification.clone()),
            Self::Custom(output) => return output.notify(notification).await,
            Self::Messaging | Self::MessagingV2 | Self::Noop => {}
        }
        Ok(())
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl<T: NotifierOutput> From<T> for Output {
    fn from(output: T) -> Self {
        Self::Custom(Arc::new(output))
    }
}

impl From<TestOutput> for Output {
    fn from(list: TestOutput) -> Self {
        Self::Test(list)
    }
}

impl FromStr for Output {
    type Err = UnknownOutput;

    fn from_str(text: &str) -> Result<Self, UnknownOutput> {
        match text {
            "messaging" => Ok(Self::Messaging),
            "messagingv2" => Ok(Self::MessagingV2),
            "log" => Ok(Self::Log),
            "noop" => Ok(Self::Noop),
            "test" => Ok(Self::Test(TestOutput::new())),
            _ => Err(UnknownOutput { found: text.to_owned() }),
        }
    }
}
