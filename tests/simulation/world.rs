//! The world of a script: a broker that can be harmed, and the listening processes. `model.rs` and
//! `rabbit.rs` are worlds; only `run.rs` calls them.

use std::collections::BTreeMap;

use listener::testing::FaultCounts;
use listener::{Listener, Transport};

use crate::script::Fault;

/// The queue of the messages.
pub(crate) const QUEUE: &str = "notifications.info";

pub(crate) trait World {
    /// The transport for notifications, of a process that never crashes.
    fn sender(&self) -> Transport;

    /// Starts a process with the listener that is built over its transport, as soon as the broker allows
    /// it.
    async fn start(&mut self, process: usize, build: impl FnOnce(Transport) -> Listener);

    /// Waits until the listener of a process has started.
    async fn started(&mut self, process: usize);

    /// Stops a process orderly, if it runs.
    async fn stop(&mut self, process: usize);

    /// Kills a process, if it runs.
    async fn crash(&mut self, process: usize);

    async fn harm(&mut self, fault: Fault);

    /// Ends all faults.
    async fn heal(&mut self);

    /// How many messages of each queue are ready, delayed or unsettled.
    async fn depths(&mut self) -> BTreeMap<String, usize>;

    /// Drains a queue that has no other consumer.
    async fn drain(&mut self, queue: &str) -> Vec<Found>;

    /// What the broker did with messages on its own, by the number of their notification; `None` if it
    /// is unknown.
    fn fault_counts(&self) -> Option<BTreeMap<u32, FaultCounts>>;
}

/// A message from a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) body: Vec<u8>,
    /// The endpoints that it is pending for; empty: all.
    pub(crate) pending: Vec<String>,
}
