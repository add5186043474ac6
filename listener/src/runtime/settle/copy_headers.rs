//! The headers of retries, dead letters and quarantined messages. Tools may read them, and return a dead
//! letter to its queue; unless a header's text says otherwise it may be missing.

// Read from each delivery by `case.rs`, written by `form.rs`.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::notification::delivery_info::DeliveryInfo;
use crate::redact::shortened;
use crate::runtime::settle::pending::Pending;
use crate::transport::delivery::{HeaderValue, Headers, Properties};
use crate::transport::driver::{MAX_DELAY, MAX_TIMEOUT};

/// The reason of a dead letter: one word, a text. [`guide::failures`](crate::guide::failures) lists the reasons.
/// Other copies do not have it.
pub const REASON: &str = "listener-reason";
/// What went wrong: the error and its causes, a text of at most 2048 bytes. Texts of methods, panics and
/// serializers appear here and in the log unchanged: they should not contain secrets.
pub const ERROR: &str = "listener-error";
/// The pending methods: an array of texts, each as `endpoint::method`, such as `billing::Billing::info`. The
/// endpoint is the `name` of its attribute, or else its module and type. Empty or missing: all matching
/// methods.
pub const METHODS: &str = "listener-methods";
/// How often the pending methods have been called for the notification: a 64-bit integer.
pub const ATTEMPTS: &str = "listener-attempts";
/// The queue that the original was consumed from: a text.
pub const QUEUE: &str = "listener-queue";
/// The exchange that the original was published to: a text.
pub const EXCHANGE: &str = "listener-exchange";
/// The routing key of the original: a text.
pub const ROUTING_KEY: &str = "listener-routing-key";
/// When the first copy was made, because a method failed or none could be called: a timestamp.
pub const FIRST_TIME: &str = "listener-first-time";
/// When the copy was made: a timestamp.
pub const TIME: &str = "listener-time";
/// When the dead letter was made, for one that was returned to its queue and for every later copy of it: a
/// timestamp.
pub const DEAD_LETTER_TIME: &str = "listener-dead-letter-time";
/// The remaining seconds of a delay of more than 24 hours, after which the copy is delayed again: a 64-bit
/// integer. A publisher that sets it delays its message, by at most a year.
pub const REMAINING: &str = "listener-remaining";
/// How long the broker delays a copy with [`REMAINING`], in seconds. Only the time that it waits in its queue after
/// that is deducted from the remaining delay.
pub const DELAY: &str = "listener-delay";
/// Why the original's headers are missing: `too large to be kept`, or `not readable`.
pub const HEADERS_OMITTED: &str = "listener-headers";

/// How many names of methods that do not exist are read from a delivery, and the longest of them, in bytes.
/// Any publisher can write them.
const UNKNOWN_NAMES: usize = 64;
const LONGEST_NAME: usize = 512;

/// The longest name of a queue or exchange and the longest routing key in AMQP, in bytes. Longer ones are
/// ignored.
const LONGEST_ORIGIN: usize = 255;

/// The copy headers of a delivery. A delivery that is not a copy is pending for all methods, and its
/// origin is where it was consumed from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CopyHeaders {
    /// How the original arrived; endpoint methods see this.
    pub(crate) origin: DeliveryInfo,
    pub(crate) pending: Pending,
    /// How often the pending methods have been called for it.
    pub(crate) attempts: u32,
    /// When the first copy was made, in seconds since 1970.
    pub(crate) first_time: Option<u64>,
    /// The rest of its delay.
    pub(crate) remaining: Option<Duration>,
    /// When its dead letter was made, if that was returned to its queue, in seconds since 1970.
    pub(crate) dead_letter_time: Option<u64>,
}

impl CopyHeaders {
    /// Reads the headers; `knows` returns whether a method exists. Invalid headers are ignored, and what is read
    /// of the others is bounded.
    pub(crate) fn read(
        properties: &Properties,
        info: &DeliveryInfo,
        knows: impl Fn(&str) -> bool,
    ) -> Self {
        let headers = &properties.headers;
        let text = |name, otherwise: &Arc<str>| {
            let text = headers.get_str(name).filter(|text| text.len() <= LONGEST_ORIGIN);
            text.map_or_else(|| Arc::clone(otherwise), Arc::from)
        };
        let origin = DeliveryInfo {
            queue: text(QUEUE, &info.queue),
            exchange: text(EXCHANGE, &info.exchange),
            routing_key: text(ROUTING_KEY, &info.routing_key),
            ..info.clone()
        };
        let pending =
            headers.get(METHODS).map_or(Pending::All, |value| Pending::of(names(value, knows)));
        // A dead letter that was returned to its queue has all attempts again.
        if headers.get(REASON).is_some() {
            let dead_letter_time = Some(number(headers, TIME).unwrap_or_default());
            let (attempts, first_time, remaining) = (0, None, None);
            return Self { origin, pending, attempts, first_time, remaining, dead_letter_time };
        }
        Self {
            origin,
            pending,
            attempts: number(headers, ATTEMPTS).and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
            first_time: number(headers, FIRST_TIME),
            remaining: remaining(headers),
            dead_letter_time: number(headers, DEAD_LETTER_TIME),
        }
    }

    /// Writes the headers of a copy that is made now, and removes those of an earlier copy.
    pub(crate) fn write(&self, headers: &mut Headers) {
        for name in [REASON, ERROR, METHODS, ATTEMPTS, REMAINING, DELAY] {
            headers.remove(name);
        }
        let names = self.pending.names();
        if !names.is_empty() {
            let names = names.iter().map(|name| HeaderValue::Text(name.clone())).collect();
            headers.insert(METHODS, HeaderValue::Array(names));
        }
        if self.attempts > 0 {
            headers.insert(ATTEMPTS, HeaderValue::Int64(self.attempts.into()));
        }
        headers.insert(QUEUE, (&*self.origin.queue).into());
        headers.insert(EXCHANGE, (&*self.origin.exchange).into());
        headers.insert(ROUTING_KEY, (&*self.origin.routing_key).into());
        for (name, time) in
            [(FIRST_TIME, self.first_time), (DEAD_LETTER_TIME, self.dead_letter_time)]
        {
            headers.remove(name);
            if let Some(time) = time {
                headers.insert(name, HeaderValue::Timestamp(time));
            }
        }
        headers.insert(TIME, HeaderValue::Timestamp(now()));
        if let Some(remaining) = self.remaining {
            let seconds = remaining.as_secs() + u64::from(remaining.subsec_nanos() > 0);
            headers
                .insert(REMAINING, HeaderValue::Int64(i64::try_from(seconds).unwrap_or(i64::MAX)));
        }
    }
}

/// The rest of a delay after the longest that a broker is asked for; `None` for most.
pub(crate) fn remaining_after_longest(delay: Duration) -> Option<Duration> {
    let remaining = delay.min(MAX_TIMEOUT).saturating_sub(MAX_DELAY);
    (!remaining.is_zero()).then_some(remaining)
}

/// The rest of the delay, less the time that the copy has waited in its queue: since the broker's delay, or, if
/// the broker did not delay it, since it was made.
fn remaining(headers: &Headers) -> Option<Duration> {
    let remaining = Duration::from_secs(number(headers, REMAINING)?).min(MAX_TIMEOUT);
    let made = number(headers, TIME).unwrap_or(u64::MAX);
    let delay = Duration::from_secs(number(headers, DELAY).unwrap_or(0)).min(MAX_DELAY);
    let waited = Duration::from_secs(now().saturating_sub(made)).saturating_sub(delay);
    let remaining = remaining.saturating_sub(waited);
    (!remaining.is_zero()).then_some(remaining)
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The names in a list of texts, or in one text with commas, as people write it by hand: each once, all
/// that exist, and at most `UNKNOWN_NAMES` others.
fn names(value: &HeaderValue, knows: impl Fn(&str) -> bool) -> Vec<String> {
    let (mut seen, mut names, mut unknown) = (HashSet::new(), Vec::new(), 0);
    let mut take = |name| {
        let exists = knows(name);
        if (exists || unknown < UNKNOWN_NAMES) && seen.insert(name) {
            unknown += usize::from(!exists);
            let longest = if exists { name.len() } else { LONGEST_NAME };
            names.push(shortened(name, longest).to_owned());
        }
    };
    match value {
        HeaderValue::Array(items) => items.iter().for_each(|item| {
            if let HeaderValue::Text(name) = item {
                take(name.as_str());
            }
        }),
        HeaderValue::Text(text) => {
            text.split(',').map(str::trim).filter(|name| !name.is_empty()).for_each(take);
        }
        _ => {}
    }
    names
}

fn number(headers: &Headers, name: &str) -> Option<u64> {
    match headers.get(name)? {
        HeaderValue::Timestamp(seconds) => Some(*seconds),
        other => u64::try_from(other.as_i64()?).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy_headers() -> CopyHeaders {
        CopyHeaders {
            origin: DeliveryInfo::new("billing", "nova", "notifications.info"),
            pending: Pending::of(vec![
                "billing::info".to_owned(),
                "app::Of<A, B>::info".to_owned(),
            ]),
            attempts: 2,
            first_time: Some(1_778_311_773),
            remaining: Some(Duration::from_secs(7200)),
            dead_letter_time: Some(1_778_225_373),
        }
    }

    fn read(headers: Headers) -> CopyHeaders {
        let info = DeliveryInfo::new("billing", "", "billing");
        let knows = |name: &str| name.starts_with("known::");
        CopyHeaders::read(&Properties { headers, ..Properties::default() }, &info, knows)
    }

    #[test]
    fn written_headers_are_read() {
        let mut headers = Headers::default();
        copy_headers().write(&mut headers);
        assert_eq!(read(headers), copy_headers());
    }

    #[test]
    fn a_delivery_that_is_not_a_copy_is_pending_for_all_methods() {
        assert_eq!(
            read(Headers::default()),
            CopyHeaders {
                origin: DeliveryInfo::new("billing", "", "billing"),
                pending: Pending::All,
                attempts: 0,
                first_time: None,
                remaining: None,
                dead_letter_time: None,
            }
        );
    }

    #[test]
    fn a_dead_letter_returned_to_its_queue_has_all_attempts_for_its_pending_methods() {
        let mut headers = Headers::default();
        copy_headers().write(&mut headers);
        headers.insert(REASON, "error".into());
        headers.insert(TIME, HeaderValue::Timestamp(1_778_400_000));
        let dead_letter_time = Some(1_778_400_000);
        assert_eq!(
            read(headers),
            CopyHeaders {
                attempts: 0,
                first_time: None,
                remaining: None,
                dead_letter_time,
                ..copy_headers()
            }
        );
    }

    #[test]
    fn the_rest_of_a_delay_is_bounded_and_shrinks_while_the_copy_is_in_its_queue() {
        let of_delayed = |remaining, made, delay| {
            let mut headers = Headers::default();
            headers.insert(REMAINING, remaining);
            headers.insert(TIME, HeaderValue::Timestamp(made));
            headers.insert(DELAY, HeaderValue::Int64(delay));
            read(headers).remaining
        };
        let day_delayed = i64::try_from(MAX_DELAY.as_secs()).expect("a day");
        let of = |remaining, made| of_delayed(remaining, made, day_delayed);
        let (hour, day) = (Duration::from_secs(3600), MAX_DELAY.as_secs());
        let most = [HeaderValue::Timestamp(u64::MAX), HeaderValue::Int64(i64::MAX)];
        for most in most {
            assert_eq!(of(most, now()), Some(MAX_TIMEOUT));
        }
        assert_eq!(of(HeaderValue::Int64(3600), u64::MAX), Some(hour));
        assert_eq!(of(HeaderValue::Int64(3600), now() - day), Some(hour));
        assert!(of(HeaderValue::Int64(3600), now() - day - 1800) <= Some(hour / 2));
        assert_eq!(of(HeaderValue::Int64(3600), now() - day - 3600), None);
        assert_eq!(of(HeaderValue::Int64(-1), now()), None);
        // The broker did not delay it.
        assert!(of_delayed(HeaderValue::Int64(3600), now() - 1800, 0) <= Some(hour / 2));
        assert_eq!(of_delayed(HeaderValue::Int64(3600), now() - 3600, -1), None);
        assert_eq!(of_delayed(HeaderValue::Int64(3600), now() - day - 3600, i64::MAX), None);
    }

    #[test]
    fn the_rest_of_a_delay_is_what_exceeds_the_longest_one() {
        assert_eq!(remaining_after_longest(MAX_DELAY), None);
        let more = Duration::from_millis(1);
        assert_eq!(remaining_after_longest(MAX_DELAY + more), Some(more));
        assert_eq!(remaining_after_longest(Duration::MAX), Some(MAX_TIMEOUT - MAX_DELAY));
    }

    #[test]
    fn a_list_of_names_written_by_hand_is_read() {
        let mut headers = Headers::default();
        headers.insert(METHODS, "a::A::info, b::B::info".into());
        let expected = vec!["a::A::info".to_owned(), "b::B::info".to_owned()];
        assert_eq!(read(headers).pending, Pending::of(expected));
    }

    #[test]
    fn invalid_headers_are_ignored() {
        let mut headers = Headers::default();
        headers.insert(ATTEMPTS, HeaderValue::Int64(-3));
        headers.insert(METHODS, HeaderValue::Bool(true));
        headers.insert(QUEUE, HeaderValue::Null);
        assert_eq!(read(headers), read(Headers::default()));
    }

    #[test]
    fn names_and_origins_are_bounded() {
        let mut headers = Headers::default();
        let unknown = (0..1000).map(|n| format!("{n}{}", "x".repeat(1000)));
        let known = (0..200).map(|n| format!("known::{n}"));
        let all: Vec<String> = unknown.chain(known).collect();
        let twice = all.iter().chain(&all).map(|name| HeaderValue::from(name.as_str()));
        headers.insert(METHODS, HeaderValue::Array(twice.collect()));
        headers.insert(EXCHANGE, "e".repeat(256).as_str().into());
        headers.insert(ROUTING_KEY, "k".repeat(255).as_str().into());
        let CopyHeaders { origin, pending, .. } = read(headers);
        let pending = pending.names();
        assert_eq!(pending.len(), UNKNOWN_NAMES + 200, "all that exist, and no name twice");
        assert!(pending.iter().all(|name| name.len() <= LONGEST_NAME));
        assert_eq!((&*origin.exchange, origin.routing_key.len()), ("", 255));
    }

    #[test]
    fn a_number_of_any_type_is_read() {
        for attempts in [HeaderValue::Int64(3), HeaderValue::UInt8(3), HeaderValue::Int32(3)] {
            let mut headers = Headers::default();
            headers.insert(ATTEMPTS, attempts);
            assert_eq!(read(headers).attempts, 3);
        }
    }
}
