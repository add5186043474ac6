//! The store with crashes, disk errors and a full spool. Whole flows, with a broker that becomes
//! unreachable, are in `tests/flow/spool.rs`.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;

use super::faults::{Faults, steps};
use super::files::Step;
use super::record;
use super::store::{Id, Store};
use super::{Append, Spool, SpoolOptions, Spooled, WhenFull};
use crate::notifier::error::SpoolError;
use crate::notifier::message::OutgoingMessage;
use crate::notifier::window::{Permit, Window};

/// The directory of a test, removed at its end.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("listener-spool-{}-{number}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn open(&self) -> Store {
        self.open_with(|_| ())
    }

    fn open_with(&self, change: impl FnOnce(&mut SpoolOptions)) -> Store {
        let mut options = SpoolOptions::new(&self.0);
        change(&mut options);
        Store::open(options).unwrap()
    }

    /// The files with this extension, in order.
    fn files(&self, ending: &str) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> =
            fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == ending));
        files.sort();
        files
    }

    /// The bodies that were moved aside, in the order of the files.
    fn moved_aside(&self) -> Vec<String> {
        let files = self.files("aside").into_iter().filter(|path| path.is_file());
        files.flat_map(|path| bodies(&fs::read(path).unwrap())).collect()
    }
}

/// The unsent bodies in a segment.
fn bodies(bytes: &[u8]) -> Vec<String> {
    let records = record::scan(bytes).waiting;
    records.into_iter().map(|range| text(&record::decode(&bytes[range]).unwrap())).collect()
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn message(body: &str) -> OutgoingMessage {
    OutgoingMessage {
        exchange: "nova".to_owned(),
        routing_key: "notifications.info".to_owned(),
        compression: None,
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

fn size(body: &str) -> u64 {
    record::encode(&message(body)).unwrap().len() as u64
}

/// Appends notifications of one message each, in one write.
fn append(store: &mut Store, bodies: &[&str]) -> Vec<Result<(), SpoolError>> {
    let notifications: Vec<Vec<OutgoingMessage>> =
        bodies.iter().map(|body| vec![message(body)]).collect();
    store.append(&notifications)
}

fn text(message: &OutgoingMessage) -> String {
    String::from_utf8(message.body.to_vec()).unwrap()
}

fn oldest(store: &mut Store) -> (Id, OutgoingMessage) {
    store.oldest(1).unwrap().remove(0)
}

fn take(store: &mut Store) -> Option<String> {
    let (id, message) = store.oldest(1).unwrap().pop()?;
    store.done(id);
    Some(text(&message))
}

fn take_all(store: &mut Store) -> Vec<String> {
    std::iter::from_fn(|| take(store)).collect()
}

#[test]
fn only_unsent_messages_exist_after_a_restart_and_in_order() {
    let directory = Directory::new();
    let mut store = directory.open();
    assert_eq!(append(&mut store, &["1", "2", "3"]), [Ok(()), Ok(()), Ok(())]);
    assert_eq!(take(&mut store).as_deref(), Some("1"));
    drop(store);
    let mut store = directory.open();
    assert_eq!(append(&mut store, &["4"]), [Ok(())]);
    drop(store);
    let mut store = directory.open();
    let bytes = size("2") + size("3") + size("4");
    assert_eq!(store.state(), Spooled { waiting: 3, bytes, ..Spooled::default() });
    assert_eq!(take_all(&mut store), ["2", "3", "4"]);
    assert_eq!(store.state(), Spooled::default());
    assert_eq!(directory.files("segment"), Vec::<PathBuf>::new());
}

#[test]
fn a_truncated_last_segment_loses_no_earlier_record() {
    let directory = Directory::new();
    let bodies = ["one", "two", "three", "four"];
    append(&mut directory.open(), &bodies);
    let [path] = &directory.files("segment")[..] else { panic!("one segment") };
    let whole = fs::read(path).unwrap();
    for end in 0..=whole.len() {
        fs::write(path, &whole[..end]).unwrap();
        let mut left = end as u64;
        let fitting = bodies.iter().take_while(|body| {
            let fits = left >= size(body);
            left = left.saturating_sub(size(body));
            fits
        });
        let mut expected: Vec<&str> = fitting.copied().collect();
        expected.push("new");
        let mut store = directory.open();
        assert_eq!(append(&mut store, &["new"]), [Ok(())]);
        assert_eq!(take_all(&mut store), expected, "cut at {end}");
        assert_eq!(store.state().moved_aside, 0, "cut at {end}");
    }
}

#[test]
fn a_corrupt_record_is_moved_aside_and_the_others_are_sent() {
    let directory = Directory::new();
    append(&mut directory.open(), &["one", "two", "three"]);
    let path = directory.files("segment").remove(0);
    let mut bytes = fs::read(&path).unwrap();
    let second = size("one") as usize..(size("one") + size("two")) as usize;
    bytes[second.end - 1] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let mut store = directory.open();
    assert_eq!(take_all(&mut store), ["one", "three"]);
    assert_eq!(store.state(), Spooled { moved_aside: 1, ..Spooled::default() });
    let aside = directory.files("aside").remove(0);
    assert_eq!(fs::read(aside).unwrap(), bytes[second]);
}

#[test]
fn the_oldest_are_read_in_order_up_to_a_number_and_a_size() {
    let directory = Directory::new();
    let mut store = directory.open();
    let large = "x".repeat(1 << 20);
    append(&mut store, &["1", "2", "3", &large, "4"]);
    let mut oldest = |most| {
        let oldest = store.oldest(most).unwrap();
        oldest.iter().map(|(_, message)| text(message)).collect::<Vec<_>>()
    };
    assert_eq!(oldest(2), ["1", "2"]);
    assert_eq!(oldest(10), ["1", "2", "3", &large]);
    assert_eq!(oldest(0), ["1"]);
}

#[test]
fn a_record_that_becomes_corrupt_later_is_moved_aside() {
    let directory = Directory::new();
    let mut store = directory.open();
    append(&mut store, &["one", "two"]);
    let path = directory.files("segment").remove(0);
    let mut bytes = fs::read(&path).unwrap();
    bytes[20] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert_eq!(take_all(&mut store), ["two"]);
    assert_eq!(store.state(), Spooled { moved_aside: 1, ..Spooled::default() });
}

#[test]
fn a_message_that_was_moved_aside_is_sent_once_its_extension_is_changed_back() {
    let directory = Directory::new();
    let mut store = directory.open();
    append(&mut store, &["one", "two"]);
    let (id, _) = oldest(&mut store);
    store.move_aside(id, "a test");
    drop(store);
    let aside = directory.files("aside").remove(0);
    fs::rename(&aside, aside.with_extension("segment")).unwrap();
    assert_eq!(take_all(&mut directory.open()), ["one", "two"]);
}

#[test]
fn files_that_were_moved_aside_are_not_overwritten_after_a_restart() {
    let directory = Directory::new();
    for body in ["one", "two", "two", "three"] {
        let mut store = directory.open();
        append(&mut store, &[body]);
        let (id, _) = oldest(&mut store);
        store.move_aside(id, "a test");
    }
    assert_eq!(directory.moved_aside(), ["one", "two", "two", "three"]);
}

#[test]
fn a_corrupt_record_is_moved_aside_once_however_often_the_store_is_opened() {
    let directory = Directory::new();
    append(&mut directory.open(), &["one", "two"]);
    let path = directory.files("segment").remove(0);
    let mut bytes = fs::read(&path).unwrap();
    bytes[20] ^= 1;
    fs::write(&path, &bytes).unwrap();
    for _ in 0..3 {
        directory.open();
    }
    assert_eq!(directory.files("aside").len(), 1);
    assert_eq!(take_all(&mut directory.open()), ["two"]);
}

/// A store with a first segment of `one` and `large`, and a second one of `last`.
fn two_segments(directory: &Directory) -> (Store, PathBuf) {
    let mut store = directory.open();
    append(&mut store, &["one", &"x".repeat(1 << 20)]);
    append(&mut store, &["last"]);
    let first = directory.files("segment").remove(0);
    (store, first)
}

/// The bodies that are sent when reading is repeated after an error, as the task does.
fn take_all_that_can_be_read(store: &mut Store) -> Vec<String> {
    let mut errors = 0;
    let mut taken = Vec::new();
    loop {
        match store.oldest(1).map(|mut oldest| oldest.pop()) {
            Ok(Some((id, message))) => {
                store.done(id);
                taken.push(text(&message));
                errors = 0;
            }
            Ok(None) => return taken,
            Err(error) => {
                errors += 1;
                assert!(errors < 20, "blocked by {error}");
            }
        }
    }
}

#[test]
fn a_removed_segment_delays_no_others() {
    let directory = Directory::new();
    let (mut store, first) = two_segments(&directory);
    fs::remove_file(first).unwrap();
    assert_eq!(take_all_that_can_be_read(&mut store), ["last"]);
    assert_eq!(store.state(), Spooled { lost: 2, ..Spooled::default() });
}

#[test]
fn a_segment_that_cannot_be_read_is_moved_aside_and_delays_no_others() {
    let directory = Directory::new();
    let (mut store, first) = two_segments(&directory);
    fs::remove_file(&first).unwrap();
    fs::create_dir(&first).unwrap();
    assert_eq!(take_all_that_can_be_read(&mut store), ["last"]);
    assert_eq!(store.state(), Spooled { moved_aside: 1, ..Spooled::default() });
    assert_eq!(directory.files("aside").len(), 1);
}

#[test]
fn a_store_opens_even_if_a_segment_cannot_be_read() {
    let directory = Directory::new();
    let (store, first) = two_segments(&directory);
    drop(store);
    fs::remove_file(&first).unwrap();
    fs::create_dir(&first).unwrap();
    let mut store = directory.open();
    assert_eq!(take_all(&mut store), ["last"]);
    assert_eq!(store.state().moved_aside, 1);
}

/// Makes this step fail with this error on files with this ending.
fn fail(step: Step, ending: &'static str, kind: io::ErrorKind) -> Faults {
    Faults::plan(move |found, path| {
        let is_meant = found == step && path.to_string_lossy().ends_with(ending);
        is_meant.then(|| kind.into())
    })
}

#[test]
fn a_segment_without_read_permission_is_moved_aside_with_its_content() {
    let directory = Directory::new();
    let (mut store, _) = two_segments(&directory);
    let faults = fail(Step::Open, "0000.segment", io::ErrorKind::PermissionDenied);
    assert_eq!(take_all_that_can_be_read(&mut store), ["last"]);
    drop(faults);
    let moved_aside = directory.moved_aside();
    assert_eq!((moved_aside[0].as_str(), moved_aside.len()), ("one", 2));
    drop(store);
    let aside = directory.files("aside").remove(0);
    fs::rename(&aside, aside.with_extension("segment")).unwrap();
    assert_eq!(take_all(&mut directory.open()).len(), 2);
}

#[test]
fn a_transient_error_moves_nothing_aside() {
    let directory = Directory::new();
    let (mut store, _) = two_segments(&directory);
    for _ in 0..10 {
        for _ in 0..4 {
            let _faults = fail(Step::Open, "segment", io::ErrorKind::PermissionDenied);
            assert!(store.oldest(1).is_err());
        }
        oldest(&mut store);
        store = {
            drop(store);
            directory.open()
        };
    }
    assert_eq!(take_all(&mut store).len(), 3);
    assert_eq!(store.state().moved_aside, 0);
}

#[test]
fn too_many_open_files_move_nothing_aside() {
    let directory = Directory::new();
    let (mut store, _) = two_segments(&directory);
    let faults = fail(Step::Open, "", io::ErrorKind::Other);
    for _ in 0..20 {
        assert!(store.oldest(1).is_err());
    }
    drop(store);
    assert!(Store::open(SpoolOptions::new(&directory.0)).is_err());
    drop(faults);
    let mut store = directory.open();
    assert_eq!(take_all(&mut store).len(), 3);
    assert_eq!(store.state().moved_aside, 0);
}

#[test]
fn a_message_that_cannot_be_moved_aside_delays_no_others_and_stays_on_disk() {
    let directory = Directory::new();
    let mut store = directory.open();
    append(&mut store, &["one", "two", "three"]);
    let faults = fail(Step::Create, "aside", io::ErrorKind::StorageFull);
    let (id, _) = oldest(&mut store);
    store.move_aside(id, "a test");
    assert_eq!(take_all(&mut store), ["two", "three"]);
    drop(faults);
    assert_eq!((directory.files("segment").len(), store.state().moved_aside), (0, 1));
    assert_eq!(directory.moved_aside(), ["one"]);
}

#[test]
fn an_incomplete_copy_is_not_left_aside() {
    let directory = Directory::new();
    let mut store = directory.open();
    append(&mut store, &["one", "two"]);
    let faults = fail(Step::Write, "aside", io::ErrorKind::StorageFull);
    let (id, _) = oldest(&mut store);
    store.move_aside(id, "a test");
    assert_eq!(take_all(&mut store), ["two"]);
    drop(faults);
    assert_eq!(directory.moved_aside(), ["one"]);
}

#[test]
fn a_truncated_file_is_reported_and_leaves_no_empty_files() {
    let directory = Directory::new();
    let (mut store, first) = two_segments(&directory);
    fs::write(first, "").unwrap();
    assert_eq!(take_all(&mut store), ["last"]);
    assert_eq!(store.state(), Spooled { lost: 2, ..Spooled::default() });
    assert_eq!(directory.files("aside"), Vec::<PathBuf>::new());
}

#[test]
fn the_names_of_new_directories_are_synced_before_anything_is_written() {
    let directory = Directory::new();
    let deep = directory.0.join("one").join("two");
    steps();
    let mut store = Store::open(SpoolOptions::new(&deep)).unwrap();
    append(&mut store, &["1"]);
    let mut steps = steps();
    let written = steps.iter().position(|(step, _)| *step == Step::Write).unwrap();
    steps.truncate(written);
    let temporary = std::env::temp_dir();
    for synced in [&deep, &directory.0.join("one"), &directory.0, &temporary] {
        assert!(steps.contains(&(Step::Sync, synced.clone())), "{} in {steps:?}", synced.display());
    }
}

/// A full spool without a task, and its queue of appends.
fn full_spool() -> (Spool, mpsc::UnboundedReceiver<Append>, watch::Sender<Spooled>) {
    let (appends, receiver) = mpsc::unbounded_channel();
    let state = watch::Sender::new(Spooled { waiting: 1, bytes: 100, ..Spooled::default() });
    let spool = Spool {
        appends,
        state: state.subscribe(),
        after: Duration::ZERO,
        max_bytes: 100,
        turn: Semaphore::new(1),
    };
    (spool, receiver, state)
}

async fn permit() -> Permit {
    Window::new(1, 1).enter(1, Duration::from_secs(1)).await.unwrap().0
}

#[tokio::test(start_paused = true)]
async fn a_write_in_progress_at_the_deadline_is_not_reported_as_full() {
    let (spool, mut receiver, state) = full_spool();
    let deadline = Instant::now() + Duration::from_secs(10);
    let full =
        || SpoolError::Full { directory: PathBuf::new(), size: 10, waiting: 100, limit: 100 };
    let keeper = async {
        let refused = receiver.recv().await.unwrap();
        refused.reply.send(Err(full())).unwrap();
        tokio::time::sleep(Duration::from_secs(9)).await;
        state.send_replace(Spooled::default());
        // Received, and not written yet.
        receiver.recv().await.unwrap()
    };
    let (written, _taken) =
        tokio::join!(spool.append(vec![message("1")], permit().await, deadline), keeper);
    assert_eq!(written, Err(SpoolError::TimedOut));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_never_got_space_is_reported_as_full() {
    let (spool, mut receiver, _state) = full_spool();
    let deadline = Instant::now() + Duration::from_secs(10);
    let full =
        || SpoolError::Full { directory: PathBuf::new(), size: 10, waiting: 100, limit: 100 };
    let keeper = async {
        let refused = receiver.recv().await.unwrap();
        refused.reply.send(Err(full())).unwrap();
    };
    let (written, ()) =
        tokio::join!(spool.append(vec![message("1")], permit().await, deadline), keeper);
    assert_eq!(written, Err(full()));
    assert!(receiver.try_recv().is_err());
}

#[test]
fn a_full_spool_refuses_until_there_is_space_again() {
    let directory = Directory::new();
    let limit = 2 * size("1");
    let mut store = directory.open_with(|options| options.max_bytes = limit);
    let full =
        SpoolError::Full { directory: directory.0.clone(), size: size("3"), waiting: limit, limit };
    assert_eq!(append(&mut store, &["1", "2", "3"]), [Ok(()), Ok(()), Err(full)]);
    assert_eq!(take(&mut store).as_deref(), Some("1"));
    assert_eq!(append(&mut store, &["4"]), [Ok(())]);
    assert_eq!(take_all(&mut store), ["2", "4"]);
}

#[test]
fn sent_records_of_a_write_do_not_stay_on_disk_with_unsent_ones() {
    let directory = Directory::new();
    let mut store = directory.open();
    let large = "x".repeat(3 << 20);
    let written = append(&mut store, &[&large, "1", &large, "2", &large, "3"]);
    assert!(written.iter().all(Result::is_ok), "{written:?}");
    let mut taken = Vec::new();
    while let Some(body) = take(&mut store) {
        let files = directory.files("segment").into_iter();
        let bytes: u64 = files.map(|path| fs::metadata(path).unwrap().len()).sum();
        assert!(bytes <= store.state().bytes + (1 << 20), "{bytes} for {:?}", store.state());
        taken.push(body.len());
    }
    assert_eq!(taken, [3 << 20, 1, 3 << 20, 1, 3 << 20, 1]);
}

#[test]
fn a_disk_error_within_a_write_keeps_the_records_that_were_synced_before() {
    let directory = Directory::new();
    let mut store = directory.open();
    let large = "x".repeat(1 << 20);
    let faults = fail(Step::Write, "0001.segment", io::ErrorKind::StorageFull);
    let written = append(&mut store, &[&large, "1", "2"]);
    drop(faults);
    assert_eq!(written.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, false]);
    assert_eq!(append(&mut store, &["3"]), [Ok(())]);
    drop(store);
    assert_eq!(take_all(&mut directory.open()), [&large, "3"]);
}

#[test]
fn a_notification_for_several_topics_is_written_whole_or_not_at_all() {
    let directory = Directory::new();
    let mut store = directory.open_with(|options| options.max_bytes = 3 * size("1"));
    let pair = |one, other| vec![message(one), message(other)];
    let written = store.append(&[pair("1", "2"), pair("3", "4"), vec![message("5")]]);
    assert_eq!(written.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(take_all(&mut store), ["1", "2", "5"]);
}

#[test]
fn the_oldest_are_dropped_and_counted_with_drop_oldest() {
    let directory = Directory::new();
    let mut store = directory.open_with(|options| {
        options.max_bytes = 3 * size("1");
        options.when_full = WhenFull::DropOldest;
    });
    let (id, _) = {
        append(&mut store, &["1"]);
        oldest(&mut store)
    };
    for body in ["2", "3", "4", "5"] {
        assert_eq!(append(&mut store, &[body]), [Ok(())]);
    }
    assert_eq!(store.state().dropped, 2);
    // It was in flight when it was dropped.
    store.done(id);
    let too_large = "x".repeat(1000);
    assert!(matches!(append(&mut store, &[&too_large])[..], [Err(SpoolError::Full { .. })]));
    drop(store);
    assert_eq!(take_all(&mut directory.open()), ["3", "4", "5"]);
}

#[test]
fn a_directory_has_one_store_at_a_time() {
    let directory = Directory::new();
    let first = directory.open();
    let error = Store::open(SpoolOptions::new(&directory.0)).err();
    assert_eq!(error, Some(SpoolError::InUse { directory: directory.0.clone() }));
    drop(first);
    directory.open();
}

#[test]
fn a_disk_error_is_returned_and_later_notifications_are_written() {
    let directory = Directory::new();
    let mut store = directory.open();
    append(&mut store, &["1"]);
    assert_eq!(take(&mut store).as_deref(), Some("1"));
    fs::remove_dir_all(&directory.0).unwrap();
    let written = append(&mut store, &["2", "3"]);
    assert!(
        matches!(&written[..], [Err(SpoolError::Io { action: "create", .. }), Err(_)]),
        "{written:?}"
    );
    assert_eq!(store.state(), Spooled::default());
    fs::create_dir_all(&directory.0).unwrap();
    assert_eq!(append(&mut store, &["4"]), [Ok(())]);
    assert_eq!(take_all(&mut store), ["4"]);
}

#[cfg(unix)]
#[test]
fn only_its_user_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let directory = Directory::new();
    let mut store = directory.open();
    append(&mut store, &["secret", "other"]);
    let (id, _) = oldest(&mut store);
    store.move_aside(id, "a test");
    assert_eq!(mode(&directory.0), 0o700);
    for ending in ["segment", "aside"] {
        assert_eq!(
            directory.files(ending).iter().map(|path| mode(path)).collect::<Vec<_>>(),
            [0o600]
        );
    }
}

/// Random steps on a store, each compared with a model.
struct Trial {
    directory: Directory,
    store: Option<Store>,
    model: VecDeque<String>,
    next: u32,
    rng: fastrand::Rng,
}

impl Trial {
    fn new(seed: u64) -> Self {
        let directory = Directory::new();
        let store = Some(directory.open());
        let rng = fastrand::Rng::with_seed(seed);
        Self { directory, store, model: VecDeque::new(), next: 0, rng }
    }

    fn store(&mut self) -> &mut Store {
        self.store.as_mut().unwrap()
    }

    fn step(&mut self) {
        match self.rng.u32(0..10) {
            0..4 => self.append(),
            4..8 => {
                for _ in 0..self.rng.u32(1..5) {
                    let expected = self.model.pop_front();
                    assert_eq!(take(self.store()), expected);
                }
            }
            8 => self.crash(),
            _ => self.corrupt(),
        }
        assert_eq!(self.store().state().waiting, self.model.len());
    }

    fn body(&mut self) -> String {
        self.next += 1;
        // Some are large, so that segments become full.
        let length = if self.rng.u32(0..8) == 0 { 400_000 } else { self.rng.usize(0..300) };
        format!("{} {}", self.next, "x".repeat(length))
    }

    fn append(&mut self) {
        let notifications: Vec<Vec<OutgoingMessage>> = (0..self.rng.u32(1..4))
            .map(|_| (0..self.rng.u32(1..3)).map(|_| message(&self.body())).collect())
            .collect();
        assert!(self.store().append(&notifications).iter().all(Result::is_ok));
        self.model.extend(notifications.iter().flatten().map(text));
    }

    /// The process crashes, possibly during a write.
    fn crash(&mut self) {
        self.store = None;
        if let Some(last) = self.directory.files("segment").last() {
            let torn = record::encode(&message("torn")).unwrap();
            let mut bytes = fs::read(last).unwrap();
            bytes.extend(&torn[..self.rng.usize(0..torn.len())]);
            fs::write(last, bytes).unwrap();
        }
        self.store = Some(self.directory.open());
    }

    /// The process crashes, and an unsent record is corrupted.
    fn corrupt(&mut self) {
        self.store = None;
        if let Some(path) = self.rng.choice(self.directory.files("segment")) {
            let mut bytes = fs::read(&path).unwrap();
            let records = record::scan(&bytes).waiting;
            let record = self.rng.choice(records).expect("no segment is without");
            let body = text(&record::decode(&bytes[record.clone()]).unwrap());
            self.model.retain(|known| *known != body);
            let at = self.rng.usize(0..record.len() - 1);
            // Except the state, which no checksum includes.
            bytes[record.start + at + usize::from(at >= record::STATE_AT)] ^=
                1 << self.rng.u8(0..8);
            fs::write(&path, bytes).unwrap();
        }
        self.store = Some(self.directory.open());
    }
}

#[test]
fn random_steps_lose_and_duplicate_nothing_and_keep_the_order() {
    for seed in 0..12 {
        let mut trial = Trial::new(seed);
        for _ in 0..60 {
            trial.step();
        }
        let expected: Vec<String> = trial.model.drain(..).collect();
        assert!(take_all(trial.store()) == expected, "seed {seed}");
    }
}

/// Random steps on a store whose disk fails and whose files others change. Each notification that was
/// accepted is accounted for: sent, moved aside, or in a file that was destroyed.
struct Accounts {
    directory: Directory,
    store: Option<Store>,
    next: u32,
    rng: fastrand::Rng,
    /// In order, without the refused ones.
    promised: Vec<String>,
    sent: Vec<String>,
    refused: Vec<String>,
    destroyed: Vec<String>,
}

impl Accounts {
    fn new(seed: u64) -> Self {
        let directory = Directory::new();
        let store = Some(directory.open());
        Self {
            directory,
            store,
            next: 0,
            rng: fastrand::Rng::with_seed(seed),
            promised: Vec::new(),
            sent: Vec::new(),
            refused: Vec::new(),
            destroyed: Vec::new(),
        }
    }

    fn store(&mut self) -> &mut Store {
        self.store.as_mut().unwrap()
    }

    fn step(&mut self) {
        // Any step on any file may fail, in every fourth round.
        let mut rng = self.rng.fork();
        let _faults = (self.rng.u32(0..4) == 0).then(|| {
            let kinds = [
                io::ErrorKind::Other,
                io::ErrorKind::PermissionDenied,
                io::ErrorKind::NotFound,
                io::ErrorKind::StorageFull,
            ];
            Faults::plan(move |_, _| {
                (rng.u32(0..6) == 0).then(|| rng.choice(kinds).unwrap().into())
            })
        });
        match self.rng.u32(0..12) {
            0..4 => self.append(),
            4..7 => (0..self.rng.u32(1..6)).for_each(|_| self.send()),
            7 => self.move_aside(),
            8 => self.open_again(),
            9 => self.touch(|path| fs::remove_file(path).unwrap()),
            10 => self.touch(|path| {
                fs::remove_file(path).unwrap();
                fs::create_dir(path).unwrap();
            }),
            _ => self.touch(|path| fs::write(path, "not a segment").unwrap()),
        }
    }

    fn append(&mut self) {
        let bodies: Vec<String> = (0..self.rng.u32(1..4))
            .map(|_| {
                self.next += 1;
                let length = if self.rng.u32(0..4) == 0 { 400_000 } else { self.rng.usize(0..99) };
                format!("{:06} {}", self.next, "x".repeat(length))
            })
            .collect();
        let notifications: Vec<[OutgoingMessage; 1]> =
            bodies.iter().map(|body| [message(body)]).collect();
        let written = self.store().append(&notifications);
        for (body, written) in bodies.into_iter().zip(written) {
            if written.is_ok() {
                self.promised.push(body);
            }
        }
    }

    fn send(&mut self) {
        if let Ok(mut oldest) = self.store().oldest(1)
            && let Some((id, message)) = oldest.pop()
        {
            self.store().done(id);
            self.sent.push(text(&message));
        }
    }

    fn move_aside(&mut self) {
        if let Ok(mut oldest) = self.store().oldest(1)
            && let Some((id, message)) = oldest.pop()
        {
            self.store().move_aside(id, "a test");
            self.refused.push(text(&message));
        }
    }

    fn open_again(&mut self) {
        self.store = None;
        let opened = Store::open(SpoolOptions::new(&self.directory.0));
        self.store = opened.ok().or_else(|| {
            let _none = Faults::plan(|_, _| None);
            Some(self.directory.open())
        });
    }

    /// Destroys a segment, whether the store is open or not.
    fn touch(&mut self, destroy: impl FnOnce(&Path)) {
        let segments = self.directory.files("segment");
        let Some(path) = self.rng.choice(segments).filter(|path| path.is_file()) else {
            return;
        };
        // An incomplete write to the last one was not accepted yet.
        self.destroyed.extend(bodies(&fs::read(&path).unwrap()));
        destroy(&path);
        if self.rng.bool() {
            self.open_again();
        }
    }

    fn balance(mut self, seed: u64) {
        for _ in 0..2 {
            let sent = take_all_that_can_be_read(self.store());
            self.sent.extend(sent);
            self.open_again();
        }
        let moved_aside = self.directory.moved_aside();
        for body in &self.promised {
            let is_accounted = [&self.sent, &moved_aside, &self.destroyed];
            let is_accounted = is_accounted.iter().any(|bodies| bodies.contains(body));
            assert!(is_accounted, "seed {seed}: lost {}", &body[..6]);
        }
        for body in &self.refused {
            let is_kept = [&moved_aside, &self.destroyed, &self.sent];
            let is_kept = is_kept.iter().any(|bodies| bodies.contains(body));
            assert!(is_kept, "seed {seed}: lost {} that was moved aside", &body[..6]);
        }
        assert_eq!(self.directory.files("segment"), Vec::<PathBuf>::new(), "seed {seed}");
    }
}

#[test]
fn every_notification_is_accounted_for_when_the_disk_fails_and_files_are_changed() {
    for seed in 0..30 {
        let mut accounts = Accounts::new(seed);
        for _ in 0..60 {
            accounts.step();
        }
        accounts.balance(seed);
    }
}

#[test]
fn a_message_with_another_route_is_found_after_any_number_of_segments() {
    let directory = Directory::new();
    let mut store = directory.open();
    let other =
        OutgoingMessage { routing_key: "notifications.warn".to_owned(), ..message("other") };
    let route = message("").route();
    assert!(store.other_route(&route, 0).0.is_none(), "there is none");
    let large = message(&"x".repeat(300_000));
    for _ in 0..10 {
        store.append(&[[large.clone()]]).pop().unwrap().unwrap();
    }
    store.append(&[[other]]).pop().unwrap().unwrap();
    assert!(directory.files("segment").len() > 2);
    let (mut calls, mut examined) = (0, 0);
    let found = loop {
        let (found, now) = store.other_route(&route, examined);
        assert!(now - examined <= 4, "no more than a segment at a time");
        (calls, examined) = (calls + 1, now);
        if let Some(message) = found {
            break text(&message);
        }
    };
    assert_eq!((found.as_str(), examined), ("other", 10));
    assert!(calls > 2, "{calls}");
    // It is not removed.
    assert_eq!(text(&store.oldest(1).unwrap()[0].1), text(&large));
}
