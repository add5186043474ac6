//! A delivery: a raw message with the right to settle it once. `envelope` decodes the bytes; only
//! `runtime/settle/settlement.rs` settles.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::future::BoxFuture;
use crate::notification::delivery_info::DeliveryInfo;
use crate::transport::error::SettleError;
use bytes::Bytes;

/// A message from the broker, with the right to settle it.
///
/// Settling consumes it, so it is settled at most once. The broker redelivers a delivery that is dropped
/// unsettled when its session ends.
pub struct Delivery {
    /// The body, as received.
    pub body: Bytes,
    /// Content type, headers, ids.
    pub properties: Properties,
    /// How it reached this listener.
    pub info: DeliveryInfo,
    settlement: Settlement,
    near_limit: bool,
}

/// The number of earlier deliveries from which on a message is near the delivery limit of its queue: half
/// of the limit. A graceful stop counts as well, so it is at least two, unless the limit is lower; never
/// zero.
pub(crate) fn near_limit_from(limit: u64) -> u64 {
    (limit / 2).max(2).min(limit.max(1))
}

impl Delivery {
    /// A delivery, for a driver.
    #[must_use]
    pub const fn new(
        body: Bytes,
        properties: Properties,
        info: DeliveryInfo,
        settlement: Settlement,
    ) -> Self {
        Self { body, properties, info, settlement, near_limit: false }
    }

    /// Sets whether the message is near the delivery limit of its queue: a few more deliveries, and the
    /// broker discards it. Default: it is not.
    #[must_use]
    pub fn near_limit(self, near_limit: bool) -> Self {
        Self { near_limit, ..self }
    }

    /// Whether the message is near the delivery limit of its queue.
    #[must_use]
    pub fn is_near_limit(&self) -> bool {
        self.near_limit
    }

    /// Settles the delivery. Returns at once: the driver sends settlements in order, and
    /// `Consumer::close` waits for them.
    ///
    /// # Errors
    /// The session that delivered it is over. The broker redelivers it; there is nothing more to do.
    pub fn settle(self, settle: Settle) -> Result<(), SettleError> {
        self.settlement.settler.settle(self.settlement.tag, settle)
    }

    /// As `settle`; also returns how the delivery reached this listener.
    pub(crate) fn settle_known(self, settle: Settle) -> (Result<(), SettleError>, DeliveryInfo) {
        (self.settlement.settler.settle(self.settlement.tag, settle), self.info)
    }

    /// Whether it can still be settled.
    pub(crate) fn still_held(&self) -> Result<(), SettleError> {
        if self.is_over() { Err(SettleError) } else { Ok(()) }
    }

    /// Its settler, which can wait until the broker has processed earlier settlements; see
    /// [`Settler::flush`].
    pub(crate) fn settler(&self) -> Arc<dyn Settler> {
        Arc::clone(&self.settlement.settler)
    }

    /// Whether the session that delivered it is over: the broker redelivers it, and it can no longer be
    /// settled.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.settlement.settler.is_over()
    }
}

/// Does not show the body: it may contain secrets.
impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("body.len()", &self.body.len())
            .field("info", &self.info)
            .field("settlement", &self.settlement)
            .finish_non_exhaustive()
    }
}

/// The ways to settle. A driver leaves a delivery unsettled if it does not know the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Settle {
    /// Acknowledge: the broker deletes the message.
    Ack,
    /// Requeue: the broker redelivers the message, and may count the attempt.
    Requeue,
}

/// The right to settle one delivery, made by a driver.
pub struct Settlement {
    settler: Arc<dyn Settler>,
    tag: u64,
}

impl Settlement {
    /// The right to settle `tag` through `settler`.
    #[must_use]
    pub fn new(settler: Arc<dyn Settler>, tag: u64) -> Self {
        Self { settler, tag }
    }
}

impl fmt::Debug for Settlement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Settlement({})", self.tag)
    }
}

/// Sends settlements to the broker; one for each session of a driver.
pub trait Settler: Send + Sync {
    /// Settles the delivery with this tag. Called at most once for each tag, never blocks.
    ///
    /// # Errors
    /// The session is over.
    fn settle(&self, tag: u64, settle: Settle) -> Result<(), SettleError>;

    /// Whether the session is over.
    fn is_over(&self) -> bool;

    /// Waits until the broker has processed all earlier settlements, or the session is over. The default
    /// returns at once, for drivers that settle synchronously.
    fn flush(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// The properties of a message in AMQP 0-9-1. A copy of a message keeps all of them, except the headers
/// that only a broker writes. Expiration and user id concern the broker alone and are left out. `Debug`
/// shows no values of headers, nor other texts that the sender chose.
///
/// ```
/// use listener::driver::{Headers, Properties};
///
/// let mut headers = Headers::default();
/// headers.insert("compression", "application/zlib".into());
/// let properties = Properties::default().content_type(Some("application/json".into())).headers(headers);
/// assert_eq!(properties.headers.get_str("compression"), Some("application/zlib"));
/// ```
#[derive(Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Properties {
    /// The content type, such as `application/json`.
    pub content_type: Option<Cow<'static, str>>,
    /// The content encoding, such as `utf-8`.
    pub content_encoding: Option<Cow<'static, str>>,
    /// The headers, in the order of the wire.
    pub headers: Headers,
    /// The priority within a queue that has priorities.
    pub priority: Option<u8>,
    /// The id of a related message, such as the request that this one answers.
    pub correlation_id: Option<Box<str>>,
    /// The queue for an answer.
    pub reply_to: Option<Box<str>>,
    /// The sender's id of this message.
    pub message_id: Option<Box<str>>,
    /// When the message was sent, in seconds since 1970-01-01 UTC.
    pub timestamp: Option<u64>,
    /// The kind of message: AMQP's `type`.
    pub kind: Option<Box<str>>,
    /// The program that sent it.
    pub app_id: Option<Box<str>>,
}

impl Properties {
    /// The encoded size in AMQP 0-9-1, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        let short = |text: Option<usize>| text.map_or(0, |length| 1 + length);
        let texts =
            [&self.correlation_id, &self.reply_to, &self.message_id, &self.kind, &self.app_id]
                .map(|text| short(text.as_deref().map(str::len)));
        short(self.content_type.as_deref().map(str::len))
            + short(self.content_encoding.as_deref().map(str::len))
            + texts.iter().sum::<usize>()
            + usize::from(self.priority.is_some())
            + self.timestamp.map_or(0, |_| 8)
            + self.headers.size()
    }
}

setters!(Properties {
    content_type: Option<Cow<'static, str>>,
    content_encoding: Option<Cow<'static, str>>,
    headers: Headers,
    priority: Option<u8>,
    correlation_id: Option<Box<str>>,
    reply_to: Option<Box<str>>,
    message_id: Option<Box<str>>,
    timestamp: Option<u64>,
    kind: Option<Box<str>>,
    app_id: Option<Box<str>>,
});

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Properties")
            .field("content_type", &self.content_type)
            .field("content_encoding", &self.content_encoding)
            .field("headers", &self.headers)
            .field("priority", &self.priority)
            .field("timestamp", &self.timestamp)
            .finish_non_exhaustive()
    }
}

/// Headers, in the order of the wire. `Debug` shows only their names: a value may be secret.
#[derive(Clone, Default, PartialEq)]
pub struct Headers(Vec<(String, HeaderValue)>);

impl Headers {
    /// The value of a header.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&HeaderValue> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The value of a header, if it is a text.
    #[must_use]
    pub fn get_str(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            HeaderValue::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Sets a header; one of the same name is replaced.
    pub fn insert(&mut self, name: impl Into<String>, value: HeaderValue) {
        let name = name.into();
        match self.0.iter_mut().find(|(key, _)| *key == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    /// Removes a header.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(key, _)| key != name);
    }

    /// Removes the headers that RabbitMQ writes or routes by: `x-death` and its companions, the counts
    /// of deliveries, stream offsets, `CC` and `BCC`. A copy must not have those of its original: the
    /// broker could discard it as a dead-letter cycle or route it to other queues, and readers would see
    /// wrong counts.
    pub fn remove_broker_owned(&mut self) {
        self.0.retain(|(name, _)| !is_broker_owned(name));
    }

    /// The encoded size in AMQP 0-9-1, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        4 + self.0.iter().map(|(name, value)| 1 + name.len() + value.size()).sum::<usize>()
    }

    /// All headers.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &HeaderValue)> {
        self.into_iter()
    }

    /// The number of headers.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The headers that RabbitMQ 3.10 to 4.3 writes itself (dead lettering, the counts of quorum queues, the
/// offsets of streams), and those by which it routes (sender-selected distribution).
const BROKER_OWNED: [&str; 6] =
    ["x-death", "x-delivery-count", "x-acquired-count", "x-stream-offset", "CC", "BCC"];

/// Prefixes of such headers; an exchange, a queue or a reason follows.
const BROKER_OWNED_PREFIXES: [&str; 2] = ["x-first-death-", "x-last-death-"];

fn is_broker_owned(name: &str) -> bool {
    BROKER_OWNED.contains(&name)
        || BROKER_OWNED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

impl FromIterator<(String, HeaderValue)> for Headers {
    fn from_iter<I: IntoIterator<Item = (String, HeaderValue)>>(headers: I) -> Self {
        Self(headers.into_iter().collect())
    }
}

/// Sets each of these headers, as [`insert`](Headers::insert) does.
impl Extend<(String, HeaderValue)> for Headers {
    fn extend<I: IntoIterator<Item = (String, HeaderValue)>>(&mut self, headers: I) {
        for (name, value) in headers {
            self.insert(name, value);
        }
    }
}

impl<'h> IntoIterator for &'h Headers {
    type Item = (&'h str, &'h HeaderValue);
    type IntoIter = std::iter::Map<
        std::slice::Iter<'h, (String, HeaderValue)>,
        fn(&'h (String, HeaderValue)) -> (&'h str, &'h HeaderValue),
    >;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Headers")?;
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// The value of a header, in the types of AMQP 0-9-1 as RabbitMQ has them, so that a copy keeps
/// the type that the sender chose: not every reader accepts every type. `Debug` shows the type and,
/// where it has one, the length.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum HeaderValue {
    /// No value.
    Null,
    /// True or false.
    Bool(bool),
    /// An integer of 8 bits.
    Int8(i8),
    /// An unsigned integer of 8 bits.
    UInt8(u8),
    /// An integer of 16 bits.
    Int16(i16),
    /// An unsigned integer of 16 bits.
    UInt16(u16),
    /// An integer of 32 bits.
    Int32(i32),
    /// An unsigned integer of 32 bits.
    UInt32(u32),
    /// An integer of 64 bits.
    Int64(i64),
    /// A floating-point number of 32 bits.
    Float32(f32),
    /// A floating-point number of 64 bits.
    Float64(f64),
    /// A decimal number: the value, divided by ten to the power of the scale.
    Decimal {
        /// The number of digits after the decimal point.
        scale: u8,
        /// The digits.
        value: u32,
    },
    /// A time, in seconds since 1970-01-01 UTC.
    Timestamp(u64),
    /// Text.
    Text(String),
    /// Text that is not UTF-8.
    RawText(Vec<u8>),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A list.
    Array(Vec<HeaderValue>),
    /// A table.
    Table(Headers),
}

impl HeaderValue {
    /// The number, if it is an integer of any type.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int8(n) => Some((*n).into()),
            Self::UInt8(n) => Some((*n).into()),
            Self::Int16(n) => Some((*n).into()),
            Self::UInt16(n) => Some((*n).into()),
            Self::Int32(n) => Some((*n).into()),
            Self::UInt32(n) => Some((*n).into()),
            Self::Int64(n) => Some(*n),
            _ => None,
        }
    }

    fn size(&self) -> usize {
        let content = match self {
            Self::Null => 0,
            Self::Bool(_) | Self::Int8(_) | Self::UInt8(_) => 1,
            Self::Int16(_) | Self::UInt16(_) => 2,
            Self::Int32(_) | Self::UInt32(_) | Self::Float32(_) => 4,
            Self::Decimal { .. } => 5,
            Self::Int64(_) | Self::Float64(_) | Self::Timestamp(_) => 8,
            Self::Text(text) => 4 + text.len(),
            Self::RawText(bytes) | Self::Bytes(bytes) => 4 + bytes.len(),
            Self::Array(items) => 4 + items.iter().map(Self::size).sum::<usize>(),
            Self::Table(headers) => headers.size(),
        };
        1 + content
    }
}

impl fmt::Debug for HeaderValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("Null"),
            Self::Bool(_) => f.write_str("Bool(..)"),
            Self::Int8(_) => f.write_str("Int8(..)"),
            Self::UInt8(_) => f.write_str("UInt8(..)"),
            Self::Int16(_) => f.write_str("Int16(..)"),
            Self::UInt16(_) => f.write_str("UInt16(..)"),
            Self::Int32(_) => f.write_str("Int32(..)"),
            Self::UInt32(_) => f.write_str("UInt32(..)"),
            Self::Int64(_) => f.write_str("Int64(..)"),
            Self::Float32(_) => f.write_str("Float32(..)"),
            Self::Float64(_) => f.write_str("Float64(..)"),
            Self::Decimal { .. } => f.write_str("Decimal(..)"),
            Self::Timestamp(_) => f.write_str("Timestamp(..)"),
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::RawText(bytes) => write!(f, "RawText({} bytes)", bytes.len()),
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Self::Array(items) => write!(f, "Array({} items)", items.len()),
            Self::Table(headers) => write!(f, "Table({} items)", headers.0.len()),
        }
    }
}

impl From<&str> for HeaderValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for HeaderValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for HeaderValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for HeaderValue {
    fn from(number: i64) -> Self {
        Self::Int64(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_extended_and_iterated() {
        let mut headers = Headers::default();
        headers.insert("a", "one".into());
        headers.extend([("a".to_owned(), true.into()), ("b".to_owned(), 2.into())]);
        let expected = [("a", &HeaderValue::Bool(true)), ("b", &HeaderValue::Int64(2))];
        assert_eq!((&headers).into_iter().collect::<Vec<_>>(), expected);
        assert_eq!((headers.len(), headers.is_empty()), (2, false));
    }

    #[test]
    fn only_headers_of_the_broker_are_removed() {
        let headers = |names: &[&str]| -> Headers {
            names.iter().map(|name| ((*name).to_owned(), HeaderValue::Int64(1))).collect()
        };
        let mut all = headers(&[
            "listener-attempts",
            "x-death",
            "x-first-death-exchange",
            "x-first-death-queue",
            "x-first-death-reason",
            "x-last-death-exchange",
            "x-last-death-queue",
            "x-last-death-reason",
            "x-delivery-count",
            "x-acquired-count",
            "x-stream-offset",
            "CC",
            "BCC",
            "x-mine",
            "cc",
        ]);
        all.remove_broker_owned();
        assert_eq!(all, headers(&["listener-attempts", "x-mine", "cc"]));
    }
}
