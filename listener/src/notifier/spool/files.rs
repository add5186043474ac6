//! The files of the spool: their names, and that nobody but this user reads them. What is in
//! them is `store.rs`'s and `record.rs`'s.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::notifier::error::SpoolError;

const SEGMENT: &str = "segment";

/// The error of a step on a file.
pub(super) fn at(action: &'static str, path: &Path) -> impl Fn(io::Error) -> SpoolError {
    move |error| SpoolError::Io { action, path: path.to_owned(), reason: error.to_string() }
}

/// Options to read and write a file that is readable by this user only, if it is created.
pub(super) fn open() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    private(&mut options);
    options
}

#[cfg(unix)]
fn private(options: &mut OpenOptions) {
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
}

#[cfg(not(unix))]
fn private(_: &mut OpenOptions) {}

#[cfg(unix)]
pub(super) fn create_directory(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(path)
}

#[cfg(not(unix))]
pub(super) fn create_directory(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

/// Makes the names of new files survive a loss of power.
#[cfg(unix)]
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// A directory cannot be opened here; the file system's journal has the names.
#[cfg(not(unix))]
pub(super) fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Writes a new file to its end, and makes it last. One that is there already is written over.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = open().create(true).truncate(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    path.parent().map_or(Ok(()), sync_directory)
}

pub(super) fn segment(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:020}.{SEGMENT}"))
}

/// Where a part of a segment is set aside: a segment again once the ending is put back.
pub(super) fn aside(segment: &Path, part: u64) -> PathBuf {
    let name = segment.file_stem().unwrap_or_default().to_string_lossy();
    segment.with_file_name(format!("{name}-{part}.aside"))
}

/// A segment that a directory holds.
pub(super) struct Found {
    pub(super) path: PathBuf,
    /// What its name begins with.
    pub(super) number: u64,
}

/// The segments of a directory, oldest first.
pub(super) fn segments(directory: &Path) -> Result<Vec<Found>, SpoolError> {
    let entries = fs::read_dir(directory).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut paths: Vec<PathBuf> =
        entries.map_err(at("read", directory))?.iter().map(fs::DirEntry::path).collect();
    paths.sort();
    let found = paths.into_iter().filter_map(|path| {
        let is_segment = path.extension().is_some_and(|extension| extension == SEGMENT);
        let name = path.file_stem().filter(|_| is_segment)?.to_str()?;
        // What was set aside has its place in its segment behind the number.
        let number = name.split_once('-').map_or(name, |(number, _)| number).parse().ok()?;
        Some(Found { path, number })
    });
    Ok(found.collect())
}
