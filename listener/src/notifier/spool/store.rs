//! The spool's directory: segments of records, oldest first, and what was set aside. Blocking
//! I/O; called by `keeper.rs` alone, on a thread that may block. The bytes of a segment are
//! `record.rs`'s.
//!
//! A record is removed by one byte in place, a segment when all of it is done. No segment of
//! an earlier process is written to: what it may have left half written stays behind its end.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use fs4::{FileExt, TryLockError};

use super::files::{self, at};
use super::record;
use super::{SpoolOptions, Spooled, WhenFull};
use crate::notifier::error::SpoolError;
use crate::notifier::letter::Letter;

/// A segment is not written to any more once it is as large, in bytes.
const SEGMENT: u64 = 1 << 20;

const LOCK: &str = "lock";

pub(super) struct Store {
    options: SpoolOptions,
    /// Oldest first; none is without a record that waits.
    segments: VecDeque<Segment>,
    /// The file of the last segment, if it is one of this process and can take more.
    writing: Option<File>,
    /// The file of the first segment, once something was read of it.
    reading: Option<File>,
    /// The number of the next segment.
    next: u64,
    /// That of the last segment.
    serial: u64,
    state: Spooled,
    /// Locked for as long as this lives.
    _lock: File,
}

struct Segment {
    path: PathBuf,
    /// In this process; the user may have renamed files.
    serial: u64,
    /// Its records that wait, oldest first.
    waiting: VecDeque<Range<u64>>,
    length: u64,
}

/// A record of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id {
    segment: u64,
    at: u64,
}

impl Store {
    /// Takes the directory for itself, and finds what waits in it.
    pub(super) fn open(options: SpoolOptions) -> Result<Self, SpoolError> {
        let directory = &options.directory;
        files::create_directory(directory).map_err(at("create", directory))?;
        let path = directory.join(LOCK);
        let lock = files::open().create(true).open(&path).map_err(at("open", &path))?;
        FileExt::try_lock(&lock).map_err(|error| match error {
            TryLockError::WouldBlock => SpoolError::InUse { directory: directory.clone() },
            TryLockError::Error(error) => at("lock", &path)(error),
        })?;
        let mut store = Self {
            segments: VecDeque::new(),
            writing: None,
            reading: None,
            next: 0,
            serial: 0,
            state: Spooled::default(),
            _lock: lock,
            options,
        };
        for found in files::segments(&store.options.directory)? {
            store.next = store.next.max(found.number.saturating_add(1));
            store.recover(found.path)?;
        }
        Ok(store)
    }

    pub(super) const fn state(&self) -> Spooled {
        self.state
    }

    /// Writes notifications, each with all its letters or not at all. Once this has returned,
    /// those that are `Ok` survive a loss of power.
    pub(super) fn append(
        &mut self,
        notifications: &[impl AsRef<[Letter]>],
    ) -> Vec<Result<(), SpoolError>> {
        if self.segments.back().is_some_and(|segment| segment.length >= SEGMENT) {
            self.writing = None;
        }
        let begin = self.end();
        let written = notifications.iter().map(|letters| self.write(letters.as_ref()));
        let written: Result<Vec<_>, SpoolError> = written.collect();
        written.and_then(|written| self.sync().map(|()| written)).unwrap_or_else(|error| {
            self.cut(begin);
            vec![Err(error); notifications.len()]
        })
    }

    /// One notification. The inner error is its own; the outer one, that of the disk.
    fn write(&mut self, letters: &[Letter]) -> Result<Result<(), SpoolError>, SpoolError> {
        let records: Option<Vec<Vec<u8>>> = letters.iter().map(record::encode).collect();
        let Some(records) = records else {
            return Ok(Err(self.full(u64::from(u32::MAX))));
        };
        if let Err(full) = self.make_room(records.iter().map(|record| record.len() as u64).sum()) {
            return Ok(Err(full));
        }
        let (file, segment) = self.segment()?;
        file.write_all(&records.concat()).map_err(at("write", &segment.path))?;
        let begin = segment.length;
        for record in &records {
            let end = segment.length + record.len() as u64;
            segment.waiting.push_back(segment.length..end);
            segment.length = end;
        }
        let written = segment.length - begin;
        self.state.bytes += written;
        self.state.waiting += records.len();
        Ok(Ok(()))
    }

    /// The oldest records that wait, at most so many, and about a segment's bytes. A first one
    /// that has become corrupt is set aside.
    pub(super) fn oldest(&mut self, most: usize) -> Result<Vec<(Id, Letter)>, SpoolError> {
        loop {
            let Some(first) = self.front() else {
                return Ok(Vec::new());
            };
            let mut letters = Vec::new();
            let mut bytes = 0;
            while letters.len() < most.max(1)
                && bytes < SEGMENT
                && let Some((id, range)) = self.nth(letters.len())
                && let Some(letter) = record::decode(&self.read(&range)?)
            {
                bytes += range.end - range.start;
                letters.push((id, letter));
            }
            if !letters.is_empty() {
                return Ok(letters);
            }
            self.set_aside(first, "it is corrupt")?;
        }
    }

    /// A record need not be kept any more.
    pub(super) fn done(&mut self, id: Id) {
        if self.front() == Some(id) {
            self.remove_oldest();
        }
    }

    /// Puts the oldest record where it is kept and not sent.
    pub(super) fn set_aside(&mut self, id: Id, why: &str) -> Result<(), SpoolError> {
        let oldest = self.nth(0).filter(|(front, _)| *front == id);
        if let Some(((_, range), segment)) = oldest.zip(self.segments.front()) {
            let path = segment.path.clone();
            let bytes = self.read(&range)?;
            self.put_aside(&path, range.start, &bytes, why)?;
            self.remove_oldest();
        }
        Ok(())
    }

    /// Finds what waits in a segment of an earlier process.
    fn recover(&mut self, path: PathBuf) -> Result<(), SpoolError> {
        let bytes = fs::read(&path).map_err(at("read", &path))?;
        let scan = record::scan(&bytes);
        for range in scan.corrupt {
            self.put_aside(&path, range.start as u64, &bytes[range], "it is corrupt")?;
        }
        if let Some(torn) = scan.torn {
            let lost = bytes.len() - torn;
            tracing::warn!(path = %path.display(), bytes = lost, "cut a notification that a crash left half written");
        }
        if scan.waiting.is_empty() {
            return fs::remove_file(&path).map_err(at("remove", &path));
        }
        let waiting = scan.waiting.iter().map(|range| range.start as u64..range.end as u64);
        let waiting: VecDeque<Range<u64>> = waiting.collect();
        self.state.waiting += waiting.len();
        self.state.bytes += waiting.iter().map(|range| range.end - range.start).sum::<u64>();
        self.push(path, waiting, bytes.len() as u64);
        Ok(())
    }

    fn push(&mut self, path: PathBuf, waiting: VecDeque<Range<u64>>, length: u64) {
        self.serial += 1;
        self.segments.push_back(Segment { path, serial: self.serial, waiting, length });
    }

    fn make_room(&mut self, size: u64) -> Result<(), SpoolError> {
        let limit = self.options.max_bytes;
        let fits = |bytes: u64| bytes.saturating_add(size) <= limit;
        if fits(self.state.bytes) {
            return Ok(());
        }
        if self.options.when_full == WhenFull::Refuse || size > limit {
            return Err(self.full(size));
        }
        let before = self.state.dropped;
        while !fits(self.state.bytes) && self.front().is_some() {
            self.state.dropped += 1;
            self.remove_oldest();
        }
        let directory = self.options.directory.display();
        tracing::error!(%directory, dropped = self.state.dropped - before, "the spool is full: dropped the oldest notifications");
        Ok(())
    }

    fn full(&self, size: u64) -> SpoolError {
        SpoolError::Full {
            directory: self.options.directory.clone(),
            size,
            waiting: self.state.bytes,
            limit: self.options.max_bytes,
        }
    }

    /// The segment that is being written, or a new one.
    fn segment(&mut self) -> Result<(&mut File, &mut Segment), SpoolError> {
        if self.writing.is_none() {
            let path = files::segment(&self.options.directory, self.next);
            self.next += 1;
            let file = files::open().create_new(true).open(&path).map_err(at("create", &path))?;
            let directory = &self.options.directory;
            files::sync_directory(directory).map_err(at("write", directory))?;
            self.writing = Some(file);
            self.push(path, VecDeque::new(), 0);
        }
        let segment = self.writing.as_mut().zip(self.segments.back_mut());
        Ok(segment.expect("the last segment is the one that is being written"))
    }

    fn sync(&self) -> Result<(), SpoolError> {
        let Some((file, segment)) = self.writing.as_ref().zip(self.segments.back()) else {
            return Ok(());
        };
        file.sync_data().map_err(at("write", &segment.path))
    }

    /// Where the next record of the segment that is being written begins.
    fn end(&self) -> Option<Id> {
        let segment = self.segments.back().filter(|_| self.writing.is_some())?;
        Some(Id { segment: segment.serial, at: segment.length })
    }

    /// Takes back what was written since, after a fault of the disk. Nothing more is written
    /// to that segment: what is in it is not certain.
    fn cut(&mut self, begin: Option<Id>) {
        let Some((file, segment)) = self.writing.take().zip(self.segments.back_mut()) else {
            return;
        };
        let begin = begin.filter(|begin| begin.segment == segment.serial).map_or(0, |id| id.at);
        while let Some(last) = segment.waiting.back().filter(|last| last.start >= begin) {
            self.state.waiting -= 1;
            self.state.bytes -= last.end - last.start;
            segment.waiting.pop_back();
        }
        segment.length = begin;
        if let Err(error) = file.set_len(begin) {
            tracing::warn!(path = %segment.path.display(), %error, "could not take back what was written to the spool");
        }
        if segment.waiting.is_empty() {
            delete(&segment.path);
            self.segments.pop_back();
            if self.segments.is_empty() {
                self.reading = None;
            }
        }
    }

    fn front(&self) -> Option<Id> {
        self.nth(0).map(|(id, _)| id)
    }

    /// A record of the first segment.
    fn nth(&self, index: usize) -> Option<(Id, Range<u64>)> {
        let segment = self.segments.front()?;
        let range = segment.waiting.get(index)?.clone();
        Some((Id { segment: segment.serial, at: range.start }, range))
    }

    /// What stands there in the first segment; less, if it has become shorter.
    fn read(&mut self, range: &Range<u64>) -> Result<Vec<u8>, SpoolError> {
        let (mut file, path) = self.reader()?;
        let mut read = || {
            let mut bytes = Vec::new();
            file.seek(SeekFrom::Start(range.start))?;
            file.take(range.end - range.start).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read().map_err(at("read", path))
    }

    /// The file of the first segment.
    fn reader(&mut self) -> Result<(&File, &Path), SpoolError> {
        let path = self.segments.front().map(|segment| segment.path.as_path());
        let path = path.expect("only the record of a segment is asked for");
        let file = match self.reading.take() {
            Some(file) => file,
            None => files::open().open(path).map_err(at("open", path))?,
        };
        Ok((self.reading.insert(file), path))
    }

    /// Marks the oldest record done, and removes its segment if it was the last. A mark that
    /// cannot be written costs a duplicate after a restart, and nothing else.
    fn remove_oldest(&mut self) {
        let Some(segment) = self.segments.front_mut() else {
            return;
        };
        let Some(range) = segment.waiting.pop_front() else {
            return;
        };
        self.state.waiting -= 1;
        self.state.bytes -= range.end - range.start;
        if segment.waiting.is_empty() {
            delete(&segment.path);
            self.segments.pop_front();
            self.reading = None;
            if self.segments.is_empty() {
                self.writing = None;
            }
        } else if let Err(error) = self.mark(range.start) {
            tracing::warn!(%error, "could not mark a notification of the spool as sent");
        }
    }

    fn mark(&mut self, begin: u64) -> Result<(), SpoolError> {
        let (mut file, path) = self.reader()?;
        let mut mark = || {
            file.seek(SeekFrom::Start(begin + record::STATE_AT as u64))?;
            file.write_all(&[record::DONE])
        };
        mark().map_err(at("write", path))
    }

    fn put_aside(
        &mut self,
        segment: &Path,
        part: u64,
        bytes: &[u8],
        why: &str,
    ) -> Result<(), SpoolError> {
        let path = files::aside(segment, part);
        files::write_whole(&path, bytes).map_err(at("write", &path))?;
        self.state.set_aside += 1;
        tracing::error!(path = %path.display(), why, "set a part of the spool aside, unsent");
        Ok(())
    }
}

/// One that stays is sent again after a restart.
fn delete(segment: &Path) {
    if let Err(error) = fs::remove_file(segment) {
        tracing::warn!(path = %segment.display(), %error, "could not remove a segment of the spool");
    }
}
