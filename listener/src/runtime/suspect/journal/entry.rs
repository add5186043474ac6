//! An entry of the journal as it is written, and the key that identifies a suspect in it. Written by
//! `requests.rs` and `mod.rs`, read by `known.rs`.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::{Deserialize, Serialize};

/// Identifies a suspect in every process of the same build: a digest of what all of its copies have in common.
/// std does not specify `DefaultHasher`: processes built with another Rust release may have other digests, and
/// their deaths are then counted separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Key(pub(super) u64);

impl Key {
    pub(crate) fn of(common: impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        common.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// One entry. A missing field is empty.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Entry {
    pub(super) process: String,
    /// Makes the entries of a process distinct.
    pub(super) number: u64,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) begin: BTreeSet<Key>,
    /// Released by this process: that it began them is no evidence any more.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) released: BTreeSet<Key>,
    /// Settled: no process that began them died of them.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) settled: BTreeSet<Key>,
    /// The process stopped orderly, and released everything.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) stopped: bool,
}
