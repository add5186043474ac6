//! New queues: RabbitMQ may lose one with its confirmed messages in the first moments, so a driver
//! that declares a queue waits before it sends to it.

use listener::driver::JournalAppend;
use support::oslo_url;

use super::declared::DEAD;
use super::*;

/// RabbitMQ persists a new queue later than its messages: a crash in the next moments would lose
/// confirmed messages.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_message_waits_until_its_newly_declared_queue_is_stable() {
    const STABLE_AFTER: Duration = Duration::from_millis(1900);
    let node = support::shared().await;
    let url = node.vhost("settles").await;
    let driver = rabbit(&url);
    let timed = async |driver: &Rabbit, outgoing| {
        let began = std::time::Instant::now();
        driver.send(outgoing).await.unwrap();
        began.elapsed()
    };
    assert!(timed(&driver, topic("one")).await >= STABLE_AFTER);
    // The queue exists by now, for this process and for another.
    assert!(timed(&driver, topic("two")).await < STABLE_AFTER);
    assert!(timed(&rabbit(&url), topic("three")).await < STABLE_AFTER);
    // A message to a transient queue does not wait.
    let transient = rabbit(&oslo_url(&node.vhost("settles_transient").await));
    assert!(timed(&transient, topic("one")).await < STABLE_AFTER);
    let append =
        || JournalAppend::new("notifications.quarantine.journal", Bytes::from_static(b"{}"), SOON);
    let began = std::time::Instant::now();
    driver.journal(append()).await.unwrap();
    assert!(began.elapsed() >= STABLE_AFTER);
    let began = std::time::Instant::now();
    rabbit(&url).journal(append()).await.unwrap();
    assert!(began.elapsed() < STABLE_AFTER);
}

/// RabbitMQ may lose a new quorum queue with its confirmed messages. A listener that declares it waits
/// before others can find it, and a notifier that finds it unused waits as well.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_message_to_a_quorum_queue_just_declared_by_a_listener_survives_a_crash() {
    let mut node = RabbitNode::start().await;
    for round in 0..3 {
        let key = format!("round-{round}.info");
        let url = format!("{}?rabbit_quorum_queue=true", node.url());
        let subscribes = tokio::spawn({
            let (url, key) = (url.clone(), key.clone());
            async move { rabbit(&url).subscribe(subscription(&key)).await.map(drop) }
        });
        wait_until("the queue is declared", SOON, async || {
            node.queue_depth("/", &key).await.is_some()
        })
        .await;
        let route = Route::Topic { exchange: "openstack".to_owned(), routing_key: key.clone() };
        let driver = rabbit(&url);
        driver.send(to(route, "{}")).await.unwrap();
        // The consumer has not settled it.
        subscribes.abort();
        node.kill().await;
        node.restart().await;
        // Until the queue has a leader again, its depth reads as zero.
        let is_there = async || node.queue_depth("/", &key).await == Some(1);
        wait_until(&format!("the message in {key}"), Duration::from_secs(20), is_there).await;
    }
}

/// Whoever put a dead letter there waited until the queue was stable.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_dead_letter_queue_that_is_not_empty_is_used_without_a_wait() {
    let node = support::shared().await;
    let url = node.vhost("settled").await;
    let dead = || to(Route::Queue(DEAD.to_owned()), "{}");
    rabbit(&url).send(dead()).await.unwrap();
    assert_eq!(node.queue_depth("settled", DEAD).await, Some(1));
    let began = std::time::Instant::now();
    rabbit(&url).send(dead()).await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
}
