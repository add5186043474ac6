//! What a copy of a delivery says of itself: who still owes it, how often it was tried, where it
//! came from. Read from each delivery by `worker.rs`, written by `copies.rs`. The names are
//! documented API: tools read them.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::notification::delivery_info::DeliveryInfo;
use crate::transport::delivery::{HeaderValue, Headers, Properties};

/// Why it was given up: one word. Only dead letters have it.
pub const REASON: &str = "listener-reason";
/// What went wrong, in full: the error and its causes. What a method, a panic or a serializer of
/// the program says stands here, and in the log, as it is: it should tell no secret.
pub const ERROR: &str = "listener-error";
/// The methods that still owe it, a list of texts; empty or missing: everybody who wants it.
pub const ENDPOINTS: &str = "listener-endpoints";
/// How often these methods have been called for it.
pub const ATTEMPTS: &str = "listener-attempts";
/// The queue that it was first taken from.
pub const QUEUE: &str = "listener-queue";
/// The exchange that it was sent to.
pub const EXCHANGE: &str = "listener-exchange";
/// The routing key that it was sent with.
pub const ROUTING_KEY: &str = "listener-routing-key";
/// When it failed first.
pub const FIRST_TIME: &str = "listener-first-time";
/// When the copy was made.
pub const TIME: &str = "listener-time";
/// How often it was given out without being settled, where the broker does not count that.
pub const DELIVERIES: &str = "listener-deliveries";
/// Set when the headers of the original were too large to be kept.
pub const HEADERS: &str = "listener-headers";

/// What a delivery says of itself beyond its body. One that is no copy says nothing: everybody
/// is owed, and it came from where it was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Marks {
    /// How the original came; endpoint methods see this.
    pub(super) origin: DeliveryInfo,
    /// The methods that still owe it; `None`: everybody who wants it.
    pub(super) owed: Option<Vec<String>>,
    /// How often they have been called for it.
    pub(super) attempts: u32,
    /// When it failed first, in seconds since 1970.
    pub(super) first_time: Option<u64>,
    /// How often it was given out without being settled, as we count.
    pub(super) deliveries: u64,
}

impl Marks {
    /// What the headers say. Those that are not of our making are passed by.
    pub(super) fn read(properties: &Properties, info: &DeliveryInfo) -> Self {
        let headers = &properties.headers;
        let text = |name, otherwise: &Arc<str>| {
            headers.text(name).map_or_else(|| Arc::clone(otherwise), Arc::from)
        };
        let origin = DeliveryInfo {
            queue: text(QUEUE, &info.queue),
            exchange: text(EXCHANGE, &info.exchange),
            routing_key: text(ROUTING_KEY, &info.routing_key),
            ..info.clone()
        };
        let owed = headers.get(ENDPOINTS).map(names).filter(|names| !names.is_empty());
        // A dead letter that was put back begins anew.
        if headers.get(REASON).is_some() {
            return Self { origin, owed, attempts: 0, first_time: None, deliveries: 0 };
        }
        Self {
            origin,
            owed,
            attempts: number(headers, ATTEMPTS).and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
            first_time: number(headers, FIRST_TIME),
            deliveries: number(headers, DELIVERIES).unwrap_or(0),
        }
    }

    /// Says so in the headers of a copy that is made now, in place of what they said before.
    pub(super) fn write(&self, headers: &mut Headers) {
        for name in [REASON, ERROR, ENDPOINTS, ATTEMPTS, DELIVERIES] {
            headers.remove(name);
        }
        if let Some(owed) = &self.owed {
            let owed = owed.iter().map(|name| HeaderValue::Text(name.clone())).collect();
            headers.set(ENDPOINTS, HeaderValue::List(owed));
        }
        if self.attempts > 0 {
            headers.set(ATTEMPTS, HeaderValue::Int(self.attempts.into()));
        }
        if self.deliveries > 0 {
            let deliveries = i64::try_from(self.deliveries).unwrap_or(i64::MAX);
            headers.set(DELIVERIES, HeaderValue::Int(deliveries));
        }
        headers.set(QUEUE, (&*self.origin.queue).into());
        headers.set(EXCHANGE, (&*self.origin.exchange).into());
        headers.set(ROUTING_KEY, (&*self.origin.routing_key).into());
        headers.remove(FIRST_TIME);
        if let Some(first_time) = self.first_time {
            headers.set(FIRST_TIME, HeaderValue::Timestamp(first_time));
        }
        headers.set(TIME, HeaderValue::Timestamp(now()));
    }
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// A list of texts, or one text with commas, as somebody may have written it by hand.
fn names(value: &HeaderValue) -> Vec<String> {
    match value {
        HeaderValue::List(items) => items
            .iter()
            .filter_map(|item| match item {
                HeaderValue::Text(name) => Some(name.clone()),
                _ => None,
            })
            .collect(),
        HeaderValue::Text(text) => text
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect(),
        _ => Vec::new(),
    }
}

fn number(headers: &Headers, name: &str) -> Option<u64> {
    match headers.get(name)? {
        HeaderValue::Timestamp(seconds) => Some(*seconds),
        other => u64::try_from(other.as_int()?).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks() -> Marks {
        Marks {
            origin: DeliveryInfo::new("billing", "nova", "notifications.info"),
            owed: Some(vec!["billing::info".to_owned(), "app::Of<A, B>::info".to_owned()]),
            attempts: 2,
            first_time: Some(1_778_311_773),
            deliveries: 1,
        }
    }

    fn read(headers: Headers) -> Marks {
        let info = DeliveryInfo::new("billing", "", "billing");
        Marks::read(&Properties { headers, ..Properties::default() }, &info)
    }

    #[test]
    fn what_is_written_is_read() {
        let mut headers = Headers::default();
        marks().write(&mut headers);
        assert_eq!(read(headers), marks());
    }

    #[test]
    fn a_delivery_that_is_no_copy_is_owed_to_everybody() {
        assert_eq!(
            read(Headers::default()),
            Marks {
                origin: DeliveryInfo::new("billing", "", "billing"),
                owed: None,
                attempts: 0,
                first_time: None,
                deliveries: 0,
            }
        );
    }

    #[test]
    fn a_dead_letter_that_was_put_back_begins_anew_for_those_who_owe_it() {
        let mut headers = Headers::default();
        marks().write(&mut headers);
        headers.set(REASON, "error".into());
        assert_eq!(
            read(headers),
            Marks { attempts: 0, first_time: None, deliveries: 0, ..marks() }
        );
    }

    #[test]
    fn names_that_were_written_by_hand_are_read() {
        let mut headers = Headers::default();
        headers.set(ENDPOINTS, "a::A::info, b::B::info".into());
        let expected = vec!["a::A::info".to_owned(), "b::B::info".to_owned()];
        assert_eq!(read(headers).owed, Some(expected));
    }

    #[test]
    fn what_is_not_of_our_making_says_nothing() {
        let mut headers = Headers::default();
        headers.set(ATTEMPTS, HeaderValue::Int(-3));
        headers.set(ENDPOINTS, HeaderValue::Bool(true));
        headers.set(DELIVERIES, "many".into());
        headers.set(QUEUE, HeaderValue::Null);
        assert_eq!(read(headers), read(Headers::default()));
    }
}
