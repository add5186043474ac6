//! Version 1: the body is the notification, in kombu's JSON. `lenient.rs` handles Python's extensions of
//! JSON, `kombu.rs` those of kombu. Called by `open` for every body that is not version 2.

use std::borrow::Cow;

use crate::envelope::error::DecodeError;
use crate::envelope::kombu;
use crate::envelope::lenient::repair;
use crate::envelope::limits::Limits;

/// The text of the notification, borrowed unless something was rewritten.
pub(super) fn open<'t>(text: &'t str, limits: &Limits) -> Result<Cow<'t, str>, DecodeError> {
    match repair(text) {
        Cow::Borrowed(text) => kombu::untag(text, limits.max_depth),
        Cow::Owned(repaired) => {
            Ok(Cow::Owned(kombu::untag(&repaired, limits.max_depth)?.into_owned()))
        }
    }
}
