//! The output `test`: keeps notifications in memory, for tests of programs that send some.
//! `mod.rs` calls it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::notifier::outputs::notification::OutputNotification;

/// A list of notifications in memory, for tests of programs. Clones share the list, which has no limit.
///
/// ```
/// use listener::output::TestOutput;
/// use listener::{Context, Notifier, Transport};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let sent = TestOutput::new();
/// let transport = Transport::open("memory://doc-test-output")?;
/// let notifier = Notifier::builder(transport).output(sent.clone()).build()?;
/// notifier.info(&Context::new(), "invoice.created", &"i-1").await?;
/// assert_eq!(sent.notifications()[0].event_type, "invoice.created");
/// sent.clear();
/// assert!(sent.notifications().is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct TestOutput {
    notifications: Arc<Mutex<Vec<OutputNotification>>>,
}

impl TestOutput {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The notifications until now, in the order of their calls.
    #[must_use]
    pub fn notifications(&self) -> Vec<OutputNotification> {
        self.list().clone()
    }

    /// Removes all notifications.
    pub fn clear(&self) {
        self.list().clear();
    }

    pub(super) fn push(&self, notification: OutputNotification) {
        self.list().push(notification);
    }

    fn list(&self) -> MutexGuard<'_, Vec<OutputNotification>> {
        self.notifications.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
