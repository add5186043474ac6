//! The inputs of `open` except the body: its labels, and the limits of its size and depth. `mod.rs` and the
//! files of each form check them.

/// The labels of a body in the properties of its message. An empty label counts as none.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Labels<'a> {
    /// The property `content_type`.
    pub content_type: Option<&'a str>,
    /// The header `compression`.
    pub compression: Option<&'a str>,
}

/// The limits of a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// The largest body, in bytes, before and after decompression. The default is 128 MiB, the largest
    /// message that RabbitMQ 3.13 accepts.
    pub max_body: usize,
    /// The largest decompressed body, in bytes: a small body can become a thousand times larger. The
    /// default is 32 MiB.
    pub max_decompressed: usize,
    /// The deepest nesting of lists and objects in a version 1 body with kombu's tagged values. The default
    /// is 512. Other bodies have no limit, as they are not read recursively.
    pub max_depth: usize,
}

setters!(Limits { max_body: usize, max_decompressed: usize, max_depth: usize });

impl Default for Limits {
    fn default() -> Self {
        Self { max_body: 128 << 20, max_decompressed: 32 << 20, max_depth: 512 }
    }
}
