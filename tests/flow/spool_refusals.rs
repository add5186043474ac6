//! A spool whose broker refuses notifications: those refused permanently are moved aside and delay no
//! others, and errors that affect all routes set nothing aside.

use std::time::Duration;

use listener::observe::Spooled;
use listener::options::WhenFull;
use listener::{Context, Priority, Receipt};

use crate::notifier_broker::{Broker, BrokerState, Directory, builder, drained, notify, spooling};

#[tokio::test(start_paused = true)]
async fn a_permanently_refused_notification_is_moved_aside_and_delays_no_others() {
    let (broker, directory) = (Broker::new(BrokerState::Away), Directory::new());
    let notifier = spooling(&broker, &directory);
    for payload in 0..3 {
        notify(&notifier, payload).await.unwrap();
    }
    broker.state.send_replace(BrokerState::HasNoQueueFor(1));
    drained(&notifier).await;
    assert_eq!((broker.accepted(), notifier.spooled().moved_aside), (vec![0, 2], 1));
    // A direct call gets the error.
    let error = notify(&notifier, 1).await.unwrap_err();
    assert!(!error.is_transient() && !error.may_have_been_sent(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_route_that_cannot_be_declared_delays_no_other() {
    let (broker, directory) = (Broker::new(BrokerState::Away), Directory::new());
    let notifier = spooling(&broker, &directory);
    let warn = async |payload: u32| {
        notifier.notify(Priority::Warn, &Context::new(), "x", &payload).await.unwrap()
    };
    for payload in 0..3 {
        warn(payload).await;
    }
    broker.state.send_replace(BrokerState::MismatchedQueues(&["notifications.warn"]));
    // Without another route it is unknown whether the error affects all routes.
    tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
    assert_eq!((notifier.spooled().waiting, notifier.spooled().moved_aside), (3, 0));
    for payload in 3..6 {
        assert_eq!(notify(&notifier, payload).await.unwrap(), Receipt::Spooled);
    }
    warn(6).await;
    assert_eq!(notify(&notifier, 7).await.unwrap(), Receipt::Spooled);
    drained(&notifier).await;
    // The notification that proved it was sent twice.
    assert_eq!((broker.accepted(), notifier.spooled().moved_aside), (vec![3, 3, 4, 5, 7], 4));
}

#[tokio::test(start_paused = true)]
async fn several_routes_that_cannot_be_declared_delay_no_other() {
    let (broker, directory) = (Broker::new(BrokerState::Away), Directory::new());
    let notifier = spooling(&broker, &directory);
    for payload in 0..4_u32 {
        for priority in [Priority::Warn, Priority::Error, Priority::Info] {
            notifier.notify(priority, &Context::new(), "x", &payload).await.unwrap();
        }
    }
    broker.state.send_replace(BrokerState::MismatchedQueues(&[
        "notifications.warn",
        "notifications.error",
    ]));
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let mut accepted = broker.accepted();
    // Up to two notifications were sent twice to prove that other routes work.
    assert!(accepted.len() <= 6, "{accepted:?}");
    accepted.dedup();
    assert_eq!((accepted, notifier.spooled().moved_aside), (vec![0, 1, 2, 3], 8));
    assert_eq!(notifier.spooled().waiting, 0);
    // A route that works again is not moved aside for an error that affects all routes.
    broker.state.send_replace(BrokerState::Available);
    notifier.notify(Priority::Warn, &Context::new(), "x", &4_u32).await.unwrap();
    broker.state.send_replace(BrokerState::Away);
    notifier.notify(Priority::Warn, &Context::new(), "x", &5_u32).await.unwrap();
    broker.state.send_replace(BrokerState::Forbids);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!((notifier.spooled().waiting, notifier.spooled().moved_aside), (1, 8));
}

#[tokio::test(start_paused = true)]
async fn an_error_that_affects_all_routes_sets_nothing_aside() {
    for state in [BrokerState::Forbids, BrokerState::DeniesTransient] {
        let (broker, directory) = (Broker::new(BrokerState::Away), Directory::new());
        let notifier = spooling(&broker, &directory);
        for priority in [Priority::Warn, Priority::Info, Priority::Error] {
            notifier.notify(priority, &Context::new(), "x", &0_u32).await.unwrap();
        }
        broker.state.send_replace(state);
        tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
        assert_eq!((notifier.spooled().waiting, notifier.spooled().moved_aside), (3, 0));
        broker.state.send_replace(BrokerState::Available);
        // The longest delay between two attempts.
        tokio::time::sleep(Duration::from_secs(30)).await;
        drained(&notifier).await;
        assert_eq!((broker.accepted(), notifier.spooled().moved_aside), (vec![0, 0, 0], 0));
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_corrected_between_two_sends_sets_nothing_aside() {
    // At any send: alone, together with another route, or between the two.
    for refused in 1..12 {
        let (broker, directory) = (Broker::new(BrokerState::Away), Directory::new());
        let notifier = spooling(&broker, &directory);
        for (payload, priority) in [Priority::Warn, Priority::Info].into_iter().enumerate() {
            notifier.notify(priority, &Context::new(), "x", &payload).await.unwrap();
        }
        broker.state.send_replace(BrokerState::ForbidsNext(refused));
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let mut accepted = broker.accepted();
        accepted.sort_unstable();
        accepted.dedup();
        assert_eq!((accepted, notifier.spooled()), (vec![0, 1], Spooled::default()), "{refused}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_route_refused_before_is_not_moved_aside_for_an_error_that_affects_all() {
    let (broker, directory) = (Broker::new(BrokerState::Away), Directory::new());
    let notifier = spooling(&broker, &directory);
    let priorities = [Priority::Warn, Priority::Info, Priority::Info, Priority::Warn];
    for (payload, priority) in priorities.into_iter().enumerate() {
        notifier.notify(priority, &Context::new(), "x", &payload).await.unwrap();
    }
    // The spool is never empty, so that the refusals of the route are not forgotten.
    broker.state.send_replace(BrokerState::MismatchedWarnAndAwayFrom(2));
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!((notifier.spooled().waiting, notifier.spooled().moved_aside), (2, 1));
    broker.state.send_replace(BrokerState::AcceptsOneThenForbids);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!((notifier.spooled().waiting, notifier.spooled().moved_aside), (1, 1));
    broker.state.send_replace(BrokerState::Available);
    drained(&notifier).await;
    assert_eq!((broker.accepted(), notifier.spooled().moved_aside), (vec![1, 1, 2, 3], 1));
}

#[tokio::test(start_paused = true)]
async fn a_local_failure_is_spooled_and_never_moved_aside() {
    let (broker, directory) = (Broker::new(BrokerState::LocalFailure), Directory::new());
    let notifier = spooling(&broker, &directory);
    assert_eq!(notify(&notifier, 0).await.unwrap(), Receipt::Spooled);
    // Longer than the spool tries a notification that the broker refuses.
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let spooled = notifier.spooled();
    assert_eq!((spooled.waiting, spooled.moved_aside), (1, 0));
    broker.state.send_replace(BrokerState::Available);
    drained(&notifier).await;
    assert_eq!(broker.accepted(), [0]);
}

#[tokio::test(start_paused = true)]
async fn with_at_once_several_are_sent_and_a_refused_one_is_retried_alone() {
    let (broker, directory) = (Broker::new(BrokerState::Away), Directory::new());
    let options = directory.options().max_in_flight(8);
    let notifier = builder(&broker).spool(options).build().unwrap();
    for payload in 0..20 {
        notify(&notifier, payload).await.unwrap();
    }
    broker.state.send_replace(BrokerState::HasNoQueueFor(10));
    drained(&notifier).await;
    let (mut accepted, moved_aside) = (broker.accepted(), notifier.spooled().moved_aside);
    // Those sent together with the refused one were sent again.
    let count = accepted.len();
    accepted.sort_unstable();
    accepted.dedup();
    assert_eq!((accepted, moved_aside), ((0..20).filter(|payload| *payload != 10).collect(), 1));
    assert!((20..=26).contains(&count), "{count}");
}

#[tokio::test(start_paused = true)]
async fn refusals_of_a_dropped_notification_do_not_count_for_the_next() {
    let (broker, directory) = (Broker::new(BrokerState::Away), Directory::new());
    let options = directory.options().max_bytes(1000).when_full(WhenFull::DropOldest);
    let notifier = builder(&broker).spool(options).build().unwrap();
    for payload in 0..2 {
        notify(&notifier, payload).await.unwrap();
    }
    broker.state.send_replace(BrokerState::HasNoQueueFor(0));
    // It is refused four times; the fifth refusal would move it aside.
    tokio::time::sleep(Duration::from_secs(12)).await;
    broker.state.send_replace(BrokerState::HasNoQueueFor(1));
    let mut payload = 2;
    while notifier.spooled().dropped == 0 {
        notify(&notifier, payload).await.unwrap();
        payload += 1;
    }
    tokio::time::sleep(Duration::from_secs(20)).await;
    broker.state.send_replace(BrokerState::Available);
    drained(&notifier).await;
    assert_eq!((notifier.spooled().dropped, notifier.spooled().moved_aside), (1, 0));
    assert_eq!(broker.accepted(), (1..payload).collect::<Vec<_>>());
}
