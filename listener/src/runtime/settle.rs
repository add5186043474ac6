//! Carries out a verdict, and logs it: the only place that settles deliveries. A delivery
//! that is given up is acknowledged only once its dead letter is confirmed; until then it
//! stays unacknowledged, and its place among those in work stays taken.

use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use crate::notification::delivery_info::DeliveryInfo;
use crate::runtime::failure::{GivenUp, Verdict};
use crate::target::dead_letter_queue;
use crate::transport::Transport;
use crate::transport::delivery::{Delivery, HeaderValue, Headers, Properties, Settle};
use crate::transport::driver::{Outgoing, Route};

/// Why a delivery was given up: one word.
pub const REASON: &str = "listener-reason";
/// What went wrong, in full.
pub const ERROR: &str = "listener-error";
/// The methods that still owe it.
pub const ENDPOINTS: &str = "listener-endpoints";
/// The queue that it was taken from.
pub const QUEUE: &str = "listener-queue";
/// The exchange that it was sent to.
pub const EXCHANGE: &str = "listener-exchange";
/// The routing key that it was sent with.
pub const ROUTING_KEY: &str = "listener-routing-key";
/// When it was given up.
pub const TIME: &str = "listener-time";

/// Set when the headers of the original were too large to be kept.
pub const HEADERS: &str = "listener-headers";

/// The longest error that a dead letter carries, in bytes: headers share one AMQP frame,
/// which is 128 KiB by default and 4 KiB at least.
const LONGEST: usize = 2048;

/// How much room the headers of the original may take, in bytes of an AMQP frame.
const ROOM: usize = 100_000;

/// The pauses between attempts to send a dead letter.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What the log says of a delivery beside its verdict.
#[derive(Debug, Default)]
pub(super) struct Subject {
    pub(super) message_id: String,
    pub(super) event_type: String,
    /// How many methods handled it.
    pub(super) handled: usize,
}

/// Carries out the verdict. Once `stop` is cancelled, no further attempt is made to send a
/// dead letter: the delivery then goes back.
pub(super) async fn carry_out(
    delivery: Delivery,
    verdict: Verdict,
    subject: Subject,
    transport: &Transport,
    send_timeout: Duration,
    stop: &CancellationToken,
) {
    let info = delivery.info.clone();
    let settle = match &verdict {
        Verdict::Ack => Settle::Ack,
        Verdict::Requeue => Settle::Requeue,
        Verdict::GiveBack => Settle::GiveBack,
        Verdict::DeadLetter(given_up) => {
            match bury(&delivery, given_up, transport, send_timeout, stop).await {
                Some(()) => Settle::Ack,
                None => Settle::GiveBack,
            }
        }
    };
    let settled = delivery.settle(settle).is_ok();
    log(&info, &verdict, &subject, settle, settled);
}

fn log(info: &DeliveryInfo, verdict: &Verdict, subject: &Subject, settle: Settle, settled: bool) {
    // Told once, here: the field names are the same at each level.
    macro_rules! event {
        ($level:ident, $outcome:expr, $text:literal $(, $field:ident = $value:expr)*) => {
            tracing::$level!(
                queue = %info.queue,
                routing_key = %info.routing_key,
                event_type = subject.event_type,
                message_id = subject.message_id,
                outcome = $outcome,
                $($field = $value,)*
                $text
            )
        };
    }
    if !settled {
        // Whatever was decided, the broker delivers it again: its session is gone.
        event!(info, "stale", "settled too late: the broker delivers it again");
        return;
    }
    match verdict {
        Verdict::Ack if subject.handled == 0 => event!(debug, "unhandled", "settled"),
        Verdict::Ack => event!(debug, "handled", "settled", methods = subject.handled),
        Verdict::Requeue => event!(info, "requeued", "settled"),
        Verdict::GiveBack => event!(info, "given back", "settled"),
        Verdict::DeadLetter(given_up) if settle == Settle::Ack => {
            event!(
                error,
                "dead-lettered",
                "settled",
                reason = given_up.reason,
                error = given_up.error.as_str(),
                dead_letter_queue = dead_letter_queue(&info.queue)
            );
        }
        Verdict::DeadLetter(given_up) => {
            event!(
                warn,
                "given back",
                "stopped before its dead letter was confirmed",
                reason = given_up.reason,
                error = given_up.error.as_str()
            );
        }
    }
}

/// Sends the dead letter, again and again until it is confirmed; `None` when the listener
/// stopped first.
async fn bury(
    delivery: &Delivery,
    given_up: &GivenUp,
    transport: &Transport,
    timeout: Duration,
    stop: &CancellationToken,
) -> Option<()> {
    let outgoing = Outgoing {
        route: Route::Queue(dead_letter_queue(&delivery.info.queue)),
        body: delivery.body.clone(),
        properties: dead_letter_properties(delivery, given_up),
        timeout,
    };
    let mut pause = FIRST_PAUSE;
    loop {
        // An attempt is let finish: one that is broken off may have been sent all the same.
        match transport.send(outgoing.clone()).await {
            Ok(()) => return Some(()),
            Err(error) => tracing::error!(
                queue = %delivery.info.queue,
                %error,
                ?pause,
                "a dead letter could not be sent: its delivery stays unacknowledged until it can"
            ),
        }
        stop.run_until_cancelled(tokio::time::sleep(pause)).await?;
        if delivery.is_over() {
            // The broker gives it out again, and its dead letter is tried again then.
            return None;
        }
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

fn dead_letter_properties(delivery: &Delivery, given_up: &GivenUp) -> Properties {
    let info = &delivery.info;
    let mut properties = delivery.properties.clone();
    // RabbitMQ routes by these two on every exchange: kept, they would send the dead letter
    // back to where it came from.
    properties.headers.remove("CC");
    properties.headers.remove("BCC");
    if properties.headers.size() > ROOM {
        properties.headers = Headers::default();
        properties.headers.set(HEADERS, "too large to be kept".into());
    }
    let mut set = |name: &str, value: HeaderValue| properties.headers.set(name, value);
    set(REASON, given_up.reason.into());
    set(ERROR, shortened(&given_up.error).into());
    set(ENDPOINTS, shortened(&given_up.owed.join(", ")).into());
    set(QUEUE, (&*info.queue).into());
    set(EXCHANGE, (&*info.exchange).into());
    set(ROUTING_KEY, (&*info.routing_key).into());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    set(TIME, HeaderValue::Timestamp(now.as_secs()));
    properties
}

fn shortened(text: &str) -> &str {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_error_is_cut_between_characters() {
        assert_eq!(shortened("short"), "short");
        let long = format!("{}é", "x".repeat(LONGEST - 1));
        assert_eq!(shortened(&long), "x".repeat(LONGEST - 1));
    }
}
