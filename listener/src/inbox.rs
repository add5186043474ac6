//! Duplicates: remembering which notifications a method has handled, so that one that is
//! delivered again is not handled again. The memory of this process is here; a durable one is
//! the program's own. Who asks and who remembers is the runtime.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::future::ready;
use std::sync::{Arc, Mutex, PoisonError};

use crate::future::BoxFuture;
use crate::outcome::BoxError;

/// An id longer than this is not kept by [`MemoryInbox`]: ids are the sender's, and memory is
/// not.
const LONGEST_ID: usize = 1024;

/// Remembers what was handled.
///
/// Delivery is at least once: a notification comes again when a broker, a connection or a
/// program failed before it was settled. With an inbox, a method that has handled it is not
/// called again.
///
/// What this promises, and what it does not: a method's effect and the memory of it are two
/// steps. The listener asks [`contains`](Self::contains) before it calls a method and
/// [`insert`](Self::insert) after the method has succeeded; a program that dies between the
/// two handles that notification twice. Only an inbox that lies in the same database as the
/// effect can make one step of them: there the method writes its effect and the entry in one
/// transaction, and `insert` finds the entry and does nothing.
///
/// Two copies of a notification that are worked on at the same moment, by this process or by
/// another, may both be handled: nothing is reserved.
pub trait Inbox: Send + Sync + 'static {
    /// Whether this was handled.
    ///
    /// # Errors
    /// It cannot be told. The method is not called, and the notification is retried as after a transient
    /// error, whatever the endpoint's `on_failure` says.
    fn contains<'a>(&'a self, entry: InboxEntry<'a>) -> BoxFuture<'a, Result<bool, BoxError>>;

    /// Remembers that this was handled. It may be there already: then nothing is to be done.
    ///
    /// # Errors
    /// It cannot be remembered. The method has run all the same.
    fn insert<'a>(&'a self, entry: InboxEntry<'a>) -> BoxFuture<'a, Result<(), BoxError>>;
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
    /// The notification: the same id in both wire versions, on every topic and at every try.
    pub message_id: &'a str,
    /// The method, by its stable name: each method settles for itself.
    pub method: &'a str,
}

impl<'a> InboxEntry<'a> {
    /// An entry, to test an inbox with.
    #[must_use]
    pub const fn new(message_id: &'a str, method: &'a str) -> Self {
        Self { message_id, method }
    }
}

/// An [`Inbox`] in the memory of this process: bounded, and gone with it.
///
/// It keeps the last entries and forgets the oldest first, so it knows the duplicates that a
/// lost connection or a retry makes, and none from before a restart. An id of more than
/// 1024 bytes is not kept: its notification may be handled again.
pub struct MemoryInbox {
    capacity: usize,
    kept: Mutex<Kept>,
}

/// The same entries twice: to be found, and in the order in which they came.
#[derive(Default)]
struct Kept {
    entries: HashSet<Arc<str>>,
    order: VecDeque<Arc<str>>,
}

impl MemoryInbox {
    /// Keeps so many entries: one for each method that handled a notification. An entry takes
    /// some 150 bytes. With a capacity of 0 nothing is remembered.
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

/// The whole entry, never a hash of it: two that are taken for one would lose a notification.
/// The method is a name of the program, which has no NUL; so no two entries have one key.
fn key(entry: InboxEntry<'_>) -> String {
    format!("{}\0{}", entry.method, entry.message_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn entry<'a>(message_id: &'a str, method: &'a str) -> InboxEntry<'a> {
        InboxEntry { message_id, method }
    }

    /// Which of these entries it knows, asked as the runtime asks.
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
    async fn what_was_handled_is_known_for_that_method_only() {
        let inbox = MemoryInbox::new(10);
        inbox.insert(entry("1", "a"));
        let asked = [("1", "a"), ("1", "b"), ("2", "a"), ("a", "1")];
        let known = asked.map(|(id, method)| inbox.contains(entry(id, method)));
        assert_eq!(known, [true, false, false, false]);
    }

    #[tokio::test]
    async fn the_oldest_is_forgotten_first() {
        let inbox = MemoryInbox::new(3);
        fill(&inbox, &["1", "2", "3", "4", "5"]).await;
        assert_eq!(known(&inbox, &["1", "2", "3", "4", "5"]).await, ["3", "4", "5"]);
    }

    #[tokio::test]
    async fn one_that_comes_twice_takes_one_place_and_keeps_its_age() {
        let inbox = MemoryInbox::new(2);
        fill(&inbox, &["1", "2", "1", "1", "3"]).await;
        assert_eq!(known(&inbox, &["1", "2", "3"]).await, ["2", "3"]);
        assert_eq!(inbox.kept.lock().unwrap().order.len(), 2);
    }

    #[tokio::test]
    async fn no_capacity_remembers_nothing() {
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
