//! Compression as kombu names it, undone within a bound. Whether a delivery is compressed
//! is told by the header `compression`, which the caller passes as a label. Used by `open`
//! when reading, by the notifier when it is asked to compress.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use bzip2::read::MultiBzDecoder;
use bzip2::write::BzEncoder;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use flate2::write::ZlibEncoder;

use crate::envelope::DecodeError;
use crate::shown::shown;

/// A way to compress bodies. Its text form, read and shown, is the value of the header.
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
    /// A zlib stream (RFC 1950), although the header says gzip. A real gzip stream is
    /// read as well, but not written.
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

    /// Compresses a body as hard as Python does by default.
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

    /// Stops as soon as there are more than `limit` bytes.
    pub(super) fn decompress(self, body: &[u8], limit: usize) -> Result<Vec<u8>, DecodeError> {
        match self {
            Self::Zlib if body.starts_with(&[0x1f, 0x8b]) => {
                self.drain(MultiGzDecoder::new(body), limit)
            }
            Self::Zlib => self.drain(ZlibDecoder::new(body), limit),
            Self::Bzip2 => self.drain(MultiBzDecoder::new(body), limit),
        }
    }

    /// Reads to the end. The buffer is grown by hand because a `Vec` left to itself
    /// doubles, past the limit. Besides it there is one chunk.
    fn drain(self, mut decoder: impl Read, limit: usize) -> Result<Vec<u8>, DecodeError> {
        let mut chunk = [0; 8192];
        let mut body = Vec::new();
        loop {
            let count = match decoder.read(&mut chunk) {
                Ok(0) => return Ok(body),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => {
                    return Err(DecodeError::Decompress { expected: self, source });
                }
            };
            let found = body.len() + count;
            if found > limit {
                return Err(DecodeError::TooLarge { found, limit });
            }
            if found > body.capacity() {
                let wanted = (2 * body.capacity()).max(4 * chunk.len()).clamp(found, limit);
                body.reserve_exact(wanted - body.len());
            }
            body.extend_from_slice(&chunk[..count]);
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.content_type())
    }
}

/// Reads the header's value or one of kombu's names for it; kombu takes either in both
/// places.
impl FromStr for Compression {
    type Err = UnknownCompression;

    fn from_str(text: &str) -> Result<Self, UnknownCompression> {
        match text {
            "application/x-gzip" | "gzip" | "zlib" => Ok(Self::Zlib),
            "application/x-bz2" | "bzip2" | "bzip" | "bz2" => Ok(Self::Bzip2),
            _ => Err(UnknownCompression { found: shown(text) }),
        }
    }
}

/// A name that stands for no compression that this crate has.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "compression {found:?} is not supported \
     (expected \"application/x-gzip\" or \"application/x-bz2\")"
)]
pub struct UnknownCompression {
    /// The name as it was found, if it can be one.
    pub found: String,
}

debug_is_the_message!(UnknownCompression);

#[cfg(test)]
mod tests {
    use flate2::write::GzEncoder;

    use super::*;

    const PLAIN: &[u8] = include_bytes!("golden/v1.json");

    fn gzip(body: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    #[track_caller]
    fn refused(compression: Compression, body: &[u8], limit: usize) -> String {
        compression.decompress(body, limit).unwrap_err().to_string()
    }

    #[test]
    fn what_python_compressed_with_zlib_is_read() {
        let body = include_bytes!("golden/v1.json.zlib");
        assert_eq!(Compression::Zlib.decompress(body, PLAIN.len()).unwrap(), PLAIN);
    }

    #[test]
    fn what_python_compressed_with_bzip2_is_read() {
        let body = include_bytes!("golden/v1.json.bz2");
        assert_eq!(Compression::Bzip2.decompress(body, PLAIN.len()).unwrap(), PLAIN);
    }

    #[test]
    fn a_real_gzip_stream_is_read_too() {
        assert_eq!(Compression::Zlib.decompress(&gzip(PLAIN), PLAIN.len()).unwrap(), PLAIN);
    }

    #[test]
    fn what_is_compressed_is_read_again() {
        let plain = "0123456789".repeat(10_000).into_bytes();
        for compression in [Compression::Zlib, Compression::Bzip2] {
            let body = compression.compress(&plain);
            assert_eq!(compression.decompress(&body, plain.len()).unwrap(), plain);
        }
    }

    #[test]
    fn zlib_is_written_without_a_gzip_header() {
        assert_eq!(Compression::Zlib.compress(PLAIN)[0], 0x78);
    }

    #[test]
    fn a_body_one_byte_over_the_limit_is_refused() {
        let body = Compression::Zlib.compress(&[b' '; 100]);
        assert_eq!(
            refused(Compression::Zlib, &body, 99),
            "body has 100 bytes or more (expected at most 99)"
        );
    }

    #[test]
    fn a_bomb_is_given_up_soon() {
        let body = Compression::Zlib.compress(&vec![b' '; 50 << 20]);
        assert_eq!(
            refused(Compression::Zlib, &body, 1 << 20),
            "body has 1056768 bytes or more (expected at most 1048576)"
        );
    }

    #[test]
    fn the_buffer_never_outgrows_the_limit() {
        let plain = vec![b' '; 100_000];
        let body = Compression::Zlib.compress(&plain);
        let read = Compression::Zlib.decompress(&body, 100_001).unwrap();
        assert_eq!((read.len(), read.capacity() <= 100_001), (100_000, true));
    }

    #[test]
    fn a_cut_stream_is_refused() {
        for compression in [Compression::Zlib, Compression::Bzip2] {
            let body = compression.compress(PLAIN);
            for end in [0, 1, body.len() / 2, body.len() - 1] {
                assert_eq!(
                    refused(compression, &body[..end], 1 << 20),
                    format!("body is not a whole {compression} stream")
                );
            }
        }
    }

    #[test]
    fn a_cut_gzip_stream_is_refused() {
        let body = gzip(PLAIN);
        assert_eq!(
            refused(Compression::Zlib, &body[..body.len() - 1], 1 << 20),
            "body is not a whole application/x-gzip stream"
        );
    }

    #[test]
    fn a_body_that_is_not_compressed_is_refused() {
        for compression in [Compression::Zlib, Compression::Bzip2] {
            assert_eq!(
                refused(compression, b"{}", 1 << 20),
                format!("body is not a whole {compression} stream")
            );
        }
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
    fn an_unknown_name_is_named() {
        assert_eq!(
            "application/zstd".parse::<Compression>().unwrap_err().to_string(),
            "compression \"application/zstd\" is not supported \
             (expected \"application/x-gzip\" or \"application/x-bz2\")"
        );
    }
}
