//! A transport that sends in a way of its own, such as over a broker without room, and is otherwise
//! the one below it.

use futures_util::future::BoxFuture;
use listener::Transport;
use listener::driver::{ConnectError, JournalError, SendError};
use listener::driver::{Driver, JournalAppend, JournalRead, Outgoing, Subscribed, Subscription};

/// Sends by `send`, which is given the transport below.
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

    fn obstacle(&self) -> Option<String> {
        self.below.obstacle()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.below.close())
    }
}
