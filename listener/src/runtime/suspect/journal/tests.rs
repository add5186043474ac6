//! Tests of the journals of several processes, over the in-memory transport and over drivers that fail. How
//! entries are applied is tested in `state.rs`.

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;

use futures_util::future::BoxFuture;

use super::*;
use crate::runtime::suspect::journal::state::LOST_AFTER;
use crate::transport::driver::{Driver, JournalRead, Outgoing, Subscribed, Subscription};
use crate::transport::error::{ConnectError, SendError};

fn journal(transport: &Transport) -> Arc<Journal> {
    Journal::new(transport.clone(), "q.quarantine.journal".to_owned(), Duration::from_secs(9))
}

fn key(body: &str) -> Key {
    Key::of([body.as_bytes()])
}

fn transport(name: &str) -> Transport {
    Transport::open(&format!("memory://{name}")).expect("a transport")
}

#[tokio::test(start_paused = true)]
async fn what_another_process_has_begun_and_never_settled_is_a_crash() {
    let transport = transport("journal-crashes");
    let (first, second, third) = (journal(&transport), journal(&transport), journal(&transport));
    assert_eq!(first.crashes(key("a")).await, Ok(0));
    first.begin(key("a")).await.expect("a journal");
    assert_eq!(first.crashes(key("a")).await, Ok(0), "its own record is not a crash");
    assert_eq!(second.crashes(key("a")).await, Ok(1));
    second.begin(key("a")).await.expect("a journal");
    assert_eq!(third.crashes(key("a")).await, Ok(2));
    assert_eq!(third.crashes(key("b")).await, Ok(0));
    let record = third.begin(key("a")).await.expect("a journal");
    third.settled(record);
    tokio::time::sleep(2 * FLUSH_AFTER).await;
    assert_eq!(first.crashes(key("a")).await, Ok(0), "no process crashed of what was settled");
}

#[tokio::test(start_paused = true)]
async fn neither_an_orderly_stop_nor_a_lost_session_is_a_crash() {
    let transport = transport("journal-stops");
    let (stopped, lost, other) = (journal(&transport), journal(&transport), journal(&transport));
    for process in [&stopped, &lost] {
        process.begin(key("a")).await.expect("a journal");
        process.begin(key("b")).await.expect("a journal");
    }
    assert_eq!(other.crashes(key("a")).await, Ok(2));
    stopped.stop(Instant::now()).await;
    assert_eq!(other.crashes(key("a")).await, Ok(1));
    lost.release_all();
    tokio::time::sleep(2 * FLUSH_AFTER).await;
    assert_eq!(other.crashes(key("a")).await, Ok(0));
    assert_eq!(other.crashes(key("b")).await, Ok(0));
    // A process that starts again after its stop records again.
    stopped.start();
    stopped.begin(key("a")).await.expect("a journal");
    assert_eq!(other.crashes(key("a")).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_caller_was_dropped_begins_nothing() {
    let transport = transport("journal-given-up");
    let (one, other) = (journal(&transport), journal(&transport));
    one.begin(key("a")).await.expect("a journal");
    let held = one.state.lock().await;
    let begins = tokio::spawn({
        let one = Arc::clone(&one);
        async move { one.begin(key("b")).await }
    });
    tokio::task::yield_now().await;
    begins.abort();
    assert!(begins.await.is_err(), "aborted");
    drop(held);
    one.stop(Instant::now()).await;
    one.start();
    one.begin(key("c")).await.expect("a journal");
    assert_eq!(other.crashes(key("b")).await, Ok(0));
    assert_eq!(other.crashes(key("c")).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn a_record_of_the_previous_run_ends_no_record_of_the_next_one() {
    let transport = transport("journal-runs");
    let (one, other) = (journal(&transport), journal(&transport));
    let before = one.begin(key("a")).await.expect("a journal");
    one.stop(Instant::now()).await;
    one.start();
    one.begin(key("a")).await.expect("a journal");
    one.released(before);
    tokio::time::sleep(2 * FLUSH_AFTER).await;
    assert_eq!(other.crashes(key("a")).await, Ok(1));
}

#[test]
fn records_are_flushed_after_the_runtime_that_was_to_flush_them_has_ended() {
    let run = |work: &mut dyn FnMut() -> BoxFuture<'static, ()>| {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(true).build().expect("a runtime");
        runtime.block_on(work());
    };
    let transport = transport("journal-runtimes");
    let (one, other) = (journal(&transport), journal(&transport));
    run(&mut || {
        let one = Arc::clone(&one);
        Box::pin(async move {
            let record = one.begin(key("a")).await.expect("a journal");
            one.released(record);
        })
    });
    run(&mut || {
        let (one, other) = (Arc::clone(&one), Arc::clone(&other));
        Box::pin(async move {
            let record = one.begin(key("b")).await.expect("a journal");
            one.released(record);
            tokio::time::sleep(2 * FLUSH_AFTER).await;
            assert_eq!(other.crashes(key("b")).await, Ok(0));
        })
    });
}

#[tokio::test(start_paused = true)]
async fn crashes_are_unknown_if_what_was_read_is_gone() {
    let one = journal(&transport("journal-forgotten"));
    assert_eq!(one.crashes(key("a")).await, Ok(0));
    let mut held = one.state.lock().await;
    let crashes = tokio::spawn({
        let one = Arc::clone(&one);
        async move { one.crashes(key("a")).await }
    });
    tokio::task::yield_now().await;
    // Its entry is appended. The next one finds the journal unreachable, and the one after that
    // reaches it again.
    let request = one.requests().waiting.pop().expect("it waits for an entry");
    request.done.send(Ok(())).expect("it waits");
    (held.next, held.begun) = (0, HashMap::new());
    drop(held);
    assert_eq!(crashes.await.expect("no panic"), Err(Unavailable::Unreachable));
}

#[tokio::test(start_paused = true)]
async fn records_from_before_and_during_a_stop_are_no_evidence() {
    let transport = transport("journal-stop-begins");
    let (one, other) = (journal(&transport), journal(&transport));
    let begun = one.begin(key("a")).await.expect("a journal");
    let held = one.state.lock().await;
    let stops = tokio::spawn({
        let one = Arc::clone(&one);
        async move { one.begin_stop().await }
    });
    tokio::task::yield_now().await;
    let begins = tokio::spawn({
        let one = Arc::clone(&one);
        async move { one.begin(key("b")).await }
    });
    tokio::task::yield_now().await;
    drop(held);
    assert_eq!(stops.await.expect("no panic"), Ok(()));
    begins.await.expect("no panic").expect("not recorded");
    one.begin(key("c")).await.expect("not recorded");
    for body in ["a", "b", "c"] {
        assert_eq!(other.crashes(key(body)).await, Ok(0), "{body}");
    }
    // Its method has ended before the process did.
    one.settled(begun);
    one.stop(Instant::now()).await;
    assert_eq!(other.crashes(key("a")).await, Ok(0));
}

/// Two equal notifications, and one whose session was lost and that is begun again before its first call
/// has ended.
#[tokio::test(start_paused = true)]
async fn a_suspect_that_was_begun_more_than_once_is_evidence_until_the_last_one_ended() {
    let transport = transport("journal-twice");
    let (one, other) = (journal(&transport), journal(&transport));
    let crashes = async || {
        tokio::time::sleep(2 * FLUSH_AFTER).await;
        other.crashes(key("a")).await
    };
    let first = one.begin(key("a")).await.expect("a journal");
    let second = one.begin(key("a")).await.expect("a journal");
    one.released(first);
    assert_eq!(crashes().await, Ok(1));
    let third = one.begin(key("a")).await.expect("a journal");
    one.settled(second);
    assert_eq!(crashes().await, Ok(1), "settled once, and still begun");
    one.release_all();
    assert_eq!(crashes().await, Ok(0));
    let fourth = one.begin(key("a")).await.expect("a journal");
    one.released(third);
    assert_eq!(crashes().await, Ok(1), "the one of this session is begun");
    one.settled(fourth);
    assert_eq!(crashes().await, Ok(0));
}

#[tokio::test(start_paused = true)]
async fn a_withdrawn_record_is_not_a_crash_and_can_be_settled() {
    let transport = transport("journal-waits");
    let (crashed, one, other) = (journal(&transport), journal(&transport), journal(&transport));
    crashed.begin(key("a")).await.expect("a journal");
    let first = one.begin(key("a")).await.expect("a journal");
    let equal = one.begin(key("a")).await.expect("a journal");
    assert_eq!(other.crashes(key("a")).await, Ok(2));
    let (first, equal) = (one.withdrawn(first), one.withdrawn(equal));
    // Recorded with the next suspect that is begun.
    one.begin(key("b")).await.expect("a journal");
    assert_eq!(other.crashes(key("a")).await, Ok(1));
    let again = one.begin(key("a")).await.expect("a journal");
    one.settled(first);
    tokio::time::sleep(2 * FLUSH_AFTER).await;
    assert_eq!(other.crashes(key("a")).await, Ok(1), "it is still begun");
    one.released(again);
    one.settled(equal);
    tokio::time::sleep(2 * FLUSH_AFTER).await;
    assert_eq!(other.crashes(key("a")).await, Ok(0));
}

/// A journal that has begun "a", and whose stop could not be recorded; and one of another process.
async fn stopped_unrecorded(name: &str) -> (Arc<Journal>, Arc<Journal>) {
    let transport = transport(name);
    let (one, other) = (journal(&transport), journal(&transport));
    one.begin(key("a")).await.expect("a journal");
    let held = one.state.lock().await;
    one.stop(Instant::now()).await;
    drop(held);
    assert_eq!(other.crashes(key("a")).await, Ok(1));
    (one, other)
}

/// The process starts again.
#[tokio::test(start_paused = true)]
async fn an_unrecorded_stop_is_recorded_with_the_next_begun_suspect() {
    let (one, other) = stopped_unrecorded("journal-late-stop").await;
    one.start();
    one.begin(key("b")).await.expect("a journal");
    assert_eq!(other.crashes(key("a")).await, Ok(0));
    assert_eq!(other.crashes(key("b")).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn an_unrecorded_stop_is_recorded_by_the_next_stop() {
    let (one, other) = stopped_unrecorded("journal-second-stop").await;
    one.stop(Instant::now()).await;
    assert_eq!(other.crashes(key("a")).await, Ok(0));
}

#[tokio::test(start_paused = true)]
async fn a_stop_records_what_was_settled_a_moment_before() {
    let transport = transport("journal-settled");
    let (crashed, stopped, other) = (journal(&transport), journal(&transport), journal(&transport));
    crashed.begin(key("a")).await.expect("a journal");
    let record = stopped.begin(key("a")).await.expect("a journal");
    stopped.settled(record);
    stopped.stop(Instant::now()).await;
    assert_eq!(other.crashes(key("a")).await, Ok(0));
}

/// The session is lost while the record is being appended: the entry begins and releases the suspect, and
/// it is released again once its delivery is found to be stale.
#[tokio::test(start_paused = true)]
async fn a_record_of_a_lost_session_is_not_a_crash() {
    let transport = transport("journal-late");
    let (one, other) = (journal(&transport), journal(&transport));
    let held = one.state.lock().await;
    let begins = tokio::spawn({
        let one = Arc::clone(&one);
        async move { one.begin(key("a")).await }
    });
    tokio::task::yield_now().await;
    one.release_all();
    drop(held);
    let record = begins.await.expect("no panic").expect("a journal");
    one.released(record);
    tokio::time::sleep(2 * FLUSH_AFTER).await;
    assert_eq!(other.crashes(key("a")).await, Ok(0));
}

#[tokio::test(start_paused = true)]
async fn concurrent_callers_share_entries_and_a_dropped_one_does_not_fail_the_others() {
    let transport = transport("journal-shared");
    let (one, other) = (journal(&transport), journal(&transport));
    let keys: Vec<Key> = (0..100).map(|n: u32| key(&n.to_string())).collect();
    let tasks: Vec<_> = keys
        .iter()
        .map(|key| {
            let (one, key) = (Arc::clone(&one), *key);
            tokio::spawn(async move { one.begin(key).await })
        })
        .collect();
    tasks[0].abort();
    for task in tasks.into_iter().skip(1) {
        task.await.expect("not aborted").expect("a journal");
    }
    for key in &keys[1..] {
        assert_eq!(other.crashes(*key).await, Ok(1));
    }
}

/// A driver with journals only, which returns what the function does.
struct Answering<F>(F);

impl<F, A> Driver for Answering<F>
where
    F: Fn(JournalAppend) -> A + Send + Sync + 'static,
    A: Future<Output = Result<JournalRead, JournalError>> + Send + 'static,
{
    fn subscribe(&self, _: Subscription) -> BoxFuture<'_, Result<Subscribed, ConnectError>> {
        unreachable!("nothing is consumed")
    }

    fn send(&self, _: Outgoing) -> BoxFuture<'_, Result<(), SendError>> {
        unreachable!("nothing is sent")
    }

    fn journal(&self, append: JournalAppend) -> BoxFuture<'_, Result<JournalRead, JournalError>> {
        Box::pin((self.0)(append))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_timed_out_leaves_no_flush_behind() {
    let waiting = Arc::new(());
    let silent = Answering({
        let waiting = Arc::clone(&waiting);
        move |_| {
            let waiting = Arc::clone(&waiting);
            async move {
                let _waiting = waiting;
                std::future::pending().await
            }
        }
    });
    let journal = journal(&Transport::new(silent, "silent"));
    let record = journal.requests().begin(key("a"));
    journal.settled(record);
    tokio::time::sleep(2 * FLUSH_AFTER).await;
    assert_eq!(Arc::strong_count(&waiting), 3, "it is being recorded");
    journal.stop(Instant::now()).await;
    tokio::task::yield_now().await;
    assert_eq!(Arc::strong_count(&waiting), 2, "only the driver has one");
}

/// Journals in memory that are lost while the flag is set, and how often they were used.
#[derive(Clone)]
struct Losing {
    kept: Transport,
    is_lost: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl Losing {
    fn new(name: &str) -> Self {
        let is_lost = Arc::new(AtomicBool::new(true));
        Self { kept: transport(name), is_lost, asked: Arc::default() }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    fn journal(&self) -> Arc<Journal> {
        let losing = self.clone();
        let driver = Answering(move |append| {
            let losing = losing.clone();
            async move {
                losing.asked.fetch_add(1, Ordering::Relaxed);
                if losing.is_lost.load(Ordering::Relaxed) {
                    return Err(JournalError::Lost("506".to_owned()));
                }
                losing.kept.journal(append).await
            }
        });
        journal(&Transport::new(driver, "losing"))
    }

    /// A journal that has been lost for long enough, with something begun before.
    async fn lost_for_long(&self) -> (Arc<Journal>, Record) {
        let journal = self.journal();
        self.is_lost.store(false, Ordering::Relaxed);
        let record = journal.begin(key("begun")).await.expect("a journal");
        self.is_lost.store(true, Ordering::Relaxed);
        assert_eq!(journal.crashes(key("a")).await, Err(Unavailable::Unreachable));
        tokio::time::sleep(LOST_AFTER).await;
        self.asked.store(0, Ordering::Relaxed);
        assert_eq!(journal.crashes(key("a")).await, Err(Unavailable::Unreachable));
        (journal, record)
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_journal_is_tried_once_a_minute_if_it_is_needed_and_in_each_session() {
    let losing = Losing::new("journal-lost");
    let (journal, record) = losing.lost_for_long().await;
    for _ in 0..3 {
        assert_eq!(journal.crashes(key("a")).await, Err(Unavailable::Unreachable));
    }
    assert_eq!(losing.asked(), 1);
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(losing.asked(), 1, "there is nothing to record");
    // The record waits, and is forgotten after the next attempt.
    journal.released(record);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(losing.asked(), 2);
    journal.attached();
    let _ = journal.crashes(key("a")).await;
    assert_eq!(losing.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_is_found_a_moment_later_is_not_lost() {
    let losing = Losing::new("journal-declared");
    let journal = losing.journal();
    assert!(journal.begin(key("a")).await.is_err());
    losing.is_lost.store(false, Ordering::Relaxed);
    tokio::time::sleep(Outage::Unreachable.retry_after()).await;
    journal.begin(key("a")).await.expect("a journal");
    losing.is_lost.store(true, Ordering::Relaxed);
    tokio::time::sleep(2 * LOST_AFTER).await;
    // The earlier loss does not count.
    let _ = journal.crashes(key("a")).await;
    losing.is_lost.store(false, Ordering::Relaxed);
    journal.begin_stop().await.expect("a journal");
    let other = self::journal(&losing.kept);
    assert_eq!(other.crashes(key("a")).await, Ok(0), "the stop was recorded");
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_use_a_lost_journal_and_the_next_run_records_as_usual() {
    let losing = Losing::new("journal-stopped");
    let (journal, _record) = losing.lost_for_long().await;
    let before = losing.asked();
    journal.stop(Instant::now()).await;
    assert_eq!(losing.asked(), before);
    losing.is_lost.store(false, Ordering::Relaxed);
    journal.start();
    tokio::time::sleep(Outage::Lost.retry_after()).await;
    let record = journal.begin(key("begun")).await.expect("a journal");
    let other = self::journal(&losing.kept);
    assert_eq!(other.crashes(key("begun")).await, Ok(1));
    journal.released(record);
    tokio::time::sleep(2 * FLUSH_AFTER).await;
    assert_eq!(other.crashes(key("begun")).await, Ok(0));
}

#[tokio::test]
async fn a_driver_without_journals_gives_no_evidence() {
    let without = Answering(|append: JournalAppend| {
        std::future::ready(Err(JournalError::Unsupported(append.journal)))
    });
    let journal = journal(&Transport::new(without, "bare"));
    assert_eq!(journal.crashes(key("a")).await, Err(Unavailable::Refused));
    assert_eq!(journal.begin(key("a")).await.err(), Some(Unavailable::Refused));
    journal.stop(Instant::now()).await;
}
