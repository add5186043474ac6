//! What a script is carried out in: a broker that can be harmed, and the processes that listen. `model.rs` and `rabbit.rs` are worlds; `run.rs` is the only one who asks them.

use std::collections::BTreeMap;

use listener::testing::Lives;
use listener::{Listener, Transport};

use crate::script::Fault;

/// The queue of the messages.
pub(crate) const QUEUE: &str = "notifications.info";

pub(crate) trait World {
    /// What the notifications are sent over, by a process that never dies.
    fn sender(&self) -> Transport;

    /// Begins a process with the listener that is built over its transport; it starts as soon
    /// as the broker lets it.
    async fn start(&mut self, process: usize, build: impl FnOnce(Transport) -> Listener);

    /// Waits until a process that was begun has started.
    async fn started(&mut self, process: usize);

    /// Ends a process in order; without one, nothing happens.
    async fn stop(&mut self, process: usize);

    /// Ends a process at once; without one, nothing happens.
    async fn crash(&mut self, process: usize);

    async fn harm(&mut self, fault: Fault);

    /// Ends all faults.
    async fn heal(&mut self);

    /// How many messages of each queue wait, are held back, or are unsettled.
    async fn depths(&mut self) -> BTreeMap<String, usize>;

    /// Takes all that is in a queue. Nobody else consumes from it.
    async fn drain(&mut self, queue: &str) -> Vec<Found>;

    /// What the broker did with messages on its own, by the number of their notification; `None`
    /// where it does not say.
    fn lives(&self) -> Option<BTreeMap<u32, Lives>>;
}

/// A message that lay in a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) body: Vec<u8>,
    /// Whom it is for; empty: everybody.
    pub(crate) owed: Vec<String>,
}
