//! The names of outputs as texts, and the error of an unknown one. `mod.rs` parses them, `routing.rs` finds
//! outputs by them.

use crate::options::nearest::nearest;

/// The names that can be parsed.
const NAMES: [&str; 5] = ["messaging", "messagingv2", "log", "noop", "test"];

/// A text that does not name an output.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown output {found:?}; expected {}{}", expected(), similar(found))]
pub struct UnknownOutput {
    /// The text.
    pub found: String,
}

debug_is_the_message!(UnknownOutput);

fn expected() -> String {
    format!("one of {}, or a name given to `Routing::known`", NAMES.join(", "))
}

fn similar(found: &str) -> String {
    nearest(found, NAMES).map(|name| format!(" (did you mean {name:?}?)")).unwrap_or_default()
}
