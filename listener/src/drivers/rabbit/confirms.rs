//! One session of sending: a connection and a channel in confirm mode, owned by one task that
//! publishes, collects the confirmations and tells which messages came back. Who publishes
//! again is `publish.rs`; who makes the next session, `office.rs`.
//!
//! One task, for two reasons that lie in lapin 4.12: two tasks that publish at once on a
//! channel may swap their sequence numbers, and so their confirmations; and a returned message
//! is handed out with whichever confirmation comes next, not with its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use lapin::message::BasicReturnMessage;
use lapin::{Channel, Confirmation};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::Core;
use super::failure::Fault;
use super::link::{Link, LinkEvent, LinkEvents, close_channel};
use super::message::{Fate, Message, confirming, failed, publish, said};
use super::options::CHECK_EVERY;
use super::ready::ready;

/// So many bytes may be kept of messages that nobody waits for and that were not confirmed, as
/// when a quorum queue has lost its majority: the end of the session lets go of them.
const GIVEN_UP: usize = 64 * 1024 * 1024;
/// What a message takes beside its body, about.
const SLIP: usize = 1024;

/// What stands in the way of sending now, for those who give up waiting.
pub(super) type Obstacle = Arc<Mutex<Option<String>>>;

pub(super) fn put(obstacle: &Obstacle, reason: Option<String>) {
    *obstacle.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = reason;
}

pub(super) struct Submission {
    message: Message,
    fate: oneshot::Sender<Fate>,
}

/// Where messages are handed in.
#[derive(Clone)]
pub(super) struct Desk(mpsc::UnboundedSender<Submission>);

impl Desk {
    /// Publishes, and says what became of it.
    pub(super) async fn submit(&self, message: Message) -> Fate {
        let lost = || Fate::Lost(Fault::Other("the connection is closed".to_owned()));
        let (fate, told) = oneshot::channel();
        if self.0.send(Submission { message, fate }).is_err() {
            return lost();
        }
        told.await.unwrap_or_else(|_| lost())
    }

    pub(super) fn is_open(&self) -> bool {
        !self.0.is_closed()
    }
}

type InFlight = FuturesUnordered<BoxFuture<'static, (u64, lapin::Result<Confirmation>)>>;

/// The task of a session.
struct Collector {
    link: Arc<Link>,
    events: LinkEvents,
    channel: Channel,
    submissions: mpsc::UnboundedReceiver<Submission>,
    in_flight: InFlight,
    pending: HashMap<u64, Pending>,
    number: u64,
    obstacle: Obstacle,
    /// What waits while the broker is short of memory; none when it is not.
    backlog: Option<Vec<Submission>>,
    // Last: the thread that it runs on must outlive the leave it takes.
    _core: Arc<Core>,
}

/// A message that waits for its confirmation.
struct Pending {
    message: Message,
    fate: oneshot::Sender<Fate>,
    returned: Option<String>,
}

/// Starts the task. It ends with the connection, or when the last desk is gone.
pub(super) async fn start(
    core: Arc<Core>,
    link: Arc<Link>,
    events: LinkEvents,
    obstacle: Obstacle,
) -> Result<(Desk, JoinHandle<()>), Fault> {
    let (desk, submissions) = mpsc::unbounded_channel();
    let collector = Collector {
        channel: confirming(&link).await?,
        link,
        events,
        submissions,
        in_flight: FuturesUnordered::new(),
        pending: HashMap::new(),
        number: 0,
        obstacle,
        backlog: None,
        _core: core,
    };
    Ok((Desk(desk), tokio::spawn(collector.run())))
}

impl Collector {
    async fn run(mut self) {
        let Some(fault) = self.serve().await else {
            let _ = close_channel(&self.channel).await;
            return self.link.close().await;
        };
        tracing::warn!(%fault, in_flight = self.pending.len(), "lost the RabbitMQ connection for sending");
        self.submissions.close();
        for (_, pending) in self.pending.drain() {
            let _ = pending.fate.send(Fate::Lost(fault.clone()));
        }
        let mut unsent = self.backlog.take().unwrap_or_default();
        while let Ok(submission) = self.submissions.try_recv() {
            unsent.push(submission);
        }
        for submission in unsent {
            let _ = submission.fate.send(Fate::Lost(fault.clone()));
        }
    }

    /// Until the connection is lost; why. None if nobody sends any more.
    async fn serve(&mut self) -> Option<Fault> {
        let mut check = tokio::time::interval(CHECK_EVERY);
        loop {
            tokio::select! {
                biased;
                event = self.events.next() => match event {
                    LinkEvent::Blocked(reason) => self.blocked(&reason),
                    LinkEvent::Unblocked => self.unblocked(),
                    LinkEvent::Lost(fault) => return Some(fault),
                },
                Some(done) = self.in_flight.next() => {
                    if let Some(fault) = self.collect(done)
                        && let Err(fault) = self.another_channel(fault).await
                    {
                        return Some(fault);
                    }
                }
                submission = self.submissions.recv() => match submission {
                    Some(submission) => self.take(submission),
                    // Whoever waits holds a desk.
                    None => return None,
                },
                _ = check.tick() => {
                    if !self.link.is_up() {
                        return Some(Fault::Other("the connection is closed".to_owned()));
                    }
                    if let Some(backlog) = &mut self.backlog {
                        backlog.retain(|submission| !submission.fate.is_closed());
                    }
                    if self.given_up() > GIVEN_UP {
                        let reason = "too many messages were never confirmed";
                        return Some(Fault::Other(reason.to_owned()));
                    }
                }
            }
        }
    }

    /// About how many bytes are kept of messages whose senders wait no more.
    fn given_up(&self) -> usize {
        let given_up = self.pending.values().filter(|pending| pending.fate.is_closed());
        given_up.map(|pending| pending.message.body.len() + SLIP).sum()
    }

    fn blocked(&mut self, reason: &str) {
        tracing::warn!(reason, "RabbitMQ takes no messages for now");
        put(&self.obstacle, Some(format!("the broker takes no messages for now: {reason}")));
        self.backlog.get_or_insert_default();
    }

    fn unblocked(&mut self) {
        tracing::info!("RabbitMQ takes messages again");
        put(&self.obstacle, None);
        for submission in self.backlog.take().unwrap_or_default() {
            self.publish(submission);
        }
    }

    /// While the broker is short of memory the messages wait here, where those whose sender has
    /// given up can be forgotten, and not in lapin's queue.
    fn take(&mut self, submission: Submission) {
        match &mut self.backlog {
            Some(backlog) => backlog.push(submission),
            None => self.publish(submission),
        }
    }

    fn publish(&mut self, submission: Submission) {
        let Submission { message, fate } = submission;
        if fate.is_closed() {
            return;
        }
        self.number += 1;
        let number = self.number;
        let published = publish(self.channel.clone(), message.clone());
        let pending = Pending { message, fate, returned: None };
        self.pending.insert(number, pending);
        self.in_flight.push(published.map(move |result| (number, result)).boxed());
    }

    /// Tells all fates that are known by now. The fault that closed the channel, if one did.
    fn collect(&mut self, first: (u64, lapin::Result<Confirmation>)) -> Option<Fault> {
        // lapin resolves the confirmations of one frame under the lock that this call takes, in
        // any order, and hands the returned messages to the first ones. So all that belongs to
        // the first one stands ready after it. The call itself may stay unfinished.
        let _ = self.channel.wait_for_confirms().now_or_never();
        let mut done = vec![first];
        done.append(&mut ready(&mut self.in_flight));
        let mut confirmations = Vec::with_capacity(done.len());
        for (number, result) in done {
            let result = result.map(|confirmation| {
                let acked = confirmation.is_ack();
                if let Some(returned) = confirmation.take_message() {
                    self.returned(&returned);
                }
                acked
            });
            confirmations.push((number, result));
        }
        let mut spoiled = None;
        for (number, result) in confirmations {
            let Some(pending) = self.pending.remove(&number) else {
                continue;
            };
            let fate = match (result, pending.returned) {
                (Ok(_), Some(reason)) => Fate::Returned(reason),
                (Ok(true), None) => Fate::Confirmed,
                (Ok(false), None) => Fate::Refused,
                (Err(error), _) => {
                    let fault = Fault::from(&error);
                    spoiled = Some(fault.clone());
                    failed(fault)
                }
            };
            let _ = pending.fate.send(fate);
        }
        // A straggler of an old channel says nothing of this one.
        spoiled.filter(|_| !self.channel.status().connected())
    }

    /// Finds the message that came back: lapin does not say whose it is, but two that are
    /// equal in all parts may stand for each other. Should the broker have changed it, then one
    /// too many is sent again rather than one too few.
    fn returned(&mut self, returned: &BasicReturnMessage) {
        let likeness = |pending: &Pending| {
            let message = &pending.message;
            let is_candidate = pending.returned.is_none()
                && message.exchange == returned.exchange
                && message.routing_key == returned.routing_key;
            is_candidate.then(|| {
                let same_body = message.body[..] == returned.data[..];
                (same_body, message.properties == returned.properties)
            })
        };
        let most_alike = self
            .pending
            .values_mut()
            .filter_map(|pending| likeness(pending).map(|likeness| (likeness, pending)))
            .max_by_key(|(likeness, _)| *likeness);
        match most_alike {
            Some((_, pending)) => pending.returned = Some(said(returned)),
            None => tracing::warn!("a message came back that nobody has sent"),
        }
    }

    /// After a fault: the others on the channel fail with it, and go on over a new one.
    async fn another_channel(&mut self, fault: Fault) -> Result<(), Fault> {
        if !self.link.is_up() {
            return Err(fault);
        }
        tracing::warn!(%fault, "RabbitMQ closed the channel for sending");
        // All confirmations of the old channel are resolved when it is closing; the lock is
        // taken as in `collect`, so none of them is met again on the new one.
        let _ = self.channel.wait_for_confirms().now_or_never();
        for (number, result) in ready(&mut self.in_flight) {
            self.collect_one(number, result, &fault);
        }
        self.channel = confirming(&self.link).await?;
        Ok(())
    }

    fn collect_one(&mut self, number: u64, result: lapin::Result<Confirmation>, fault: &Fault) {
        let Some(pending) = self.pending.remove(&number) else {
            return;
        };
        // What was confirmed beside a fault is sent again rather than judged: a returned
        // message may have gone with another's confirmation.
        let fault = result.map_or_else(|error| Fault::from(&error), |_| fault.clone());
        let _ = pending.fate.send(failed(fault));
    }
}
