//! A fast path for version 2 envelopes exactly as oslo writes them, or the same without spaces: the inner
//! text is unescaped without a JSON parser. Any other body is left to `v2.rs`, which gives the same text
//! for bodies of this form. Called by `open` first. `tests/bench/README.md` says what it saves.

use std::mem::take;

use memchr::memchr_iter;

use crate::envelope::v2::{BEGIN, BEGIN_CLOSE, END};

/// The size of a block: one byte for each bit of a mask.
const BLOCK: usize = 64;

/// How many bytes are copied at once. Excess bytes are overwritten by the next ones.
const STEP: usize = 16;

/// The inner text, unescaped into the buffer, which is taken; `None` if the body has another form.
///
/// The body need not be valid UTF-8. If the text is, the body is too, as only ASCII was changed.
pub(super) fn open(body: &[u8], buffer: &mut Vec<u8>) -> Option<String> {
    let within = body.strip_prefix(BEGIN).or_else(|| body.strip_prefix(BEGIN_CLOSE))?;
    let within = within.strip_suffix(END)?;
    if within.first() != Some(&b'{') {
        return None;
    }
    let text = unescape(within, take(buffer))?;
    // A text without escapes can be borrowed, which `v2.rs` does.
    if text.len() == within.len() { None } else { String::from_utf8(text).ok() }
}

/// Unescapes the content of a JSON string, if it has only short escapes. Overwrites the buffer.
fn unescape(from: &[u8], mut buffer: Vec<u8>) -> Option<Vec<u8>> {
    // A control character would make the body invalid.
    if has_control(from) {
        return None;
    }
    buffer.resize(from.len() + STEP, 0);
    let mut left = Left { from, to: &mut buffer };
    let mut quotes = 0;
    while left.from.len() >= BLOCK + STEP {
        quotes += left.block()?;
    }
    quotes += left.bytes()?;
    let free = left.to.len();
    buffer.truncate(buffer.len() - free);
    // A quote without a backslash would end the string.
    (memchr_iter(b'"', from).count() == quotes).then_some(buffer)
}

/// The source that is left, and the space for it.
struct Left<'f, 't> {
    from: &'f [u8],
    to: &'t mut [u8],
}

impl Left<'_, '_> {
    /// Unescapes a block, and the byte after it if the last one of the block is its backslash. Returns the
    /// number of quotes.
    #[inline]
    fn block(&mut self) -> Option<usize> {
        let mut escapes = positions(self.from.first_chunk()?, b'\\');
        let mut quotes = 0;
        let mut done = 0;
        while escapes != 0 {
            let at = escapes.trailing_zeros() as usize;
            escapes &= escapes - 1;
            self.copy(at - done)?;
            let [_, escaped, rest @ ..] = self.from else { return None };
            self.from = rest;
            if *escaped == b'"' {
                quotes += 1;
                self.push(b'"')?;
            } else {
                self.push(unescaped(*escaped)?)?;
                if *escaped == b'\\' {
                    // It begins no escape.
                    escapes &= escapes.wrapping_sub(1);
                }
            }
            done = at + 2;
        }
        if done < BLOCK {
            self.copy(BLOCK - done)?;
        }
        Some(quotes)
    }

    /// Copies this many bytes.
    #[inline]
    fn copy(&mut self, mut count: usize) -> Option<()> {
        while count > STEP {
            let (step, rest) = self.from.split_first_chunk::<STEP>()?;
            let (into, free) = take(&mut self.to).split_first_chunk_mut()?;
            *into = *step;
            (self.from, self.to) = (rest, free);
            count -= STEP;
        }
        *self.to.first_chunk_mut()? = *self.from.first_chunk::<STEP>()?;
        self.from = &self.from[count..];
        self.to = &mut take(&mut self.to)[count..];
        Some(())
    }

    /// Unescapes everything that is left, one byte at a time. Returns the number of quotes.
    fn bytes(&mut self) -> Option<usize> {
        let mut quotes = 0;
        let mut bytes = self.from.iter();
        while let Some(&byte) = bytes.next() {
            if byte == b'\\' {
                let escaped = unescaped(*bytes.next()?)?;
                quotes += usize::from(escaped == b'"');
                self.push(escaped)?;
            } else {
                self.push(byte)?;
            }
        }
        Some(quotes)
    }

    #[inline]
    fn push(&mut self, byte: u8) -> Option<()> {
        let (into, free) = take(&mut self.to).split_first_mut()?;
        *into = byte;
        self.to = free;
        Some(())
    }
}

/// The character of a short escape.
fn unescaped(escaped: u8) -> Option<u8> {
    Some(match escaped {
        b'"' | b'\\' | b'/' => escaped,
        b'b' => b'\x08',
        b'f' => b'\x0c',
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        _ => return None,
    })
}

/// A bit for each position of the byte in the block.
#[inline]
fn positions(block: &[u8; BLOCK], byte: u8) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    const LOW: u64 = ONES * 0x7f;
    const HIGH: u64 = ONES * 0x80;
    let (words, _) = block.as_chunks::<8>();
    words.iter().enumerate().fold(0, |positions, (at, word)| {
        let differs = u64::from_le_bytes(*word) ^ (ONES * u64::from(byte));
        // The highest bit of each byte that does not differ, and no other bit.
        let same = !(((differs & LOW) + LOW) | differs) & HIGH;
        // All of them to the highest byte, in their order.
        let bits = same.wrapping_mul(0x0002_0408_1020_4081) >> 56;
        positions | bits << (8 * at)
    })
}

/// Whether there is a byte below the space. Without an early return, which would take longer.
fn has_control(bytes: &[u8]) -> bool {
    bytes.iter().fold(false, |found, byte| found | (*byte < b' '))
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::envelope::error::DecodeError;
    use crate::envelope::lenient::repaired;
    use crate::envelope::{EnvelopeVersion, Labels, Limits, v2};

    const GOLDEN: [&[u8]; 5] = [
        include_bytes!("golden/v2.json"),
        include_bytes!("golden/v2-list.json"),
        include_bytes!("golden/v2-text.json"),
        include_bytes!("golden/v2-null.json"),
        include_bytes!("golden/v2-special.json"),
    ];

    /// Pieces of valid and invalid bodies.
    const PIECES: [&str; 24] = [
        r#"\""#,
        r#"\""#,
        r#"\""#,
        r"\\",
        r"\\",
        r"\/",
        r"\n",
        r"\b",
        r"\f",
        r"\r",
        r"\t",
        r"\\u00e9",
        r"\\ud800",
        r"\u00e9",
        r"\ud83d\ude00",
        "\"",
        "\\",
        "é",
        "😀",
        "NaN",
        "-Infinity",
        "\n",
        "\0",
        "\u{7f}",
    ];

    fn open(body: &[u8]) -> Option<String> {
        super::open(body, &mut Vec::new())
    }

    fn general(body: &[u8]) -> Result<Option<String>, DecodeError> {
        let text =
            str::from_utf8(body).map_err(|error| DecodeError::Utf8 { at: error.valid_up_to() })?;
        Ok(v2::open(text)?.map(Cow::into_owned))
    }

    /// Expects that `v2.rs` gives the same text if this gives one. Returns whether it does.
    #[track_caller]
    fn same(body: &[u8]) -> bool {
        let Some(text) = open(body) else { return false };
        let text = repaired(Cow::Owned(text)).into_owned();
        let general = general(body);
        assert!(
            matches!(&general, Ok(Some(expected)) if *expected == text),
            "{}: {text:?} but {general:?}",
            body.escape_ascii()
        );
        true
    }

    fn random(rng: &mut fastrand::Rng, pieces: &[&str]) -> Vec<u8> {
        let begin = [BEGIN, BEGIN_CLOSE][rng.usize(..2)];
        let mut body = [begin, b"{"].concat();
        let length = body.len() + rng.usize(..400);
        while body.len() < length {
            if rng.bool() {
                body.extend(std::iter::repeat_n(b'x', rng.usize(..20)));
            }
            body.extend(pieces[rng.usize(..pieces.len())].as_bytes());
        }
        body.extend(END);
        body
    }

    #[test]
    fn bodies_of_oslo_are_accepted() {
        for body in GOLDEN {
            assert!(same(body), "{}", body.escape_ascii());
        }
    }

    #[test]
    fn every_short_escape_is_unescaped_at_every_position() {
        for before in 0..200 {
            for (escape, meaning) in [
                (r#"\""#, "\""),
                (r"\\", "\\"),
                (r"\/", "/"),
                (r"\b", "\x08"),
                (r"\f", "\x0c"),
                (r"\n", "\n"),
                (r"\r", "\r"),
                (r"\t", "\t"),
                (r#"\\\""#, "\\\""),
                (r"\\\\", "\\\\"),
            ] {
                for after in [0, 1, 63, 64, 100] {
                    let (before, after) = ("é".repeat(before), "y".repeat(after));
                    let within = format!("{{{before}{escape}{after}");
                    let body = [BEGIN, within.as_bytes(), END].concat();
                    assert_eq!(open(&body), Some(format!("{{{before}{meaning}{after}")));
                }
            }
        }
    }

    #[test]
    fn random_bodies_give_the_same_text_as_the_general_path() {
        let mut rng = fastrand::Rng::with_seed(7);
        let (mut taken, mut left) = (0, 0);
        for number in 0..40_000 {
            // Half of them have only pieces that are accepted here.
            let pieces = if number % 2 == 0 { &PIECES[..13] } else { &PIECES[..] };
            let counter = if same(&random(&mut rng, pieces)) { &mut taken } else { &mut left };
            *counter += 1;
        }
        assert!(taken > 15_000 && left > 10_000, "{taken} {left}");
    }

    #[test]
    fn mutated_bodies_give_the_same_text_as_the_general_path() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut taken = 0;
        for number in 0..40_000 {
            let mut body = match number % 3 {
                0 => random(&mut rng, &PIECES[..13]),
                _ => GOLDEN[rng.usize(..GOLDEN.len())].to_vec(),
            };
            for _ in 0..rng.usize(1..4) {
                let at = rng.usize(..body.len());
                match rng.u8(..5) {
                    0 => body[at] ^= 1 << rng.u8(..8),
                    1 => drop(body.remove(at)),
                    2 => body.insert(at, rng.u8(..)),
                    3 => body.insert(at, [b'\\', b'"', b'n', b'u', b'\n'][rng.usize(..5)]),
                    _ => body.swap(at, rng.usize(..at + 1)),
                }
            }
            taken += usize::from(same(&body));
        }
        assert!(taken > 5_000, "{taken}");
    }

    #[test]
    fn a_text_in_a_used_buffer_is_the_same() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut buffer = Vec::new();
        for _ in 0..1_000 {
            let body = random(&mut rng, &PIECES[..13]);
            let expected = open(&body);
            let text = super::open(&body, &mut buffer);
            assert_eq!(text, expected);
            buffer = text.unwrap_or_default().into_bytes();
        }
    }

    #[test]
    fn open_gives_the_same_text() {
        let close: &[u8] = br#"{"oslo.version":"2.0","oslo.message":"{\"a\":1}"}"#;
        assert_eq!(open(close).as_deref(), Some(r#"{"a":1}"#));
        for body in GOLDEN.into_iter().chain([close]) {
            let opened =
                crate::envelope::open(body, Labels::default(), &Limits::default()).unwrap();
            assert_eq!(opened.version, EnvelopeVersion::V2);
            assert_eq!(Some(opened.text.into_owned()), general(body).unwrap());
        }
    }

    #[test]
    fn other_forms_are_left_to_the_general_path() {
        for body in [
            r#"{"oslo.version": "2.0", "oslo.message": "{}"}"#,
            r#"{"oslo.version": "2.0", "oslo.message": " {\"a\": 1}"}"#,
            r#"{"oslo.version": "2.0", "oslo.message": "{\"a\": 1}"} "#,
            r#"{"oslo.version":"2.0", "oslo.message":"{\"a\": 1}"}"#,
            r#"{"oslo.message": "{\"a\": 1}", "oslo.version": "2.0"}"#,
            r#"{"oslo.version": "2.1", "oslo.message": "{\"a\": 1}"}"#,
            r#"{"oslo.version": "2.0", "oslo.message": "{\"a\": 1\"}"#,
            r#"{"oslo.version": "2.0", "oslo.message": "{\"a\": 1}", "x": "y"}"#,
            "{\"oslo.version\": \"2.0\", \"oslo.message\": \"{\\\"a\\\":\n1}\"}",
        ] {
            assert_eq!(open(body.as_bytes()), None, "{body}");
        }
        assert_eq!(open(&[BEGIN, b"{\\\"\xff\\\"", END].concat()), None);
    }

    #[test]
    fn each_position_has_its_bit() {
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..10_000 {
            // Also the neighbours of the byte, and the byte with its highest bit set.
            let block = [(); BLOCK].map(|()| b"\"!#\xa2\xff\x00"[rng.usize(..6)]);
            let bits = (0..BLOCK).filter(|at| block[*at] == b'"');
            assert_eq!(positions(&block, b'"'), bits.fold(0, |positions, at| positions | 1 << at));
        }
    }

    #[test]
    fn a_control_character_is_found_at_every_position() {
        for at in 0..BLOCK {
            let mut block = [b' '; BLOCK];
            assert!(!has_control(&block));
            block[at] = 0x1f;
            assert!(has_control(&block));
        }
    }
}
