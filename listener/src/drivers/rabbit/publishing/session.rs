//! A session for publishing: its connection, the task that collects confirms (`confirms.rs`), and the
//! destinations that have been declared in it. `publisher.rs` makes sessions, `publish.rs` and
//! `journal.rs` use them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use lapin::options::BasicPublishOptions;
use lapin::{Channel, Confirmation};
use tokio::sync::{OnceCell, Semaphore, oneshot};
use tokio::task::JoinHandle;

use super::confirms::{self, Obstacle, Submitter};
use super::message::{Destination, Message, PublishResult, return_reason};
use crate::drivers::rabbit::connection::channel::close_channel;
use crate::drivers::rabbit::connection::failure::{Failure, Fault};
use crate::drivers::rabbit::connection::link::{Connected, ConnectionPurpose, Link, Role};
use crate::drivers::rabbit::connection::reconnect::Host;
use crate::drivers::rabbit::connection::version::Version;
use crate::drivers::rabbit::core::Core;
use crate::drivers::rabbit::topology::channel::TopologyChannel;
use crate::drivers::rabbit::topology::destination;
use crate::drivers::rabbit::wire::TooLong;
use crate::transport::driver::{Outgoing, Route};
use crate::transport::error::ConnectError;

/// Whether a destination exists; empty until it has been declared.
pub(crate) type Preparation = Arc<OnceCell<Prepared>>;

/// The result of declaring a destination.
#[derive(Clone, Debug)]
pub(crate) enum Prepared {
    Declared,
    /// It could not be declared, and may not be needed: the refusal is the error if the message is
    /// unroutable.
    Refused(ConnectError),
    /// A retry queue is not possible in this session, for this reason.
    NoDelay(String),
}

/// The destination of the messages on a route, declared.
pub(crate) struct PreparedRoute {
    destination: Destination,
    pub(crate) preparation: Preparation,
}

impl PreparedRoute {
    pub(crate) fn message(&self, outgoing: &Outgoing) -> Result<Message, TooLong> {
        Message::new(outgoing, &self.destination)
    }
}

/// The number of messages that may be on channels of their own concurrently.
const OWN_CHANNELS: usize = 8;

/// A session for publishing.
pub(crate) struct PublishSession {
    pub(crate) generation: u64,
    link: Arc<Link>,
    submitter: Submitter,
    preparations: Mutex<HashMap<Destination, Preparation>>,
    /// The routes on which messages were confirmed.
    routes: Mutex<HashMap<Route, Arc<PreparedRoute>>>,
    /// The largest body that the broker accepts, in bytes, once it has refused one.
    max_size: OnceLock<usize>,
    own_channels: Semaphore,
    core: Arc<Core>,
}

/// The generation of a session, and what its connection is for.
#[derive(Clone, Copy)]
pub(super) struct SessionId {
    pub(super) generation: u64,
    pub(super) purpose: ConnectionPurpose,
}

impl PublishSession {
    /// Connects to a host within `limit`, and starts the task that collects confirms.
    pub(super) async fn open(
        core: &Arc<Core>,
        SessionId { generation, purpose }: SessionId,
        Host { address, limit }: &Host,
        blocked: &Obstacle,
    ) -> Result<(Self, JoinHandle<()>), Failure> {
        let role = Role::Publish(purpose);
        let opened = Link::open(&core.options, &core.vhost, address, role, *limit).await;
        let Connected { link, events } = opened?;
        let link = Arc::new(link);
        let started =
            confirms::start(Arc::clone(core), Arc::clone(&link), events, purpose, blocked);
        let (submitter, task) = started.await?;
        match purpose {
            ConnectionPurpose::Send => {
                // This concerns queues for copies, not journals.
                if generation > 1 {
                    core.broker.connected_again();
                }
                tracing::info!(host = %address, generation, "connected to RabbitMQ to send");
            }
            ConnectionPurpose::Journal => {
                tracing::debug!(host = %address, generation, "connected to RabbitMQ for a journal");
            }
        }
        let session = Self {
            generation,
            link,
            submitter,
            preparations: Mutex::default(),
            routes: Mutex::default(),
            max_size: OnceLock::new(),
            own_channels: Semaphore::new(OWN_CHANNELS),
            core: Arc::clone(core),
        };
        Ok((session, task))
    }

    /// Declares a destination, once in this session; concurrent callers wait for the result.
    pub(crate) async fn prepare(&self, destination: &Destination) -> Result<Preparation, Failure> {
        let preparation = {
            let mut preparations = self.preparations.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(preparations.entry(destination.clone()).or_default())
        };
        preparation.get_or_try_init(|| self.declare(destination)).await?;
        Ok(preparation)
    }

    async fn declare(&self, destination: &Destination) -> Result<Prepared, Failure> {
        let mut topology = TopologyChannel::new(&self.link, &self.core);
        match destination {
            Destination::Topic { exchange, routing_key } => {
                let refusal = destination::topic(&mut topology, exchange, routing_key).await?;
                return Ok(refusal.map_or(Prepared::Declared, Prepared::Refused));
            }
            Destination::Queue(queue) => destination::queue(&mut topology, queue).await?,
            Destination::Quarantine(queue) => destination::quarantine(&mut topology, queue).await?,
            Destination::Journal(journal) => destination::journal(&mut topology, journal).await?,
            Destination::Retry(queue, level) => {
                match destination::retry_queue(&mut topology, queue, *level).await {
                    Err(Failure::Permanent(error)) => {
                        let reason = error.to_string();
                        tracing::warn!(queue, reason, "retries cannot be delayed in a retry queue");
                        return Ok(Prepared::NoDelay(reason));
                    }
                    declared => declared?,
                }
            }
        }
        Ok(Prepared::Declared)
    }

    /// What was declared has vanished: it is declared again for the next message, unless this has
    /// happened already.
    pub(crate) fn forget(&self, destination: &Destination, preparation: &Preparation) {
        let mut preparations = self.preparations.lock().unwrap_or_else(PoisonError::into_inner);
        if preparations.get(destination).is_some_and(|current| Arc::ptr_eq(current, preparation)) {
            preparations.remove(destination);
        }
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        routes.retain(|_, route| !Arc::ptr_eq(&route.preparation, preparation));
    }

    /// A message was unroutable: its queue will be a new one, whoever declares it.
    pub(crate) fn record_missing(&self, destination: &Destination) {
        match destination {
            Destination::Queue(queue) | Destination::Quarantine(queue) => {
                self.core.broker.record_missing(queue);
            }
            Destination::Retry(queue, level) => {
                self.core.broker.record_missing(&level.queue(queue));
            }
            // Nothing is kept about these.
            Destination::Topic { .. } | Destination::Journal(_) => {}
        }
    }

    /// The largest body that the broker accepts, in bytes, if a refusal has said so.
    pub(crate) fn max_size(&self) -> Option<usize> {
        self.max_size.get().copied()
    }

    pub(crate) fn set_max_size(&self, limit: usize) {
        let _ = self.max_size.set(limit);
    }

    /// Whether brokers of this version refuse a body of this size by default. The limit that is
    /// configured is known after a refusal only.
    pub(crate) fn may_refuse(&self, size: usize) -> bool {
        let default = self.link.version.and_then(Version::max_message_size);
        default.is_some_and(|default| size > default)
    }

    /// Publishes, in the order of these calls.
    pub(crate) fn submit(&self, message: Arc<Message>) -> oneshot::Receiver<PublishResult> {
        self.submitter.submit(message)
    }

    /// The route, if a message on it was confirmed in this session.
    pub(crate) fn prepared_route(&self, route: &Route) -> Option<Arc<PreparedRoute>> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner).get(route).cloned()
    }

    /// Keeps the destination of a confirmed message for the next message on its route.
    pub(crate) fn keep_route(
        &self,
        route: &Route,
        destination: &Destination,
        preparation: &Preparation,
    ) {
        // Each delay would be a route of its own.
        if matches!(route, Route::Delayed { .. }) {
            return;
        }
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        routes.entry(route.clone()).or_insert_with(|| {
            let (destination, preparation) = (destination.clone(), Arc::clone(preparation));
            Arc::new(PreparedRoute { destination, preparation })
        });
    }

    /// Publishes one message on a channel of its own, so that it cannot close that of others.
    pub(crate) async fn publish_on_own_channel(&self, message: Message) -> PublishResult {
        // The semaphore is never closed, and a channel too many would do no harm.
        let _permit = self.own_channels.acquire().await;
        let channel = match self.link.confirm_channel().await {
            Ok(channel) => channel,
            Err(fault) => return PublishResult::ConnectionLost(fault),
        };
        let result = publish(&channel, message).await;
        // A scratch channel: an error here changes nothing.
        let _ = close_channel(&channel).await;
        match result {
            Ok(Confirmation::Ack(Some(returned)) | Confirmation::Nack(Some(returned))) => {
                PublishResult::Returned(return_reason(&returned))
            }
            Ok(Confirmation::Ack(None) | Confirmation::NotRequested) => PublishResult::Confirmed,
            Ok(Confirmation::Nack(None)) => PublishResult::Nacked,
            Err(error) => PublishResult::failed(Fault::from(&error)),
        }
    }

    /// A new channel, for other requests.
    pub(crate) async fn channel(&self) -> Result<Channel, Fault> {
        self.link.channel().await
    }

    pub(crate) fn is_open(&self) -> bool {
        self.submitter.is_open()
    }

    pub(super) fn fault(&self) -> Option<&Fault> {
        self.submitter.fault()
    }

    pub(crate) fn frame_max(&self) -> usize {
        self.link.frame_max()
    }

    pub(crate) fn user(&self) -> &str {
        &self.link.user
    }
}

/// Publishes, and waits for the confirm.
async fn publish(channel: &Channel, message: Message) -> lapin::Result<Confirmation> {
    let Message { exchange, routing_key, properties, body } = message;
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    channel.basic_publish(exchange, routing_key, options, &body, properties).await?.await
}
