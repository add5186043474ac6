//! One session of sending: a connection and a channel in confirm mode, owned by one task that
//! publishes, collects the confirmations and tells which messages came back. What is on its way
//! is kept by `flight.rs`. Who publishes again is `publish.rs`; who makes the next session,
//! `office.rs`.
//!
//! One task, for two reasons that lie in lapin 4.12: two tasks that publish at once on a
//! channel may swap their sequence numbers, and so their confirmations; and a returned message
//! is handed out with whichever confirmation comes next, not with its own.

use std::future::poll_fn;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use lapin::Channel;
use lapin::message::BasicReturnMessage;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::Core;
use super::failure::Fault;
use super::flight::{Done, Flight, Pending, hand};
use super::link::{Link, LinkEvent, LinkEvents, close_channel};
use super::message::{Fate, Message, confirming, failed, said};
use super::options::CHECK_EVERY;

/// So many bytes may be kept of messages that nobody waits for and that were not confirmed, as
/// when a quorum queue has lost its majority: the end of the session lets go of them.
const GIVEN_UP: usize = 64 * 1024 * 1024;
/// What a message takes beside its body, about.
const SLIP: usize = 1024;
/// So many messages are published at most before confirmations are looked for.
const BATCH: usize = 256;

/// What stands in the way of sending now, for those who give up waiting.
pub(super) type Obstacle = Arc<Mutex<Option<String>>>;

pub(super) fn put(obstacle: &Obstacle, reason: Option<String>) {
    *obstacle.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = reason;
}

pub(super) struct Submission {
    message: Arc<Message>,
    fate: oneshot::Sender<Fate>,
}

/// Where messages are handed in.
#[derive(Clone)]
pub(super) struct Desk(mpsc::UnboundedSender<Submission>);

impl Desk {
    /// Hands a message in to be published, in the order of these calls. What became of it
    /// is received.
    pub(super) fn submit(&self, message: Arc<Message>) -> oneshot::Receiver<Fate> {
        let (fate, told) = oneshot::channel();
        // One that is not taken drops its sender, and `told` says so.
        let _ = self.0.send(Submission { message, fate });
        told
    }

    pub(super) fn is_open(&self) -> bool {
        !self.0.is_closed()
    }
}

/// What became of a message whose sender has gone.
pub(super) fn fate_of(told: Result<Fate, oneshot::error::RecvError>) -> Fate {
    told.unwrap_or_else(|_| Fate::Lost(Fault::Other("the connection is closed".to_owned())))
}

/// The task of a session.
struct Collector {
    link: Arc<Link>,
    events: LinkEvents,
    channel: Arc<Channel>,
    submissions: mpsc::UnboundedReceiver<Submission>,
    /// What was just received; empty in between.
    batch: Vec<Submission>,
    flight: Flight,
    obstacle: Obstacle,
    /// What waits while the broker is short of memory; none when it is not.
    backlog: Option<Vec<Submission>>,
    // Last: the thread that it runs on must outlive the leave it takes.
    _core: Arc<Core>,
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
        channel: Arc::new(confirming(&link).await?),
        link,
        events,
        submissions,
        batch: Vec::with_capacity(BATCH),
        flight: Flight::default(),
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
        tracing::warn!(%fault, in_flight = self.flight.len(), "lost the RabbitMQ connection for sending");
        self.submissions.close();
        for pending in self.flight.drain() {
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
                done = poll_fn(|context| self.flight.poll_done(context)) => {
                    if let Some(fault) = self.collect(done)
                        && let Err(fault) = self.another_channel(fault).await
                    {
                        return Some(fault);
                    }
                }
                received = self.submissions.recv_many(&mut self.batch, BATCH) => {
                    if received == 0 {
                        // Whoever waits holds a desk.
                        return None;
                    }
                    let mut batch = std::mem::take(&mut self.batch);
                    batch.drain(..).for_each(|submission| self.take(submission));
                    self.batch = batch;
                }
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
        let given_up = self.flight.iter().filter(|pending| pending.fate.is_closed());
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
        let handing = hand(Arc::clone(&self.channel), Arc::clone(&message));
        self.flight.take(Pending { message, fate, returned: None }, handing);
    }

    /// Tells all fates that are known by now. The fault that closed the channel, if one did.
    fn collect(&mut self, first: Done) -> Option<Fault> {
        // lapin resolves the confirmations of one frame under the lock that this call takes, in
        // any order, and hands the returned messages to the first ones. So all that belongs to
        // the first one stands ready after it. The call itself may stay unfinished.
        let _ = self.channel.wait_for_confirms().now_or_never();
        let mut returned = Vec::new();
        let mut judge = |(pending, result): Done| {
            let result = result.map(|confirmation| {
                let acked = confirmation.is_ack();
                returned.extend(confirmation.take_message());
                acked
            });
            (pending, result)
        };
        let mut done = vec![judge(first)];
        done.extend(self.flight.ready().into_iter().map(judge));
        for message in &returned {
            let done = done.iter_mut().map(|(pending, _)| pending);
            came_back(message, done.chain(self.flight.iter_mut()));
        }
        let mut spoiled = None;
        for (pending, result) in done {
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

    /// After a fault: the others on the channel fail with it, and go on over a new one.
    async fn another_channel(&mut self, fault: Fault) -> Result<(), Fault> {
        if !self.link.is_up() {
            return Err(fault);
        }
        tracing::warn!(%fault, "RabbitMQ closed the channel for sending");
        // All confirmations of the old channel are resolved when it is closing; the lock is
        // taken as in `collect`, so none of them is met again on the new one.
        let _ = self.channel.wait_for_confirms().now_or_never();
        for (pending, result) in self.flight.ready() {
            // What was confirmed beside a fault is sent again rather than judged: a returned
            // message may have gone with another's confirmation.
            let fault = result.map_or_else(|error| Fault::from(&error), |_| fault.clone());
            let _ = pending.fate.send(failed(fault));
        }
        self.channel = Arc::new(confirming(&self.link).await?);
        Ok(())
    }
}

/// Marks the message that came back: lapin does not say whose it is, but two that are
/// equal in all parts may stand for each other. Should the broker have changed it, then one
/// too many is sent again rather than one too few.
fn came_back<'p>(returned: &BasicReturnMessage, pending: impl Iterator<Item = &'p mut Pending>) {
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
    let most_alike = pending
        .filter_map(|pending| likeness(pending).map(|likeness| (likeness, pending)))
        .max_by_key(|(likeness, _)| *likeness);
    match most_alike {
        Some((_, pending)) => pending.returned = Some(said(returned)),
        None => tracing::warn!("a message came back that nobody has sent"),
    }
}
