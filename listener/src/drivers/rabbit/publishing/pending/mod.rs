//! The pending confirms of one channel: messages that lapin has not written yet, and those that the
//! broker has not confirmed yet. Owned by the task of `confirms.rs`, which publishes them. Most of this
//! works around lapin 4.12, which attaches a returned message to any confirm; `tests.rs` has a model of
//! lapin.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use lapin::message::BasicReturnMessage;
use lapin::options::BasicPublishOptions;
use lapin::{Channel, Confirmation, PublisherConfirm};
use tokio::sync::oneshot;

use super::message::{Message, PublishResult, return_reason};
use crate::drivers::rabbit::connection::failure::Fault;
use crate::drivers::rabbit::workarounds::ready::drain_ready;

/// The task is woken once for this many written messages, because they are written in order.
const WRITTEN: usize = 64;
/// It is woken earlier after this many bytes, because the first message may be confirmed long before the
/// last is written.
const WRITTEN_BYTES: usize = 64 * 1024;

/// A message whose confirm is pending.
pub(crate) struct PendingConfirm {
    pub(crate) message: Arc<Message>,
    pub(crate) result: oneshot::Sender<PublishResult>,
    /// Why it was returned, if it was.
    pub(crate) returned: Option<String>,
}

pub(crate) type Done = (PendingConfirm, lapin::Result<Confirmation>);

/// Completes with the confirm when lapin has written a message.
type Writing<C> = BoxFuture<'static, lapin::Result<C>>;

/// The pending confirms. `C` is lapin's confirm, except in tests.
pub(crate) struct PendingConfirms<C = PublisherConfirm> {
    /// In the order in which they are written.
    unwritten: VecDeque<(PendingConfirm, Writing<C>)>,
    written: FuturesUnordered<Written<C>>,
}

impl<C> Default for PendingConfirms<C> {
    fn default() -> Self {
        Self { unwritten: VecDeque::new(), written: FuturesUnordered::new() }
    }
}

impl PendingConfirms {
    /// Publishes: the message is in lapin's queue when this returns.
    pub(crate) fn publish(&mut self, channel: &Arc<Channel>, pending: PendingConfirm) {
        let writing = write(Arc::clone(channel), Arc::clone(&pending.message)).boxed();
        self.add(pending, writing);
    }
}

impl<C> PendingConfirms<C>
where
    C: Future<Output = lapin::Result<Confirmation>> + Unpin + Send + 'static,
{
    pub(crate) fn len(&self) -> usize {
        self.unwritten.len() + self.written.len()
    }

    fn add(&mut self, pending: PendingConfirm, mut writing: Writing<C>) {
        // If it is written immediately, `poll_done`, which polls with a waker, sees it as well.
        let early = writing.poll_unpin(&mut Context::from_waker(Waker::noop()));
        let writing = match early {
            Poll::Ready(result) => std::future::ready(result).boxed(),
            Poll::Pending => writing,
        };
        self.unwritten.push_back((pending, writing));
    }

    /// The next message that is confirmed or has failed; also pending if there is none.
    pub(crate) fn poll_done(&mut self, context: &mut Context<'_>) -> Poll<Done> {
        while self.advance() {
            let next = self.next_wake();
            let Some((_, writing)) = self.unwritten.get_mut(next) else {
                break;
            };
            let Poll::Ready(result) = writing.poll_unpin(context) else {
                break;
            };
            *writing = std::future::ready(result).boxed();
        }
        match self.written.poll_next_unpin(context) {
            Poll::Ready(Some(done)) => Poll::Ready(done),
            _ => Poll::Pending,
        }
    }

    /// The index of the unwritten message that wakes the task when it and all before it are written.
    fn next_wake(&self) -> usize {
        let mut bytes = 0;
        let before = self.unwritten.iter().take(WRITTEN).take_while(|(pending, _)| {
            bytes += pending.message.body.len();
            bytes < WRITTEN_BYTES
        });
        // The one that reaches the limit, or the last of them.
        before.count().min(self.unwritten.len().min(WRITTEN).saturating_sub(1))
    }

    /// Reports all results that are known, and that of `first`. Returns the fault that closed the
    /// channel, if one did.
    ///
    /// lapin does not say which message was returned: it attaches it to the confirm that it resolves
    /// next. RabbitMQ confirms returned messages in order, so this is its own confirm, an earlier one,
    /// or one of the same frame, whose confirms lapin resolves in any order. So no result is reported
    /// before all confirms of its frame, and all earlier ones, are resolved: `finish_frame` waits until
    /// lapin has resolved a frame completely.
    pub(crate) fn resolve(&mut self, first: Done, finish_frame: impl FnMut()) -> Option<Fault> {
        let carries = carries_return(&first.1);
        let mut returned = Vec::new();
        let mut open = |(pending, result): Done| {
            let result = result.map(|confirmation| {
                let acked = confirmation.is_ack();
                returned.extend(confirmation.take_message());
                acked
            });
            (pending, result)
        };
        let mut done = vec![open(first)];
        done.extend(self.collect_ready(carries, finish_frame).into_iter().map(open));
        for message in &returned {
            let done = done.iter_mut().map(|(pending, _)| pending);
            mark_returned(message, done.chain(self.iter_mut()));
        }
        let mut closed_by = None;
        for (pending, result) in done {
            let result = match (result, pending.returned) {
                (Ok(_), Some(reason)) => PublishResult::Returned(reason),
                (Ok(true), None) => PublishResult::Confirmed,
                (Ok(false), None) => PublishResult::Nacked,
                (Err(error), _) => {
                    let fault = Fault::from(&error);
                    closed_by = Some(fault.clone());
                    PublishResult::failed(fault)
                }
            };
            let _ = pending.result.send(result);
        }
        closed_by
    }

    /// This fault has closed the channel: all messages fail with it, or with a fault of their own.
    pub(crate) fn fail_all(&mut self, fault: &Fault, finish_frame: impl FnMut()) {
        for (pending, result) in self.collect_ready(true, finish_frame) {
            // Even confirmed messages are published again: a returned message may be attached to
            // another's confirm.
            let fault = result.map_or_else(|error| Fault::from(&error), |_| fault.clone());
            let _ = pending.result.send(PublishResult::failed(fault));
        }
        for pending in self.drain() {
            let _ = pending.result.send(PublishResult::failed(fault.clone()));
        }
    }

    /// All messages that are confirmed or have failed, and all that lapin has resolved before one of
    /// them; with all confirms of their frames, if one of them carries a returned message. Otherwise
    /// confirms of the same frame do not affect each other.
    fn collect_ready(&mut self, mut carries: bool, mut finish_frame: impl FnMut()) -> Vec<Done> {
        let mut done = Vec::new();
        loop {
            if carries {
                finish_frame();
            }
            // A confirmed message has been written, perhaps a moment ago.
            self.advance();
            let more = drain_ready(&mut self.written);
            let is_last = more.is_empty();
            carries |= more.iter().any(|(_, result)| carries_return(result));
            done.extend(more);
            let unwritten = self.unwritten.len();
            self.advance();
            if is_last || !carries && self.unwritten.len() == unwritten {
                return done;
            }
        }
    }

    /// Moves the messages that are written. Whether some are left.
    fn advance(&mut self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        while let Some((_, writing)) = self.unwritten.front_mut() {
            let Poll::Ready(result) = writing.poll_unpin(&mut context) else {
                return true;
            };
            if let Some((pending, _)) = self.unwritten.pop_front() {
                self.written.push(Written(Some((pending, result))));
            }
        }
        false
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &PendingConfirm> {
        let unwritten = self.unwritten.iter().map(|(pending, _)| pending);
        unwritten.chain(self.written.iter().filter_map(|written| Some(&written.0.as_ref()?.0)))
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut PendingConfirm> {
        let unwritten = self.unwritten.iter_mut().map(|(pending, _)| pending);
        let written = self.written.iter_mut();
        unwritten.chain(written.filter_map(|written| Some(&mut written.0.as_mut()?.0)))
    }

    /// Removes all of them.
    pub(crate) fn drain(&mut self) -> Vec<PendingConfirm> {
        let unwritten = self.unwritten.drain(..).map(|(pending, _)| pending);
        let written = std::mem::take(&mut self.written).into_iter();
        unwritten.chain(written.filter_map(|written| Some(written.0?.0))).collect()
    }
}

/// Whether a returned message, of this confirm or another, is attached to it.
fn carries_return(result: &lapin::Result<Confirmation>) -> bool {
    matches!(result, Ok(Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_))))
}

/// The message is in lapin's queue when this has been polled once, and written when it completes.
async fn write(channel: Arc<Channel>, message: Arc<Message>) -> lapin::Result<PublisherConfirm> {
    let Message { exchange, routing_key, properties, body } = message.as_ref().clone();
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    channel.basic_publish(exchange, routing_key, options, &body, properties).await
}

/// A message that is written, or could not be; none once it has completed.
struct Written<C>(Option<(PendingConfirm, lapin::Result<C>)>);

impl<C> Future for Written<C>
where
    C: Future<Output = lapin::Result<Confirmation>> + Unpin,
{
    type Output = Done;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Done> {
        let confirmed = match &mut self.0 {
            Some((_, Ok(confirm))) => Some(std::task::ready!(confirm.poll_unpin(context))),
            _ => None,
        };
        let Some((pending, written)) = self.0.take() else {
            return Poll::Pending;
        };
        let result = match (confirmed, written) {
            (Some(result), _) => result,
            (None, Err(error)) => Err(error),
            // Only written messages are polled.
            (None, Ok(_)) => return Poll::Pending,
        };
        Poll::Ready((pending, result))
    }
}

/// Marks the message that was returned. lapin does not say which it is, but messages that are equal in
/// all parts are interchangeable. If the broker has changed the message, the most similar one is marked,
/// so that a message may be published twice, but none is lost.
fn mark_returned<'p>(
    returned: &BasicReturnMessage,
    pending: impl Iterator<Item = &'p mut PendingConfirm>,
) {
    let similarity = |pending: &PendingConfirm| {
        let message = &pending.message;
        let is_candidate = pending.returned.is_none()
            && message.exchange == returned.exchange
            && message.routing_key == returned.routing_key;
        is_candidate.then(|| {
            let same_body = message.body[..] == returned.data[..];
            (same_body, message.properties == returned.properties)
        })
    };
    let most_similar = pending
        .filter_map(|pending| similarity(pending).map(|similarity| (similarity, pending)))
        .max_by_key(|(similarity, _)| *similarity);
    match most_similar {
        Some((_, pending)) => pending.returned = Some(return_reason(returned)),
        None => tracing::warn!("the broker returned a message that is not pending"),
    }
}
