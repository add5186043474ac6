//! The spool's directory: segments of records, oldest first, and what was set aside. Blocking
//! I/O; called by `keeper.rs` alone, on a thread that may block. The bytes of a segment are
//! `record.rs`'s.
//!
//! A record is removed by one byte in place, a segment when all of it is done. No segment of
//! an earlier process is written to: what it may have left half written stays behind its end.
//! No file is overwritten, and no record or segment holds back those behind it: what cannot be
//! read, or kept in a file of its own, is passed over, and its segment is set aside.

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

/// A segment is not written to any more once it is as large, in bytes.
const SEGMENT: u64 = 1 << 20;

/// A segment that cannot be read so often in a row is set aside.
const TRIES: u32 = 5;

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
    /// Whether it holds something that was passed over, unsent: it is set aside at its end.
    is_kept: bool,
    /// How often in a row it could not be read.
    failures: u32,
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

    /// Writes notifications, each with all its messages or not at all. Once this has returned,
    /// those that are `Ok` survive a loss of power.
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

    /// Writes the first notifications to one segment, until that is large enough: at least one. After
    /// a fault of the disk, none of those that are left is written.
    fn append_to_one(
        &mut self,
        notifications: &[impl AsRef<[OutgoingMessage]>],
    ) -> Vec<Result<(), SpoolError>> {
        // One that somebody has removed or changed would lose what is written to it.
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
            // What is done stays on disk for as long as something in its segment waits.
            if self.segments.back().is_some_and(|segment| segment.length >= SEGMENT) {
                break;
            }
        }
        self.sync()?;
        Ok(written)
    }

    /// One notification. The inner error is its own; the outer one, that of the disk.
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

    /// The oldest records that wait, at most so many, and about a segment's bytes. A first one
    /// that has become corrupt is set aside, and so is a segment that cannot be read for the
    /// fifth time in a row; before, that is an error, and may pass.
    pub(super) fn oldest(&mut self, most: usize) -> Result<Vec<(Id, OutgoingMessage)>, SpoolError> {
        while self.front().is_some() {
            let mut messages = Vec::new();
            match self.read_oldest(most, &mut messages) {
                _ if !messages.is_empty() => return Ok(messages),
                Ok(corrupt) => self.put_aside(&corrupt, "it is corrupt"),
                Err(error) => self.failed_to_read(error)?,
            }
        }
        Ok(Vec::new())
    }

    /// Reads records, up to one that is corrupt or cannot be read: its bytes, or why not.
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

    /// The first message with another route than this one, after the first `behind` ones, and how many
    /// have been examined by now: about a segment's bytes in one call. What cannot be read is not
    /// found.
    pub(super) fn other_route(
        &self,
        route: &Route,
        behind: usize,
    ) -> (Option<OutgoingMessage>, usize) {
        let (mut begin, mut looked_at, mut bytes) = (0, behind, 0);
        for segment in &self.segments {
            let end = begin + segment.waiting.len();
            let Some(file) = (end > looked_at).then(|| files::open(&segment.path)) else {
                begin = end;
                continue;
            };
            let Ok(file) = file else { break };
            for range in segment.waiting.range(looked_at - begin..) {
                let Ok(record) = files::read(&file, &segment.path, range) else { break };
                match record::decode(&record) {
                    Some(message) if message.route() != *route => {
                        return (Some(message), looked_at);
                    }
                    _ => looked_at += 1,
                }
                bytes += range.end - range.start;
                if bytes >= SEGMENT {
                    return (None, looked_at);
                }
            }
            begin = end;
        }
        (None, looked_at)
    }

    /// A record need not be kept any more.
    pub(super) fn done(&mut self, id: Id) {
        if self.front() == Some(id) {
            self.remove_oldest();
        }
    }

    /// Puts the oldest record where it is kept and not sent.
    pub(super) fn set_aside(&mut self, id: Id, why: &str) {
        let Some((_, range)) = self.nth(0).filter(|(front, _)| *front == id) else {
            return;
        };
        match self.read(&range) {
            Ok(bytes) => self.put_aside(&bytes, why),
            Err(error) => self.pass_over(why, &error),
        }
    }

    /// Finds what waits in a segment of an earlier process.
    fn recover(&mut self, path: PathBuf) -> Result<(), SpoolError> {
        let bytes = match files::read_whole(&path) {
            Ok(bytes) => bytes,
            // Somebody has removed it in between.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) if self.is_of_all(&error) => return Err(at("read", &path)(error)),
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
            tracing::warn!(path = %path.display(), bytes = lost, "cut a notification that a crash left half written");
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

    /// The segment that is being written, or a new one.
    fn segment(&mut self) -> Result<(&File, &mut Segment), SpoolError> {
        if self.writing.is_none() {
            let path = files::segment(&self.options.directory, self.next);
            // A number is used once, even if the disk fails here.
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
        Ok(segment.expect("the last segment is the one that is being written"))
    }

    fn sync(&self) -> Result<(), SpoolError> {
        let Some((file, segment)) = self.writing.as_ref().zip(self.segments.back()) else {
            return Ok(());
        };
        files::sync(file, &segment.path).map_err(at("write", &segment.path))
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
        if let Err(error) = files::cut(&file, &segment.path, begin) {
            tracing::warn!(path = %segment.path.display(), %error, "could not take back what was written to the spool");
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

    /// What stands there in the first segment; less, if it has become shorter.
    fn read(&mut self, range: &Range<u64>) -> io::Result<Vec<u8>> {
        let read = self.reader().and_then(|(file, path)| files::read(file, path, range));
        match &read {
            Ok(_) => self.segments.front_mut().into_iter().for_each(|first| first.failures = 0),
            // It is opened anew: what is there now may be another file.
            Err(_) => self.reading = None,
        }
        read
    }

    /// The file of the first segment.
    fn reader(&mut self) -> io::Result<(&File, &Path)> {
        let path = self.segments.front().map(|segment| segment.path.as_path());
        let path = path.expect("only the record of a segment is asked for");
        let file = match self.reading.take() {
            Some(file) => file,
            None => files::open(path)?,
        };
        Ok((self.reading.insert(file), path))
    }

    /// The first segment could not be read: that may pass, or it is set aside.
    fn failed_to_read(&mut self, error: io::Error) -> Result<(), SpoolError> {
        let Some(first) = self.segments.front_mut() else {
            return Ok(());
        };
        first.failures = first.failures.saturating_add(1);
        let (path, failures) = (first.path.clone(), first.failures);
        if failures < TRIES || self.is_of_all(&error) {
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

    /// Whether a file cannot be opened because none can, as when a process has too many open.
    fn is_of_all(&self, error: &io::Error) -> bool {
        error.kind() != ErrorKind::NotFound
            && files::open(&self.options.directory.join(LOCK)).is_err()
    }

    /// Marks the oldest record done, and removes its segment if it was the last. A mark that
    /// cannot be written costs a duplicate after a restart, and nothing else.
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

    /// Takes the oldest record out of what waits.
    fn pop_oldest(&mut self) -> Option<Range<u64>> {
        let range = self.segments.front_mut()?.waiting.pop_front()?;
        self.state.waiting -= 1;
        self.state.bytes -= range.end - range.start;
        Some(range)
    }

    /// Removes the first segment if nothing in it waits.
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

    /// Keeps the oldest record, with these bytes, in a file of its own.
    fn put_aside(&mut self, bytes: &[u8], why: &str) {
        let Some((first, range)) = self.segments.front().zip(self.nth(0).map(|(_, range)| range))
        else {
            return;
        };
        if bytes.is_empty() {
            tracing::error!(path = %first.path.display(), "lost a notification of the spool: somebody has emptied its file");
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
        // Nothing is written into what is no record.
        self.pop_oldest();
        self.retire_first();
    }

    /// Leaves the oldest record in its segment, unsent.
    fn pass_over(&mut self, why: &str, error: &io::Error) {
        if let Some(first) = self.segments.front() {
            tracing::error!(path = %first.path.display(), why, %error, "passed over a notification of the spool, unsent: it cannot be read");
            self.state.set_aside += 1;
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

    /// Whether a part of a segment could be kept in a file of its own. If not, its segment is to
    /// be kept.
    fn keep_part(&mut self, segment: &Path, part: u64, bytes: &[u8], why: &str) -> bool {
        self.state.set_aside += 1;
        match files::keep_part(segment, part, bytes) {
            Ok(path) => {
                tracing::error!(path = %path.display(), why, "set a part of the spool aside, unsent");
                true
            }
            Err(error) => {
                tracing::error!(path = %segment.display(), part, why, %error, "passed over a part of the spool, unsent: it cannot be set aside in a file of its own");
                false
            }
        }
    }

    /// Sets a segment aside that cannot be read, with so many messages that wait, as far as is
    /// known.
    fn keep_whole(&mut self, segment: &Path, waiting: usize, error: &io::Error) {
        let segment_path = segment.display();
        if error.kind() == ErrorKind::NotFound {
            tracing::error!(path = %segment_path, waiting, "lost a segment of the spool: somebody has removed its file");
            self.state.lost += waiting as u64;
            return;
        }
        self.state.set_aside += 1;
        match files::keep_whole(segment) {
            Ok(path) => {
                tracing::error!(path = %path.display(), waiting, %error, "set a segment of the spool aside, unsent: it cannot be read");
            }
            Err(failed) => {
                tracing::error!(path = %segment_path, waiting, %error, %failed, "passed over a segment of the spool, unsent: it can neither be read nor renamed");
            }
        }
    }
}

/// Removes a segment that is done, or sets it aside if something in it was passed over.
fn retire(segment: &Segment) {
    if !segment.is_kept {
        return delete(&segment.path);
    }
    match files::keep_whole(&segment.path) {
        Ok(path) => {
            tracing::error!(path = %path.display(), "set a segment of the spool aside: some of it is unsent");
        }
        Err(error) => {
            tracing::error!(path = %segment.path.display(), %error, "a segment of the spool stays, with what is unsent");
        }
    }
}

/// One that stays is sent again after a restart.
fn delete(segment: &Path) {
    if let Err(error) = files::remove(segment) {
        tracing::warn!(path = %segment.display(), %error, "could not remove a segment of the spool");
    }
}
