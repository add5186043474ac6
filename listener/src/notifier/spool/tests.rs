//! The store under crashes, faults of the disk and lack of room. Whole flows, with a broker
//! that goes away, are in `tests/flow/spool.rs`.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;

use super::record;
use super::store::{Id, Store};
use super::{SpoolOptions, Spooled, WhenFull};
use crate::notifier::error::SpoolError;
use crate::notifier::letter::Letter;

/// A directory of a test, gone with it.
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

    /// The files with this ending, in order.
    fn files(&self, ending: &str) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> =
            fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == ending));
        files.sort();
        files
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn letter(body: &str) -> Letter {
    Letter {
        exchange: "nova".to_owned(),
        routing_key: "notifications.info".to_owned(),
        compression: None,
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

fn size(body: &str) -> u64 {
    record::encode(&letter(body)).unwrap().len() as u64
}

/// Appends notifications of one letter each, in one write.
fn append(store: &mut Store, bodies: &[&str]) -> Vec<Result<(), SpoolError>> {
    let notifications: Vec<Vec<Letter>> = bodies.iter().map(|body| vec![letter(body)]).collect();
    store.append(&notifications)
}

fn text(letter: &Letter) -> String {
    String::from_utf8(letter.body.to_vec()).unwrap()
}

fn oldest(store: &mut Store) -> (Id, Letter) {
    store.oldest(1).unwrap().remove(0)
}

fn take(store: &mut Store) -> Option<String> {
    let (id, letter) = store.oldest(1).unwrap().pop()?;
    store.done(id);
    Some(text(&letter))
}

fn take_all(store: &mut Store) -> Vec<String> {
    std::iter::from_fn(|| take(store)).collect()
}

#[test]
fn what_is_not_done_is_there_after_a_restart_in_order_and_what_is_done_is_not() {
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
fn a_last_segment_that_ends_anywhere_costs_no_earlier_record() {
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
        assert_eq!(store.state().set_aside, 0, "cut at {end}");
    }
}

#[test]
fn a_corrupt_record_is_set_aside_and_the_rest_goes_on() {
    let directory = Directory::new();
    append(&mut directory.open(), &["one", "two", "three"]);
    let path = directory.files("segment").remove(0);
    let mut bytes = fs::read(&path).unwrap();
    let second = size("one") as usize..(size("one") + size("two")) as usize;
    bytes[second.end - 1] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let mut store = directory.open();
    assert_eq!(take_all(&mut store), ["one", "three"]);
    assert_eq!(store.state(), Spooled { set_aside: 1, ..Spooled::default() });
    let aside = directory.files("aside").remove(0);
    assert_eq!(fs::read(aside).unwrap(), bytes[second]);
}

#[test]
fn the_oldest_come_many_at_a_time_in_order_and_never_too_many_bytes() {
    let directory = Directory::new();
    let mut store = directory.open();
    let large = "x".repeat(1 << 20);
    append(&mut store, &["1", "2", "3", &large, "4"]);
    let mut oldest = |most| {
        let oldest = store.oldest(most).unwrap();
        oldest.iter().map(|(_, letter)| text(letter)).collect::<Vec<_>>()
    };
    assert_eq!(oldest(2), ["1", "2"]);
    assert_eq!(oldest(10), ["1", "2", "3", &large]);
    assert_eq!(oldest(0), ["1"]);
}

#[test]
fn a_record_that_becomes_corrupt_later_is_set_aside_too() {
    let directory = Directory::new();
    let mut store = directory.open();
    append(&mut store, &["one", "two"]);
    let path = directory.files("segment").remove(0);
    let mut bytes = fs::read(&path).unwrap();
    bytes[20] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert_eq!(take_all(&mut store), ["two"]);
    assert_eq!(store.state(), Spooled { set_aside: 1, ..Spooled::default() });
}

#[test]
fn what_was_set_aside_is_sent_once_its_ending_is_put_back() {
    let directory = Directory::new();
    let mut store = directory.open();
    append(&mut store, &["one", "two"]);
    let (id, _) = oldest(&mut store);
    store.set_aside(id, "a test").unwrap();
    drop(store);
    let aside = directory.files("aside").remove(0);
    fs::rename(&aside, aside.with_extension("segment")).unwrap();
    assert_eq!(take_all(&mut directory.open()), ["one", "two"]);
}

#[test]
fn a_full_spool_refuses_and_takes_again_once_there_is_room() {
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
fn a_notification_for_several_topics_is_written_whole_or_not_at_all() {
    let directory = Directory::new();
    let mut store = directory.open_with(|options| options.max_bytes = 3 * size("1"));
    let pair = |one, other| vec![letter(one), letter(other)];
    let written = store.append(&[pair("1", "2"), pair("3", "4"), vec![letter("5")]]);
    assert_eq!(written.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(take_all(&mut store), ["1", "2", "5"]);
}

#[test]
fn the_oldest_are_dropped_and_counted_where_that_is_asked_for() {
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
    // It was on its way when it was dropped.
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
fn a_disk_that_fails_is_told_and_what_comes_later_is_written() {
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
fn nobody_else_can_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let directory = Directory::new();
    let mut store = directory.open();
    append(&mut store, &["secret", "other"]);
    let (id, _) = oldest(&mut store);
    store.set_aside(id, "a test").unwrap();
    assert_eq!(mode(&directory.0), 0o700);
    for ending in ["segment", "aside"] {
        assert_eq!(
            directory.files(ending).iter().map(|path| mode(path)).collect::<Vec<_>>(),
            [0o600]
        );
    }
}

/// What happens to a store, by chance; each step against a model.
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
        // Some are large, so that segments come to their end.
        let length = if self.rng.u32(0..8) == 0 { 400_000 } else { self.rng.usize(0..300) };
        format!("{} {}", self.next, "x".repeat(length))
    }

    fn append(&mut self) {
        let notifications: Vec<Vec<Letter>> = (0..self.rng.u32(1..4))
            .map(|_| (0..self.rng.u32(1..3)).map(|_| letter(&self.body())).collect())
            .collect();
        assert!(self.store().append(&notifications).iter().all(Result::is_ok));
        self.model.extend(notifications.iter().flatten().map(text));
    }

    /// The process dies, perhaps while it was writing.
    fn crash(&mut self) {
        self.store = None;
        if let Some(last) = self.directory.files("segment").last() {
            let torn = record::encode(&letter("torn")).unwrap();
            let mut bytes = fs::read(last).unwrap();
            bytes.extend(&torn[..self.rng.usize(0..torn.len())]);
            fs::write(last, bytes).unwrap();
        }
        self.store = Some(self.directory.open());
    }

    /// The process dies, and a record that waits has changed meanwhile.
    fn corrupt(&mut self) {
        self.store = None;
        if let Some(path) = self.rng.choice(self.directory.files("segment")) {
            let mut bytes = fs::read(&path).unwrap();
            let records = record::scan(&bytes).waiting;
            let record = self.rng.choice(records).expect("no segment is without");
            let body = text(&record::decode(&bytes[record.clone()]).unwrap());
            self.model.retain(|known| *known != body);
            let at = self.rng.usize(0..record.len() - 1);
            // Not the state: that is no part of what a checksum holds.
            bytes[record.start + at + usize::from(at >= record::STATE_AT)] ^=
                1 << self.rng.u8(0..8);
            fs::write(&path, bytes).unwrap();
        }
        self.store = Some(self.directory.open());
    }
}

#[test]
fn whatever_happens_nothing_is_lost_nothing_comes_twice_and_the_order_stays() {
    for seed in 0..12 {
        let mut trial = Trial::new(seed);
        for _ in 0..60 {
            trial.step();
        }
        let expected: Vec<String> = trial.model.drain(..).collect();
        assert!(take_all(trial.store()) == expected, "seed {seed}");
    }
}
