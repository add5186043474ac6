//! A notifier with a spool while its broker is away, refuses, or comes back; and a window that
//! is full. What the disk does is in `listener/src/notifier/spool/tests.rs`.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use listener::NotifierBuilder;
use listener::NotifyError;
use listener::Receipt;
use listener::driver::{ConnectError, SendError};
use listener::driver::{Driver, Outgoing, Route, Subscribed, Subscription};
use listener::error::{NotifierBuildError, SpoolError};
use listener::observe::Spooled;
use listener::options::{SpoolOptions, WhenFull};
use listener::{Context, Notifier, Priority, Transport};
use support::wait_until;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

const AFTER: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(30);

/// How a broker is.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    There,
    Away,
    /// It has no queue for this payload.
    HasNoQueueFor(u32),
    /// This process cannot even ask it.
    OutOfReach,
    /// It is away for this topic.
    AwayFor(&'static str),
    /// The queues of these routing keys are others than those to be declared.
    HasOthers(&'static [&'static str]),
    /// The account may do nothing.
    Forbids,
    /// It takes no transient queues.
    DeniesTransient,
    /// The account may do nothing, until so many more sends were refused.
    ForbidsNext(u32),
    /// The queue of `warn` is another than that to be declared; from this payload on it is away.
    HasOthersAndHangsFrom(u32),
    /// It takes one more. Then the account may do nothing.
    TakesOneAndForbids,
}

/// A broker that may be away, and keeps what it gets: routing key and payload.
#[derive(Clone)]
struct Broker {
    mood: watch::Sender<Mood>,
    got: Arc<Mutex<Vec<(String, u32)>>>,
}

impl Broker {
    fn new(mood: Mood) -> Self {
        Self { mood: watch::Sender::new(mood), got: Arc::default() }
    }

    fn transport(&self) -> Transport {
        Transport::new(self.clone(), "a broker that may be away")
    }

    /// The payloads until now.
    fn got(&self) -> Vec<u32> {
        self.got.lock().unwrap().iter().map(|(_, payload)| *payload).collect()
    }

    async fn take(&self, outgoing: &Outgoing) -> Result<(), SendError> {
        let Route::Topic { routing_key, .. } = &outgoing.route else { panic!("a topic") };
        let payload = payload(outgoing);
        let is_away = |mood: &Mood| match mood {
            Mood::Away => true,
            Mood::AwayFor(topic) => routing_key.starts_with(topic),
            Mood::HasOthersAndHangsFrom(first) => payload >= *first,
            _ => false,
        };
        let mood = *self.mood.subscribe().wait_for(|mood| !is_away(mood)).await.unwrap();
        if mood == Mood::HasNoQueueFor(payload) {
            let (route, reason) = (outgoing.route.to_string(), "312 NO_ROUTE".to_owned());
            return Err(SendError::Unroutable { route, reason });
        }
        if mood == Mood::OutOfReach {
            let (action, reason) = ("start the driver's thread".to_owned(), "a test".to_owned());
            return Err(ConnectError::Local { action, reason }.into());
        }
        let others: &[&str] = match mood {
            Mood::HasOthers(keys) => keys,
            Mood::HasOthersAndHangsFrom(_) => &["notifications.warn"],
            _ => &[],
        };
        if others.contains(&routing_key.as_str()) {
            let what = format!("queue {routing_key:?}");
            let difference = "x-queue-type was asked to be quorum, and is classic".to_owned();
            return Err(ConnectError::Mismatch { what, difference }.into());
        }
        match mood {
            Mood::ForbidsNext(1) => _ = self.mood.send_replace(Mood::There),
            Mood::ForbidsNext(left) => _ = self.mood.send_replace(Mood::ForbidsNext(left - 1)),
            Mood::TakesOneAndForbids => _ = self.mood.send_replace(Mood::Forbids),
            _ => {}
        }
        if matches!(mood, Mood::Forbids | Mood::ForbidsNext(_)) {
            let (user, action) = ("billing".to_owned(), "declare queues".to_owned());
            let reason = "403 ACCESS_REFUSED".to_owned();
            return Err(ConnectError::Forbidden { user, action, reason }.into());
        }
        if mood == Mood::DeniesTransient {
            let action = format!("declare queue {routing_key:?}");
            let reason = "541 INTERNAL_ERROR - Feature `transient_nonexcl_queues` is deprecated";
            return Err(ConnectError::Refused { action, reason: reason.to_owned() }.into());
        }
        self.got.lock().unwrap().push((routing_key.clone(), payload));
        Ok(())
    }
}

fn payload(outgoing: &Outgoing) -> u32 {
    let outer: serde_json::Value = serde_json::from_slice(&outgoing.body).unwrap();
    let inner: serde_json::Value =
        serde_json::from_str(outer["oslo.message"].as_str().unwrap()).unwrap();
    inner["payload"].as_u64().unwrap() as u32
}

impl Driver for Broker {
    fn subscribe(&self, _: Subscription) -> BoxFuture<'_, Result<Subscribed, ConnectError>> {
        unreachable!("a notifier does not subscribe")
    }

    fn send(&self, outgoing: Outgoing) -> BoxFuture<'_, Result<(), SendError>> {
        async move {
            timeout(outgoing.timeout, self.take(&outgoing)).await.unwrap_or_else(|_| {
                let (route, after) = (outgoing.route.to_string(), outgoing.timeout);
                Err(SendError::TimedOut { route, after, last: None })
            })
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }
}

/// A directory of a test, gone with it.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("listener-flow-{}-{number}", std::process::id())))
    }

    fn options(&self) -> SpoolOptions {
        SpoolOptions::new(&self.0).after(AFTER)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn builder(broker: &Broker) -> NotifierBuilder {
    Notifier::builder(broker.transport()).timeout(TIMEOUT)
}

fn spooling(broker: &Broker, directory: &Directory) -> Notifier {
    builder(broker).spool(directory.options()).build().unwrap()
}

async fn notify(notifier: &Notifier, payload: u32) -> Result<Receipt, NotifyError> {
    notifier.notify(Priority::Info, &Context::new(), "x", &payload).await
}

async fn drained(notifier: &Notifier) {
    wait_until("the spool is empty", TIMEOUT, async || notifier.spooled().waiting == 0).await;
}

#[tokio::test(start_paused = true)]
async fn while_the_broker_is_away_notifications_are_spooled_and_then_sent_in_order() {
    let (broker, directory) = (Broker::new(Mood::Away), Directory::new());
    let notifier = spooling(&broker, &directory);
    let begun = Instant::now();
    assert_eq!(notify(&notifier, 0).await.unwrap(), Receipt::Spooled);
    assert_eq!(begun.elapsed(), AFTER, "the first call waits for the broker");
    for payload in 1..100 {
        assert_eq!(notify(&notifier, payload).await.unwrap(), Receipt::Spooled);
    }
    assert_eq!(begun.elapsed(), AFTER, "the others do not");
    assert_eq!(notifier.spooled().waiting, 100);
    broker.mood.send_replace(Mood::There);
    // Those that come while the spool is not empty yet come behind what is in it.
    for payload in 100..110 {
        notify(&notifier, payload).await.unwrap();
    }
    drained(&notifier).await;
    assert_eq!(notify(&notifier, 110).await.unwrap(), Receipt::Confirmed);
    assert_eq!(broker.got(), (0..=110).collect::<Vec<_>>());
    assert_eq!(notifier.spooled(), Spooled::default());
}

#[tokio::test(start_paused = true)]
async fn a_new_notifier_goes_on_with_what_the_last_one_left() {
    let (broker, directory) = (Broker::new(Mood::Away), Directory::new());
    let notifier = spooling(&broker, &directory);
    for payload in 0..3 {
        notify(&notifier, payload).await.unwrap();
    }
    drop(notifier);
    let mut next = None;
    wait_until("the directory is free", TIMEOUT, async || {
        next = builder(&broker).spool(directory.options()).build().ok();
        next.is_some()
    })
    .await;
    let next = next.unwrap();
    assert_eq!(next.spooled().waiting, 3);
    assert_eq!(notify(&next, 3).await.unwrap(), Receipt::Spooled);
    broker.mood.send_replace(Mood::There);
    next.close().await;
    assert_eq!(broker.got(), [0, 1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn closing_waits_for_the_spool_no_longer_than_a_call_may_take() {
    let (broker, directory) = (Broker::new(Mood::Away), Directory::new());
    let notifier = spooling(&broker, &directory);
    notify(&notifier, 0).await.unwrap();
    let begun = Instant::now();
    notifier.close().await;
    assert_eq!((begun.elapsed(), notifier.spooled().waiting), (TIMEOUT, 1));
    let coming_back = async {
        tokio::time::sleep(TIMEOUT / 2).await;
        broker.mood.send_replace(Mood::There);
    };
    tokio::join!(notifier.close(), coming_back);
    assert_eq!((notifier.spooled().waiting, broker.got()), (0, vec![0]));
}

#[tokio::test(start_paused = true)]
async fn two_notifiers_cannot_have_one_directory_and_clones_share_it() {
    let (broker, directory) = (Broker::new(Mood::Away), Directory::new());
    let notifier = spooling(&broker, &directory);
    let error = builder(&broker).spool(directory.options()).build().unwrap_err();
    let in_use = SpoolError::InUse { directory: directory.0.clone() };
    assert_eq!(error, NotifierBuildError::Spool(in_use));
    notify(&notifier.with_publisher_id("other"), 1).await.unwrap();
    assert_eq!(notifier.spooled().waiting, 1);
}

#[tokio::test(start_paused = true)]
async fn what_the_broker_refuses_for_good_is_set_aside_and_holds_back_nothing() {
    let (broker, directory) = (Broker::new(Mood::Away), Directory::new());
    let notifier = spooling(&broker, &directory);
    for payload in 0..3 {
        notify(&notifier, payload).await.unwrap();
    }
    broker.mood.send_replace(Mood::HasNoQueueFor(1));
    drained(&notifier).await;
    assert_eq!((broker.got(), notifier.spooled().set_aside), (vec![0, 2], 1));
    // A call that meets it directly is told.
    let error = notify(&notifier, 1).await.unwrap_err();
    assert!(!error.is_transient() && !error.may_have_been_sent(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_route_that_cannot_be_declared_holds_back_no_other() {
    let (broker, directory) = (Broker::new(Mood::Away), Directory::new());
    let notifier = spooling(&broker, &directory);
    let warn = async |payload: u32| {
        notifier.notify(Priority::Warn, &Context::new(), "x", &payload).await.unwrap()
    };
    for payload in 0..3 {
        warn(payload).await;
    }
    broker.mood.send_replace(Mood::HasOthers(&["notifications.warn"]));
    // Without another route it is not known whether the mistake concerns all.
    tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
    assert_eq!((notifier.spooled().waiting, notifier.spooled().set_aside), (3, 0));
    for payload in 3..6 {
        assert_eq!(notify(&notifier, payload).await.unwrap(), Receipt::Spooled);
    }
    warn(6).await;
    assert_eq!(notify(&notifier, 7).await.unwrap(), Receipt::Spooled);
    drained(&notifier).await;
    // The one by which that was learned came once more.
    assert_eq!((broker.got(), notifier.spooled().set_aside), (vec![3, 3, 4, 5, 7], 4));
}

#[tokio::test(start_paused = true)]
async fn routes_that_cannot_be_declared_hold_back_no_other() {
    let (broker, directory) = (Broker::new(Mood::Away), Directory::new());
    let notifier = spooling(&broker, &directory);
    for payload in 0..4_u32 {
        for priority in [Priority::Warn, Priority::Error, Priority::Info] {
            notifier.notify(priority, &Context::new(), "x", &payload).await.unwrap();
        }
    }
    broker.mood.send_replace(Mood::HasOthers(&["notifications.warn", "notifications.error"]));
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let mut got = broker.got();
    // Two of them, or one twice, showed that others are taken.
    assert!(got.len() <= 6, "{got:?}");
    got.dedup();
    assert_eq!((got, notifier.spooled().set_aside), (vec![0, 1, 2, 3], 8));
    assert_eq!(notifier.spooled().waiting, 0);
    // What is taken again is not set aside for a mistake that concerns all.
    broker.mood.send_replace(Mood::There);
    notifier.notify(Priority::Warn, &Context::new(), "x", &4_u32).await.unwrap();
    broker.mood.send_replace(Mood::Away);
    notifier.notify(Priority::Warn, &Context::new(), "x", &5_u32).await.unwrap();
    broker.mood.send_replace(Mood::Forbids);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!((notifier.spooled().waiting, notifier.spooled().set_aside), (1, 8));
}

#[tokio::test(start_paused = true)]
async fn a_mistake_that_concerns_all_routes_sets_nothing_aside() {
    for mood in [Mood::Forbids, Mood::DeniesTransient] {
        let (broker, directory) = (Broker::new(Mood::Away), Directory::new());
        let notifier = spooling(&broker, &directory);
        for priority in [Priority::Warn, Priority::Info, Priority::Error] {
            notifier.notify(priority, &Context::new(), "x", &0_u32).await.unwrap();
        }
        broker.mood.send_replace(mood);
        tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
        assert_eq!((notifier.spooled().waiting, notifier.spooled().set_aside), (3, 0));
        broker.mood.send_replace(Mood::There);
        // The longest pause between two tries.
        tokio::time::sleep(Duration::from_secs(30)).await;
        drained(&notifier).await;
        assert_eq!((broker.got(), notifier.spooled().set_aside), (vec![0, 0, 0], 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_mistake_that_is_corrected_between_two_sends_sets_nothing_aside() {
    // At whichever send: alone, with one of another route, or between the two.
    for refused in 1..12 {
        let (broker, directory) = (Broker::new(Mood::Away), Directory::new());
        let notifier = spooling(&broker, &directory);
        for (payload, priority) in [Priority::Warn, Priority::Info].into_iter().enumerate() {
            notifier.notify(priority, &Context::new(), "x", &payload).await.unwrap();
        }
        broker.mood.send_replace(Mood::ForbidsNext(refused));
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let mut got = broker.got();
        got.sort_unstable();
        got.dedup();
        assert_eq!((got, notifier.spooled()), (vec![0, 1], Spooled::default()), "{refused}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_route_that_was_refused_once_is_not_set_aside_for_a_mistake_that_concerns_all() {
    let (broker, directory) = (Broker::new(Mood::Away), Directory::new());
    let notifier = spooling(&broker, &directory);
    let priorities = [Priority::Warn, Priority::Info, Priority::Info, Priority::Warn];
    for (payload, priority) in priorities.into_iter().enumerate() {
        notifier.notify(priority, &Context::new(), "x", &payload).await.unwrap();
    }
    // Something waits all the time, so that what was learned of the route is not forgotten.
    broker.mood.send_replace(Mood::HasOthersAndHangsFrom(2));
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!((notifier.spooled().waiting, notifier.spooled().set_aside), (2, 1));
    broker.mood.send_replace(Mood::TakesOneAndForbids);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!((notifier.spooled().waiting, notifier.spooled().set_aside), (1, 1));
    broker.mood.send_replace(Mood::There);
    drained(&notifier).await;
    assert_eq!((broker.got(), notifier.spooled().set_aside), (vec![1, 1, 2, 3], 1));
}

#[tokio::test(start_paused = true)]
async fn what_fails_in_this_process_is_spooled_and_never_set_aside() {
    let (broker, directory) = (Broker::new(Mood::OutOfReach), Directory::new());
    let notifier = spooling(&broker, &directory);
    assert_eq!(notify(&notifier, 0).await.unwrap(), Receipt::Spooled);
    // Longer than a notification is tried that is refused for itself.
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let spooled = notifier.spooled();
    assert_eq!((spooled.waiting, spooled.set_aside), (1, 0));
    broker.mood.send_replace(Mood::There);
    drained(&notifier).await;
    assert_eq!(broker.got(), [0]);
}

#[tokio::test(start_paused = true)]
async fn only_the_topics_that_did_not_confirm_are_spooled() {
    let (broker, directory) = (Broker::new(Mood::AwayFor("two")), Directory::new());
    let notifier =
        builder(&broker).topic("one").topic("two").spool(directory.options()).build().unwrap();
    assert_eq!(notify(&notifier, 1).await.unwrap(), Receipt::Spooled);
    assert_eq!(notifier.spooled().waiting, 1);
    broker.mood.send_replace(Mood::There);
    drained(&notifier).await;
    let got = ["one.info", "two.info"].map(|key| (key.to_owned(), 1));
    assert_eq!(*broker.got.lock().unwrap(), got);
}

#[tokio::test(start_paused = true)]
async fn a_full_spool_is_the_callers_error_and_loses_nothing_that_it_took() {
    let (broker, directory) = (Broker::new(Mood::Away), Directory::new());
    let options = directory.options().max_bytes(1000);
    let notifier = builder(&broker).spool(options).build().unwrap();
    let mut taken = Vec::new();
    let error = loop {
        match notify(&notifier, taken.len() as u32).await {
            Ok(_) => taken.push(taken.len() as u32),
            Err(error) => break error,
        }
    };
    assert!(matches!(&error, NotifyError::Spool { error: SpoolError::Full { .. }, tried: None }));
    assert!(error.is_transient() && !error.may_have_been_sent(), "{error}");
    assert!(!taken.is_empty());
    broker.mood.send_replace(Mood::There);
    drained(&notifier).await;
    assert_eq!(broker.got(), taken);
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_room_in_a_full_spool() {
    let (broker, directory) = (Broker::new(Mood::Away), Directory::new());
    let options = directory.options().max_bytes(1000);
    let notifier = builder(&broker).spool(options).build().unwrap();
    let coming_back = async {
        tokio::time::sleep(TIMEOUT / 2).await;
        broker.mood.send_replace(Mood::There);
    };
    let calls = futures_util::future::join_all((0..50).map(|payload| notify(&notifier, payload)));
    let (results, ()) = tokio::join!(calls, coming_back);
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    drained(&notifier).await;
    let mut got = broker.got();
    got.sort_unstable();
    assert_eq!(got, (0..50).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn many_at_once_are_sent_if_that_is_asked_for_and_one_that_is_refused_goes_alone() {
    let (broker, directory) = (Broker::new(Mood::Away), Directory::new());
    let options = directory.options().at_once(8);
    let notifier = builder(&broker).spool(options).build().unwrap();
    for payload in 0..20 {
        notify(&notifier, payload).await.unwrap();
    }
    broker.mood.send_replace(Mood::HasNoQueueFor(10));
    drained(&notifier).await;
    let (mut got, set_aside) = (broker.got(), notifier.spooled().set_aside);
    // Those behind it that were sent with it came once more.
    let count = got.len();
    got.sort_unstable();
    got.dedup();
    assert_eq!((got, set_aside), ((0..20).filter(|payload| *payload != 10).collect(), 1));
    assert!((20..=26).contains(&count), "{count}");
}

#[tokio::test(start_paused = true)]
async fn a_full_spool_drops_the_oldest_if_it_is_told_to() {
    let (broker, directory) = (Broker::new(Mood::Away), Directory::new());
    let options = directory.options().max_bytes(1000).when_full(WhenFull::DropOldest);
    let notifier = builder(&broker).spool(options).build().unwrap();
    for payload in 0..20 {
        assert_eq!(notify(&notifier, payload).await.unwrap(), Receipt::Spooled);
    }
    let Spooled { waiting, dropped, .. } = notifier.spooled();
    assert_eq!(waiting as u64 + dropped, 20);
    broker.mood.send_replace(Mood::There);
    drained(&notifier).await;
    // The first was on its way when it was dropped.
    let mut got = broker.got();
    got.retain(|payload| *payload != 0);
    assert_eq!(got, (dropped as u32..20).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_notification_that_may_not_wait_for_the_broker_is_spooled_and_sent_once() {
    let (broker, directory) = (Broker::new(Mood::There), Directory::new());
    let options = directory.options().after(Duration::ZERO);
    let notifier = builder(&broker).spool(options).build().unwrap();
    for payload in 0..3 {
        assert_eq!(notify(&notifier, payload).await.unwrap(), Receipt::Spooled);
        drained(&notifier).await;
    }
    assert_eq!(broker.got(), [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_of_a_dropped_notification_does_not_count_for_the_next() {
    let (broker, directory) = (Broker::new(Mood::Away), Directory::new());
    let options = directory.options().max_bytes(1000).when_full(WhenFull::DropOldest);
    let notifier = builder(&broker).spool(options).build().unwrap();
    for payload in 0..2 {
        notify(&notifier, payload).await.unwrap();
    }
    broker.mood.send_replace(Mood::HasNoQueueFor(0));
    // It is refused four times, and the fifth time would be the last.
    tokio::time::sleep(Duration::from_secs(12)).await;
    broker.mood.send_replace(Mood::HasNoQueueFor(1));
    let mut payload = 2;
    while notifier.spooled().dropped == 0 {
        notify(&notifier, payload).await.unwrap();
        payload += 1;
    }
    tokio::time::sleep(Duration::from_secs(20)).await;
    broker.mood.send_replace(Mood::There);
    drained(&notifier).await;
    assert_eq!((notifier.spooled().dropped, notifier.spooled().set_aside), (1, 0));
    assert_eq!(broker.got(), (1..payload).collect::<Vec<_>>());
}

#[test]
fn calls_that_end_while_the_disk_does_not_answer_leave_no_more_than_the_window() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let (broker, directory) = (Broker::new(Mood::Away), Directory::new());
        let options = directory.options().after(Duration::ZERO);
        let builder = builder(&broker).timeout(Duration::from_millis(20)).window(2);
        let notifier = builder.spool(options).build().unwrap();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let disk = tokio::task::spawn_blocking(move || released.recv());
        for payload in 0..50 {
            let error = notify(&notifier, payload).await.unwrap_err();
            assert!(error.is_transient(), "{error}");
        }
        drop(release);
        disk.await.unwrap().unwrap_err();
        let mut calls = 1;
        // It comes behind all that were handed in before.
        while notify(&notifier, 50).await.is_err() {
            calls += 1;
        }
        let waiting = notifier.spooled().waiting;
        assert!(waiting <= 2 + calls, "{waiting} after {calls}");
    });
}

#[test]
fn a_spool_outside_a_runtime_does_not_build() {
    let (broker, directory) = (Broker::new(Mood::There), Directory::new());
    let error = builder(&broker).spool(directory.options()).build().unwrap_err();
    assert_eq!(error, NotifierBuildError::Spool(SpoolError::NoRuntime));
}

#[tokio::test(start_paused = true)]
async fn a_call_beyond_the_window_waits_for_a_place_and_says_if_it_got_none() {
    let broker = Broker::new(Mood::Away);
    let notifier = builder(&broker).window(2).build().unwrap();
    let calls = futures_util::future::join_all((0..3).map(|payload| notify(&notifier, payload)));
    let results = calls.await;
    let [Err(one), Err(two), Err(three)] = &results[..] else { panic!("{results:?}") };
    for error in [one, two] {
        assert!(error.is_transient() && error.may_have_been_sent(), "{error}");
    }
    assert_eq!(
        three.to_string(),
        "no place in the window of 2 notifications within 30s: the broker confirms slower than \
         this program sends"
    );
    assert!(three.is_transient() && !three.may_have_been_sent());

    let coming_back = async {
        tokio::time::sleep(TIMEOUT / 2).await;
        broker.mood.send_replace(Mood::There);
    };
    let calls = futures_util::future::join_all((3..10).map(|payload| notify(&notifier, payload)));
    let (results, ()) = tokio::join!(calls, coming_back);
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(broker.got(), (3..10).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn one_that_is_too_large_is_refused_before_anything_is_sent() {
    let broker = Broker::new(Mood::There);
    let notifier = builder(&broker).max_body(300).build().unwrap();
    let error = notifier.info(&Context::new(), "x", &"x".repeat(300)).await.unwrap_err();
    assert!(matches!(&error, NotifyError::TooLarge { limit: 300, size: 301.. }), "{error}");
    assert!(!error.is_transient() && !error.may_have_been_sent());
    assert_eq!(broker.got(), [0; 0]);
    notify(&notifier, 1).await.unwrap();
}

#[test]
fn every_mistake_of_a_notifier_is_told_at_once() {
    let broker = Broker::new(Mood::There);
    let error = builder(&broker).topic("").window(0).build().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the notifier cannot be built, for 2 reasons:\
         \n- a topic of the notifier is empty; expected a name such as \"notifications\"\
         \n- the window of the notifier is 0; expected at least 1 notification and 1 byte"
    );
}

#[test]
fn a_window_without_a_place_does_not_build() {
    let broker = Broker::new(Mood::There);
    for builder in [builder(&broker).window(0), builder(&broker).window_bytes(0)] {
        assert_eq!(builder.build().unwrap_err(), NotifierBuildError::EmptyWindow);
    }
}
