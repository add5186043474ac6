//! The parts of a listener that the deliveries of one transport share (`Shared`, made by `builder.rs`), and the
//! context of the work on one delivery (`WorkContext`, made by `schedule/scheduler.rs`). Each stage
//! takes what it needs.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::dispatch::Dispatcher;
use crate::inbox::Inbox;
use crate::notification::states::States;
use crate::observer::Observers;
use crate::options::listener::ListenerOptions;
use crate::order::OrderKey;
use crate::outcome::kind::Classifiers;
use crate::runtime::batches::Batches;
use crate::runtime::open::budget::Budget;
use crate::runtime::open::offload::Offload;
use crate::runtime::schedule::in_flight::InFlight;
use crate::runtime::schedule::permit::Permit;
use crate::runtime::settle::copier::Copier;
use crate::runtime::suspect::gate::Gate;
use crate::runtime::suspect::quarantines::Quarantines;
use crate::serializer::Serializer;

/// The parts of a listener, for one of its transports.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The same for all transports of the listener, like the batches, the gate and what the program gave.
    pub(crate) dispatcher: Arc<Dispatcher>,
    /// The open batches of methods that take them.
    pub(crate) batches: Arc<Batches>,
    pub(crate) copier: Copier,
    pub(crate) states: States,
    pub(crate) serializer: Option<Arc<dyn Serializer>>,
    pub(crate) inbox: Option<Arc<dyn Inbox>>,
    pub(crate) order: Option<OrderKey>,
    pub(crate) classifiers: Classifiers,
    pub(crate) observers: Arc<Observers>,
    pub(crate) options: ListenerOptions,
    /// Where suspects of each work queue go, and where they are recorded.
    pub(crate) quarantines: Quarantines,
    /// Whether the broker can delay copies: the driver supports it, and the queue is not temporary, so that it
    /// may be deleted.
    pub(crate) has_retry_queues: bool,
    pub(crate) in_flight: Arc<InFlight>,
    /// Bounds the decompressed bodies that are open at the same time.
    pub(crate) budget: Budget,
    /// Runs what takes long to open or read.
    pub(crate) offload: Offload,
    /// Notified when a suspect may have been moved into a quarantine queue.
    pub(crate) quarantined: Notify,
    /// Closed while a suspect moves between queues, unless that takes long, and while one is handled for
    /// the last time.
    pub(crate) gate: Gate,
    /// Held while the methods of an isolated suspect are called: one at a time.
    pub(crate) suspect_mutex: Arc<tokio::sync::Mutex<()>>,
}

/// The parts of the listener, and the permit to work on one delivery.
#[derive(Clone, Copy)]
pub(crate) struct WorkContext<'w> {
    pub(crate) shared: &'w Shared,
    pub(crate) permit: Permit<'w>,
}
