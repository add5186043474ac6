//! What a broker sends, looked over on its way to lapin, which reads tables by recursion on a
//! thread with a small stack: headers that nest a few hundred levels deep would end the process,
//! and unreadable ones the session, again and again. A message with such properties comes
//! through without them, and with a header that says so. Called by `screened.rs`.

use crate::drivers::rabbit::options::FRAME_MIN;

/// So many lists and tables may stand in each other: a broker's own headers (`x-death`) have
/// two. In a debug build lapin's thread has room for some two hundred.
const DEEPEST: usize = 32;

/// So many headers, and entries of lists and tables in them, may there be: a few bytes on the wire
/// become a hundred in memory, of each message that is taken ahead.
const MOST: usize = 4096;

/// The largest frame, in bytes, until a smaller limit is agreed. A broker keeps to the limit, but for
/// a frame of properties: it may add headers of its own to what it has taken, and what it has taken
/// from a connection with a larger limit it sends unchanged.
const LARGEST: u32 = 128 * 1024;

/// Type, channel and size of a frame.
const HEAD: usize = 7;

/// Class, weight and the size of the body: what stands before the properties.
const FIXED: usize = 12;

/// The type of a frame of properties.
const PROPERTIES: u8 = 2;

/// What comes in the place of properties that are not kept: the flag for headers, and the table
/// `{"listener-headers": "not readable"}`.
const UNREADABLE: &[u8] =
    b"\x20\x00\x00\x00\x00\x22\x10listener-headersS\x00\x00\x00\x0cnot readable";

/// Looks over a stream of frames, however it is cut into pieces.
#[derive(Debug)]
pub(crate) struct Screen {
    /// The largest payload of a frame of properties, in bytes. lapin ends a connection over a frame
    /// that is larger than what was agreed.
    largest: usize,
    /// The head of a frame, or a frame of properties, as far as it has come.
    held: Vec<u8>,
    /// So many bytes go through as they are.
    pass: usize,
    /// So many bytes behind those are left out.
    skip: usize,
}

impl Default for Screen {
    fn default() -> Self {
        Self { largest: payload(LARGEST), held: Vec::new(), pass: 0, skip: 0 }
    }
}

impl Screen {
    /// From here on no frame may be larger than this, in bytes, its head and its end included. lapin
    /// agrees on none that is smaller than AMQP allows.
    pub(crate) fn limit(&mut self, frame_max: u32) {
        self.largest = self.largest.min(payload(frame_max.max(FRAME_MIN)));
    }

    /// Takes the next piece; what goes on to lapin is put behind `out`.
    pub(crate) fn feed(&mut self, mut piece: &[u8], out: &mut Vec<u8>) {
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

    /// How many bytes at the beginning of a piece go on to lapin as they are, for certain: those
    /// need not be copied. The rest of the piece is to be fed.
    pub(crate) fn let_pass(&mut self, piece: &[u8]) -> usize {
        if self.skip > 0 || !self.held.is_empty() {
            return 0;
        }
        let mut rest = piece;
        loop {
            take(&mut rest, &mut self.pass);
            match frame(rest) {
                Some((PROPERTIES, size)) => {
                    let is_kept = size <= self.largest
                        && rest.len() > HEAD + size
                        && is_readable(&rest[HEAD..HEAD + size]);
                    if !is_kept {
                        break;
                    }
                    self.pass = HEAD + size + 1;
                }
                Some((_, size)) => self.pass = HEAD + size + 1,
                None => break,
            }
        }
        piece.len() - rest.len()
    }

    /// How many bytes are needed before anything can be said of the frame that begins.
    fn missing(&self) -> usize {
        let needed = match frame(&self.held) {
            Some((PROPERTIES, size)) if size <= self.largest => HEAD + size + 1,
            Some((PROPERTIES, _)) => HEAD + FIXED,
            _ => HEAD,
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
            Some((PROPERTIES, size)) if !is_readable(&self.held[HEAD..HEAD + size]) => {
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

/// How large the payload of a frame of this size is.
fn payload(frame_max: u32) -> usize {
    (frame_max as usize).saturating_sub(HEAD + 1)
}

/// What goes on to lapin of a stream that comes in these pieces, for tests that have its bytes.
#[must_use]
pub fn let_through<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> Vec<u8> {
    let (mut screen, mut out) = (Screen::default(), Vec::new());
    pieces.into_iter().for_each(|piece| screen.feed(piece, &mut out));
    out
}

/// As many of the bytes as there are and may be.
fn take<'p>(piece: &mut &'p [u8], most: &mut usize) -> &'p [u8] {
    let taken = piece.split_off(..piece.len().min(*most)).unwrap_or_default();
    *most -= taken.len();
    taken
}

/// The type and the size of a frame, once its head is there.
fn frame(held: &[u8]) -> Option<(u8, usize)> {
    let [kind, _, _, size @ ..] = *held.first_chunk::<HEAD>()?;
    Some((kind, u32::from_be_bytes(size) as usize))
}

/// The frame that begins like this one, with other properties.
fn replace(held: &[u8], out: &mut Vec<u8>) {
    let Some(fixed) = held.get(HEAD..HEAD + FIXED) else {
        // Too short to be a frame of properties at all: lapin says so.
        return out.extend_from_slice(held);
    };
    tracing::warn!("a message has headers that cannot be read: it is worked on without them");
    let size = u32::try_from(FIXED + UNREADABLE.len()).expect("both are short");
    out.extend_from_slice(&held[..HEAD - 4]);
    out.extend_from_slice(&size.to_be_bytes());
    out.extend_from_slice(fixed);
    out.extend_from_slice(UNREADABLE);
    out.push(0xce);
}

/// Whether lapin can read the payload of a frame of properties.
fn is_readable(payload: &[u8]) -> bool {
    properties(payload).is_some()
}

/// Whether lapin can read a table, its length before it.
pub(crate) fn is_readable_table(bytes: &[u8]) -> bool {
    let mut bytes = bytes;
    Walk::default().table(&mut bytes, DEEPEST).is_some() && bytes.is_empty()
}

/// Walks the properties in the order of their flags. In each line of AMQP's grammar below,
/// `None` is: this does not stand here as it must.
fn properties(payload: &[u8]) -> Option<()> {
    let mut rest = payload.get(FIXED..)?;
    let flags = u16::from_be_bytes(*rest.split_off(..2)?.first_chunk()?);
    for at in 0..14 {
        if flags & (0x8000 >> at) == 0 {
            continue;
        }
        match at {
            2 => Walk::default().table(&mut rest, DEEPEST)?,
            // The mode of delivery, and the priority.
            3 | 4 => fixed(&mut rest, 1)?,
            // The time.
            9 => fixed(&mut rest, 8)?,
            _ => short(&mut rest)?,
        }
    }
    // Two more flags are not in use.
    (flags & 3 == 0 && rest.is_empty()).then_some(())
}

/// A walk through headers: how many entries there may be yet.
struct Walk {
    left: usize,
}

impl Default for Walk {
    fn default() -> Self {
        Self { left: MOST }
    }
}

impl Walk {
    fn table(&mut self, rest: &mut &[u8], deeper: usize) -> Option<()> {
        let mut items = long(rest)?;
        let deeper = deeper.checked_sub(1)?;
        while !items.is_empty() {
            short(&mut items)?;
            self.value(&mut items, deeper)?;
        }
        Some(())
    }

    fn list(&mut self, rest: &mut &[u8], deeper: usize) -> Option<()> {
        let mut items = long(rest)?;
        let deeper = deeper.checked_sub(1)?;
        while !items.is_empty() {
            self.value(&mut items, deeper)?;
        }
        Some(())
    }

    fn value(&mut self, rest: &mut &[u8], deeper: usize) -> Option<()> {
        self.left = self.left.checked_sub(1)?;
        match rest.split_off_first()? {
            b'V' => Some(()),
            b't' | b'b' | b'B' => fixed(rest, 1),
            b's' | b'U' | b'u' => fixed(rest, 2),
            b'I' | b'i' | b'f' => fixed(rest, 4),
            b'D' => fixed(rest, 5),
            b'l' | b'L' | b'd' | b'T' => fixed(rest, 8),
            b'S' | b'x' => long(rest).map(drop),
            b'A' => self.list(rest, deeper),
            b'F' => self.table(rest, deeper),
            _ => None,
        }
    }
}

fn fixed(rest: &mut &[u8], length: usize) -> Option<()> {
    rest.split_off(..length).map(drop)
}

/// A text of at most 255 bytes, which must be UTF-8 for lapin.
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

    /// A frame of properties: their flags, and what follows.
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

    /// Wants `expected` between two usual frames, however the stream is cut.
    #[track_caller]
    fn check(sent: &[u8], expected: &[u8]) {
        let (method, body) = (frame(1, b"deliver"), frame(3, b"body"));
        let stream = [&method, sent, &body].concat();
        let expected = [&method, expected, &body].concat();
        assert!(let_through([&stream[..]]) == expected, "in one piece");
        let (mut screen, mut passed) = (Screen::default(), Vec::new());
        for piece in stream.chunks(97) {
            let (pass, rest) = piece.split_at(screen.let_pass(piece));
            passed.extend_from_slice(pass);
            screen.feed(rest, &mut passed);
        }
        assert!(passed == expected, "in pieces, those that may pass uncopied");
        assert!(let_through(stream.chunks(1)) == expected, "byte by byte");
        for at in (0..stream.len()).step_by(stream.len() / 50 + 1) {
            let (begin, end) = stream.split_at(at);
            assert!(let_through([begin, end]) == expected, "cut at {at}");
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
    fn what_nests_too_deep_is_left_out() {
        kept(&table(&nested(DEEPEST)));
        check(&table(&nested(DEEPEST + 1)), &unreadable());
        check(&table(&nested(10_000)), &unreadable());
    }

    #[test]
    fn what_lapin_cannot_read_is_left_out() {
        for items in [
            // A name that is no UTF-8, an unknown type, ends too early, and one that is too far.
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
    fn more_headers_than_any_message_needs_are_left_out() {
        kept(&table(&b"\0V".repeat(MOST)));
        check(&table(&b"\0V".repeat(MOST + 1)), &unreadable());
        let list = |count: usize| {
            let size = u32::try_from(count).expect("short").to_be_bytes();
            table(&[b"\x01kA", &size[..], &b"V".repeat(count)].concat())
        };
        kept(&list(MOST - 1));
        check(&list(MOST), &unreadable());
    }

    #[test]
    fn properties_larger_than_a_frame_are_left_out() {
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
    fn a_smaller_limit_counts_and_a_larger_one_does_not() {
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
                let mut screen = Screen::default();
                limits.iter().for_each(|&limit| screen.limit(limit));
                let passed = screen.let_pass(&stream);
                let mut out = stream[..passed].to_vec();
                screen.feed(&stream[passed..], &mut out);
                assert_eq!(out == stream, is_kept, "{limits:?}, {size} bytes");
            }
        }
    }

    #[test]
    fn what_is_no_frame_is_left_to_lapin() {
        kept(&frame(PROPERTIES, b"short"));
        let (version, huge) = (b"AMQP\0\0\x09\x01", b"\x01\0\0\xff\xff\xff\xffbegin");
        assert_eq!(let_through([&version[..]]), version);
        assert_eq!(let_through([&huge[..]]), huge);
    }
}
