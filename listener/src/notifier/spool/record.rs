//! The format of a segment: consecutive records, each with its length and checksums, which reveal an
//! incomplete or corrupt one. No I/O: `store.rs` reads and writes the files.
//!
//! A record: magic (4), length of the content (4), CRC of the content (4), CRC of these twelve
//! (4), state (1), content. A content: length of the head (4), the head in JSON, the body.
//! Numbers are little-endian, CRCs are CRC-32. Only the state changes later, in place.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::notifier::message::OutgoingMessage;

const MAGIC: [u8; 4] = *b"\xA7LS1";
const HEADER: usize = 17;
/// The position of the state in a record.
pub(super) const STATE_AT: usize = 16;
const WAITING: u8 = 0;
/// Several bits differ from `WAITING`: a flipped bit must not make a record done.
pub(super) const DONE: u8 = 0xD7;

/// A message without its body.
#[derive(Serialize, Deserialize)]
struct Head<'h> {
    exchange: Cow<'h, str>,
    routing_key: Cow<'h, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compression: Option<Cow<'h, str>>,
}

/// The record of an unsent message; `None` if it would be too long.
pub(super) fn encode(message: &OutgoingMessage) -> Option<Vec<u8>> {
    let head = Head {
        exchange: Cow::Borrowed(&message.exchange),
        routing_key: Cow::Borrowed(&message.routing_key),
        compression: message.compression.as_deref().map(Cow::Borrowed),
    };
    let head = serde_json::to_vec(&head).expect("strings can be written as JSON");
    let content = [
        &u32::try_from(head.len()).ok()?.to_le_bytes()[..],
        head.as_slice(),
        message.body.as_ref(),
    ]
    .concat();
    let mut record = Vec::with_capacity(HEADER + content.len());
    record.extend(MAGIC);
    record.extend(u32::try_from(content.len()).ok()?.to_le_bytes());
    record.extend(crc32fast::hash(&content).to_le_bytes());
    record.extend(crc32fast::hash(&record).to_le_bytes());
    record.push(WAITING);
    record.extend(content);
    Some(record)
}

/// The message of a record; `None` if it is incomplete or corrupt.
pub(super) fn decode(record: &[u8]) -> Option<OutgoingMessage> {
    let Found::Whole { length, .. } = look(record) else {
        return None;
    };
    let content = record.get(HEADER..length)?;
    let (size, rest) = content.split_first_chunk::<4>()?;
    let (head, body) = rest.split_at_checked(u32::from_le_bytes(*size) as usize)?;
    let head: Head<'_> = serde_json::from_slice(head).ok()?;
    Some(OutgoingMessage {
        exchange: head.exchange.into_owned(),
        routing_key: head.routing_key.into_owned(),
        compression: head.compression.map(|compression| Cow::Owned(compression.into_owned())),
        body: Bytes::copy_from_slice(body),
    })
}

/// The content of a segment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// The unsent records.
    pub(super) waiting: Vec<Range<usize>>,
    /// Bytes that are not a record, between records or after them.
    pub(super) corrupt: Vec<Range<usize>>,
    /// Where an incomplete last record begins.
    pub(super) torn: Option<usize>,
}

/// Reads a segment to its end, whatever its content.
pub(super) fn scan(bytes: &[u8]) -> Scan {
    let mut scan = Scan::default();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        match look(rest) {
            Found::Whole { length, waits } => {
                if waits {
                    scan.waiting.push(at..at + length);
                }
                at += length;
            }
            found => {
                // Searches for the next whole record, which a wrong length must not hide.
                let next = next_whole(rest).map(|next| at + next);
                let end = next.unwrap_or(bytes.len());
                let is_torn = matches!(found, Found::Torn) || is_unwritten(bytes, at);
                if next.is_none() && is_torn {
                    scan.torn = Some(at);
                } else {
                    scan.corrupt.push(at..end);
                }
                at = end;
            }
        }
    }
    scan
}

/// A file system allocates in blocks of this many bytes, or a multiple.
const BLOCK: usize = 512;

/// Whether a record that begins here is incomplete because of a power loss: then there are zeros up to the
/// end of the file, from here on or from a block of this record on.
fn is_unwritten(bytes: &[u8], at: usize) -> bool {
    let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let unwritten = written.next_multiple_of(BLOCK);
    let end = header(&bytes[at..]).map_or(at + HEADER, |(length, _)| at + length);
    written <= at || (unwritten < bytes.len() && unwritten < end)
}

/// What begins at a position.
enum Found {
    Whole {
        length: usize,
        waits: bool,
    },
    /// The beginning of a record, then the end of the file.
    Torn,
    Corrupt,
}

fn look(bytes: &[u8]) -> Found {
    let Some(first) = bytes.first_chunk::<HEADER>() else {
        let begun = bytes.len().min(MAGIC.len());
        return if bytes[..begun] == MAGIC[..begun] { Found::Torn } else { Found::Corrupt };
    };
    let Some((length, checksum)) = header(bytes) else {
        return Found::Corrupt;
    };
    match bytes.get(HEADER..length) {
        None => Found::Torn,
        Some(content) if crc32fast::hash(content) == checksum => {
            Found::Whole { length, waits: first[STATE_AT] != DONE }
        }
        Some(_) => Found::Corrupt,
    }
}

/// The length of the record that begins here, and the checksum of its content.
fn header(bytes: &[u8]) -> Option<(usize, u32)> {
    let header = bytes.first_chunk::<HEADER>()?;
    let number = |at: usize| {
        u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    let is_whole = header[..4] == MAGIC && number(12) == crc32fast::hash(&header[..12]);
    is_whole.then(|| (HEADER + number(4) as usize, number(8)))
}

/// Where the first whole record after the first byte begins.
fn next_whole(bytes: &[u8]) -> Option<usize> {
    let begins = memchr::memmem::find_iter(bytes, &MAGIC);
    begins
        .filter(|begin| *begin > 0)
        .find(|begin| matches!(look(&bytes[*begin..]), Found::Whole { .. }))
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "the range of one record")]
mod tests {
    use super::*;

    fn message(body: &str) -> OutgoingMessage {
        OutgoingMessage {
            exchange: "nova".to_owned(),
            routing_key: "notifications.info".to_owned(),
            compression: None,
            body: Bytes::copy_from_slice(body.as_bytes()),
        }
    }

    fn record(body: &str) -> Vec<u8> {
        encode(&message(body)).unwrap()
    }

    fn check(
        bytes: &[u8],
        waiting: &[Range<usize>],
        corrupt: &[Range<usize>],
        torn: Option<usize>,
    ) {
        let expected = Scan { waiting: waiting.to_vec(), corrupt: corrupt.to_vec(), torn };
        assert_eq!(scan(bytes), expected);
    }

    #[test]
    fn a_message_is_decoded_unchanged() {
        let compressed = OutgoingMessage {
            compression: Some(Cow::Borrowed("application/x-gzip")),
            ..message("")
        };
        for message in [message("é"), compressed] {
            let record = encode(&message).unwrap();
            assert!(decode(&record).unwrap() == message);
        }
    }

    #[test]
    fn a_sent_record_is_not_unsent() {
        let (mut one, two) = (record("one"), record("two"));
        one[STATE_AT] = DONE;
        let all = [one.as_slice(), two.as_slice()].concat();
        let second = one.len()..all.len();
        check(&all, std::slice::from_ref(&second), &[], None);
    }

    #[test]
    fn a_record_that_ends_early_is_torn_at_every_byte() {
        let (one, two) = (record("one"), record("two"));
        let all = [one.as_slice(), two.as_slice()].concat();
        let first = 0..one.len();
        for end in one.len() + 1..all.len() {
            check(&all[..end], std::slice::from_ref(&first), &[], Some(one.len()));
        }
        check(&all, &[0..one.len(), one.len()..all.len()], &[], None);
    }

    #[test]
    fn a_byte_that_changed_costs_its_record_only_and_is_never_taken_for_a_torn_end() {
        let (one, two, three) = (record("one"), record("two"), record("three"));
        let all = [one.as_slice(), two.as_slice(), three.as_slice()].concat();
        let second = one.len()..one.len() + two.len();
        for at in second.clone().filter(|at| at - second.start != STATE_AT) {
            let mut changed = all.clone();
            changed[at] ^= 0x80;
            let waiting = [0..second.start, second.end..all.len()];
            check(&changed, &waiting, std::slice::from_ref(&second), None);
            check(&changed[..second.end], &waiting[..1], std::slice::from_ref(&second), None);
        }
    }

    #[test]
    fn one_bit_never_makes_a_record_done() {
        let whole = record("one");
        for bit in 0..8 {
            let mut changed = whole.clone();
            changed[STATE_AT] ^= 1 << bit;
            check(&changed, &[0..whole.len()], &[], None);
        }
    }

    #[test]
    fn zeros_at_the_end_after_a_power_loss_are_an_incomplete_record_and_not_corrupt() {
        let (one, two) = (record("one"), record(&"x".repeat(2000)));
        let first = [0..one.len()];
        for zeros in [1, 16, 17, 300, 5000] {
            let bytes = [one.clone(), vec![0; zeros]].concat();
            check(&bytes, &first, &[], Some(one.len()));
            check(&bytes[one.len()..], &[], &[], Some(0));
        }
        // The blocks of a record that were not written any more, from the first on or a later.
        for begin in [512, 1024, 1536] {
            let mut bytes = [one.as_slice(), two.as_slice()].concat();
            bytes[begin..].fill(0);
            check(&bytes, &first, &[], Some(one.len()));
        }
    }

    #[test]
    fn a_record_that_ends_in_zeros_by_itself_is_corrupt_if_it_changes() {
        let mut bytes = record("compressed\0\0\0\0");
        bytes[30] ^= 1;
        check(&bytes, &[], &[0..bytes.len()], None);
        // Nor is it taken for the record behind it that was not written any more.
        bytes.extend([0; 2000]);
        check(&bytes, &[], &[0..bytes.len()], None);
    }

    #[test]
    fn a_file_that_is_not_a_segment_is_all_corrupt() {
        let noise = vec![7; 300];
        check(&noise, &[], &[0..300], None);
        check(&[], &[], &[], None);
    }
}
