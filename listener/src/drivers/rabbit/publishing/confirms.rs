//! A channel in confirm mode, owned by one task that publishes and collects confirms. `pending/` has the
//! messages whose confirms are pending; `publish.rs` publishes again, `publisher.rs` makes the next
//! session.
//!
//! There is one task because of lapin 4.12: two tasks that publish concurrently on a channel may swap
//! their sequence numbers, and so their confirms; and a returned message is attached to whichever
//! confirm is resolved next, not to its own.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, OnceLock};

use futures_util::FutureExt;
use lapin::Channel;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::message::{Message, PublishResult};
use super::pending::{Done, PendingConfirm, PendingConfirms};
use crate::drivers::rabbit::connection::channel::close_channel;
use crate::drivers::rabbit::connection::failure::Fault;
use crate::drivers::rabbit::connection::link::{ConnectionPurpose, Link, LinkEvent, LinkEvents};
use crate::drivers::rabbit::core::Core;
use crate::drivers::rabbit::options::{CHECK_EVERY, CLOSE_TIMEOUT};

/// The most bytes of unconfirmed messages whose senders have given up, as when a quorum queue has lost
/// its majority. Beyond that the session ends, which frees them.
const MAX_ABANDONED: usize = 64 * 1024 * 1024;
/// The approximate memory of a message without its body, in bytes.
const OVERHEAD: usize = 1024;
/// The most messages that are published before confirms are collected.
const BATCH: usize = 256;

/// What prevents sending at present, for the errors of senders that time out.
pub(crate) type Obstacle = Arc<Mutex<Option<String>>>;

pub(crate) fn set_obstacle(blocked: &Obstacle, reason: Option<String>) {
    *blocked.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = reason;
}

pub(crate) struct Submission {
    message: Arc<Message>,
    result: oneshot::Sender<PublishResult>,
}

/// Submits messages to the task.
pub(crate) struct Submitter {
    submissions: mpsc::UnboundedSender<Submission>,
    ended: Arc<OnceLock<Fault>>,
}

impl Submitter {
    /// Submits a message. Messages are published in the order of these calls.
    pub(crate) fn submit(&self, message: Arc<Message>) -> oneshot::Receiver<PublishResult> {
        let (result, received) = oneshot::channel();
        // If the task has ended, the sender is dropped, and the receiver reports it.
        let _ = self.submissions.send(Submission { message, result });
        received
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.submissions.is_closed()
    }

    /// What ended the connection, if it was lost.
    pub(crate) fn fault(&self) -> Option<&Fault> {
        self.ended.get()
    }
}

/// The result that was received; the connection was lost if the task has ended without one.
pub(crate) fn received(result: Result<PublishResult, oneshot::error::RecvError>) -> PublishResult {
    result.unwrap_or_else(|_| {
        PublishResult::ConnectionLost(Fault::Other("the connection is closed".to_owned()))
    })
}

/// The task of a session.
struct ConfirmTask {
    link: Arc<Link>,
    events: LinkEvents,
    purpose: ConnectionPurpose,
    channel: Arc<Channel>,
    submissions: mpsc::UnboundedReceiver<Submission>,
    ended: Arc<OnceLock<Fault>>,
    /// Reused for each batch; empty in between.
    batch: Vec<Submission>,
    pending: PendingConfirms,
    blocked: Obstacle,
    /// Messages that wait while the broker is short of memory or disk; none while it is not.
    backlog: Option<Vec<Submission>>,
    // Last: the I/O thread must outlive this task.
    _core: Arc<Core>,
}

/// Starts the task. It ends with the connection, or when the last submitter is dropped.
pub(crate) async fn start(
    core: Arc<Core>,
    link: Arc<Link>,
    events: LinkEvents,
    purpose: ConnectionPurpose,
    blocked: &Obstacle,
) -> Result<(Submitter, JoinHandle<()>), Fault> {
    let (sender, submissions) = mpsc::unbounded_channel();
    let ended = Arc::default();
    let submitter = Submitter { submissions: sender, ended: Arc::clone(&ended) };
    let task = ConfirmTask {
        channel: Arc::new(link.confirm_channel().await?),
        link,
        events,
        purpose,
        submissions,
        ended,
        batch: Vec::with_capacity(BATCH),
        pending: PendingConfirms::default(),
        blocked: Arc::clone(blocked),
        backlog: None,
        _core: core,
    };
    Ok((submitter, tokio::spawn(task.run())))
}

impl ConfirmTask {
    async fn run(mut self) {
        let ended = self.serve().await;
        if self.backlog.is_some() {
            // The obstacle was that the broker had blocked this connection.
            set_obstacle(&self.blocked, None);
        }
        let Some(fault) = ended else {
            let closed = async {
                let _ = close_channel(&self.channel).await;
                self.link.close().await;
            };
            // One deadline covers both.
            let _ = timeout(CLOSE_TIMEOUT, closed).await;
            return;
        };
        let in_flight = self.pending.len();
        match self.purpose {
            ConnectionPurpose::Send => {
                tracing::warn!(%fault, in_flight, "lost the RabbitMQ connection for sending");
            }
            // The runtime logs a warning.
            ConnectionPurpose::Journal => {
                tracing::debug!(%fault, in_flight, "lost the RabbitMQ connection for a journal");
            }
        }
        let _ = self.ended.set(fault.clone());
        self.submissions.close();
        for one in self.pending.drain() {
            let _ = one.result.send(PublishResult::ConnectionLost(fault.clone()));
        }
        let mut unsent = self.backlog.take().unwrap_or_default();
        while let Ok(submission) = self.submissions.try_recv() {
            unsent.push(submission);
        }
        for submission in unsent {
            let _ = submission.result.send(PublishResult::ConnectionLost(fault.clone()));
        }
    }

    /// Runs until the connection is lost, for the reason that is returned, or until the last submitter
    /// is dropped.
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
                        && let Err(fault) = self.replace_channel(fault).await
                    {
                        return Some(fault);
                    }
                }
                received = self.submissions.recv_many(&mut self.batch, BATCH) => {
                    if received == 0 {
                        // Callers that wait hold a submitter.
                        return None;
                    }
                    let mut batch = std::mem::take(&mut self.batch);
                    batch.drain(..).for_each(|submission| self.accept(submission));
                    self.batch = batch;
                }
                _ = check.tick() => {
                    if !self.link.is_up() {
                        return Some(Fault::Other("the connection is closed".to_owned()));
                    }
                    if let Some(backlog) = &mut self.backlog {
                        backlog.retain(|submission| !submission.result.is_closed());
                    }
                    if self.abandoned() > MAX_ABANDONED {
                        let reason = "too many messages were never confirmed";
                        return Some(Fault::Other(reason.to_owned()));
                    }
                }
            }
        }
    }

    /// The approximate memory of messages whose senders have given up, in bytes.
    fn abandoned(&self) -> usize {
        let abandoned = self.pending.iter().filter(|pending| pending.result.is_closed());
        abandoned.map(|pending| pending.message.body.len() + OVERHEAD).sum()
    }

    fn blocked(&mut self, reason: &str) {
        let purpose = self.purpose.name();
        tracing::warn!(reason, purpose, "RabbitMQ blocked the connection for publishing");
        let reason = format!("the broker blocks publishers: {reason}");
        set_obstacle(&self.blocked, Some(reason));
        self.backlog.get_or_insert_default();
    }

    fn unblocked(&mut self) {
        let purpose = self.purpose.name();
        tracing::info!(purpose, "RabbitMQ unblocked the connection for publishing");
        set_obstacle(&self.blocked, None);
        for submission in self.backlog.take().unwrap_or_default() {
            self.publish(submission);
        }
    }

    /// While the broker is short of memory or disk, messages wait in the backlog, not in lapin's queue:
    /// here those whose senders give up can be dropped.
    fn accept(&mut self, submission: Submission) {
        match &mut self.backlog {
            Some(backlog) => backlog.push(submission),
            None => self.publish(submission),
        }
    }

    fn publish(&mut self, submission: Submission) {
        let Submission { message, result } = submission;
        if result.is_closed() {
            return;
        }
        self.pending.publish(&self.channel, PendingConfirm { message, result, returned: None });
    }

    /// Reports all results that are known. Returns the fault that closed the channel, if one did.
    fn collect(&mut self, first: Done) -> Option<Fault> {
        let fault = self.pending.resolve(first, || finish_frame(&self.channel));
        // If the connection has ended, the link reports it.
        fault.filter(|_| !self.channel.status().connected())
    }

    /// Replaces the channel after a fault: the other messages on it fail, and are published again.
    async fn replace_channel(&mut self, fault: Fault) -> Result<(), Fault> {
        if !self.link.is_up() {
            return Err(fault);
        }
        let purpose = self.purpose.name();
        tracing::warn!(%fault, purpose, "RabbitMQ closed the channel for publishing");
        // lapin resolves all confirms of a channel when it closes, so none of them is left for the new
        // channel.
        self.pending.fail_all(&fault, || finish_frame(&self.channel));
        self.channel = Arc::new(self.link.confirm_channel().await?);
        Ok(())
    }
}

/// Waits until lapin has resolved all confirms of a frame, which it does under the lock that this call
/// acquires. The returned future need not be completed.
fn finish_frame(channel: &Channel) {
    let _ = channel.wait_for_confirms().now_or_never();
}
