//! The directory of a spool: segments of records, oldest first, and files that were moved aside. Blocking
//! I/O; called only by `task.rs`, on a thread that may block. `record.rs` has the format of a segment.
//!
//! A record is marked done by one byte in place; a segment is removed when all its records are done. No
//! segment of an earlier process is appended to, as it may end with an incomplete record. No file is
//! overwritten, and no record or segment delays the following ones: one that can be neither read nor
//! copied to a file of its own is skipped, and its segment is moved aside.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::{Path, PathBuf};

use fs4::{FileExt, TryLockError};

use super::files::{self, at};
use super::options::{SpoolOptions, Spooled, WhenFull};
use super::record;
use crate::notifier::error::SpoolError;
use crate::notifier::message::OutgoingMessage;
use crate::transport::driver::Route;

/// The size in bytes from which on no more records are appended to a segment.
const SEGMENT: u64 = 1 << 20;

/// After this many failures to read it in a row, a segment is moved aside.
const MOST_FAILURES: u32 = 5;

const LOCK: &str = "lock";

pub(super) struct Store {
    options: SpoolOptions,
    /// Oldest first; each has an unsent record.
    segments: VecDeque<Segment>,
    /// The file of the last segment, if it is of this process and not full.
    writing: Option<File>,
    /// The file of the first segment, once it was read from.
    reading: Option<File>,
    /// The number of the next segment.
    next: u64,
    /// The serial number of the last segment.
    serial: u64,
    state: Spooled,
    /// Locked until this is dropped.
    _lock: File,
}

struct Segment {
    path: PathBuf,
    /// Unique in this process; unlike a file name, which the user may change.
    serial: u64,
    /// Its unsent records, oldest first.
    waiting: VecDeque<Range<u64>>,
    length: u64,
    /// Whether a record was skipped, unsent: then the segment is moved aside at its end.
    is_kept: bool,
    /// How often in a row reading it failed.
    failures: u32,
}

/// Identifies a record of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id {
    segment: u64,
    at: u64,
}

impl Store {
    /// Locks the directory, and finds the unsent records in it.
    pub(super) fn open(options: SpoolOptions) -> Result<Self, SpoolError> {
        let directory = &options.directory;
        files::create_directory(directory).map_err(at("create", directory))?;
        let path = directory.join(LOCK);
        let lock = files::open_or_create(&path).map_err(at("open", &path))?;
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
        let listing = files::list(&store.options.directory)?;
        store.next = listing.next;
        for path in listing.segments {
            store.recover(path)?;
        }
        Ok(store)
    }

    pub(super) const fn state(&self) -> Spooled {
        self.state
    }

    /// Writes notifications, each with all its messages or not at all. Those that are `Ok` survive a power
    /// loss.
    pub(super) fn append(
        &mut self,
        notifications: &[impl AsRef<[OutgoingMessage]>],
    ) -> Vec<Result<(), SpoolError>> {
        let mut written = Vec::with_capacity(notifications.len());
        while let rest @ [_, ..] = &notifications[written.len()..] {
            written.extend(self.append_to_one(rest));
        }
        written
    }

    /// Writes the first notifications, at least one, to a segment until it is full. After a disk error none
    /// of the rest is written.
    fn append_to_one(
        &mut self,
        notifications: &[impl AsRef<[OutgoingMessage]>],
    ) -> Vec<Result<(), SpoolError>> {
        // A file that was removed or changed by others would lose new records.
        let can_take_more = |segment: &Segment| {
            segment.length < SEGMENT && files::is_as_long(&segment.path, segment.length)
        };
        if !self.segments.back().is_some_and(can_take_more) {
            self.writing = None;
        }
        let begin = self.end();
        self.write_to_one(notifications).unwrap_or_else(|error| {
            self.cut(begin);
            vec![Err(error); notifications.len()]
        })
    }

    fn write_to_one(
        &mut self,
        notifications: &[impl AsRef<[OutgoingMessage]>],
    ) -> Result<Vec<Result<(), SpoolError>>, SpoolError> {
        let mut written = Vec::new();
        for messages in notifications {
            written.push(self.write(messages.as_ref())?);
            // Records that are done stay on disk until their whole segment is done.
            if self.segments.back().is_some_and(|segment| segment.length >= SEGMENT) {
                break;
            }
        }
        self.sync()?;
        Ok(written)
    }

    /// Writes one notification. The inner error concerns this notification, the outer one the disk.
    fn write(
        &mut self,
        messages: &[OutgoingMessage],
    ) -> Result<Result<(), SpoolError>, SpoolError> {
        let records: Option<Vec<Vec<u8>>> = messages.iter().map(record::encode).collect();
        let Some(records) = records else {
            return Ok(Err(self.full(u64::from(u32::MAX))));
        };
        if let Err(full) = self.make_room(records.iter().map(|record| record.len() as u64).sum()) {
            return Ok(Err(full));
        }
        let (file, segment) = self.segment()?;
        files::write(file, &segment.path, &records.concat()).map_err(at("write", &segment.path))?;
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

    /// The oldest unsent records, at most `most` and about one segment of bytes. If the first one is
    /// corrupt, it is moved aside; a segment is moved aside when reading it fails for the fifth time in a row,
    /// and before that the failure is returned, as it may be transient.
    pub(super) fn oldest(&mut self, most: usize) -> Result<Vec<(Id, OutgoingMessage)>, SpoolError> {
        while self.front().is_some() {
            let mut messages = Vec::new();
            match self.read_oldest(most, &mut messages) {
                _ if !messages.is_empty() => return Ok(messages),
                Ok(corrupt) => self.copy_aside(&corrupt, "it is corrupt"),
                Err(error) => self.failed_to_read(error)?,
            }
        }
        Ok(Vec::new())
    }

    /// Reads records up to one that is corrupt or cannot be read. Returns the bytes of the corrupt one, or
    /// the error.
    fn read_oldest(
        &mut self,
        most: usize,
        messages: &mut Vec<(Id, OutgoingMessage)>,
    ) -> io::Result<Vec<u8>> {
        let mut bytes = 0;
        while messages.len() < most.max(1)
            && bytes < SEGMENT
            && let Some((id, range)) = self.nth(messages.len())
        {
            let record = self.read(&range)?;
            let Some(message) = record::decode(&record) else {
                return Ok(record);
            };
            bytes += range.end - range.start;
            messages.push((id, message));
        }
        Ok(Vec::new())
    }

    /// The first message with another route after the first `skip` ones, and how many have been examined by
    /// now: about one segment of bytes in one call. Unreadable messages are not found.
    pub(super) fn other_route(
        &self,
        route: &Route,
        skip: usize,
    ) -> (Option<OutgoingMessage>, usize) {
        let (mut begin, mut examined, mut bytes) = (0, skip, 0);
        for segment in &self.segments {
            let end = begin + segment.waiting.len();
            let Some(file) = (end > examined).then(|| files::open(&segment.path)) else {
                begin = end;
                continue;
            };
            let Ok(file) = file else { break };
            for range in segment.waiting.range(examined - begin..) {
                let Ok(record) = files::read(&file, &segment.path, range) else { break };
                match record::decode(&record) {
                    Some(message) if message.route() != *route => {
                        return (Some(message), examined);
                    }
                    _ => examined += 1,
                }
                bytes += range.end - range.start;
                if bytes >= SEGMENT {
                    return (None, examined);
                }
            }
            begin = end;
        }
        (None, examined)
    }

    /// Removes the oldest record, which was sent.
    pub(super) fn done(&mut self, id: Id) {
        if self.front() == Some(id) {
            self.remove_oldest();
        }
    }

    /// Moves the oldest record aside, so that it is kept and not sent.
    pub(super) fn move_aside(&mut self, id: Id, why: &str) {
        let Some((_, range)) = self.nth(0).filter(|(front, _)| *front == id) else {
            return;
        };
        match self.read(&range) {
            Ok(bytes) => self.copy_aside(&bytes, why),
            Err(error) => self.skip(why, &error),
        }
    }

    /// Finds the unsent records in a segment of an earlier process.
    fn recover(&mut self, path: PathBuf) -> Result<(), SpoolError> {
        let bytes = match files::read_whole(&path) {
            Ok(bytes) => bytes,
            // It was removed in the meantime.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) if self.affects_all_files(&error) => return Err(at("read", &path)(error)),
            Err(error) => {
                self.keep_whole(&path, 0, &error);
                return Ok(());
            }
        };
        let scan = record::scan(&bytes);
        let mut is_kept = false;
        for range in scan.corrupt {
            is_kept |= !self.keep_part(&path, range.start as u64, &bytes[range], "it is corrupt");
        }
        if let Some(torn) = scan.torn {
            let lost = bytes.len() - torn;
            tracing::warn!(path = %path.display(), bytes = lost, "removed an incomplete notification that a crash had left");
        }
        let waiting = scan.waiting.iter().map(|range| range.start as u64..range.end as u64);
        let waiting: VecDeque<Range<u64>> = waiting.collect();
        self.state.waiting += waiting.len();
        self.state.bytes += waiting.iter().map(|range| range.end - range.start).sum::<u64>();
        let segment = Segment { is_kept, ..self.new_segment(path, waiting, bytes.len() as u64) };
        if segment.waiting.is_empty() {
            retire(&segment);
        } else {
            self.segments.push_back(segment);
        }
        Ok(())
    }

    fn new_segment(
        &mut self,
        path: PathBuf,
        waiting: VecDeque<Range<u64>>,
        length: u64,
    ) -> Segment {
        self.serial += 1;
        Segment { path, serial: self.serial, waiting, length, is_kept: false, failures: 0 }
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

    /// The segment to append to; a new one if there is none.
    fn segment(&mut self) -> Result<(&File, &mut Segment), SpoolError> {
        if self.writing.is_none() {
            let path = files::segment(&self.options.directory, self.next);
            // Each number is used once, even if the disk fails here.
            self.next = self.next.saturating_add(1);
            let file = files::create_new(&path).map_err(at("create", &path))?;
            let directory = &self.options.directory;
            if let Err(error) = files::sync_directory(directory) {
                delete(&path);
                return Err(at("write", directory)(error));
            }
            self.writing = Some(file);
            let segment = self.new_segment(path, VecDeque::new(), 0);
            self.segments.push_back(segment);
        }
        let segment = self.writing.as_ref().zip(self.segments.back_mut());
        Ok(segment.expect("the last segment is the one that is appended to"))
    }

    fn sync(&self) -> Result<(), SpoolError> {
        let Some((file, segment)) = self.writing.as_ref().zip(self.segments.back()) else {
            return Ok(());
        };
        files::sync(file, &segment.path).map_err(at("write", &segment.path))
    }

    /// The position of the next record in the segment that is appended to.
    fn end(&self) -> Option<Id> {
        let segment = self.segments.back().filter(|_| self.writing.is_some())?;
        Some(Id { segment: segment.serial, at: segment.length })
    }

    /// Removes what was written since, after a disk error. Nothing more is appended to that segment, as its
    /// content is uncertain.
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
        if let Err(error) = files::cut(&file, &segment.path, begin) {
            tracing::warn!(path = %segment.path.display(), %error, "could not remove an incomplete write from the spool");
        }
        if segment.waiting.is_empty() {
            retire(segment);
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

    /// The bytes of this range of the first segment; fewer if the file is shorter now.
    fn read(&mut self, range: &Range<u64>) -> io::Result<Vec<u8>> {
        let read = self.reader().and_then(|(file, path)| files::read(file, path, range));
        match &read {
            Ok(_) => self.segments.front_mut().into_iter().for_each(|first| first.failures = 0),
            // It is reopened, as it may be another file by now.
            Err(_) => self.reading = None,
        }
        read
    }

    /// The file of the first segment.
    fn reader(&mut self) -> io::Result<(&File, &Path)> {
        let path = self.segments.front().map(|segment| segment.path.as_path());
        let path = path.expect("only records of existing segments are read");
        let file = match self.reading.take() {
            Some(file) => file,
            None => files::open(path)?,
        };
        Ok((self.reading.insert(file), path))
    }

    /// Handles a failure to read the first segment: an error that may be transient, or the segment is moved
    /// aside.
    fn failed_to_read(&mut self, error: io::Error) -> Result<(), SpoolError> {
        let Some(first) = self.segments.front_mut() else {
            return Ok(());
        };
        first.failures = first.failures.saturating_add(1);
        let (path, failures) = (first.path.clone(), first.failures);
        if failures < MOST_FAILURES || self.affects_all_files(&error) {
            return Err(at("read", &path)(error));
        }
        if let Some(first) = self.pop_front() {
            let bytes: u64 = first.waiting.iter().map(|range| range.end - range.start).sum();
            self.state.waiting -= first.waiting.len();
            self.state.bytes -= bytes;
            self.keep_whole(&first.path, first.waiting.len(), &error);
        }
        Ok(())
    }

    /// Whether the error affects all files, such as too many open files.
    fn affects_all_files(&self, error: &io::Error) -> bool {
        error.kind() != ErrorKind::NotFound
            && files::open(&self.options.directory.join(LOCK)).is_err()
    }

    /// Marks the oldest record done, and removes its segment if it was the last record. If the mark cannot
    /// be written, the message is sent again after a restart.
    fn remove_oldest(&mut self) {
        let Some(range) = self.pop_oldest() else {
            return;
        };
        let stays = |first: &Segment| first.is_kept || !first.waiting.is_empty();
        if self.segments.front().is_some_and(stays)
            && let Err(error) = self.mark(range.start)
        {
            let directory = self.options.directory.display();
            tracing::warn!(%directory, %error, "could not mark a notification of the spool as sent");
        }
        self.retire_first();
    }

    /// Removes the oldest record from the unsent ones.
    fn pop_oldest(&mut self) -> Option<Range<u64>> {
        let range = self.segments.front_mut()?.waiting.pop_front()?;
        self.state.waiting -= 1;
        self.state.bytes -= range.end - range.start;
        Some(range)
    }

    /// Removes the first segment if it has no unsent record.
    fn retire_first(&mut self) {
        if let Some(first) = self.segments.front()
            && first.waiting.is_empty()
        {
            retire(first);
            self.pop_front();
        }
    }

    fn pop_front(&mut self) -> Option<Segment> {
        self.reading = None;
        let first = self.segments.pop_front();
        if self.segments.is_empty() {
            self.writing = None;
        }
        first
    }

    fn mark(&mut self, begin: u64) -> io::Result<()> {
        let (file, path) = self.reader()?;
        files::set(file, path, begin + record::STATE_AT as u64, record::DONE)
    }

    /// Copies the bytes of the oldest record to a file of its own.
    fn copy_aside(&mut self, bytes: &[u8], why: &str) {
        let Some((first, range)) = self.segments.front().zip(self.nth(0).map(|(_, range)| range))
        else {
            return;
        };
        if bytes.is_empty() {
            tracing::error!(path = %first.path.display(), "lost a notification of the spool: its file was truncated");
            self.state.lost += 1;
        } else {
            let path = first.path.clone();
            let is_kept = self.keep_part(&path, range.start, bytes, why);
            if !is_kept {
                self.keep_first();
            } else if record::decode(bytes).is_some() {
                return self.remove_oldest();
            }
        }
        // What is not a record must not be marked.
        self.pop_oldest();
        self.retire_first();
    }

    /// Skips the oldest record, which stays in its segment, unsent.
    fn skip(&mut self, why: &str, error: &io::Error) {
        if let Some(first) = self.segments.front() {
            tracing::error!(path = %first.path.display(), why, %error, "skipped a notification of the spool, unsent: it cannot be read");
            self.state.moved_aside += 1;
        }
        self.keep_first();
        self.pop_oldest();
        self.retire_first();
    }

    fn keep_first(&mut self) {
        if let Some(first) = self.segments.front_mut() {
            first.is_kept = true;
        }
    }

    /// Copies a part of a segment to a file of its own. Returns whether it could; if not, the segment has to
    /// be kept.
    fn keep_part(&mut self, segment: &Path, part: u64, bytes: &[u8], why: &str) -> bool {
        self.state.moved_aside += 1;
        match files::keep_part(segment, part, bytes) {
            Ok(path) => {
                tracing::error!(path = %path.display(), why, "moved a part of the spool aside, unsent");
                true
            }
            Err(error) => {
                tracing::error!(path = %segment.display(), part, why, %error, "skipped a part of the spool, unsent: it cannot be moved aside in a file of its own");
                false
            }
        }
    }

    /// Moves an unreadable segment aside, with this many unsent messages, as far as known.
    fn keep_whole(&mut self, segment: &Path, waiting: usize, error: &io::Error) {
        let segment_path = segment.display();
        if error.kind() == ErrorKind::NotFound {
            tracing::error!(path = %segment_path, waiting, "lost a segment of the spool: its file was removed");
            self.state.lost += waiting as u64;
            return;
        }
        self.state.moved_aside += 1;
        match files::keep_whole(segment) {
            Ok(path) => {
                tracing::error!(path = %path.display(), waiting, %error, "moved a segment of the spool aside, unsent: it cannot be read");
            }
            Err(failed) => {
                tracing::error!(path = %segment_path, waiting, %error, %failed, "skipped a segment of the spool, unsent: it can neither be read nor renamed");
            }
        }
    }
}

/// Removes a segment that is done, or moves it aside if a record was skipped.
fn retire(segment: &Segment) {
    if !segment.is_kept {
        return delete(&segment.path);
    }
    match files::keep_whole(&segment.path) {
        Ok(path) => {
            tracing::error!(path = %path.display(), "moved a segment of the spool aside: some of it is unsent");
        }
        Err(error) => {
            tracing::error!(path = %segment.path.display(), %error, "could not rename a segment of the spool that has unsent notifications");
        }
    }
}

/// A segment that cannot be removed is sent again after a restart.
fn delete(segment: &Path) {
    if let Err(error) = files::remove(segment) {
        tracing::warn!(path = %segment.display(), %error, "could not remove a segment of the spool");
    }
}
