//! What the program adds to one instance of an endpoint: its name, filter and topics. `configured.rs` has the
//! methods that set them; `Bound` in `mod.rs` holds them for the table.

use crate::filter::Filter;
use crate::target::Target;

/// What the program adds to an instance of an endpoint.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    /// Distinguishes it from other instances of its type.
    pub(crate) name: Option<String>,
    /// In addition to the filters of the attribute.
    pub(crate) filter: Option<Filter>,
    /// Instead of the topics of the attribute, unless empty.
    pub(crate) targets: Vec<Target>,
}

impl Setup {
    pub(crate) fn add_filter(&mut self, filter: Filter) {
        self.filter = Some(match self.filter.take() {
            Some(earlier) => earlier & filter,
            None => filter,
        });
    }
}

/// The longest name of an instance, in bytes.
const LONGEST_NAME: usize = 64;

/// What is wrong with the name of an instance.
pub(crate) fn mistake_in_name(name: &str) -> Option<&'static str> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    match name.len() {
        0 => Some("it is empty"),
        1..=LONGEST_NAME if name.bytes().all(is_allowed) => None,
        1..=LONGEST_NAME => Some("it has other characters"),
        _ => Some("it is too long"),
    }
}
