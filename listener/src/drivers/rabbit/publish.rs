//! Sending one message until the broker has it safe or the time is over: what is declared
//! first, what is tried again after which fate. The connection is `office.rs`'s; the
//! confirmation, `confirms.rs`'s. Called by `Rabbit::send`.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::failure::{self, Failure, Fault};
use super::message::{Fate, Message, Need};
use super::office::{Office, Ready, SendSession};
use super::wire;
use crate::transport::driver::{Outgoing, Route};
use crate::transport::error::{ConnectError, SendError};

/// Room in the first frame of a message for what stands beside its headers.
const FRAME_RESERVE: usize = 1024;

/// Sends, and sends again, until `outgoing.timeout` is over.
pub(super) async fn send(office: Office, outgoing: Outgoing) -> Result<(), SendError> {
    let deadline = Instant::now() + outgoing.timeout;
    let mut progress = Progress::default();
    let sent = timeout_at(deadline, attempts(&office, &outgoing, &mut progress)).await;
    sent.unwrap_or_else(|_| {
        let route = outgoing.route.to_string();
        Err(match progress.last {
            Last::Refused => SendError::Refused { route },
            last => SendError::TimedOut {
                route,
                after: outgoing.timeout,
                last: office.obstacle().or(match last {
                    Last::Reason(reason) => Some(reason),
                    _ => None,
                }),
            },
        })
    })
}

/// What the attempts so far have shown.
#[derive(Default)]
struct Progress {
    last: Last,
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
    office: &Office,
    outgoing: &Outgoing,
    progress: &mut Progress,
) -> Result<(), SendError> {
    let Some(need) = Need::of(&outgoing.route) else {
        return Err(no_delay(outgoing, "nothing is held back for more than a day".to_owned()));
    };
    let message =
        Message::new(outgoing, &need).map_err(|error| refused(outgoing, error.to_string()))?;
    loop {
        let session = office.session(progress.newer_than).await?;
        fits(outgoing, &session)?;
        let prepared = match session.prepare(&need).await {
            Ok(prepared) => prepared,
            Err(Failure::Mistake(error)) => return Err(error.into()),
            Err(Failure::Weather(reason)) => {
                progress.again(Last::Reason(reason), &session).await;
                continue;
            }
        };
        if let Some(Ready::NoDelay(reason)) = prepared.get() {
            return Err(no_delay(outgoing, reason.clone()));
        }
        progress.suspect |= session.may_refuse(outgoing.body.len());
        let fate = if progress.suspect {
            session.submit_alone(message.clone()).await
        } else {
            session.submit(message.clone()).await
        };
        match fate {
            Fate::Confirmed => return Ok(()),
            Fate::Refused => progress.again(Last::Refused, &session).await,
            Fate::Returned(reason) => {
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
                        return Err(refused(outgoing, fault.to_string()));
                    }
                }
                progress.again(Last::Reason(fault.to_string()), &session).await;
            }
        }
    }
}

/// The channel was closed. A message that was alone on it is to blame; the others are tried
/// alone, so that one that the broker does not take cannot take its neighbours along.
async fn spoiled(
    fault: Fault,
    outgoing: &Outgoing,
    progress: &mut Progress,
    session: &SendSession,
) -> Result<(), SendError> {
    if let Some(limit) = failure::max_size(&fault) {
        session.learn_max_size(limit);
        if outgoing.body.len() > limit {
            return Err(too_large(outgoing, limit));
        }
    }
    // An exchange that is gone is declared again.
    let is_gone = fault.code() == Some(404);
    if progress.suspect && !is_gone {
        let action = format!("take the message for {}", outgoing.route);
        return match failure::doing(fault, &action, session.user()) {
            // Whoever may not put anything into a queue may still keep it to himself.
            Failure::Mistake(error @ ConnectError::Forbidden { .. })
                if matches!(outgoing.route, Route::Delayed { .. }) =>
            {
                Err(no_delay(outgoing, error.to_string()))
            }
            Failure::Mistake(error) => Err(error.into()),
            Failure::Weather(reason) => Err(refused(outgoing, reason)),
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

/// Refuses what the broker would end the connection or the channel for.
fn fits(outgoing: &Outgoing, session: &SendSession) -> Result<(), SendError> {
    if wire::size(&outgoing.properties.headers) + FRAME_RESERVE > session.frame_max() {
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

fn refused(outgoing: &Outgoing, reason: String) -> SendError {
    SendError::Connect(ConnectError::Refused {
        action: format!("take the message for {}", outgoing.route),
        reason,
    })
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
