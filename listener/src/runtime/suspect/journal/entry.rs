//! An entry of the journal as it is written, and the key that identifies a suspect in it. Written by
//! `requests.rs` and `mod.rs`, read by `state.rs`.

use std::collections::BTreeSet;
use std::hash::Hasher;

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

/// Identifies a suspect in every process: a digest of what all of its copies have in common. It is SipHash-1-3
/// of 64 bits with the key 0, over each part and its length: the same in every build, unlike std's hashers, so
/// that crashes are counted together while one release of the program replaces another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Key(pub(super) u64);

impl Key {
    pub(crate) fn of<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> Self {
        let mut hasher = SipHasher13::new();
        for part in parts {
            hasher.write(&(part.len() as u64).to_le_bytes());
            hasher.write(part);
        }
        Self(hasher.finish())
    }
}

/// One entry. A missing field is empty.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct JournalEntry {
    pub(super) process: String,
    /// Makes the entries of a process distinct.
    pub(super) number: u64,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) begin: BTreeSet<Key>,
    /// Released by this process: that it began them is no evidence any more.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) released: BTreeSet<Key>,
    /// Settled: no process that began them crashed of them.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) settled: BTreeSet<Key>,
    /// The process stopped orderly, and released everything.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) stopped: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(parts: &[&str]) -> Key {
        Key::of(parts.iter().map(|part| part.as_bytes()))
    }

    /// The entries of a journal outlive the program that wrote them: another release must find these keys. The
    /// values are those of another implementation, CPython's `hash` of bytes.
    #[test]
    fn a_key_is_the_same_in_every_build() {
        assert_eq!(key(&[""]), Key(0xbd60_acb6_58c7_9e45));
        assert_eq!(key(&["notifications.info", "{}"]), Key(0x2961_2beb_c132_1c6e));
    }

    #[test]
    fn parts_are_not_confused_with_their_neighbours() {
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
        assert_ne!(key(&["ab"]), key(&["ab", ""]));
    }
}
