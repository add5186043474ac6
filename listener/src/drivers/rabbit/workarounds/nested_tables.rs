//! lapin 4.12 parses nested tables by recursion, on a thread with a small stack: headers that are nested
//! a few hundred levels deep overflow it and abort the process, and headers that it cannot parse end the
//! connection, at each redelivery. So frames are inspected before lapin reads them: a message with such
//! properties arrives without them, and with a header that says so. `connection/stream.rs` passes the
//! bytes. The last test here fails once lapin bounds the depth.

use crate::drivers::rabbit::options::FRAME_MIN;

/// The deepest nesting of lists and tables. A broker's own headers (`x-death`) have two levels; lapin's
/// thread has room for some two hundred in a debug build.
const MAX_DEPTH: usize = 32;

/// The most headers, with the entries of lists and tables in them: a few bytes on the wire become a
/// hundred in memory, for each prefetched message.
const MAX_ENTRIES: usize = 4096;

/// The largest frame, in bytes, until a smaller one is negotiated. A broker keeps to it, except for
/// frames of properties: it may add headers of its own, and it sends unchanged what it received over a
/// connection with larger frames.
const MAX_FRAME: u32 = 128 * 1024;

/// The length of a frame's type, channel and size, in bytes.
const HEADER: usize = 7;

/// The length of the class, the weight and the size of the body, which precede the properties.
const FIXED: usize = 12;

/// The type of a content header frame.
const PROPERTIES: u8 = 2;

/// The replacement of unreadable properties: the flag for headers, and the table
/// `{"listener-headers": "not readable"}`.
const UNREADABLE: &[u8] =
    b"\x20\x00\x00\x00\x00\x22\x10listener-headersS\x00\x00\x00\x0cnot readable";

/// Inspects a stream of frames, which may arrive in pieces of any size.
#[derive(Debug)]
pub(crate) struct FrameFilter {
    /// The largest payload of a frame of properties, in bytes. lapin ends the connection if a frame is
    /// larger than negotiated.
    largest: usize,
    /// The beginning of a frame whose rest has not arrived.
    held: Vec<u8>,
    /// The number of bytes that pass unchanged.
    pass: usize,
    /// The number of bytes after those that are dropped.
    skip: usize,
}

impl Default for FrameFilter {
    fn default() -> Self {
        Self { largest: payload(MAX_FRAME), held: Vec::new(), pass: 0, skip: 0 }
    }
}

impl FrameFilter {
    /// Lowers the largest frame, in bytes, with its header and its end. lapin negotiates none that is
    /// smaller than AMQP allows.
    pub(crate) fn limit(&mut self, frame_max: u32) {
        self.largest = self.largest.min(payload(frame_max.max(FRAME_MIN)));
    }

    /// Inspects the next piece, and appends to `out` what lapin is to read.
    pub(crate) fn filter(&mut self, mut piece: &[u8], out: &mut Vec<u8>) {
        while !piece.is_empty() {
            out.extend_from_slice(take(&mut piece, &mut self.pass));
            take(&mut piece, &mut self.skip);
            let mut missing = self.missing();
            self.held.extend_from_slice(take(&mut piece, &mut missing));
            if missing == 0 && !self.held.is_empty() {
                self.decide(out);
            }
        }
    }

    /// How many bytes at the beginning of a piece pass unchanged, and so need not be copied. The rest of
    /// the piece must be passed to `filter`.
    pub(crate) fn pass_unchanged(&mut self, piece: &[u8]) -> usize {
        if self.skip > 0 || !self.held.is_empty() {
            return 0;
        }
        let mut rest = piece;
        loop {
            take(&mut rest, &mut self.pass);
            match frame(rest) {
                Some((PROPERTIES, size)) => {
                    let is_kept = size <= self.largest
                        && rest.len() > HEADER + size
                        && is_readable(&rest[HEADER..HEADER + size]);
                    if !is_kept {
                        break;
                    }
                    self.pass = HEADER + size + 1;
                }
                Some((_, size)) => self.pass = HEADER + size + 1,
                None => break,
            }
        }
        piece.len() - rest.len()
    }

    /// How many more bytes are needed to decide about the frame.
    fn missing(&self) -> usize {
        let needed = match frame(&self.held) {
            Some((PROPERTIES, size)) if size <= self.largest => HEADER + size + 1,
            Some((PROPERTIES, _)) => HEADER + FIXED,
            _ => HEADER,
        };
        needed - self.held.len()
    }

    fn decide(&mut self, out: &mut Vec<u8>) {
        match frame(&self.held) {
            Some((PROPERTIES, _)) if self.missing() > 0 => return,
            Some((PROPERTIES, size)) if size > self.largest => {
                self.skip = size - FIXED + 1;
                replace(&self.held, out);
            }
            Some((PROPERTIES, size)) if !is_readable(&self.held[HEADER..HEADER + size]) => {
                replace(&self.held, out);
            }
            Some((PROPERTIES, _)) | None => out.extend_from_slice(&self.held),
            Some((_, size)) => {
                out.extend_from_slice(&self.held);
                self.pass = size + 1;
            }
        }
        self.held.clear();
    }
}

/// The payload of a frame of this size, in bytes.
fn payload(frame_max: u32) -> usize {
    (frame_max as usize).saturating_sub(HEADER + 1)
}

/// What lapin reads of a stream that arrives in these pieces, for tests.
#[must_use]
pub fn filter_all<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> Vec<u8> {
    let (mut filter, mut out) = (FrameFilter::default(), Vec::new());
    pieces.into_iter().for_each(|piece| filter.filter(piece, &mut out));
    out
}

/// Splits off up to `most` bytes.
fn take<'p>(piece: &mut &'p [u8], most: &mut usize) -> &'p [u8] {
    let taken = piece.split_off(..piece.len().min(*most)).unwrap_or_default();
    *most -= taken.len();
    taken
}

/// The type and the size of a frame, once its header is there.
fn frame(held: &[u8]) -> Option<(u8, usize)> {
    let [kind, _, _, size @ ..] = *held.first_chunk::<HEADER>()?;
    Some((kind, u32::from_be_bytes(size) as usize))
}

/// The same frame with the replacement as its properties.
fn replace(held: &[u8], out: &mut Vec<u8>) {
    let Some(fixed) = held.get(HEADER..HEADER + FIXED) else {
        // Too short for a content header: lapin reports it.
        return out.extend_from_slice(held);
    };
    tracing::warn!("a message has unreadable headers: it is handled without them");
    let size = u32::try_from(FIXED + UNREADABLE.len()).expect("both are short");
    out.extend_from_slice(&held[..HEADER - 4]);
    out.extend_from_slice(&size.to_be_bytes());
    out.extend_from_slice(fixed);
    out.extend_from_slice(UNREADABLE);
    out.push(0xce);
}

/// Whether lapin can parse the payload of a content header frame.
fn is_readable(payload: &[u8]) -> bool {
    properties(payload).is_some()
}

/// Whether lapin can parse a table, which begins with its length.
pub(crate) fn is_readable_table(bytes: &[u8]) -> bool {
    let mut bytes = bytes;
    Walk::default().table(&mut bytes, MAX_DEPTH).is_some() && bytes.is_empty()
}

/// Walks the properties in the order of their flags. The functions below follow AMQP's grammar; `None`
/// means that the bytes violate it.
fn properties(payload: &[u8]) -> Option<()> {
    let mut rest = payload.get(FIXED..)?;
    let flags = u16::from_be_bytes(*rest.split_off(..2)?.first_chunk()?);
    for at in 0..14 {
        if flags & (0x8000 >> at) == 0 {
            continue;
        }
        match at {
            2 => Walk::default().table(&mut rest, MAX_DEPTH)?,
            // The delivery mode and the priority.
            3 | 4 => fixed(&mut rest, 1)?,
            // The timestamp.
            9 => fixed(&mut rest, 8)?,
            _ => short(&mut rest)?,
        }
    }
    // The last two flags are unused.
    (flags & 3 == 0 && rest.is_empty()).then_some(())
}

/// A walk through headers, with the number of entries that are still allowed.
struct Walk {
    left: usize,
}

impl Default for Walk {
    fn default() -> Self {
        Self { left: MAX_ENTRIES }
    }
}

impl Walk {
    fn table(&mut self, rest: &mut &[u8], depth: usize) -> Option<()> {
        let mut items = long(rest)?;
        let depth = depth.checked_sub(1)?;
        while !items.is_empty() {
            short(&mut items)?;
            self.value(&mut items, depth)?;
        }
        Some(())
    }

    fn list(&mut self, rest: &mut &[u8], depth: usize) -> Option<()> {
        let mut items = long(rest)?;
        let depth = depth.checked_sub(1)?;
        while !items.is_empty() {
            self.value(&mut items, depth)?;
        }
        Some(())
    }

    fn value(&mut self, rest: &mut &[u8], depth: usize) -> Option<()> {
        self.left = self.left.checked_sub(1)?;
        match rest.split_off_first()? {
            b'V' => Some(()),
            b't' | b'b' | b'B' => fixed(rest, 1),
            b's' | b'U' | b'u' => fixed(rest, 2),
            b'I' | b'i' | b'f' => fixed(rest, 4),
            b'D' => fixed(rest, 5),
            b'l' | b'L' | b'd' | b'T' => fixed(rest, 8),
            b'S' | b'x' => long(rest).map(drop),
            b'A' => self.list(rest, depth),
            b'F' => self.table(rest, depth),
            _ => None,
        }
    }
}

fn fixed(rest: &mut &[u8], length: usize) -> Option<()> {
    rest.split_off(..length).map(drop)
}

/// A short string; lapin requires UTF-8.
fn short(rest: &mut &[u8]) -> Option<()> {
    let length = usize::from(*rest.split_off_first()?);
    str::from_utf8(rest.split_off(..length)?).ok().map(drop)
}

fn long<'b>(rest: &mut &'b [u8]) -> Option<&'b [u8]> {
    let length = u32::from_be_bytes(*rest.split_off(..4)?.first_chunk()?);
    rest.split_off(..length as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let size = u32::try_from(payload.len()).expect("short").to_be_bytes();
        [&[kind, 0, 1][..], &size, payload, &[0xce]].concat()
    }

    /// A content header frame with these flags and properties.
    fn properties(flags: u16, rest: &[u8]) -> Vec<u8> {
        let fixed = [0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
        frame(PROPERTIES, &[&fixed[..], &flags.to_be_bytes(), rest].concat())
    }

    fn table(items: &[u8]) -> Vec<u8> {
        let size = u32::try_from(items.len()).expect("short").to_be_bytes();
        properties(0x2000, &[&size, items].concat())
    }

    fn unreadable() -> Vec<u8> {
        properties(0x2000, &UNREADABLE[2..])
    }

    /// Expects `expected` between two ordinary frames, in pieces of any size.
    #[track_caller]
    fn check(sent: &[u8], expected: &[u8]) {
        let (method, body) = (frame(1, b"deliver"), frame(3, b"body"));
        let stream = [&method, sent, &body].concat();
        let expected = [&method, expected, &body].concat();
        assert!(filter_all([&stream[..]]) == expected, "in one piece");
        let (mut filter, mut passed) = (FrameFilter::default(), Vec::new());
        for piece in stream.chunks(97) {
            let (pass, rest) = piece.split_at(filter.pass_unchanged(piece));
            passed.extend_from_slice(pass);
            filter.filter(rest, &mut passed);
        }
        assert!(passed == expected, "in pieces, those that may pass uncopied");
        assert!(filter_all(stream.chunks(1)) == expected, "byte by byte");
        for at in (0..stream.len()).step_by(stream.len() / 50 + 1) {
            let (begin, end) = stream.split_at(at);
            assert!(filter_all([begin, end]) == expected, "cut at {at}");
        }
    }

    #[track_caller]
    fn kept(sent: &[u8]) {
        check(sent, sent);
    }

    fn nested(levels: usize) -> Vec<u8> {
        let wrap = |inner: Vec<u8>| {
            let size = u32::try_from(inner.len()).expect("short").to_be_bytes();
            [b"A", &size[..], &inner].concat()
        };
        [b"\x01k".to_vec(), (1..levels).fold(Vec::new(), |inner, _| wrap(inner))].concat()
    }

    #[test]
    fn every_property_and_every_type_is_kept() {
        kept(&properties(0, b""));
        kept(&properties(
            0xfffc,
            b"\x01t\x01e\x00\x00\x00\x00\x02\x00\x01c\x01r\x01e\x01m\0\0\0\0\0\0\0\x07\x01t\x01u\x01a\x01c",
        ));
        kept(&table(b"\x01vV\x01tt\x01\x01bb1\x01BB1\x01ss12\x01UU12\x01uu12\x01II1234\x01ii1234"));
        kept(&table(
            b"\x01ff1234\x01DD12345\x01ll12345678\x01LL12345678\x01dd12345678\x01TT12345678",
        ));
        kept(&table(
            b"\x01SS\0\0\0\x01\xff\x01xx\0\0\0\x00\x01AA\0\0\0\x01V\x01FF\0\0\0\x03\x01kV",
        ));
    }

    #[test]
    fn tables_nested_too_deep_are_replaced() {
        kept(&table(&nested(MAX_DEPTH)));
        check(&table(&nested(MAX_DEPTH + 1)), &unreadable());
        check(&table(&nested(10_000)), &unreadable());
    }

    #[test]
    fn headers_that_lapin_cannot_parse_are_replaced() {
        for items in [
            // A name that is not UTF-8, an unknown type, tables that end too early, and one too late.
            &b"\x01\xffV"[..],
            b"\x01kq",
            b"\x01k",
            b"\x01kS\0\0\0\x09x",
            b"\x01kF\0\0\0\x02V",
            b"\x09k",
        ] {
            check(&table(items), &unreadable());
        }
        check(&properties(0x8000, b"\x01\xff"), &unreadable());
        check(&properties(0x8001, b"\x01t"), &unreadable());
        check(&properties(0, b"more"), &unreadable());
    }

    #[test]
    fn too_many_headers_are_replaced() {
        kept(&table(&b"\0V".repeat(MAX_ENTRIES)));
        check(&table(&b"\0V".repeat(MAX_ENTRIES + 1)), &unreadable());
        let list = |count: usize| {
            let size = u32::try_from(count).expect("short").to_be_bytes();
            table(&[b"\x01kA", &size[..], &b"V".repeat(count)].concat())
        };
        kept(&list(MAX_ENTRIES - 1));
        check(&list(MAX_ENTRIES), &unreadable());
    }

    #[test]
    fn properties_larger_than_a_frame_are_replaced() {
        let text = |length: usize| {
            let size = u32::try_from(length).expect("short").to_be_bytes();
            table(&[b"\x01kS", &size[..], &vec![b'x'; length]].concat())
        };
        let overhead = text(0).len();
        kept(&text(128 * 1024 - overhead));
        check(&text(128 * 1024 - overhead + 1), &unreadable());
        check(&text(1 << 20), &unreadable());
    }

    #[test]
    fn a_smaller_limit_applies_and_a_larger_one_does_not() {
        for (limits, largest) in [
            (&[65_536][..], 65_536_usize),
            (&[65_536, 4096], 4096),
            (&[4096, 65_536], 4096),
            (&[1 << 20], 128 * 1024),
            (&[0], 4096),
            (&[10], 4096),
        ] {
            for (size, is_kept) in [(largest, true), (largest + 100, false)] {
                let value = u32::try_from(size - 33).expect("short");
                let text = [&b"\x01kS"[..], &value.to_be_bytes(), &vec![b'x'; value as usize]];
                let stream = table(&text.concat());
                assert_eq!(stream.len(), size, "one frame");
                let mut filter = FrameFilter::default();
                limits.iter().for_each(|&limit| filter.limit(limit));
                let passed = filter.pass_unchanged(&stream);
                let mut out = stream[..passed].to_vec();
                filter.filter(&stream[passed..], &mut out);
                assert_eq!(out == stream, is_kept, "{limits:?}, {size} bytes");
            }
        }
    }

    #[test]
    fn bytes_that_are_not_a_frame_are_left_to_lapin() {
        kept(&frame(PROPERTIES, b"short"));
        let (version, huge) = (b"AMQP\0\0\x09\x01", b"\x01\0\0\xff\xff\xff\xffbegin");
        assert_eq!(filter_all([&version[..]]), version);
        assert_eq!(filter_all([&huge[..]]), huge);
    }

    /// In a process of its own, because an overflow of the stack aborts it.
    #[test]
    fn lapin_still_overflows_its_stack_on_nested_tables() {
        const IS_CHILD: &str = "LISTENER_PARSES_NESTED_TABLES";
        const LEVELS: u32 = 20_000;
        if std::env::var_os(IS_CHILD).is_some() {
            let lists = (0..LEVELS).rev().flat_map(|inner| {
                let size = (5 * inner).to_be_bytes();
                [b'A', size[0], size[1], size[2], size[3]]
            });
            let items: Vec<u8> = b"\x01k".iter().copied().chain(lists).collect();
            let size = u32::try_from(items.len()).expect("short").to_be_bytes();
            let table = [&size[..], &items].concat();
            assert!(lapin::types::parsing::parse_field_table(&table[..]).is_ok());
            return;
        }
        let (_, module) = module_path!().split_once("::").expect("a path in a crate");
        let test = format!("{module}::lapin_still_overflows_its_stack_on_nested_tables");
        let child = std::process::Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", &test])
            .env(IS_CHILD, "1")
            .output()
            .expect("this binary can be run");
        assert!(!child.status.success(), "lapin parses nested tables now: remove this workaround");
        let errors = String::from_utf8_lossy(&child.stderr);
        assert!(errors.contains("overflowed its stack"), "{errors}");
    }
}
