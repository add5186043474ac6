//! A notification that was enqueued and whose result is still to come: `Notifier::enqueue` makes it. The sending
//! itself is in `send.rs` and `fan_out.rs`.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use crate::future::BoxFuture;
use crate::notifier::error::NotifyError;
use crate::notifier::receipt::Receipt;

type Sent = Result<Receipt, NotifyError>;

/// The result of a notification that was [enqueued](crate::Notifier::enqueue): a future.
///
/// If it is dropped, the notification is sent nevertheless, and an error is logged at WARN.
#[derive(Debug)]
#[must_use = "it says whether the notification was sent; drop it to have errors logged instead"]
pub struct PendingNotification {
    event_type: String,
    state: State,
}

#[derive(Debug)]
enum State {
    Done(Option<Sent>),
    Sending(oneshot::Receiver<Sent>),
}

impl PendingNotification {
    /// Begins to send at once, so that notifications leave in the order of the calls, and goes on in a
    /// task.
    pub(super) async fn start(mut sending: BoxFuture<'static, Sent>, event_type: String) -> Self {
        let begun = poll_fn(|cx| Poll::Ready(sending.as_mut().poll(cx))).await;
        if let Poll::Ready(sent) = begun {
            return Self { event_type, state: State::Done(Some(sent)) };
        }
        let (reply, result) = oneshot::channel();
        let of_task = event_type.clone();
        tokio::spawn(async move {
            if let Err(Err(error)) = reply.send(sending.await) {
                log(&of_task, &error);
            }
        });
        Self { event_type, state: State::Sending(result) }
    }
}

fn log(event_type: &str, error: &NotifyError) {
    tracing::warn!(event_type, ?error, "a notification was not sent");
}

/// An error that nobody has read is logged.
impl Drop for PendingNotification {
    fn drop(&mut self) {
        let unread = match &mut self.state {
            State::Done(sent) => sent.take(),
            State::Sending(result) => result.try_recv().ok(),
        };
        if let Some(Err(error)) = unread {
            log(&self.event_type, &error);
        }
    }
}

impl Future for PendingNotification {
    type Output = Sent;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Sent> {
        match &mut self.state {
            State::Done(sent) => Poll::Ready(sent.take().unwrap_or(Err(NotifyError::Interrupted))),
            State::Sending(result) => {
                let result = Pin::new(result).poll(cx);
                result.map(|sent| sent.unwrap_or(Err(NotifyError::Interrupted)))
            }
        }
    }
}
