//! The inputs of `open` except the body: its labels, and the limits of its size and depth. `mod.rs` and the
//! files of each form check them.

use crate::options::declare::options;

/// The labels of a body in the properties of its message. An empty label counts as none.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Labels<'a> {
    /// The property `content_type`.
    pub content_type: Option<&'a str>,
    /// The header `compression`.
    pub compression: Option<&'a str>,
}

options! {
    /// The limits of a body.
    #[derive(Clone, PartialEq, Eq, Debug)]
    #[non_exhaustive]
    pub struct Limits;
    table limits_table;
    setters limits_setters;

    /// The largest body, in bytes, before and after decompression.
    ///
    /// The default is that of RabbitMQ 3.13 for the size of a message.
    pub max_body: usize = [128 MiB];
    /// The largest decompressed body, in bytes.
    ///
    /// A small body can become a thousand times larger.
    pub max_decompressed: usize = [32 MiB];
    /// The deepest nesting of lists and objects in a version 1 body with kombu's tagged values.
    ///
    /// Other bodies have no limit, as they are not read recursively.
    pub max_depth: usize = [512];
}
