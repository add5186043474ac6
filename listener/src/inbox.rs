//! Inboxes: which notifications a method has handled, so that a redelivered one is not handled again. An
//! in-memory inbox is here; programs implement durable ones. The runtime uses the inbox.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::future::ready;
use std::sync::{Arc, Mutex, PoisonError};

use crate::future::BoxFuture;
use crate::outcome::BoxError;

/// [`MemoryInbox`] does not keep longer ids: the sender chooses ids, and must not exhaust memory.
const LONGEST_ID: usize = 1024;

/// Records which notifications were handled.
///
/// Delivery is at least once: a notification is redelivered if a broker, a connection or a program fails
/// before it is settled. With an inbox, a method that has handled it is not called again.
///
/// The effect of a method and its entry are two steps. The listener calls [`contains`](Self::contains)
/// before it calls a method, and [`insert`](Self::insert) after the method has succeeded; if the program
/// crashes between the two, that notification is handled twice. Only an inbox in the database of the effect
/// can avoid this: the method writes its effect and the entry in one transaction, and `insert` finds the
/// entry and does nothing.
///
/// One listener handles notifications with the same id in sequence. Two listeners may handle copies of one
/// notification concurrently: entries are not reserved. A notification without a message id bypasses the
/// inbox.
///
/// Each call of the inbox has the timeout of the method as its deadline. Once the session of a delivery is
/// over, `insert` has 2 seconds left. An `Arc` of an inbox is an inbox as well.
///
/// ```
/// use listener::{BoxError, BoxFuture, Inbox, InboxEntry};
/// # #[derive(Clone)]
/// # struct Database;
/// # impl Database {
/// #     async fn has_row(&self, _: &str, _: &str) -> Result<bool, std::io::Error> { Ok(false) }
/// #     async fn add_row(&self, _: &str, _: &str) -> Result<(), std::io::Error> { Ok(()) }
/// # }
///
/// struct DatabaseInbox(Database);
///
/// impl Inbox for DatabaseInbox {
///     fn contains<'a>(&'a self, entry: InboxEntry<'a>) -> BoxFuture<'a, Result<bool, BoxError>> {
///         Box::pin(async move { Ok(self.0.has_row(entry.message_id, entry.method).await?) })
///     }
///
///     fn insert<'a>(&'a self, entry: InboxEntry<'a>) -> BoxFuture<'a, Result<(), BoxError>> {
///         Box::pin(async move { Ok(self.0.add_row(entry.message_id, entry.method).await?) })
///     }
/// }
/// ```
pub trait Inbox: Send + Sync + 'static {
    /// Whether this was handled.
    ///
    /// # Errors
    /// The inbox cannot be read. The method is not called, and this counts as an attempt: the
    /// notification is retried, and dead-lettered with the reason `error` after the last attempt, as
    /// after a transient error, whatever the listener's `on_failure`.
    fn contains<'a>(&'a self, entry: InboxEntry<'a>) -> BoxFuture<'a, Result<bool, BoxError>>;

    /// Records that this was handled. If there is such an entry already, it does nothing.
    ///
    /// # Errors
    /// The inbox cannot be written. The method has run nevertheless: a warning is logged, and the delivery is
    /// acknowledged.
    fn insert<'a>(&'a self, entry: InboxEntry<'a>) -> BoxFuture<'a, Result<(), BoxError>>;
}

impl<T: Inbox + ?Sized> Inbox for Arc<T> {
    fn contains<'a>(&'a self, entry: InboxEntry<'a>) -> BoxFuture<'a, Result<bool, BoxError>> {
        (**self).contains(entry)
    }

    fn insert<'a>(&'a self, entry: InboxEntry<'a>) -> BoxFuture<'a, Result<(), BoxError>> {
        (**self).insert(entry)
    }
}

impl fmt::Debug for dyn Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inbox")
    }
}

/// One notification, handled by one method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct InboxEntry<'a> {
    /// The id of the notification: the same in both envelope versions, on every topic and at every attempt.
    pub message_id: &'a str,
    /// The method as `endpoint::method`, such as `billing::Billing::info`: each method has its own entries.
    /// The endpoint is the `name` of its attribute, or else its module and type.
    pub method: &'a str,
}

impl<'a> InboxEntry<'a> {
    /// An entry, to test an inbox with.
    #[must_use]
    pub const fn new(message_id: &'a str, method: &'a str) -> Self {
        Self { message_id, method }
    }
}

/// A bounded [`Inbox`] in the memory of this process.
///
/// It keeps the latest entries and drops the oldest first, so it detects duplicates after a lost
/// connection or a retry, but not from before a restart. An id of more than 1024 bytes is not kept: its
/// notification may be handled again.
pub struct MemoryInbox {
    capacity: usize,
    kept: Mutex<Kept>,
}

/// The entries, for look-up and in the order of insertion.
#[derive(Default)]
struct Kept {
    entries: HashSet<Arc<str>>,
    order: VecDeque<Arc<str>>,
}

impl MemoryInbox {
    /// An inbox with this many entries: one for each method that handled a notification. An entry takes
    /// about 150 bytes. With a capacity of 0 nothing is recorded.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { capacity, kept: Mutex::default() }
    }

    fn contains(&self, entry: InboxEntry<'_>) -> bool {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.entries.contains(key(entry).as_str())
    }

    fn insert(&self, entry: InboxEntry<'_>) {
        if self.capacity == 0 || entry.message_id.len() > LONGEST_ID {
            return;
        }
        let key: Arc<str> = key(entry).into();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if !kept.entries.insert(Arc::clone(&key)) {
            return;
        }
        kept.order.push_back(key);
        if kept.order.len() > self.capacity
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.entries.remove(&oldest);
        }
    }
}

/// 100,000 entries.
impl Default for MemoryInbox {
    fn default() -> Self {
        Self::new(100_000)
    }
}

impl Inbox for MemoryInbox {
    fn contains<'a>(&'a self, entry: InboxEntry<'a>) -> BoxFuture<'a, Result<bool, BoxError>> {
        Box::pin(ready(Ok(self.contains(entry))))
    }

    fn insert<'a>(&'a self, entry: InboxEntry<'a>) -> BoxFuture<'a, Result<(), BoxError>> {
        self.insert(entry);
        Box::pin(ready(Ok(())))
    }
}

impl fmt::Debug for MemoryInbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryInbox").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

/// The whole entry, not a hash of it: a collision would lose a notification. Names of methods contain no
/// NUL, so different entries have different keys.
fn key(entry: InboxEntry<'_>) -> String {
    format!("{}\0{}", entry.method, entry.message_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn entry<'a>(message_id: &'a str, method: &'a str) -> InboxEntry<'a> {
        InboxEntry { message_id, method }
    }

    /// Which of these entries the inbox contains, as the runtime asks.
    async fn known<'a>(inbox: &dyn Inbox, ids: &[&'a str]) -> Vec<&'a str> {
        let mut known = Vec::new();
        for id in ids {
            if inbox.contains(entry(id, "a")).await.unwrap() {
                known.push(*id);
            }
        }
        known
    }

    async fn fill(inbox: &dyn Inbox, ids: &[&str]) {
        for id in ids {
            inbox.insert(entry(id, "a")).await.unwrap();
        }
    }

    #[tokio::test]
    async fn an_entry_is_for_one_method_only() {
        let inbox = MemoryInbox::new(10);
        inbox.insert(entry("1", "a"));
        let asked = [("1", "a"), ("1", "b"), ("2", "a"), ("a", "1")];
        let known = asked.map(|(id, method)| inbox.contains(entry(id, method)));
        assert_eq!(known, [true, false, false, false]);
    }

    #[tokio::test]
    async fn the_oldest_entry_is_dropped_first() {
        let inbox = MemoryInbox::new(3);
        fill(&inbox, &["1", "2", "3", "4", "5"]).await;
        assert_eq!(known(&inbox, &["1", "2", "3", "4", "5"]).await, ["3", "4", "5"]);
    }

    #[tokio::test]
    async fn a_duplicate_takes_no_space_and_keeps_its_age() {
        let inbox = MemoryInbox::new(2);
        fill(&inbox, &["1", "2", "1", "1", "3"]).await;
        assert_eq!(known(&inbox, &["1", "2", "3"]).await, ["2", "3"]);
        assert_eq!(inbox.kept.lock().unwrap().order.len(), 2);
    }

    #[tokio::test]
    async fn without_capacity_nothing_is_recorded() {
        let inbox = MemoryInbox::new(0);
        fill(&inbox, &["1"]).await;
        assert_eq!(known(&inbox, &["1"]).await, [""; 0]);
    }

    #[tokio::test]
    async fn an_id_that_is_too_long_is_not_kept() {
        let inbox = MemoryInbox::new(10);
        let (longest, longer) = ("i".repeat(LONGEST_ID), "i".repeat(LONGEST_ID + 1));
        fill(&inbox, &[&longest, &longer]).await;
        assert_eq!(known(&inbox, &[&longest, &longer]).await, [longest.as_str()]);
    }
}
