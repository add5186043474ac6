//! A body without compression and envelope, and the form that it had. Made by `open`; `fields.rs`
//! reads the fields in it.

use std::borrow::Cow;
use std::fmt;

/// The version of an envelope.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum EnvelopeVersion {
    /// The body is the notification itself (oslo's driver `messaging`).
    V1,
    /// The body is an object that contains the notification as a JSON text (oslo's driver `messagingv2`).
    V2,
}

/// A body without compression and envelope. `Debug` shows only the length of the text.
#[derive(Clone, PartialEq, Eq)]
pub struct Opened<'b> {
    /// The JSON text of the notification, which is not checked yet: it may be invalid. Python's extensions
    /// of JSON are replaced.
    pub text: Cow<'b, str>,
    /// The version of the body.
    pub version: EnvelopeVersion,
}

impl fmt::Debug for Opened<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened")
            .field("text.len()", &self.text.len())
            .field("version", &self.version)
            .finish()
    }
}
