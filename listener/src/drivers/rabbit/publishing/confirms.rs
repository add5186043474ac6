//! One session of publishing: a connection and a channel in confirm mode, owned by one task that
//! publishes and collects the confirmations. What is on its way, and what became of it, is known
//! to `pending/`. Who publishes again is `publish.rs`; who makes the next session,
//! `publisher.rs`.
//!
//! One task, for two reasons that lie in lapin 4.12: two tasks that publish at once on a
//! channel may swap their sequence numbers, and so their confirmations; and a returned message
//! is handed out with whichever confirmation comes next, not with its own.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, OnceLock};

use futures_util::FutureExt;
use lapin::Channel;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::message::{Fate, Message, confirming};
use super::pending::{Done, Pending, PendingConfirms};
use crate::drivers::rabbit::Core;
use crate::drivers::rabbit::connection::link::{
    Link, LinkEvent, LinkEvents, Purpose, close_channel,
};
use crate::drivers::rabbit::connection::refusal::Fault;
use crate::drivers::rabbit::options::{CHECK_EVERY, CLOSE_TIMEOUT};

/// So many bytes may be kept of messages that nobody waits for and that were not confirmed, as
/// when a quorum queue has lost its majority: the end of the session lets go of them.
const GIVEN_UP: usize = 64 * 1024 * 1024;
/// What a message takes beside its body, about.
const SLIP: usize = 1024;
/// So many messages are published at most before confirmations are looked for.
const BATCH: usize = 256;

/// What stands in the way of sending now, for those who give up waiting.
pub(crate) type Obstacle = Arc<Mutex<Option<String>>>;

pub(crate) fn put(obstacle: &Obstacle, reason: Option<String>) {
    *obstacle.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = reason;
}

pub(crate) struct Submission {
    message: Arc<Message>,
    fate: oneshot::Sender<Fate>,
}

/// Where messages are handed in.
pub(crate) struct Submitter {
    submissions: mpsc::UnboundedSender<Submission>,
    ended: Arc<OnceLock<Fault>>,
}

impl Submitter {
    /// Hands a message in to be published, in the order of these calls. What became of it
    /// is received.
    pub(crate) fn submit(&self, message: Arc<Message>) -> oneshot::Receiver<Fate> {
        let (fate, told) = oneshot::channel();
        // One that is not taken drops its sender, and `told` says so.
        let _ = self.submissions.send(Submission { message, fate });
        told
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.submissions.is_closed()
    }

    /// What ended the connection, if anything has.
    pub(crate) fn ended_by(&self) -> Option<&Fault> {
        self.ended.get()
    }
}

/// What became of a message whose sender has gone.
pub(crate) fn fate_of(told: Result<Fate, oneshot::error::RecvError>) -> Fate {
    told.unwrap_or_else(|_| Fate::Lost(Fault::Other("the connection is closed".to_owned())))
}

/// The task of a session.
struct Collector {
    link: Arc<Link>,
    events: LinkEvents,
    purpose: Purpose,
    channel: Arc<Channel>,
    submissions: mpsc::UnboundedReceiver<Submission>,
    ended: Arc<OnceLock<Fault>>,
    /// What was just received; empty in between.
    batch: Vec<Submission>,
    pending: PendingConfirms,
    obstacle: Obstacle,
    /// What waits while the broker is short of memory; none when it is not.
    backlog: Option<Vec<Submission>>,
    // Last: the thread that it runs on must outlive the leave it takes.
    _core: Arc<Core>,
}

/// Starts the task. It ends with the connection, or when the last submitter is dropped.
pub(crate) async fn start(
    core: Arc<Core>,
    link: Arc<Link>,
    events: LinkEvents,
    purpose: Purpose,
    obstacle: &Obstacle,
) -> Result<(Submitter, JoinHandle<()>), Fault> {
    let (sender, submissions) = mpsc::unbounded_channel();
    let ended = Arc::default();
    let submitter = Submitter { submissions: sender, ended: Arc::clone(&ended) };
    let collector = Collector {
        channel: Arc::new(confirming(&link).await?),
        link,
        events,
        purpose,
        submissions,
        ended,
        batch: Vec::with_capacity(BATCH),
        pending: PendingConfirms::default(),
        obstacle: Arc::clone(obstacle),
        backlog: None,
        _core: core,
    };
    Ok((submitter, tokio::spawn(collector.run())))
}

impl Collector {
    async fn run(mut self) {
        let ended = self.serve().await;
        if self.backlog.is_some() {
            // It was this connection that the broker took nothing from.
            put(&self.obstacle, None);
        }
        let Some(fault) = ended else {
            let closed = async {
                let _ = close_channel(&self.channel).await;
                self.link.close().await;
            };
            // One deadline for both.
            let _ = timeout(CLOSE_TIMEOUT, closed).await;
            return;
        };
        let in_flight = self.pending.len();
        match self.purpose {
            Purpose::Send => {
                tracing::warn!(%fault, in_flight, "lost the RabbitMQ connection for sending");
            }
            // The runtime warns.
            Purpose::Journal => {
                tracing::debug!(%fault, in_flight, "lost the RabbitMQ connection for a journal");
            }
        }
        let _ = self.ended.set(fault.clone());
        self.submissions.close();
        for one in self.pending.drain() {
            let _ = one.fate.send(Fate::Lost(fault.clone()));
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
                done = poll_fn(|context| self.pending.poll_done(context)) => {
                    if let Some(fault) = self.collect(done)
                        && let Err(fault) = self.another_channel(fault).await
                    {
                        return Some(fault);
                    }
                }
                received = self.submissions.recv_many(&mut self.batch, BATCH) => {
                    if received == 0 {
                        // Whoever waits holds a submitter.
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
        let given_up = self.pending.iter().filter(|pending| pending.fate.is_closed());
        given_up.map(|pending| pending.message.body.len() + SLIP).sum()
    }

    fn blocked(&mut self, reason: &str) {
        let purpose = self.purpose.name();
        tracing::warn!(reason, purpose, "RabbitMQ takes no messages for now");
        put(&self.obstacle, Some(format!("the broker takes no messages for now: {reason}")));
        self.backlog.get_or_insert_default();
    }

    fn unblocked(&mut self) {
        tracing::info!(purpose = self.purpose.name(), "RabbitMQ takes messages again");
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
        self.pending.publish(&self.channel, Pending { message, fate, returned: None });
    }

    /// Tells all fates that are known by now. The fault that closed the channel, if one did.
    fn collect(&mut self, first: Done) -> Option<Fault> {
        let fault = self.pending.judge(first, || whole(&self.channel));
        // One that comes with the end of the connection is told by the link.
        fault.filter(|_| !self.channel.status().connected())
    }

    /// After a fault: the others on the channel fail with it, and go on over a new one.
    async fn another_channel(&mut self, fault: Fault) -> Result<(), Fault> {
        if !self.link.is_up() {
            return Err(fault);
        }
        let purpose = self.purpose.name();
        tracing::warn!(%fault, purpose, "RabbitMQ closed the channel for publishing");
        // All confirmations of the old channel are resolved when it is closing, and none of them
        // is met again on the new one.
        self.pending.spoil(&fault, || whole(&self.channel));
        self.channel = Arc::new(confirming(&self.link).await?);
        Ok(())
    }
}

/// Until lapin is not in the middle of a frame of confirmations: it resolves those of one frame
/// under the lock that this call takes. The call itself may stay unfinished.
fn whole(channel: &Channel) {
    let _ = channel.wait_for_confirms().now_or_never();
}
