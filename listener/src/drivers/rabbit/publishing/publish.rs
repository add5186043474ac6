//! Sending one message until the broker has it safe or the time is over: what is declared
//! first, what is tried again after which fate. The connection is `publisher.rs`'s; the
//! confirmation, `confirms.rs`'s. Called by `Rabbit::send`.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::confirms::fate_of;
use super::message::{Fate, Message, Need};
use super::publisher::{Prepared, Publisher, Ready, SendSession, Way};
use crate::drivers::rabbit::connection::link::Io;
use crate::drivers::rabbit::connection::refusal::{self, Failure, Fault};
use crate::transport::driver::{Outgoing, Route};
use crate::transport::error::{ConnectError, SendError};

/// Room in the first frame of a message for what stands next to its properties: the frame's own
/// bytes, the mode of delivery, when it expires.
const FRAME_RESERVE: usize = 64;

/// Room for what a broker writes when it moves a message out of a retry queue. It does not split
/// a frame that has become too large by that, and a client ends the connection for it.
fn added_by_the_broker(route: &Route) -> usize {
    match route {
        // Thirteen headers of at most 64 bytes, which name the queue six times.
        Route::Delayed { queue, .. } => 13 * 64 + 6 * (queue.len() + 16),
        // A count, when it is delivered again.
        Route::Queue(_) | Route::Quarantine(_) | Route::Topic { .. } => 64,
    }
}

/// What came of the attempt that a caller makes itself.
pub(crate) enum Attempt {
    /// There is no more to do.
    Over(Result<(), SendError>),
    /// It goes on as a task of the driver.
    Goes(Tried),
}

/// The attempt of a caller, if it could make one.
pub(crate) struct Tried {
    deadline: Instant,
    first: Option<(Arc<SendSession>, Arc<Way>, Fate)>,
}

/// Publishes from the caller's task, if a session stands and has sent the like before: nearly
/// all messages need no more. The rest is done by `send`.
pub(crate) async fn try_at_once(io: &Io, publisher: &Publisher, outgoing: &Outgoing) -> Attempt {
    let deadline = Instant::now() + outgoing.timeout;
    let goes = |first| Attempt::Goes(Tried { deadline, first });
    let Some(session) = publisher.current() else {
        return goes(None);
    };
    let Some(way) = session.way(&outgoing.route) else {
        return goes(None);
    };
    if fits(outgoing, &session).is_err() || session.may_refuse(outgoing.body.len()) {
        return goes(None);
    }
    let Ok(message) = way.message(outgoing) else {
        return goes(None);
    };
    let told = session.submit(Arc::new(message));
    let told = {
        // The caller's task need not be one of tokio's: the driver's clock is used.
        let _entered = io.handle().enter();
        timeout_at(deadline, told)
    };
    match told.await.map(fate_of) {
        Ok(Fate::Confirmed) => Attempt::Over(Ok(())),
        Ok(fate) => goes(Some((session, way, fate))),
        Err(_) => {
            let progress = Progress { is_under_way: true, ..Progress::default() };
            Attempt::Over(Err(late(publisher, outgoing, progress)))
        }
    }
}

/// Sends, and sends again, until `outgoing.timeout` is over.
pub(crate) async fn send(
    publisher: Publisher,
    outgoing: Outgoing,
    tried: Tried,
) -> Result<(), SendError> {
    let Tried { deadline, first } = tried;
    let mut progress = Progress::default();
    let sent =
        timeout_at(deadline, attempts(&publisher, &outgoing, deadline, &mut progress, first)).await;
    sent.unwrap_or_else(|_| Err(late(&publisher, &outgoing, progress)))
}

/// The error when the time is over.
fn late(publisher: &Publisher, outgoing: &Outgoing, progress: Progress) -> SendError {
    let (route, after) = (outgoing.route.to_string(), outgoing.timeout);
    let may_have_been_sent = progress.is_under_way || progress.is_unknown;
    let reason = match progress.last {
        Last::Refused if !may_have_been_sent => return SendError::Refused { route },
        Last::Refused => Some("the broker refused it before".to_owned()),
        Last::Reason(reason) => Some(reason),
        Last::Nothing => None,
    };
    let last = publisher.obstacle().or(reason);
    if may_have_been_sent {
        SendError::TimedOut { route, after, last }
    } else {
        SendError::NotSent { route, after, last }
    }
}

/// What the attempts so far have shown.
#[derive(Default)]
struct Progress {
    last: Last,
    /// It was handed to a connection, and its fate is not known yet.
    is_under_way: bool,
    /// What became of an earlier attempt is not known: the broker may have it.
    is_unknown: bool,
    /// No session up to this one is wanted any more.
    newer_than: u64,
    returned: bool,
    /// It was on a channel that was closed: it goes alone, to show whether it was to blame.
    suspect: bool,
    /// How often the broker ended the connection for what came over it.
    strikes: u32,
    pauses: u32,
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
    progress: &mut Progress,
    mut first: Option<(Arc<SendSession>, Arc<Way>, Fate)>,
) -> Result<(), SendError> {
    let Some(need) = Need::of(&outgoing.route) else {
        return Err(no_delay(outgoing, "nothing is held back for more than a day".to_owned()));
    };
    let message =
        Message::new(outgoing, &need).map_err(|error| invalid(outgoing, error.to_string()))?;
    let message = Arc::new(message);
    loop {
        let (session, prepared, fate) = match first.take() {
            Some((session, way, fate)) => (session, Arc::clone(&way.prepared), fate),
            None => {
                match attempt(publisher, outgoing, deadline, progress, &need, &message).await? {
                    Some(attempt) => attempt,
                    None => continue,
                }
            }
        };
        progress.is_under_way = false;
        progress.is_unknown |= matches!(fate, Fate::Spoiled(_) | Fate::Lost(_));
        match fate {
            Fate::Confirmed => return Ok(()),
            Fate::Refused => progress.again(Last::Refused, &session).await,
            Fate::Returned(reason) => {
                session.is_gone(&need);
                session.forget(&need, &prepared);
                if progress.returned {
                    return Err(match prepared.get() {
                        Some(Ready::Perhaps(refusal)) => refusal.clone().into(),
                        _ => unroutable(outgoing, reason),
                    });
                }
                progress.returned = true;
            }
            Fate::Spoiled(fault) => {
                session.forget(&need, &prepared);
                spoiled(fault, outgoing, progress, &session).await?;
            }
            Fate::Lost(fault) => {
                if fault.is_of_the_protocol() {
                    progress.strikes += 1;
                    progress.suspect = true;
                    if progress.strikes > 2 {
                        return Err(invalid(outgoing, fault.to_string()));
                    }
                }
                progress.again(Last::Reason(fault.to_string()), &session).await;
            }
        }
    }
}

/// One attempt, and its fate; none if it did not come to that.
async fn attempt(
    publisher: &Publisher,
    outgoing: &Outgoing,
    deadline: Instant,
    progress: &mut Progress,
    need: &Need,
    message: &Arc<Message>,
) -> Result<Option<(Arc<SendSession>, Prepared, Fate)>, SendError> {
    let session = publisher.session(progress.newer_than, deadline).await?;
    fits(outgoing, &session)?;
    let prepared = match session.prepare(need).await {
        Ok(prepared) => prepared,
        Err(Failure::Mistake(error)) => return Err(error.into()),
        Err(Failure::Transient { reason, .. }) => {
            progress.again(Last::Reason(reason), &session).await;
            return Ok(None);
        }
    };
    if let Some(Ready::NoDelay(reason)) = prepared.get() {
        return Err(no_delay(outgoing, reason.clone()));
    }
    progress.suspect |= session.may_refuse(outgoing.body.len());
    if deadline.saturating_duration_since(Instant::now()) < time_to_confirm(outgoing.timeout) {
        return Err(late(publisher, outgoing, std::mem::take(progress)));
    }
    progress.is_under_way = true;
    let fate = if progress.suspect {
        session.submit_alone(message.as_ref().clone()).await
    } else {
        fate_of(session.submit(Arc::clone(message)).await)
    };
    if fate == Fate::Confirmed {
        session.keep_way(&outgoing.route, need, &prepared);
    }
    Ok(Some((session, prepared, fate)))
}

/// The channel was closed. A message that was alone on it is to blame; the others are tried
/// alone, so that one that the broker does not take cannot take its neighbours along.
async fn spoiled(
    fault: Fault,
    outgoing: &Outgoing,
    progress: &mut Progress,
    session: &SendSession,
) -> Result<(), SendError> {
    if let Some(limit) = refusal::max_size(&fault) {
        session.learn_max_size(limit);
        if outgoing.body.len() > limit {
            return Err(too_large(outgoing, limit));
        }
    }
    // An exchange that is gone is declared again.
    let is_gone = fault.code() == Some(404);
    if progress.suspect && !is_gone {
        let action = format!("take the message for {}", outgoing.route);
        let failure = match refusal::no_default_exchange(&fault, session.user()) {
            Some(error) => Failure::Mistake(error),
            None => refusal::doing(fault, &action, session.user()),
        };
        return match failure {
            // Whoever may not put anything into a queue may still keep it to himself.
            Failure::Mistake(
                error @ (ConnectError::Forbidden { .. } | ConnectError::DefaultExchange { .. }),
            ) if matches!(outgoing.route, Route::Delayed { .. }) => {
                Err(no_delay(outgoing, error.to_string()))
            }
            Failure::Mistake(ConnectError::Refused { reason, .. })
            | Failure::Transient { reason, .. } => Err(invalid(outgoing, reason)),
            Failure::Mistake(error) => Err(error.into()),
        };
    }
    let last = Last::Reason(fault.to_string());
    if is_gone {
        progress.again(last, session).await;
    } else {
        progress.suspect = true;
        progress.last = last;
    }
    Ok(())
}

impl Progress {
    /// Pauses before the next attempt.
    async fn again(&mut self, last: Last, session: &SendSession) {
        self.last = last;
        if !session.is_open() {
            self.newer_than = session.generation;
        }
        let ceiling = Duration::from_millis(50) * 2u32.pow(self.pauses.min(5));
        self.pauses += 1;
        sleep(ceiling / 2 + (ceiling / 2).mul_f64(fastrand::f64())).await;
    }
}

/// How much of `timeout` an attempt needs at least. One that is handed over later would hardly be
/// confirmed in time, and the broker might have it: then its sender, told of an error, would send
/// it a second time.
fn time_to_confirm(timeout: Duration) -> Duration {
    (timeout / 4).min(Duration::from_secs(1))
}

/// Refuses what the broker would end the connection or the channel for.
fn fits(outgoing: &Outgoing, session: &SendSession) -> Result<(), SendError> {
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
