//! Which keys a delivery shares with others that must not be handled at the same time: its order keys,
//! and its `message_id` if there is an inbox. The waiting is in `key_order.rs`.

use std::borrow::Cow;
use std::panic::AssertUnwindSafe;

use crate::dispatch::table::Entry;
use crate::notification::Notification;
use crate::redact::discard;
use crate::runtime::case::Case;
use crate::runtime::open::body::{self, TextBuffer};
use crate::runtime::open::priority;
use crate::runtime::schedule::key_order::Keys;
use crate::runtime::settle::pending::Pending;
use crate::runtime::shared::Shared;

/// Bodies up to this size, in bytes, are read as soon as they arrive.
const SMALL: usize = 64 << 10;

/// Whether deliveries can have keys at all.
pub(crate) fn have_keys(shared: &Shared) -> bool {
    shared.order.is_some() || shared.dispatcher.table().keeps_order() || shared.inbox.is_some()
}

/// Whether the keys of a delivery can be read without delay: its body is small and not compressed.
pub(crate) fn can_read_inline(case: &Case) -> bool {
    !body::is_compressed(&case.delivery) && case.delivery.body.len() <= SMALL
}

/// The keys of a delivery. One that cannot be read has none; the error is reported when it is handled.
pub(crate) fn read_keys(shared: &Shared, case: &mut Case) -> Keys {
    if !have_keys(shared) || case.delivery.is_over() {
        return Keys::default();
    }
    let read = AssertUnwindSafe(|| read(shared, case));
    std::panic::catch_unwind(read).map_err(discard).ok().flatten().unwrap_or_default()
}

fn read(shared: &Shared, case: &mut Case) -> Option<Keys> {
    let text = body::open(shared, &case.delivery, &mut TextBuffer::default()).ok()?;
    let mut deserialized = None;
    let fields = body::read(shared, &text, &mut deserialized).ok()?;
    let origin = &case.copy_headers.origin;
    let on_unknown = shared.options.on_unknown_priority;
    let priority = priority::find(&fields, &origin.routing_key, on_unknown).ok()?;
    let notification = Notification::new(fields, priority, origin, &shared.states);
    let keys = of_notification(shared, &notification, &case.copy_headers.pending);
    if let Cow::Owned(text) = text {
        // A decompressed text may be very large: it is opened again then.
        case.text = Some(text).filter(|text| text.len() <= case.delivery.body.len());
    }
    Some(keys)
}

/// The order keys of the listener and of the pending methods, and the `message_id`.
fn of_notification(shared: &Shared, notification: &Notification<'_>, pending: &Pending) -> Keys {
    let mut keys = Vec::new();
    if let Some(order) = &shared.order {
        keys.extend(order.of(notification).map(|key| format!("{order}={key}")));
    }
    let is_pending = |entry: &Entry| entry.order.is_some() && pending.includes(&entry.name);
    // Also for a method whose filter panics: it is pending.
    for (entry, _) in shared.dispatcher.table().wanting(notification, is_pending) {
        let Some(order) = &entry.order else { continue };
        let key = order.of(notification);
        keys.extend(key.map(|key| format!("{}:{order}={key}", entry.endpoint)));
    }
    let in_order = !keys.is_empty();
    // If two deliveries of one notification were handled concurrently, both would be new to the inbox.
    if shared.inbox.is_some() && !notification.message_id().is_empty() {
        keys.push(format!("message_id={}", notification.message_id()));
    }
    Keys { keys, in_order }
}
