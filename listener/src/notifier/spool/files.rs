//! The files of the spool: their names, every step on the disk, and their permissions, which let only this
//! user read them. No step overwrites a file. `store.rs` and `record.rs` have their content; tests make any
//! step fail (`faults.rs`).

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

#[cfg(test)]
use super::faults::before;
use crate::notifier::error::SpoolError;

const SEGMENT: &str = "segment";
const ASIDE: &str = "aside";

/// An operation on a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Create,
    List,
    Open,
    Read,
    Write,
    Sync,
    Rename,
    Remove,
}

/// Called before each step; tests make it fail.
#[cfg(not(test))]
#[allow(clippy::unnecessary_wraps, reason = "as in tests")]
const fn before(_: Step, _: &Path) -> io::Result<()> {
    Ok(())
}

/// The error of a step on a file.
pub(super) fn at(action: &'static str, path: &Path) -> impl Fn(io::Error) -> SpoolError {
    move |error| SpoolError::Io {
        action,
        path: path.to_owned(),
        kind: error.kind(),
        reason: error.to_string(),
    }
}

/// Options to read and write a file. If it is created, only this user can read it.
fn options() -> OpenOptions {
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

/// Opens a file, or creates it.
pub(super) fn open_or_create(path: &Path) -> io::Result<File> {
    before(Step::Open, path)?;
    options().create(true).truncate(false).open(path)
}

/// Opens a file for reading, and for writing if that is allowed.
pub(super) fn open(path: &Path) -> io::Result<File> {
    before(Step::Open, path)?;
    options().open(path).or_else(|_| File::open(path))
}

/// Creates a file, which must not exist.
pub(super) fn create_new(path: &Path) -> io::Result<File> {
    before(Step::Create, path)?;
    options().create_new(true).open(path)
}

/// The bytes in this range; fewer if the file ends earlier.
pub(super) fn read(mut file: &File, path: &Path, range: &Range<u64>) -> io::Result<Vec<u8>> {
    before(Step::Read, path)?;
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(range.start))?;
    file.take(range.end - range.start).read_to_end(&mut bytes)?;
    Ok(bytes)
}

pub(super) fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
    read(&open(path)?, path, &(0..u64::MAX))
}

/// Writes after the last write.
pub(super) fn write(mut file: &File, path: &Path, bytes: &[u8]) -> io::Result<()> {
    before(Step::Write, path)?;
    file.write_all(bytes)
}

/// Overwrites one byte.
pub(super) fn set(mut file: &File, path: &Path, at: u64, byte: u8) -> io::Result<()> {
    before(Step::Write, path)?;
    file.seek(SeekFrom::Start(at))?;
    file.write_all(&[byte])
}

/// Truncates the file to this length.
pub(super) fn cut(file: &File, path: &Path, length: u64) -> io::Result<()> {
    before(Step::Write, path)?;
    file.set_len(length)
}

pub(super) fn sync(file: &File, path: &Path) -> io::Result<()> {
    before(Step::Sync, path)?;
    file.sync_data()
}

pub(super) fn remove(path: &Path) -> io::Result<()> {
    before(Step::Remove, path)?;
    fs::remove_file(path)
}

/// Whether this is still a file of this length.
pub(super) fn is_as_long(path: &Path, length: u64) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && found.len() == length)
}

/// Makes the names of new files survive a power loss.
#[cfg(unix)]
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    before(Step::Sync, path)?;
    File::open(path)?.sync_all()
}

/// On this system a directory cannot be opened; the journal of the file system has the names.
#[cfg(not(unix))]
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    before(Step::Sync, path)
}

/// Creates a directory and its parents, and makes their names survive a power loss.
pub(super) fn create_directory(path: &Path) -> io::Result<()> {
    before(Step::Create, path)?;
    let parents = path.ancestors().skip(1).map(|parent| match parent.as_os_str().is_empty() {
        true => Path::new("."),
        false => parent,
    });
    let missing =
        path.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists());
    let missing = missing.count();
    create_private_directory(path)?;
    for (index, parent) in parents.take(missing.max(1)).enumerate() {
        match sync_directory(parent) {
            // It existed, so whoever created it synced it. The parents may be unreadable for this user.
            Err(error) if index >= missing => {
                tracing::debug!(path = %parent.display(), %error, "could not sync the directory above the spool");
            }
            synced => synced?,
        }
    }
    Ok(())
}

#[cfg(unix)]
fn create_private_directory(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(path)
}

#[cfg(not(unix))]
fn create_private_directory(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

pub(super) fn segment(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:020}.{SEGMENT}"))
}

/// Copies a part of a segment to a file of its own, which becomes a segment again if its extension is
/// changed back. If a file has the same bytes already, for example after a crash, nothing is written.
pub(super) fn keep_part(segment: &Path, part: u64, bytes: &[u8]) -> io::Result<PathBuf> {
    let part = part.to_string();
    let mut names = asides(segment, &part);
    loop {
        let path = names.next().ok_or(ErrorKind::AlreadyExists)?;
        let file = match create_new(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                if read_whole(&path).is_ok_and(|found| found == bytes) {
                    return Ok(path);
                }
                continue;
            }
            created => created?,
        };
        let kept = write(&file, &path, bytes).and_then(|()| sync(&file, &path));
        let kept = kept.and_then(|()| path.parent().map_or(Ok(()), sync_directory));
        return match kept {
            Ok(()) => Ok(path),
            Err(error) => {
                // An incomplete file would look like something to send.
                let _ = remove(&path);
                Err(error)
            }
        };
    }
}

/// Gives a whole segment the extension of files that are moved aside.
pub(super) fn keep_whole(segment: &Path) -> io::Result<PathBuf> {
    // The directory is locked: no other notifier creates such a file in the meantime.
    let free = asides(segment, "whole").find(|path| is_free(path));
    let path = free.ok_or(ErrorKind::AlreadyExists)?;
    before(Step::Rename, segment)?;
    fs::rename(segment, &path)?;
    Ok(path)
}

fn is_free(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

/// The possible names for a part of a segment, the usual one first.
fn asides(segment: &Path, part: &str) -> impl Iterator<Item = PathBuf> {
    let name = segment.file_stem().unwrap_or_default().to_string_lossy();
    let name = segment.with_file_name(format!("{name}-{part}"));
    (1..1000).map(move |copy: u32| match copy {
        1 => with_ending(&name, ASIDE),
        copy => with_ending(&name, &format!("{copy}.{ASIDE}")),
    })
}

fn with_ending(name: &Path, ending: &str) -> PathBuf {
    let mut name = name.as_os_str().to_owned();
    name.push(if ending == ASIDE { "." } else { "-" });
    name.push(ending);
    PathBuf::from(name)
}

/// The content of a directory.
pub(super) struct Listing {
    /// Oldest first.
    pub(super) segments: Vec<PathBuf>,
    /// A number greater than that of every file, moved aside or not.
    pub(super) next: u64,
}

pub(super) fn list(directory: &Path) -> Result<Listing, SpoolError> {
    let entries = before(Step::List, directory).and_then(|()| fs::read_dir(directory));
    let entries = entries.and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let paths = entries.map_err(at("read", directory))?.into_iter().map(|entry| entry.path());
    let mut listing = Listing { segments: Vec::new(), next: 0 };
    for path in paths {
        let is = |ending| path.extension().is_some_and(|extension| extension == ending);
        let Some(number) = number(&path).filter(|_| is(SEGMENT) || is(ASIDE)) else {
            continue;
        };
        listing.next = listing.next.max(number.saturating_add(1));
        if is(SEGMENT) {
            listing.segments.push(path);
        }
    }
    listing.segments.sort();
    Ok(listing)
}

/// The number at the beginning of the name of a segment or of a part of one.
fn number(path: &Path) -> Option<u64> {
    let name = path.file_stem()?.to_str()?;
    name.split_once('-').map_or(name, |(number, _)| number).parse().ok()
}
