//! Reads the small files of the configuration. Nothing that is not a regular file is opened: to open a pipe
//! that nobody writes to would block.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The text of a file, or what is wrong with it.
pub(super) fn text(path: impl AsRef<Path>, longest: u64) -> Result<String, String> {
    let path = path.as_ref();
    let failed = |error: std::io::Error| format!("cannot be read: {error}");
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(longest.saturating_add(1)).read_to_end(&mut bytes))
        .map_err(failed)?;
    if bytes.len() as u64 > longest {
        return Err(format!("is larger than {longest} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "is not text in UTF-8".to_owned())
}
