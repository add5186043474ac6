//! Hears the broker's version on its way to lapin, which does not tell it, and what else answers
//! where a broker is expected. What follows from the version is `version.rs`; the stream that is read along is `screened.rs`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lapin::protocol::{AMQPClass, connection, parse_class};
use lapin::types::{AMQPValue, FieldTable};

use super::version::Version;
use crate::shown::shown;

/// What a peer has said of itself until now.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard(Arc<Mutex<State>>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Unconnected,
    /// It is connected to, and has said nothing, or not enough.
    Silent,
    /// AMQP. With the version, of a RabbitMQ.
    Broker(Option<Version>),
    /// What else.
    Other(String),
}

impl Heard {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing while it has not been greeted, and for a broker that is no RabbitMQ.
    pub(super) fn version(&self) -> Option<Version> {
        match *self.state() {
            State::Broker(version) => version,
            _ => None,
        }
    }

    /// What a peer speaks that is no broker.
    pub(super) fn other(&self) -> Option<String> {
        match &*self.state() {
            State::Other(answer) => Some(answer.clone()),
            _ => None,
        }
    }

    /// Whether it was connected to, and has said nothing.
    pub(super) fn is_silent(&self) -> bool {
        *self.state() == State::Silent
    }
}

/// Reads along until the broker has introduced itself.
#[derive(Debug)]
pub(super) struct Greeting {
    /// What has come of it; none once it is complete, or is none.
    bytes: Option<Vec<u8>>,
    heard: Heard,
}

impl Greeting {
    /// Of a peer that is connected to.
    pub(super) fn new(heard: Heard) -> Self {
        *heard.state() = State::Silent;
        Self { bytes: Some(Vec::new()), heard }
    }

    pub(super) fn hear(&mut self, bytes: &[u8]) {
        let Some(greeting) = &mut self.bytes else {
            return;
        };
        greeting.extend_from_slice(bytes);
        let state = match introduction(greeting) {
            Introduction::Incomplete => return,
            Introduction::Complete(version) => State::Broker(version),
            Introduction::OtherFrame => State::Broker(None),
            Introduction::NoFrame => State::Other(spoken(greeting)),
        };
        *self.heard.state() = state;
        self.bytes = None;
    }
}

/// What a peer speaks whose first bytes are no frame of AMQP.
fn spoken(bytes: &[u8]) -> String {
    match bytes {
        // A record of TLS, such as an alert.
        [0x14..=0x17, 3, ..] => "TLS, which this build does not have yet".to_owned(),
        [b'A', b'M', b'Q', b'P', _, major, minor, revision, ..] => {
            format!("another version of AMQP, {major}.{minor}.{revision}")
        }
        [b'H', b'T', b'T', b'P', b'/', ..] => "HTTP".to_owned(),
        _ => {
            let line = bytes.split(u8::is_ascii_control).next().unwrap_or_default();
            match std::str::from_utf8(line) {
                Ok(line) if !line.is_empty() && line.is_ascii() => format!("\"{}\"", shown(line)),
                _ => "something else".to_owned(),
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Introduction {
    Incomplete,
    /// With the version, of a RabbitMQ.
    Complete(Option<Version>),
    /// A frame of AMQP, but no greeting: lapin will say what is wrong with it.
    OtherFrame,
    /// No AMQP.
    NoFrame,
}

/// Type, channel and size stand before a frame's payload.
const HEAD: usize = 7;
/// A greeting has some hundred bytes.
const LONGEST: usize = 64 * 1024;

/// Reads the frame of `connection.start`, with which a broker begins.
fn introduction(bytes: &[u8]) -> Introduction {
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else {
        return Introduction::Incomplete;
    };
    let [kind, _, _, size @ ..] = *head;
    let size = u32::from_be_bytes(size) as usize;
    if kind != 1 || size > LONGEST {
        return Introduction::NoFrame;
    }
    let Some(payload) = rest.get(..size) else {
        return Introduction::Incomplete;
    };
    match parse_class(payload) {
        Ok((_, AMQPClass::Connection(connection::AMQPMethod::Start(start)))) => {
            Introduction::Complete(version(&start.server_properties))
        }
        _ => Introduction::OtherFrame,
    }
}

fn version(properties: &FieldTable) -> Option<Version> {
    let text = |name| match properties.inner().get(name) {
        Some(AMQPValue::LongString(text)) => Some(text.to_string()),
        _ => None,
    };
    Version::read(&text("product")?, &text("version")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `connection.start`, as RabbitMQ 3.10.8 begins it.
    fn greeting(product: &str) -> Vec<u8> {
        let mut table = Vec::new();
        for (name, value) in [("product", product), ("version", "3.10.8")] {
            table.push(u8::try_from(name.len()).expect("short"));
            table.extend_from_slice(name.as_bytes());
            table.push(b'S');
            table.extend_from_slice(&long(value));
        }
        let mut payload = vec![0, 10, 0, 10, 0, 9];
        payload.extend_from_slice(&u32::try_from(table.len()).expect("short").to_be_bytes());
        payload.extend_from_slice(&table);
        payload.extend_from_slice(&long("PLAIN AMQPLAIN"));
        payload.extend_from_slice(&long("en_US"));
        let mut frame = vec![1, 0, 0];
        frame.extend_from_slice(&u32::try_from(payload.len()).expect("short").to_be_bytes());
        frame.extend_from_slice(&payload);
        frame.push(0xce);
        frame
    }

    fn long(text: &str) -> Vec<u8> {
        let length = u32::try_from(text.len()).expect("short").to_be_bytes();
        length.into_iter().chain(text.bytes()).collect()
    }

    fn heard(pieces: &[&[u8]]) -> State {
        let mut greeting = Greeting::new(Heard::default());
        for piece in pieces {
            greeting.hear(piece);
        }
        let state = greeting.heard.state();
        state.clone()
    }

    #[test]
    fn the_version_is_heard_however_the_greeting_is_cut() {
        let greeting = greeting("RabbitMQ");
        let expected = State::Broker(Some(Version::new(3, 10)));
        for at in 0..=greeting.len() {
            let (begin, end) = greeting.split_at(at);
            assert_eq!(heard(&[begin, end, b"more"]), expected, "cut at {at}");
        }
    }

    #[test]
    fn another_broker_has_no_version() {
        assert_eq!(heard(&[&greeting("Qpid")]), State::Broker(None));
    }

    #[test]
    fn what_is_no_greeting_is_not_kept() {
        for bytes in [&b"AMQP\0\0\x09\x01"[..], b"\x01\0\0\xff\xff\xff\xff"] {
            assert_eq!(introduction(bytes), Introduction::NoFrame);
        }
        assert_eq!(introduction(b"\x01\0\0\0\0\0\0"), Introduction::OtherFrame);
    }

    #[test]
    fn nothing_is_said_before_seven_bytes() {
        assert_eq!(heard(&[]), State::Silent);
        assert_eq!(heard(&[b"HTTP", b"/1"]), State::Silent);
        assert_eq!(heard(&[b"HTTP", b"/1.1"]), State::Other("HTTP".to_owned()));
    }
}
