//! A transport that replaces `send`, for example to act like a full broker, and passes every other call
//! to the transport below.

use futures_util::future::BoxFuture;
use listener::Transport;
use listener::driver::{ConnectError, JournalError, SendError};
use listener::driver::{Driver, JournalAppend, JournalRead, Outgoing, Subscribed, Subscription};

/// A transport whose `send` is the given function, which gets the transport below.
pub(crate) fn sending<S, F>(below: &Transport, send: S) -> Transport
where
    S: Fn(Transport, Outgoing) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), SendError>> + Send + 'static,
{
    Transport::new(Sending { below: below.clone(), send }, "sending")
}

struct Sending<S> {
    below: Transport,
    send: S,
}

impl<S, F> Driver for Sending<S>
where
    S: Fn(Transport, Outgoing) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), SendError>> + Send + 'static,
{
    fn subscribe(
        &self,
        subscription: Subscription,
    ) -> BoxFuture<'_, Result<Subscribed, ConnectError>> {
        Box::pin(self.below.subscribe(subscription))
    }

    fn send(&self, outgoing: Outgoing) -> BoxFuture<'_, Result<(), SendError>> {
        Box::pin((self.send)(self.below.clone(), outgoing))
    }

    fn journal(&self, append: JournalAppend) -> BoxFuture<'_, Result<JournalRead, JournalError>> {
        Box::pin(self.below.journal(append))
    }

    fn blocked(&self) -> Option<String> {
        self.below.blocked()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.below.close())
    }
}
