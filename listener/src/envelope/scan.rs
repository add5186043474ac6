//! The fields of a notification, found without a parser where nothing about the text is
//! unusual. A text that is not taken here may be wrong or only odd: `fields.rs` finds out, and
//! finds the same in what is taken here. Called by `read`, before anything else is tried.

use std::borrow::Cow;
use std::iter;

use serde::Deserialize;
use serde::de::value::{BorrowedStrDeserializer, MapDeserializer};
use serde::de::{Deserializer, Error, Visitor};
use serde_json::value::RawValue;

use crate::envelope::context_keys::{PREFIX, USUAL, last_of_each};
use crate::envelope::places::{BLOCK, has_control, places};
use crate::notification::fields::Fields;

/// How deep a value may nest, an empty one within not counted: one bit for each level.
const DEEPEST: u32 = 63;

/// The fields, or `None` if they have to be found in another way.
pub(super) fn read(text: &str) -> Option<Fields<'_>> {
    let mut fields = Fields {
        message_id: None,
        timestamp: None,
        publisher_id: None,
        event_type: None,
        priority: None,
        unique_id: None,
        payload: RawValue::NULL,
        context: Vec::new(),
    };
    let mut scan = Scan { text, bytes: text.as_bytes(), at: 0, quotes: Quotes::default() };
    scan.spaces();
    scan.byte(b'{')?;
    scan.spaces();
    if scan.byte(b'}').is_none() {
        loop {
            let key = scan.plain_string()?;
            scan.colon()?;
            match key {
                "message_id" => fields.message_id = scan.string_or_null()?,
                "timestamp" => fields.timestamp = scan.string_or_null()?,
                "publisher_id" => fields.publisher_id = scan.string_or_null()?,
                "event_type" => fields.event_type = scan.string_or_null()?,
                "priority" => fields.priority = scan.string_or_null()?,
                "_unique_id" => fields.unique_id = scan.string_or_null()?,
                "payload" => fields.payload = raw(scan.value()?)?,
                _ => {
                    let value = scan.value()?;
                    if let Some(name) = key.strip_prefix(PREFIX) {
                        if fields.context.is_empty() {
                            fields.context.reserve(USUAL);
                        }
                        fields.context.push((Cow::Borrowed(name), raw(value)?));
                    }
                }
            }
            scan.spaces();
            if scan.byte(b'}').is_some() {
                break;
            }
            scan.byte(b',')?;
            scan.spaces();
        }
    }
    scan.spaces();
    fields.context = last_of_each(fields.context);
    (scan.at == text.len()).then_some(fields)
}

/// A text on which JSON is followed from place to place. White space is the space alone: with
/// any other, `Quotes` ends.
struct Scan<'t> {
    text: &'t str,
    bytes: &'t [u8],
    at: usize,
    quotes: Quotes,
}

impl<'t> Scan<'t> {
    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline]
    fn byte(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    #[inline]
    fn spaces(&mut self) {
        while self.peek() == Some(b' ') {
            self.at += 1;
        }
    }

    #[inline]
    fn colon(&mut self) -> Option<()> {
        self.spaces();
        self.byte(b':')?;
        self.spaces();
        Some(())
    }

    /// A string, and the places of what is in it.
    #[inline]
    fn string(&mut self) -> Option<(usize, usize)> {
        if self.quotes.next(self.bytes)? != self.at {
            return None;
        }
        let end = self.quotes.next(self.bytes)?;
        let start = self.at + 1;
        self.at = end + 1;
        Some((start, end))
    }

    /// A string without escapes.
    fn plain_string(&mut self) -> Option<&'t str> {
        let (start, end) = self.string()?;
        let text = &self.text[start..end];
        (!text.as_bytes().contains(&b'\\')).then_some(text)
    }

    fn string_or_null(&mut self) -> Option<Option<Cow<'t, str>>> {
        if self.peek()? == b'n' {
            return self.word("null").map(|()| None);
        }
        Some(Some(Cow::Borrowed(self.plain_string()?)))
    }

    fn word(&mut self, word: &str) -> Option<()> {
        self.bytes[self.at..].starts_with(word.as_bytes()).then(|| self.at += word.len())
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn number(&mut self) -> Option<()> {
        let _ = self.byte(b'-');
        if self.byte(b'0').is_none() {
            self.digits()?;
        }
        if self.byte(b'.').is_some() {
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    fn key(&mut self) -> Option<()> {
        self.string()?;
        self.colon()
    }

    /// Any value, as it stands there.
    fn value(&mut self) -> Option<&'t str> {
        const OBJECT: u64 = 1;
        let start = self.at;
        // The kinds of what is open, the innermost lowest, under a bit that says how many.
        let mut open = 1_u64;
        loop {
            match self.peek()? {
                b'"' => drop(self.string()?),
                first @ (b'{' | b'[') => {
                    self.at += 1;
                    self.spaces();
                    // Brackets and braces of a kind are two apart.
                    if self.byte(first + 2).is_none() {
                        if open >> DEEPEST != 0 {
                            return None;
                        }
                        let object = first == b'{';
                        open = open << 1 | u64::from(object);
                        if object {
                            self.key()?;
                        }
                        continue;
                    }
                }
                b't' => self.word("true")?,
                b'f' => self.word("false")?,
                b'n' => self.word("null")?,
                _ => self.number()?,
            }
            loop {
                if open == 1 {
                    return Some(&self.text[start..self.at]);
                }
                self.spaces();
                let object = open & 1 == OBJECT;
                match self.peek()? {
                    b',' => {
                        self.at += 1;
                        self.spaces();
                        if object {
                            self.key()?;
                        }
                        break;
                    }
                    b'}' if object => {}
                    b']' if !object => {}
                    _ => return None,
                }
                self.at += 1;
                open >>= 1;
            }
        }
    }
}

/// The quotes of a text that begin and end strings, one after the other.
#[derive(Default)]
struct Quotes {
    /// Those of the block before `next` that are still to come.
    places: u64,
    next: usize,
    /// The first byte of the next block belongs to an escape.
    escaped: bool,
}

impl Quotes {
    /// `None` at the end, and at what is no JSON, or may be none.
    #[inline]
    fn next(&mut self, bytes: &[u8]) -> Option<usize> {
        while self.places == 0 {
            self.load(bytes)?;
        }
        let place = self.next - BLOCK + self.places.trailing_zeros() as usize;
        self.places &= self.places - 1;
        Some(place)
    }

    fn load(&mut self, bytes: &[u8]) -> Option<()> {
        let rest = bytes.get(self.next..).filter(|rest| !rest.is_empty())?;
        let mut last = [b' '; BLOCK];
        let block = rest.first_chunk().unwrap_or_else(|| {
            last[..rest.len()].copy_from_slice(rest);
            &last
        });
        self.places = places(block, b'"');
        let odd = |byte: u8| (byte < b' ') | (byte == b'\\');
        if self.escaped || block.iter().fold(false, |found, byte| found | odd(*byte)) {
            if has_control(block) {
                return None;
            }
            self.leave_escaped(bytes, places(block, b'\\'))?;
        }
        self.next += BLOCK;
        Some(())
    }

    /// Takes away the quotes that are escaped, and looks whether the escapes are known ones.
    #[cold]
    fn leave_escaped(&mut self, bytes: &[u8], mut escapes: u64) -> Option<()> {
        if self.escaped {
            escapes &= !1;
            self.places &= !1;
        }
        self.escaped = false;
        while escapes != 0 {
            let bit = escapes.trailing_zeros();
            escapes &= escapes - 1;
            let behind = self.next + bit as usize + 1;
            match bytes.get(behind)? {
                b'u' => {
                    let digits = bytes.get(behind + 1..behind + 5)?;
                    digits.iter().all(u8::is_ascii_hexdigit).then_some(())?;
                }
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                _ => return None,
            }
            // What was shifted out belongs to the next block.
            let escaped = 2 << bit;
            self.escaped = bit == u64::BITS - 1;
            escapes &= !escaped;
            self.places &= !escaped;
        }
        Some(())
    }
}

/// A raw value of a text that is known to be JSON. `serde_json` makes one only of what it has
/// walked itself, or of what a deserializer says is raw: this one says so.
fn raw(text: &str) -> Option<&RawValue> {
    <&RawValue>::deserialize(Valid(text)).ok()
}

struct Valid<'t>(&'t str);

impl<'de> Deserializer<'de> for Valid<'de> {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(Self::Error::custom("not asked for a raw value"))
    }

    /// A raw value asks for a map from the name of its type to its text.
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        let text = BorrowedStrDeserializer::new(self.0);
        visitor.visit_map(MapDeserializer::new(iter::once((name, text))))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        option unit unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
