//! What a caller of `open` says about a body: the labels that it came with, and how large and how
//! deep it may be. `mod.rs` and the files of each form check them.

/// How the transport's properties label a body. An empty label counts as none.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Labels<'a> {
    /// The property `content_type`.
    pub content_type: Option<&'a str>,
    /// The header `compression`.
    pub compression: Option<&'a str>,
}

/// How much a body may ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// The most bytes of a body, after decompression too. The default is 128 MiB, the
    /// largest message that RabbitMQ 3.13 takes.
    pub max_body: usize,
    /// The most bytes of a body that came compressed, after decompression: a small body can
    /// become a thousand times larger. The default is 32 MiB.
    pub max_decompressed: usize,
    /// The most levels of lists and objects in a version 1 body that has kombu's tagged
    /// values, default 512. Other bodies may nest as deep as they like: none is walked by
    /// recursion.
    pub max_depth: usize,
}

setters!(Limits { max_body: usize, max_decompressed: usize, max_depth: usize });

impl Default for Limits {
    fn default() -> Self {
        Self { max_body: 128 << 20, max_decompressed: 32 << 20, max_depth: 512 }
    }
}
