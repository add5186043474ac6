//! How a peer opens a connection, read from the bytes that lapin reads as well, because lapin 4.12 does
//! not expose the server properties: the broker's version, the frame size that it proposes, and which
//! other protocol answers in place of AMQP. What depends on the version is in `version.rs`; `stream.rs`
//! passes the bytes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lapin::protocol::connection::AMQPMethod;
use lapin::protocol::{AMQPClass, parse_class};
use lapin::types::{AMQPValue, FieldTable};

use super::tls_problem::TlsProblem;
use super::version::Version;
use crate::redact::redacted;

/// What is known of a peer so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peer {
    state: Arc<Mutex<State>>,
    tls: Arc<Mutex<Option<TlsProblem>>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Unconnected,
    /// Connected, and the peer has sent nothing, or too little.
    Silent,
    /// AMQP; with the version of a RabbitMQ.
    Broker(Option<Version>),
    /// Another protocol.
    Other(String),
}

impl Peer {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the first problem with TLS.
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "only TLS finds it"))]
    pub(crate) fn record_tls(&self, problem: Option<TlsProblem>) {
        let mut tls = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        *tls = tls.take().or(problem);
    }

    /// The problem with TLS, if there was one.
    pub(crate) fn tls_problem(&self) -> Option<TlsProblem> {
        self.tls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// `None` before the greeting, and if the broker is not RabbitMQ.
    pub(crate) fn version(&self) -> Option<Version> {
        match *self.state() {
            State::Broker(version) => version,
            _ => None,
        }
    }

    /// The protocol of a peer that is not an AMQP broker.
    pub(crate) fn other_protocol(&self) -> Option<String> {
        match &*self.state() {
            State::Other(answer) => Some(answer.clone()),
            _ => None,
        }
    }

    /// The first bytes are not an AMQP frame.
    fn record_other_protocol(&self, bytes: &[u8]) {
        let mut state = self.state();
        if *state == State::Silent {
            *state = State::Other(protocol(bytes));
        }
    }

    /// The first frame is AMQP, but not what a broker begins with.
    fn record_unknown_broker(&self) {
        let mut state = self.state();
        if *state == State::Silent {
            *state = State::Broker(None);
        }
    }

    /// Whether it is connected and has sent nothing.
    pub(crate) fn is_silent(&self) -> bool {
        *self.state() == State::Silent
    }
}

/// Parses the stream until the broker has sent `connection.tune`.
#[derive(Debug)]
pub(crate) struct Greeting {
    /// Bytes that are not parsed yet; none once the greeting is complete or invalid.
    bytes: Option<Vec<u8>>,
    peer: Peer,
}

impl Greeting {
    /// Of a peer that is connected.
    pub(crate) fn new(peer: Peer) -> Self {
        *peer.state() = State::Silent;
        Self { bytes: Some(Vec::new()), peer }
    }

    /// Parses the next bytes. Returns the frame size that the broker proposes, in bytes, when
    /// `connection.tune` arrives; none if it proposes no limit.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Option<u32> {
        let mut greeting = self.bytes.take()?;
        greeting.extend_from_slice(bytes);
        loop {
            let (frame, length) = match first_frame(&greeting) {
                Frame::Incomplete => {
                    self.bytes = Some(greeting);
                    return None;
                }
                Frame::Complete(method, length) => (method, length),
                Frame::Invalid => {
                    self.peer.record_other_protocol(&greeting);
                    return None;
                }
            };
            match frame {
                Some(AMQPMethod::Start(start)) => {
                    *self.peer.state() = State::Broker(version(&start.server_properties));
                }
                Some(AMQPMethod::Tune(tune)) => return Some(tune.frame_max).filter(|&max| max > 0),
                // Between `start` and `tune`.
                Some(AMQPMethod::Secure(_)) => {}
                // lapin reports what is wrong with it.
                _ => {
                    self.peer.record_unknown_broker();
                    return None;
                }
            }
            greeting.drain(..length);
        }
    }
}

/// The protocol of a peer whose first bytes are not an AMQP frame.
fn protocol(bytes: &[u8]) -> String {
    match bytes {
        // A TLS record, such as an alert.
        [0x14..=0x17, 3, ..] => {
            "TLS (use it with `ssl=true` in a rabbit:// URL, or an amqps:// URL)".to_owned()
        }
        [b'A', b'M', b'Q', b'P', _, major, minor, revision, ..] => {
            format!("another version of AMQP, {major}.{minor}.{revision}")
        }
        [b'H', b'T', b'T', b'P', b'/', ..] => "HTTP".to_owned(),
        _ => {
            let line = bytes.split(u8::is_ascii_control).next().unwrap_or_default();
            match std::str::from_utf8(line) {
                Ok(line) if !line.is_empty() && line.is_ascii() => {
                    format!("\"{}\"", redacted(line))
                }
                _ => "something else".to_owned(),
            }
        }
    }
}

#[derive(Debug, PartialEq)]
enum Frame {
    Incomplete,
    /// With its method, if that is of the class `connection`, and its length.
    Complete(Option<AMQPMethod>, usize),
    /// Not AMQP.
    Invalid,
}

/// The length of a frame's type, channel and size, in bytes.
const HEADER: usize = 7;
/// The longest frame that is parsed. A greeting has some hundred bytes.
const LONGEST: usize = 64 * 1024;

fn first_frame(bytes: &[u8]) -> Frame {
    let Some((head, rest)) = bytes.split_first_chunk::<HEADER>() else {
        return Frame::Incomplete;
    };
    let [kind, _, _, size @ ..] = *head;
    let size = u32::from_be_bytes(size) as usize;
    if kind != 1 || size > LONGEST {
        return Frame::Invalid;
    }
    // The last byte marks the end of the frame.
    let Some([payload @ .., _]) = rest.get(..=size) else {
        return Frame::Incomplete;
    };
    let method = match parse_class(payload) {
        Ok((_, AMQPClass::Connection(method))) => Some(method),
        _ => None,
    };
    Frame::Complete(method, HEADER + size + 1)
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

    fn peer(pieces: &[&[u8]]) -> (State, Option<u32>) {
        let mut greeting = Greeting::new(Peer::default());
        let limits: Vec<u32> = pieces.iter().filter_map(|piece| greeting.read(piece)).collect();
        assert!(limits.len() <= 1, "reported once: {limits:?}");
        let state = greeting.peer.state();
        (state.clone(), limits.first().copied())
    }

    #[test]
    fn version_and_frame_size_are_read_from_pieces_of_any_size() {
        let version = State::Broker(Some(Version::new(3, 10)));
        for between in [Vec::new(), secure()] {
            let stream = [greeting("RabbitMQ"), between, tune(65_536)].concat();
            for at in 0..=stream.len() {
                let (begin, end) = stream.split_at(at);
                let expected = (version.clone(), Some(65_536));
                assert_eq!(peer(&[begin, end, &tune(4096)]), expected, "cut at {at}");
            }
        }
    }

    #[test]
    fn a_broker_may_propose_no_limit() {
        let version = State::Broker(Some(Version::new(3, 10)));
        let stream = [greeting("RabbitMQ"), tune(0), tune(4096)].concat();
        assert_eq!(peer(&[&stream]), (version, None));
    }

    #[test]
    fn another_broker_has_no_version() {
        assert_eq!(peer(&[&greeting("Qpid")]), (State::Broker(None), None));
    }

    #[test]
    fn other_methods_in_place_of_tune_change_nothing() {
        let version = State::Broker(Some(Version::new(3, 10)));
        for other in [&b"HTTP/1.1"[..], b"\x01\0\0\0\0\0\0\xce", b"\x01\0\0\xff\xff\xff\xff"] {
            let stream = [&greeting("RabbitMQ"), other, &tune(4096)].concat();
            assert_eq!(peer(&[&stream]), (version.clone(), None));
        }
    }

    #[test]
    fn bytes_that_are_not_a_greeting_are_not_kept() {
        for bytes in [&b"AMQP\0\0\x09\x01"[..], b"\x01\0\0\xff\xff\xff\xff"] {
            assert_eq!(first_frame(bytes), Frame::Invalid);
        }
        assert_eq!(peer(&[b"\x01\0\0\0\0\0\0\xce"]), (State::Broker(None), None));
    }

    #[test]
    fn nothing_is_known_before_seven_bytes() {
        assert_eq!(peer(&[]), (State::Silent, None));
        assert_eq!(peer(&[b"HTTP", b"/1"]), (State::Silent, None));
        assert_eq!(peer(&[b"HTTP", b"/1.1"]), (State::Other("HTTP".to_owned()), None));
    }
}
