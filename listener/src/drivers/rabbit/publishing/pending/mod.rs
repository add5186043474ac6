//! The pending confirms of one channel: messages that lapin has not written yet, then those that the
//! broker has not confirmed yet; and the fate of each. Owned by the task of `confirms.rs`, which publishes
//! them. `tests.rs` has a model of lapin.

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

use super::message::{Fate, Message, failed, said};
use crate::drivers::rabbit::connection::refusal::Fault;
use crate::drivers::rabbit::workarounds::ready::ready;

/// The task is woken once for this many written messages; they are written in order.
const WRITTEN: usize = 64;
/// It is woken earlier after this many bytes: the first message may be confirmed long before the last is
/// written.
const WRITTEN_BYTES: usize = 64 * 1024;

/// A message that waits for its confirmation.
pub(crate) struct Pending {
    pub(crate) message: Arc<Message>,
    pub(crate) fate: oneshot::Sender<Fate>,
    /// Why it came back, if it did.
    pub(crate) returned: Option<String>,
}

pub(crate) type Done = (Pending, lapin::Result<Confirmation>);

/// Until lapin has written a message; then, its confirmation.
type Handing<C> = BoxFuture<'static, lapin::Result<C>>;

/// The messages without a confirmation yet. `C` is lapin's confirmation, except in tests.
pub(crate) struct PendingConfirms<C = PublisherConfirm> {
    /// In the order in which they are written.
    handing: VecDeque<(Pending, Handing<C>)>,
    written: FuturesUnordered<Written<C>>,
}

impl<C> Default for PendingConfirms<C> {
    fn default() -> Self {
        Self { handing: VecDeque::new(), written: FuturesUnordered::new() }
    }
}

impl PendingConfirms {
    /// Publishes: once this has returned, lapin has the message in its queue.
    pub(crate) fn publish(&mut self, channel: &Arc<Channel>, pending: Pending) {
        let handing = hand(Arc::clone(channel), Arc::clone(&pending.message)).boxed();
        self.add(pending, handing);
    }
}

impl<C> PendingConfirms<C>
where
    C: Future<Output = lapin::Result<Confirmation>> + Unpin + Send + 'static,
{
    pub(crate) fn len(&self) -> usize {
        self.handing.len() + self.written.len()
    }

    fn add(&mut self, pending: Pending, mut handing: Handing<C>) {
        // What is written at once is seen by `poll_done` too, which asks with a waker.
        let early = handing.poll_unpin(&mut Context::from_waker(Waker::noop()));
        let handing = match early {
            Poll::Ready(result) => std::future::ready(result).boxed(),
            Poll::Pending => handing,
        };
        self.handing.push_back((pending, handing));
    }

    /// One that is confirmed or has failed; pending also if nothing is on its way.
    pub(crate) fn poll_done(&mut self, context: &mut Context<'_>) -> Poll<Done> {
        while self.advance() {
            let next = self.next_wake();
            let Some((_, handing)) = self.handing.get_mut(next) else {
                break;
            };
            let Poll::Ready(result) = handing.poll_unpin(context) else {
                break;
            };
            *handing = std::future::ready(result).boxed();
        }
        match self.written.poll_next_unpin(context) {
            Poll::Ready(Some(done)) => Poll::Ready(done),
            _ => Poll::Pending,
        }
    }

    /// The one whose writing wakes the task, for itself and those before it.
    fn next_wake(&self) -> usize {
        let mut bytes = 0;
        let before = self.handing.iter().take(WRITTEN).take_while(|(pending, _)| {
            bytes += pending.message.body.len();
            bytes < WRITTEN_BYTES
        });
        // The one that fills the measure; the last of them, if none does.
        before.count().min(self.handing.len().min(WRITTEN).saturating_sub(1))
    }

    /// Tells all fates that are known by now, and that of `first`. The fault that closed the
    /// channel, if one did.
    ///
    /// lapin does not say whose message came back: it goes with the next confirmation that is
    /// carried out. RabbitMQ confirms those that come back in their order, so that is its own,
    /// one before it, or one of the same frame, whose confirmations lapin carries out in any
    /// order. So none is told before all of its frame is there, and all that was done before:
    /// `whole` waits until lapin is not in the middle of a frame.
    pub(crate) fn judge(&mut self, first: Done, whole: impl FnMut()) -> Option<Fault> {
        let carries = is_carrier(&first.1);
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
        done.extend(self.ready(carries, whole).into_iter().map(open));
        for message in &returned {
            let done = done.iter_mut().map(|(pending, _)| pending);
            came_back(message, done.chain(self.iter_mut()));
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
        spoiled
    }

    /// The channel was closed by this fault: all fail with it, but those that have one of
    /// their own.
    pub(crate) fn spoil(&mut self, fault: &Fault, whole: impl FnMut()) {
        for (pending, result) in self.ready(true, whole) {
            // What was confirmed beside a fault is sent again rather than judged: a returned
            // message may have gone with another's confirmation.
            let fault = result.map_or_else(|error| Fault::from(&error), |_| fault.clone());
            let _ = pending.fate.send(failed(fault));
        }
        for pending in self.drain() {
            let _ = pending.fate.send(failed(fault.clone()));
        }
    }

    /// All that are confirmed or have failed by now, and each that lapin was done with before
    /// one of them; in whole frames, once one of them carries a message that came back. Only
    /// then do confirmations of the same frame matter to each other.
    fn ready(&mut self, mut carries: bool, mut whole: impl FnMut()) -> Vec<Done> {
        let mut done = Vec::new();
        loop {
            if carries {
                whole();
            }
            // What is confirmed has been written before; it may have been just now.
            self.advance();
            let more = ready(&mut self.written);
            let is_last = more.is_empty();
            carries |= more.iter().any(|(_, result)| is_carrier(result));
            done.extend(more);
            let unwritten = self.handing.len();
            self.advance();
            if is_last || !carries && self.handing.len() == unwritten {
                return done;
            }
        }
    }

    /// Takes over what is written. Whether some is left.
    fn advance(&mut self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        while let Some((_, handing)) = self.handing.front_mut() {
            let Poll::Ready(result) = handing.poll_unpin(&mut context) else {
                return true;
            };
            if let Some((pending, _)) = self.handing.pop_front() {
                self.written.push(Written(Some((pending, result))));
            }
        }
        false
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Pending> {
        let handing = self.handing.iter().map(|(pending, _)| pending);
        handing.chain(self.written.iter().filter_map(|written| Some(&written.0.as_ref()?.0)))
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut Pending> {
        let handing = self.handing.iter_mut().map(|(pending, _)| pending);
        let written = self.written.iter_mut();
        handing.chain(written.filter_map(|written| Some(&mut written.0.as_mut()?.0)))
    }

    /// Gives all of them up.
    pub(crate) fn drain(&mut self) -> Vec<Pending> {
        let handing = self.handing.drain(..).map(|(pending, _)| pending);
        let written = std::mem::take(&mut self.written).into_iter();
        handing.chain(written.filter_map(|written| Some(written.0?.0))).collect()
    }
}

/// Whether it came with a message that was returned, its own or another.
fn is_carrier(result: &lapin::Result<Confirmation>) -> bool {
    matches!(result, Ok(Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_))))
}

/// The queue of lapin has the message when this has been polled once; it is written when this
/// is done.
async fn hand(channel: Arc<Channel>, message: Arc<Message>) -> lapin::Result<PublisherConfirm> {
    let Message { exchange, routing_key, properties, body } = message.as_ref().clone();
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    channel.basic_publish(exchange, routing_key, options, &body, properties).await
}

/// One that is written, or could not be; none once it is done.
struct Written<C>(Option<(Pending, lapin::Result<C>)>);

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
            // Only what is written has been asked.
            (None, Ok(_)) => return Poll::Pending,
        };
        Poll::Ready((pending, result))
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
