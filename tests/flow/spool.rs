//! A notifier with a spool while its broker is away or comes back. Refusals are in `spool_refusals.rs`;
//! what the disk does is in `listener/src/notifier/spool/tests.rs`.

use std::time::Duration;

use listener::error::{NotifierBuildError, SpoolError};
use listener::observe::Spooled;
use listener::options::{SpoolOptions, WhenFull};
use listener::{NotifyError, Receipt};
use support::wait_until;
use tokio::time::Instant;

use crate::notifier_broker::{
    AFTER, Broker, BrokerState, Directory, TIMEOUT, builder, drained, notify, spooling,
};

#[tokio::test(start_paused = true)]
async fn notifications_are_spooled_while_the_broker_is_away_and_then_sent_in_order() {
    let (broker, directory) = (Broker::new(BrokerState::Away), Directory::new());
    let notifier = spooling(&broker, &directory);
    let began = Instant::now();
    assert_eq!(notify(&notifier, 0).await.unwrap(), Receipt::Spooled);
    assert_eq!(began.elapsed(), AFTER, "the first call waits for the broker");
    for payload in 1..100 {
        assert_eq!(notify(&notifier, payload).await.unwrap(), Receipt::Spooled);
    }
    assert_eq!(began.elapsed(), AFTER, "the others do not");
    assert_eq!(notifier.spooled().waiting, 100);
    broker.state.send_replace(BrokerState::Available);
    // While the spool is not empty, new notifications queue behind it.
    for payload in 100..110 {
        notify(&notifier, payload).await.unwrap();
    }
    drained(&notifier).await;
    assert_eq!(notify(&notifier, 110).await.unwrap(), Receipt::Confirmed);
    assert_eq!(broker.accepted(), (0..=110).collect::<Vec<_>>());
    assert_eq!(notifier.spooled(), Spooled::default());
}

#[tokio::test(start_paused = true)]
async fn a_new_notifier_sends_what_the_previous_one_left_in_the_spool() {
    let (broker, directory) = (Broker::new(BrokerState::Away), Directory::new());
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
    broker.state.send_replace(BrokerState::Available);
    next.close().await;
    assert_eq!(broker.accepted(), [0, 1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn close_waits_for_the_spool_no_longer_than_the_timeout_of_a_call() {
    let (broker, directory) = (Broker::new(BrokerState::Away), Directory::new());
    let notifier = spooling(&broker, &directory);
    notify(&notifier, 0).await.unwrap();
    let began = Instant::now();
    notifier.close().await;
    assert_eq!((began.elapsed(), notifier.spooled().waiting), (TIMEOUT, 1));
    let coming_back = async {
        tokio::time::sleep(TIMEOUT / 2).await;
        broker.state.send_replace(BrokerState::Available);
    };
    tokio::join!(notifier.close(), coming_back);
    assert_eq!((notifier.spooled().waiting, broker.accepted()), (0, vec![0]));
}

#[tokio::test(start_paused = true)]
async fn two_notifiers_cannot_share_a_directory_but_clones_do() {
    let (broker, directory) = (Broker::new(BrokerState::Away), Directory::new());
    let notifier = spooling(&broker, &directory);
    let error = builder(&broker).spool(directory.options()).build().unwrap_err();
    let in_use = SpoolError::InUse { directory: directory.0.clone() };
    assert_eq!(error, NotifierBuildError::Spool(in_use));
    notify(&notifier.with_publisher_id("other"), 1).await.unwrap();
    assert_eq!(notifier.spooled().waiting, 1);
}

#[tokio::test(start_paused = true)]
async fn only_the_unconfirmed_topics_are_spooled() {
    let (broker, directory) = (Broker::new(BrokerState::AwayFor("two")), Directory::new());
    let notifier =
        builder(&broker).topic("one").topic("two").spool(directory.options()).build().unwrap();
    assert_eq!(notify(&notifier, 1).await.unwrap(), Receipt::Spooled);
    assert_eq!(notifier.spooled().waiting, 1);
    broker.state.send_replace(BrokerState::Available);
    drained(&notifier).await;
    let accepted = ["one.info", "two.info"].map(|key| (key.to_owned(), 1));
    assert_eq!(*broker.accepted.lock().unwrap(), accepted);
}

#[tokio::test(start_paused = true)]
async fn a_full_spool_is_an_error_and_keeps_what_it_accepted() {
    let (broker, directory) = (Broker::new(BrokerState::Away), Directory::new());
    let options = directory.options().max_bytes(1000);
    let notifier = builder(&broker).spool(options).build().unwrap();
    let mut taken = Vec::new();
    let error = loop {
        match notify(&notifier, taken.len() as u32).await {
            Ok(_) => taken.push(taken.len() as u32),
            Err(error) => break error,
        }
    };
    assert!(matches!(
        &error,
        NotifyError::Spool { error: SpoolError::Full { .. }, tried: None, .. }
    ));
    assert!(error.is_transient() && !error.may_have_been_sent(), "{error}");
    assert!(!taken.is_empty());
    broker.state.send_replace(BrokerState::Available);
    drained(&notifier).await;
    assert_eq!(broker.accepted(), taken);
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_space_in_a_full_spool() {
    let (broker, directory) = (Broker::new(BrokerState::Away), Directory::new());
    let options = directory.options().max_bytes(1000);
    let notifier = builder(&broker).spool(options).build().unwrap();
    let coming_back = async {
        tokio::time::sleep(TIMEOUT / 2).await;
        broker.state.send_replace(BrokerState::Available);
    };
    let calls = futures_util::future::join_all((0..50).map(|payload| notify(&notifier, payload)));
    let (results, ()) = tokio::join!(calls, coming_back);
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    drained(&notifier).await;
    let mut accepted = broker.accepted();
    accepted.sort_unstable();
    assert_eq!(accepted, (0..50).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn drop_oldest_drops_the_oldest_of_a_full_spool() {
    let (broker, directory) = (Broker::new(BrokerState::Away), Directory::new());
    let options = directory.options().max_bytes(1000).when_full(WhenFull::DropOldest);
    let notifier = builder(&broker).spool(options).build().unwrap();
    for payload in 0..20 {
        assert_eq!(notify(&notifier, payload).await.unwrap(), Receipt::Spooled);
    }
    let Spooled { waiting, dropped, .. } = notifier.spooled();
    assert_eq!(waiting as u64 + dropped, 20);
    broker.state.send_replace(BrokerState::Available);
    drained(&notifier).await;
    // The first was being sent when it was dropped.
    let mut accepted = broker.accepted();
    accepted.retain(|payload| *payload != 0);
    assert_eq!(accepted, (dropped as u32..20).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn with_after_zero_a_notification_is_spooled_and_sent_once() {
    let (broker, directory) = (Broker::new(BrokerState::Available), Directory::new());
    let options = directory.options().confirm_timeout(Duration::ZERO);
    let notifier = builder(&broker).spool(options).build().unwrap();
    for payload in 0..3 {
        assert_eq!(notify(&notifier, payload).await.unwrap(), Receipt::Spooled);
        drained(&notifier).await;
    }
    assert_eq!(broker.accepted(), [0, 1, 2]);
}

#[test]
fn calls_that_time_out_on_a_hanging_disk_leave_no_more_than_the_window() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let (broker, directory) = (Broker::new(BrokerState::Away), Directory::new());
        let options = directory.options().confirm_timeout(Duration::ZERO);
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
        // This call queues behind all the others.
        while notify(&notifier, 50).await.is_err() {
            calls += 1;
        }
        let waiting = notifier.spooled().waiting;
        assert!(waiting <= 2 + calls, "{waiting} after {calls}");
    });
}

#[test]
fn a_spool_outside_of_a_runtime_does_not_build() {
    let (broker, directory) = (Broker::new(BrokerState::Available), Directory::new());
    let error = builder(&broker).spool(directory.options()).build().unwrap_err();
    assert_eq!(error, NotifierBuildError::Spool(SpoolError::NoRuntime));
}

#[test]
fn a_spool_that_could_never_send_does_not_build() {
    let broker = Broker::new(BrokerState::Available);
    let directory = Directory::new();
    for (option, options, found, accepted) in [
        ("spool.max_in_flight", directory.options().max_in_flight(0), "0", "a number above 0"),
        ("spool.max_bytes", directory.options().max_bytes(0), "0", "a number above 0"),
        ("spool.directory", SpoolOptions::default(), "\"\"", "the path of a directory"),
    ] {
        let expected = NotifierBuildError::Option {
            option: option.to_owned(),
            found: found.to_owned(),
            expected: accepted.to_owned(),
        };
        assert_eq!(builder(&broker).spool(options).build().unwrap_err(), expected);
    }
    assert!(!directory.0.exists(), "nothing is created");
}
