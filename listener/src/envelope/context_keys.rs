//! The keys of a context: their prefix on the wire, and how a key that occurs twice is read. Used where
//! fields are read (`fields.rs`, `wrapper.rs`) and written (`write.rs`).

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::value::RawValue;

/// The prefix of the context's keys on the wire.
pub(super) const PREFIX: &str = "_context_";

/// How many keys a context usually has at most.
pub(super) const USUAL: usize = 24;

/// Each key once, as Python reads a key that occurs twice: at its first position, with its last value.
pub(super) fn last_of_each<'t>(
    items: Vec<(Cow<'t, str>, &'t RawValue)>,
) -> Vec<(Cow<'t, str>, &'t RawValue)> {
    // Comparing all pairs is the fastest way to find that a small context has no key twice; with a
    // large one it would take quadratic time.
    const SMALL: usize = 32;
    let twice = |(at, (key, _)): (usize, &(Cow<'_, str>, _))| {
        items[..at].iter().any(|(earlier, _)| earlier == key)
    };
    if items.len() <= SMALL && !items.iter().enumerate().any(twice) {
        return items;
    }
    let mut positions = HashMap::with_capacity(items.len());
    let mut kept: Vec<(Cow<'t, str>, &'t RawValue)> = Vec::with_capacity(items.len());
    for (key, value) in items {
        let position = *positions.entry(key.clone()).or_insert(kept.len());
        match kept.get_mut(position) {
            Some(item) => item.1 = value,
            None => kept.push((key, value)),
        }
    }
    kept
}
