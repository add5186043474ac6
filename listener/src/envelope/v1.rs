//! Version 1: the body is the notification, as kombu writes JSON. What makes Python's JSON
//! differ from the standard is in `lenient.rs`, kombu's own additions are in `kombu.rs`.
//! Called by `open` for every body that is not version 2.

use std::borrow::Cow;

use crate::envelope::error::DecodeError;
use crate::envelope::kombu;
use crate::envelope::lenient::repair;
use crate::envelope::limits::Limits;

/// The text of the notification, borrowed unless something in it had to be rewritten.
pub(super) fn open<'t>(text: &'t str, limits: &Limits) -> Result<Cow<'t, str>, DecodeError> {
    match repair(text) {
        Cow::Borrowed(text) => kombu::untag(text, limits.max_depth),
        Cow::Owned(repaired) => {
            Ok(Cow::Owned(kombu::untag(&repaired, limits.max_depth)?.into_owned()))
        }
    }
}
