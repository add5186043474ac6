//! Sends one message until it is confirmed or its timeout expires: which results are final, and after
//! which it is published again. `session.rs` declares its destination, `confirms.rs` publishes it.
//! Called by `Rabbit::send`.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::confirms::received;
use super::message::{Destination, Message, PublishResult};
use super::publisher::{Publisher, Retries};
use super::session::{Preparation, Prepared, PublishSession};
use crate::drivers::rabbit::connection::failure::{
    Failure, Fault, Operation, no_default_exchange, operation_failed,
};
use crate::drivers::rabbit::connection::io::Io;
use crate::drivers::rabbit::connection::refusal::Refusal;
use crate::transport::driver::{Outgoing, Route};
use crate::transport::error::{ConnectError, SendError};

/// Bytes of the content header frame besides the properties: the frame's own, the delivery mode, the
/// expiration.
const FRAME_RESERVE: usize = 64;

/// Bytes that the broker adds when it dead-letters a message from a retry queue. It does not split a
/// content header, and clients close the connection if one is larger than a frame.
fn added_by_the_broker(route: &Route) -> usize {
    match route {
        // Thirteen headers of at most 64 bytes, which contain the name of the queue six times.
        Route::Delayed { queue, .. } => 13 * 64 + 6 * (queue.len() + 16),
        // A count of deliveries.
        Route::Queue(_) | Route::Quarantine(_) | Route::Topic { .. } => 64,
    }
}

/// The result of the attempt in the caller's task.
pub(crate) enum Attempt {
    Done(Result<(), SendError>),
    /// `send` has to go on, in a task of the driver.
    Continue(FirstAttempt),
}

/// The attempt in the caller's task, if there was one.
pub(crate) struct FirstAttempt {
    deadline: Instant,
    published: Option<Published>,
}

/// A message that was published once, and what became of it.
struct Published {
    session: Arc<PublishSession>,
    preparation: Preparation,
    result: PublishResult,
}

/// Publishes from the caller's task, if there is a session in which a message on this route was
/// confirmed: this suffices for nearly all messages. `send` does the rest.
pub(crate) async fn try_in_place(io: &Io, publisher: &Publisher, outgoing: &Outgoing) -> Attempt {
    let deadline = Instant::now() + outgoing.timeout;
    let go_on = |published| Attempt::Continue(FirstAttempt { deadline, published });
    let Some(session) = publisher.current() else {
        return go_on(None);
    };
    let Some(route) = session.prepared_route(&outgoing.route) else {
        return go_on(None);
    };
    if fits(outgoing, &session).is_err() || session.may_refuse(outgoing.body.len()) {
        return go_on(None);
    }
    let Ok(message) = route.message(outgoing) else {
        return go_on(None);
    };
    let result = session.submit(Arc::new(message));
    let result = {
        // The caller may not be a task of tokio: the timer of the driver's runtime is used.
        let _entered = io.handle().enter();
        timeout_at(deadline, result)
    };
    match result.await.map(received) {
        Ok(PublishResult::Confirmed) => Attempt::Done(Ok(())),
        Ok(result) => {
            let preparation = Arc::clone(&route.preparation);
            go_on(Some(Published { session, preparation, result }))
        }
        Err(_) => {
            let progress = SendProgress { is_pending: true, ..SendProgress::default() };
            Attempt::Done(Err(timed_out(publisher, outgoing, progress)))
        }
    }
}

/// Publishes, and publishes again, until `outgoing.timeout` expires.
pub(crate) async fn send(
    publisher: Publisher,
    outgoing: Outgoing,
    first: FirstAttempt,
) -> Result<(), SendError> {
    let FirstAttempt { deadline, published } = first;
    let retries = Retries::new(outgoing.retries);
    let mut progress = SendProgress { retries, ..SendProgress::default() };
    let attempts = attempts(&publisher, &outgoing, deadline, &mut progress, published);
    let sent = timeout_at(deadline, attempts).await;
    sent.unwrap_or_else(|_| Err(timed_out(&publisher, &outgoing, progress)))
}

/// The error after the timeout.
fn timed_out(publisher: &Publisher, outgoing: &Outgoing, progress: SendProgress) -> SendError {
    let (route, after) = (outgoing.route.to_string(), outgoing.timeout);
    let may_have_been_sent = progress.is_pending || progress.is_unknown;
    let reason = match progress.last {
        Last::Refused if !may_have_been_sent => return SendError::Refused { route },
        Last::Refused => Some("the broker refused it before".to_owned()),
        Last::Reason(reason) => Some(reason),
        Last::Nothing => None,
    };
    let last = publisher.blocked().or(reason);
    if may_have_been_sent {
        SendError::TimedOut { route, after, last }
    } else {
        SendError::NotSent { route, after, last }
    }
}

/// What is known from the attempts so far.
#[derive(Default)]
struct SendProgress {
    last: Last,
    /// It was submitted, and its result is pending.
    is_pending: bool,
    /// The result of an earlier attempt is unknown: the broker may have the message.
    is_unknown: bool,
    /// Sessions up to this generation are not used any more.
    newer_than: u64,
    returned: bool,
    /// It was on a channel that was closed: it is published on a channel of its own, which shows whether
    /// it was the cause.
    needs_own_channel: bool,
    /// How often the broker has closed the connection because of a protocol error.
    protocol_errors: u32,
    delays: u32,
    retries: Retries,
}

#[derive(Default)]
enum Last {
    #[default]
    Nothing,
    Refused,
    Reason(String),
}

async fn attempts(
    publisher: &Publisher,
    outgoing: &Outgoing,
    deadline: Instant,
    progress: &mut SendProgress,
    mut first: Option<Published>,
) -> Result<(), SendError> {
    let Some(destination) = Destination::of(&outgoing.route) else {
        return Err(no_delay(outgoing, "a delay may be at most 24 hours".to_owned()));
    };
    let message = Message::new(outgoing, &destination)
        .map_err(|error| invalid(outgoing, error.to_string()))?;
    let message = Arc::new(message);
    loop {
        let published = match first.take() {
            Some(published) => Some(published),
            None => {
                attempt(publisher, outgoing, deadline, progress, &destination, &message).await?
            }
        };
        let Some(Published { session, preparation, result }) = published else { continue };
        progress.is_pending = false;
        progress.is_unknown |=
            matches!(result, PublishResult::ChannelClosed(_) | PublishResult::ConnectionLost(_));
        match result {
            PublishResult::Confirmed => return Ok(()),
            PublishResult::Nacked => {
                retry(publisher, outgoing, deadline, progress, Last::Refused, &session).await?;
            }
            PublishResult::Returned(reason) => {
                session.record_missing(&destination);
                session.forget(&destination, &preparation);
                if progress.returned {
                    return Err(match preparation.get() {
                        Some(Prepared::Refused(refusal)) => refusal.clone().into(),
                        _ => unroutable(outgoing, reason),
                    });
                }
                progress.returned = true;
            }
            PublishResult::ChannelClosed(fault) => {
                session.forget(&destination, &preparation);
                if let Some(last) = channel_closed(fault, outgoing, progress, &session)? {
                    retry(publisher, outgoing, deadline, progress, last, &session).await?;
                }
            }
            PublishResult::ConnectionLost(fault) => {
                if fault.is_protocol_error() {
                    progress.protocol_errors += 1;
                    progress.needs_own_channel = true;
                    if progress.protocol_errors > 2 {
                        return Err(invalid(outgoing, fault.to_string()));
                    }
                }
                let last = Last::Reason(fault.to_string());
                retry(publisher, outgoing, deadline, progress, last, &session).await?;
            }
        }
    }
}

/// One attempt, and its result; none if the destination could not be declared yet.
async fn attempt(
    publisher: &Publisher,
    outgoing: &Outgoing,
    deadline: Instant,
    progress: &mut SendProgress,
    destination: &Destination,
    message: &Arc<Message>,
) -> Result<Option<Published>, SendError> {
    let session = publisher.session(progress.newer_than, deadline, &progress.retries).await;
    let session = session.map_err(|error| match error {
        ConnectError::Unreachable { attempts, .. } => {
            progress.last = Last::Reason(attempts);
            gave_up(publisher, outgoing, deadline, std::mem::take(progress))
        }
        error => error.into(),
    })?;
    fits(outgoing, &session)?;
    let preparation = match session.prepare(destination).await {
        Ok(preparation) => preparation,
        Err(Failure::Permanent(error)) => return Err(error.into()),
        Err(Failure::Transient { reason, .. }) => {
            let last = Last::Reason(reason);
            retry(publisher, outgoing, deadline, progress, last, &session).await?;
            return Ok(None);
        }
    };
    if let Some(Prepared::NoDelay(reason)) = preparation.get() {
        return Err(no_delay(outgoing, reason.clone()));
    }
    progress.needs_own_channel |= session.may_refuse(outgoing.body.len());
    if deadline.saturating_duration_since(Instant::now()) < time_to_confirm(outgoing.timeout) {
        return Err(timed_out(publisher, outgoing, std::mem::take(progress)));
    }
    progress.is_pending = true;
    let result = if progress.needs_own_channel {
        session.publish_on_own_channel(message.as_ref().clone()).await
    } else {
        received(session.submit(Arc::clone(message)).await)
    };
    if result == PublishResult::Confirmed {
        session.keep_route(&outgoing.route, destination, &preparation);
    }
    Ok(Some(Published { session, preparation, result }))
}

/// The channel was closed. A message on a channel of its own is the cause; others are published on
/// channels of their own next, so that one that the broker refuses does not affect its neighbours.
///
/// Returns why it is published again, if that is a retry.
fn channel_closed(
    fault: Fault,
    outgoing: &Outgoing,
    progress: &mut SendProgress,
    session: &PublishSession,
) -> Result<Option<Last>, SendError> {
    if let Some(Refusal::MessageTooLarge { limit }) = fault.refusal() {
        session.set_max_size(limit);
        if outgoing.body.len() > limit {
            return Err(too_large(outgoing, limit));
        }
    }
    // If the exchange is gone, it is declared again.
    let is_gone = fault.code() == Some(404);
    if progress.needs_own_channel && !is_gone {
        let failure = match no_default_exchange(&fault, session.user()) {
            Some(error) => Failure::Permanent(error),
            None => operation_failed(fault, Operation::publish(&outgoing.route), session.user()),
        };
        return match failure {
            // Without a retry queue, the retry is delayed in the process.
            Failure::Permanent(error @ ConnectError::Forbidden { .. })
                if matches!(outgoing.route, Route::Delayed { .. }) =>
            {
                Err(no_delay(outgoing, error.to_string()))
            }
            Failure::Permanent(ConnectError::Refused { reason, .. })
            | Failure::Transient { reason, .. } => Err(invalid(outgoing, reason)),
            Failure::Permanent(error) => Err(error.into()),
        };
    }
    let last = Last::Reason(fault.to_string());
    if is_gone {
        return Ok(Some(last));
    }
    progress.needs_own_channel = true;
    progress.last = last;
    Ok(None)
}

/// Delays before the next attempt, if the caller allows another.
async fn retry(
    publisher: &Publisher,
    outgoing: &Outgoing,
    deadline: Instant,
    progress: &mut SendProgress,
    last: Last,
    session: &PublishSession,
) -> Result<(), SendError> {
    if !progress.retries.take() {
        progress.last = last;
        return Err(gave_up(publisher, outgoing, deadline, std::mem::take(progress)));
    }
    progress.delay(last, session).await;
    Ok(())
}

/// The error after the last attempt that the caller allows.
fn gave_up(
    publisher: &Publisher,
    outgoing: &Outgoing,
    deadline: Instant,
    progress: SendProgress,
) -> SendError {
    let left = deadline.saturating_duration_since(Instant::now());
    let mut error = timed_out(publisher, outgoing, progress);
    if let SendError::TimedOut { after, .. } | SendError::NotSent { after, .. } = &mut error {
        *after = outgoing.timeout.saturating_sub(left);
    }
    error
}

impl SendProgress {
    /// Delays before the next attempt.
    async fn delay(&mut self, last: Last, session: &PublishSession) {
        self.last = last;
        if !session.is_open() {
            self.newer_than = session.generation;
        }
        let ceiling = Duration::from_millis(50) * 2u32.pow(self.delays.min(5));
        self.delays += 1;
        sleep(ceiling / 2 + (ceiling / 2).mul_f64(fastrand::f64())).await;
    }
}

/// The least part of `timeout` that an attempt needs. A message that is submitted later would hardly be
/// confirmed in time, but might arrive: its sender would get an error, and send it again.
fn time_to_confirm(timeout: Duration) -> Duration {
    (timeout / 4).min(Duration::from_secs(1))
}

/// Refuses a message for which the broker would close the connection or the channel.
fn fits(outgoing: &Outgoing, session: &PublishSession) -> Result<(), SendError> {
    let size = outgoing.properties.size() + FRAME_RESERVE + added_by_the_broker(&outgoing.route);
    if size > session.frame_max() {
        return Err(SendError::HeadersTooLarge {
            route: outgoing.route.to_string(),
            limit: session.frame_max(),
        });
    }
    match session.max_size() {
        Some(limit) if outgoing.body.len() > limit => Err(too_large(outgoing, limit)),
        _ => Ok(()),
    }
}

fn invalid(outgoing: &Outgoing, reason: String) -> SendError {
    SendError::Invalid { route: outgoing.route.to_string(), reason }
}

fn too_large(outgoing: &Outgoing, limit: usize) -> SendError {
    SendError::TooLarge { route: outgoing.route.to_string(), size: outgoing.body.len(), limit }
}

fn no_delay(outgoing: &Outgoing, reason: String) -> SendError {
    SendError::NoDelay { route: outgoing.route.to_string(), reason }
}

fn unroutable(outgoing: &Outgoing, reason: String) -> SendError {
    SendError::Unroutable { route: outgoing.route.to_string(), reason }
}
