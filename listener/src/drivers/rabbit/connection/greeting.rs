//! Reads, on its way to lapin, how a broker begins a connection: its version, which lapin does not
//! tell, what else answers where a broker is expected, and the limit of its frames. What follows
//! from the version is `version.rs`; the stream that is read along is `screened.rs`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lapin::protocol::connection::AMQPMethod;
use lapin::protocol::{AMQPClass, parse_class};
use lapin::types::{AMQPValue, FieldTable};

use super::version::Version;
use crate::shown::shown;

/// What a peer has said of itself until now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard(Arc<Mutex<State>>);

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
    pub(crate) fn version(&self) -> Option<Version> {
        match *self.state() {
            State::Broker(version) => version,
            _ => None,
        }
    }

    /// What a peer speaks that is no broker.
    pub(crate) fn other(&self) -> Option<String> {
        match &*self.state() {
            State::Other(answer) => Some(answer.clone()),
            _ => None,
        }
    }

    /// What comes is no frame of AMQP, as is known from its first bytes.
    fn no_frame(&self, bytes: &[u8]) {
        let mut state = self.state();
        if *state == State::Silent {
            *state = State::Other(spoken(bytes));
        }
    }

    /// What comes is a frame of AMQP, and not what a broker begins with.
    fn other_frame(&self) {
        let mut state = self.state();
        if *state == State::Silent {
            *state = State::Broker(None);
        }
    }

    /// Whether it was connected to, and has said nothing.
    pub(crate) fn is_silent(&self) -> bool {
        *self.state() == State::Silent
    }
}

/// Reads along until the broker has introduced itself, and has proposed the limits of the connection.
#[derive(Debug)]
pub(crate) struct Greeting {
    /// What has come and is not read yet; none once it is complete, or is none.
    bytes: Option<Vec<u8>>,
    heard: Heard,
}

impl Greeting {
    /// Of a peer that is connected to.
    pub(crate) fn new(heard: Heard) -> Self {
        *heard.state() = State::Silent;
        Self { bytes: Some(Vec::new()), heard }
    }

    /// Takes what has come next. Once the broker has proposed it, and only then: the size of the
    /// largest frame, in bytes; none where it proposes no limit.
    pub(crate) fn hear(&mut self, bytes: &[u8]) -> Option<u32> {
        let mut greeting = self.bytes.take()?;
        greeting.extend_from_slice(bytes);
        loop {
            let (frame, length) = match first_frame(&greeting) {
                Frame::Incomplete => {
                    self.bytes = Some(greeting);
                    return None;
                }
                Frame::Complete(method, length) => (method, length),
                Frame::None => {
                    self.heard.no_frame(&greeting);
                    return None;
                }
            };
            match frame {
                Some(AMQPMethod::Start(start)) => {
                    *self.heard.state() = State::Broker(version(&start.server_properties));
                }
                Some(AMQPMethod::Tune(tune)) => return Some(tune.frame_max).filter(|&max| max > 0),
                // Between the two.
                Some(AMQPMethod::Secure(_)) => {}
                // lapin will say what is wrong with it.
                _ => {
                    self.heard.other_frame();
                    return None;
                }
            }
            greeting.drain(..length);
        }
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

#[derive(Debug, PartialEq)]
enum Frame {
    Incomplete,
    /// With the method of the class `connection` in it, if there is one, and its length.
    Complete(Option<AMQPMethod>, usize),
    /// No AMQP.
    None,
}

/// Type, channel and size stand before a frame's payload.
const HEAD: usize = 7;
/// A greeting has some hundred bytes.
const LONGEST: usize = 64 * 1024;

fn first_frame(bytes: &[u8]) -> Frame {
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else {
        return Frame::Incomplete;
    };
    let [kind, _, _, size @ ..] = *head;
    let size = u32::from_be_bytes(size) as usize;
    if kind != 1 || size > LONGEST {
        return Frame::None;
    }
    // A byte ends it.
    let Some([payload @ .., _]) = rest.get(..=size) else {
        return Frame::Incomplete;
    };
    let method = match parse_class(payload) {
        Ok((_, AMQPClass::Connection(method))) => Some(method),
        _ => None,
    };
    Frame::Complete(method, HEAD + size + 1)
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
        method(&payload)
    }

    /// The frame of a method.
    fn method(payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![1, 0, 0];
        frame.extend_from_slice(&u32::try_from(payload.len()).expect("short").to_be_bytes());
        frame.extend_from_slice(payload);
        frame.push(0xce);
        frame
    }

    /// `connection.tune`.
    fn tune(frame_max: u32) -> Vec<u8> {
        let [a, b, c, d] = frame_max.to_be_bytes();
        method(&[0, 10, 0, 30, 7, 0xff, a, b, c, d, 0, 60])
    }

    /// `connection.secure`, with an empty challenge.
    fn secure() -> Vec<u8> {
        method(&[0, 10, 0, 20, 0, 0, 0, 0])
    }

    fn long(text: &str) -> Vec<u8> {
        let length = u32::try_from(text.len()).expect("short").to_be_bytes();
        length.into_iter().chain(text.bytes()).collect()
    }

    fn heard(pieces: &[&[u8]]) -> (State, Option<u32>) {
        let mut greeting = Greeting::new(Heard::default());
        let limits: Vec<u32> = pieces.iter().filter_map(|piece| greeting.hear(piece)).collect();
        assert!(limits.len() <= 1, "told once: {limits:?}");
        let state = greeting.heard.state();
        (state.clone(), limits.first().copied())
    }

    #[test]
    fn version_and_limit_are_heard_however_the_stream_is_cut() {
        let version = State::Broker(Some(Version::new(3, 10)));
        for between in [Vec::new(), secure()] {
            let stream = [greeting("RabbitMQ"), between, tune(65_536)].concat();
            for at in 0..=stream.len() {
                let (begin, end) = stream.split_at(at);
                let expected = (version.clone(), Some(65_536));
                assert_eq!(heard(&[begin, end, &tune(4096)]), expected, "cut at {at}");
            }
        }
    }

    #[test]
    fn a_broker_may_propose_no_limit() {
        let version = State::Broker(Some(Version::new(3, 10)));
        let stream = [greeting("RabbitMQ"), tune(0), tune(4096)].concat();
        assert_eq!(heard(&[&stream]), (version, None));
    }

    #[test]
    fn another_broker_has_no_version() {
        assert_eq!(heard(&[&greeting("Qpid")]), (State::Broker(None), None));
    }

    #[test]
    fn what_comes_in_the_place_of_the_limit_changes_nothing() {
        let version = State::Broker(Some(Version::new(3, 10)));
        for other in [&b"HTTP/1.1"[..], b"\x01\0\0\0\0\0\0\xce", b"\x01\0\0\xff\xff\xff\xff"] {
            let stream = [&greeting("RabbitMQ"), other, &tune(4096)].concat();
            assert_eq!(heard(&[&stream]), (version.clone(), None));
        }
    }

    #[test]
    fn what_is_no_greeting_is_not_kept() {
        for bytes in [&b"AMQP\0\0\x09\x01"[..], b"\x01\0\0\xff\xff\xff\xff"] {
            assert_eq!(first_frame(bytes), Frame::None);
        }
        assert_eq!(heard(&[b"\x01\0\0\0\0\0\0\xce"]), (State::Broker(None), None));
    }

    #[test]
    fn nothing_is_said_before_seven_bytes() {
        assert_eq!(heard(&[]), (State::Silent, None));
        assert_eq!(heard(&[b"HTTP", b"/1"]), (State::Silent, None));
        assert_eq!(heard(&[b"HTTP", b"/1.1"]), (State::Other("HTTP".to_owned()), None));
    }
}
