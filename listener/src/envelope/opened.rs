//! A body without compression and envelope, and the form that it had. Made by `open`; `fields.rs`
//! reads the fields in it.

use std::borrow::Cow;
use std::fmt;

/// Which of the two forms a body has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Version {
    /// The notification itself is the body (driver `messaging`).
    V1,
    /// The notification is a JSON text within an envelope (driver `messagingv2`).
    V2,
}

/// A body without its wrapping. `Debug` shows the length of the text only.
#[derive(Clone, PartialEq, Eq)]
pub struct Opened<'b> {
    /// The JSON text of the notification. It is UTF-8, and an object as far as its first
    /// character shows. Of what Python's JSON allows beyond the standard nothing is left.
    pub text: Cow<'b, str>,
    /// The form that the body had.
    pub version: Version,
}

impl fmt::Debug for Opened<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened")
            .field("text.len()", &self.text.len())
            .field("version", &self.version)
            .finish()
    }
}
