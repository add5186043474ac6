//! Hears the broker's version on its way to lapin, which does not tell it. What follows from the
//! version is `version.rs`; the stream that is read along is `screened.rs`.

use std::sync::{Arc, OnceLock};

use lapin::protocol::{AMQPClass, connection, parse_class};
use lapin::types::{AMQPValue, FieldTable};

use super::version::Version;

/// What a broker has said of itself, once it has.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard(Arc<OnceLock<Option<Version>>>);

impl Heard {
    /// Nothing while it has not been greeted, and for a broker that is no RabbitMQ.
    pub(super) fn version(&self) -> Option<Version> {
        self.0.get().copied().flatten()
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
    pub(super) fn new(heard: Heard) -> Self {
        Self { bytes: Some(Vec::new()), heard }
    }

    pub(super) fn hear(&mut self, bytes: &[u8]) {
        let Some(greeting) = &mut self.bytes else {
            return;
        };
        greeting.extend_from_slice(bytes);
        match introduction(greeting) {
            Introduction::Incomplete => return,
            Introduction::Complete(version) => drop(self.heard.0.set(version)),
            Introduction::None => {}
        }
        self.bytes = None;
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Introduction {
    Incomplete,
    /// With the version, of a RabbitMQ.
    Complete(Option<Version>),
    /// What came is no greeting: lapin will say what is wrong with it.
    None,
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
        return Introduction::None;
    }
    let Some(payload) = rest.get(..size) else {
        return Introduction::Incomplete;
    };
    match parse_class(payload) {
        Ok((_, AMQPClass::Connection(connection::AMQPMethod::Start(start)))) => {
            Introduction::Complete(version(&start.server_properties))
        }
        _ => Introduction::None,
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

    fn heard(pieces: &[&[u8]]) -> Option<Option<Version>> {
        let mut greeting = Greeting::new(Heard::default());
        for piece in pieces {
            greeting.hear(piece);
        }
        greeting.heard.0.get().copied()
    }

    #[test]
    fn the_version_is_heard_however_the_greeting_is_cut() {
        let greeting = greeting("RabbitMQ");
        let expected = Some(Some(Version::new(3, 10)));
        for at in 0..=greeting.len() {
            let (begin, end) = greeting.split_at(at);
            assert_eq!(heard(&[begin, end, b"more"]), expected, "cut at {at}");
        }
    }

    #[test]
    fn another_broker_has_no_version() {
        assert_eq!(heard(&[&greeting("Qpid")]), Some(None));
    }

    #[test]
    fn what_is_no_greeting_is_not_kept() {
        for bytes in [&b"AMQP\0\0\x09\x01"[..], b"\x01\0\0\xff\xff\xff\xff", b"\x01\0\0\0\0\0\0"] {
            assert_eq!(introduction(bytes), Introduction::None);
        }
    }
}
