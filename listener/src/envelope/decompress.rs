//! Decompresses bodies, within a limit. `compression.rs` has the names of the compressions. Called
//! by `open`.

use std::io::{self, Read};

use bzip2::read::MultiBzDecoder;
use flate2::read::{MultiGzDecoder, ZlibDecoder};

use crate::envelope::compression::Compression;
use crate::envelope::error::DecodeError;

/// Decompresses a body. Stops as soon as there are more than `limit` bytes.
pub(super) fn decompress(
    compression: Compression,
    body: &[u8],
    limit: usize,
) -> Result<Vec<u8>, DecodeError> {
    let decompressed = match compression {
        // The first bytes of a gzip stream.
        Compression::Zlib if body.starts_with(&[0x1f, 0x8b]) => {
            read_up_to(limit, MultiGzDecoder::new(body))
        }
        Compression::Zlib => read_up_to(limit, ZlibDecoder::new(body)),
        Compression::Bzip2 => read_up_to(limit, MultiBzDecoder::new(body)),
    };
    let decompressed =
        decompressed.map_err(|source| DecodeError::Decompress { expected: compression, source })?;
    decompressed.map_err(|found| DecodeError::TooLarge { found, limit })
}

/// Reads to the end; the inner error is how many bytes there were, if they are more than `limit`.
///
/// The buffer is grown by hand, because a `Vec` doubles its capacity, beyond the limit. One chunk is
/// held in addition to it.
fn read_up_to(limit: usize, mut decoder: impl Read) -> io::Result<Result<Vec<u8>, usize>> {
    let mut chunk = [0; 8192];
    let mut body = Vec::new();
    loop {
        let count = match decoder.read(&mut chunk) {
            Ok(0) => return Ok(Ok(body)),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let found = body.len() + count;
        if found > limit {
            return Ok(Err(found));
        }
        if found > body.capacity() {
            let wanted = (2 * body.capacity()).max(4 * chunk.len()).clamp(found, limit);
            body.reserve_exact(wanted - body.len());
        }
        body.extend_from_slice(&chunk[..count]);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

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
        decompress(compression, body, limit).unwrap_err().to_string()
    }

    #[test]
    fn a_zlib_stream_of_python_is_decompressed() {
        let body = include_bytes!("golden/v1.json.zlib");
        assert_eq!(decompress(Compression::Zlib, body, PLAIN.len()).unwrap(), PLAIN);
    }

    #[test]
    fn a_bzip2_stream_of_python_is_decompressed() {
        let body = include_bytes!("golden/v1.json.bz2");
        assert_eq!(decompress(Compression::Bzip2, body, PLAIN.len()).unwrap(), PLAIN);
    }

    #[test]
    fn a_real_gzip_stream_is_decompressed() {
        assert_eq!(decompress(Compression::Zlib, &gzip(PLAIN), PLAIN.len()).unwrap(), PLAIN);
    }

    #[test]
    fn compressed_bodies_are_decompressed_unchanged() {
        let plain = "0123456789".repeat(10_000).into_bytes();
        for compression in [Compression::Zlib, Compression::Bzip2] {
            let body = compression.compress(&plain);
            assert_eq!(decompress(compression, &body, plain.len()).unwrap(), plain);
        }
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
    fn decompressing_a_bomb_stops_at_the_limit() {
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
        let read = decompress(Compression::Zlib, &body, 100_001).unwrap();
        assert_eq!((read.len(), read.capacity() <= 100_001), (100_000, true));
    }

    #[test]
    fn a_truncated_stream_is_refused() {
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
    fn a_truncated_gzip_stream_is_refused() {
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
}
