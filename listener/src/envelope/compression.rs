//! The compressions by kombu's names, and compressing, which a notifier does. The header
//! `compression` of a delivery has such a name. `decompress.rs` decompresses.

use std::fmt;
use std::io::Write;
use std::str::FromStr;

use bzip2::write::BzEncoder;
use flate2::write::ZlibEncoder;

use crate::redact::redacted;

/// A compression of bodies. It is displayed and parsed as the value of the header.
///
/// ```
/// use listener::envelope::Compression;
///
/// assert_eq!("gzip".parse(), Ok(Compression::Zlib));
/// assert_eq!(Compression::Zlib.to_string(), "application/x-gzip");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Compression {
    /// A zlib stream (RFC 1950), although the header says gzip. A real gzip stream can be decompressed, but
    /// is not written.
    Zlib,
    /// A bzip2 stream.
    Bzip2,
}

impl Compression {
    /// The value of the header `compression`.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Zlib => "application/x-gzip",
            Self::Bzip2 => "application/x-bz2",
        }
    }

    /// Compresses a body with Python's default level.
    #[must_use]
    pub fn compress(self, body: &[u8]) -> Vec<u8> {
        let done = match self {
            Self::Zlib => {
                let mut encoder = ZlibEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(body).and_then(|()| encoder.finish())
            }
            Self::Bzip2 => {
                let mut encoder = BzEncoder::new(Vec::new(), bzip2::Compression::best());
                encoder.write_all(body).and_then(|()| encoder.finish())
            }
        };
        done.expect("writing to a Vec does not fail")
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.content_type())
    }
}

/// Parses the value of the header or one of kombu's names for it; kombu accepts both everywhere.
impl FromStr for Compression {
    type Err = UnknownCompression;

    fn from_str(text: &str) -> Result<Self, UnknownCompression> {
        match text {
            "application/x-gzip" | "gzip" | "zlib" => Ok(Self::Zlib),
            "application/x-bz2" | "bzip2" | "bzip" | "bz2" => Ok(Self::Bzip2),
            _ => Err(UnknownCompression { found: redacted(text) }),
        }
    }
}

/// The name of an unsupported compression.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "compression {found:?} is not supported \
     (expected \"application/x-gzip\" or \"application/x-bz2\")"
)]
pub struct UnknownCompression {
    /// The name, if it is a plain word.
    pub found: String,
}

debug_is_the_message!(UnknownCompression);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zlib_is_written_without_a_gzip_header() {
        assert_eq!(Compression::Zlib.compress(b"{}")[0], 0x78);
    }

    #[test]
    fn kombus_names_are_known() {
        for name in ["gzip", "zlib", "application/x-gzip"] {
            assert_eq!(name.parse(), Ok(Compression::Zlib));
        }
        for name in ["bzip2", "bzip", "bz2", "application/x-bz2"] {
            assert_eq!(name.parse(), Ok(Compression::Bzip2));
        }
    }

    #[test]
    fn the_error_for_an_unknown_name_has_it() {
        assert_eq!(
            "application/zstd".parse::<Compression>().unwrap_err().to_string(),
            "compression \"application/zstd\" is not supported \
             (expected \"application/x-gzip\" or \"application/x-bz2\")"
        );
    }
}
