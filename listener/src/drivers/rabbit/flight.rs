//! The messages that are on their way over one channel: first until lapin has written them,
//! then until the broker has confirmed them. Owned by the task of `confirms.rs`, which says what
//! a confirmation means.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use lapin::options::BasicPublishOptions;
use lapin::{Channel, Confirmation, PublisherConfirm};
use tokio::sync::oneshot;

use super::message::{Fate, Message};
use super::ready::ready;

/// The task is woken once for so many messages that are written: they are written in order.
const WRITTEN: usize = 64;

/// A message that waits for its confirmation.
pub(super) struct Pending {
    pub(super) message: Arc<Message>,
    pub(super) fate: oneshot::Sender<Fate>,
    /// Why it came back, if it did.
    pub(super) returned: Option<String>,
}

pub(super) type Done = (Pending, lapin::Result<Confirmation>);

type Handing = BoxFuture<'static, lapin::Result<PublisherConfirm>>;

/// All that is on its way.
#[derive(Default)]
pub(super) struct Flight {
    /// In the order in which they are written.
    handing: VecDeque<(Pending, Handing)>,
    written: FuturesUnordered<Written>,
}

impl Flight {
    pub(super) fn len(&self) -> usize {
        self.handing.len() + self.written.len()
    }

    /// Publishes: once this has returned, lapin has the message in its queue.
    pub(super) fn publish(&mut self, channel: &Arc<Channel>, pending: Pending) {
        let mut handing = hand(Arc::clone(channel), Arc::clone(&pending.message)).boxed();
        // What is written at once is seen by `poll_done` too, which asks with a waker.
        let early = handing.poll_unpin(&mut Context::from_waker(Waker::noop()));
        let handing = match early {
            Poll::Ready(result) => std::future::ready(result).boxed(),
            Poll::Pending => handing,
        };
        self.handing.push_back((pending, handing));
    }

    /// One that is confirmed or has failed; pending also if nothing is on its way.
    pub(super) fn poll_done(&mut self, context: &mut Context<'_>) -> Poll<Done> {
        while self.advance() {
            let last = self.handing.len().min(WRITTEN) - 1;
            let (_, handing) = &mut self.handing[last];
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

    /// All that are confirmed or have failed by now, for certain.
    pub(super) fn ready(&mut self) -> Vec<Done> {
        // What is confirmed has been written before.
        self.advance();
        ready(&mut self.written)
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

    pub(super) fn iter(&self) -> impl Iterator<Item = &Pending> {
        let handing = self.handing.iter().map(|(pending, _)| pending);
        handing.chain(self.written.iter().filter_map(|written| Some(&written.0.as_ref()?.0)))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Pending> {
        let handing = self.handing.iter_mut().map(|(pending, _)| pending);
        let written = self.written.iter_mut();
        handing.chain(written.filter_map(|written| Some(&mut written.0.as_mut()?.0)))
    }

    /// Gives all of them up.
    pub(super) fn drain(&mut self) -> Vec<Pending> {
        let handing = self.handing.drain(..).map(|(pending, _)| pending);
        let written = std::mem::take(&mut self.written).into_iter();
        handing.chain(written.filter_map(|written| Some(written.0?.0))).collect()
    }
}

/// The queue of lapin has the message when this has been polled once; it is written when this
/// is done.
async fn hand(channel: Arc<Channel>, message: Arc<Message>) -> lapin::Result<PublisherConfirm> {
    let Message { exchange, routing_key, properties, body } = message.as_ref().clone();
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    channel.basic_publish(exchange, routing_key, options, &body, properties).await
}

/// One that is written, or could not be; none once it is done.
struct Written(Option<(Pending, lapin::Result<PublisherConfirm>)>);

impl Future for Written {
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
