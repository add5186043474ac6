//! Journals: each over its own connection, full ones, long names, and one whose stream RabbitMQ has
//! lost. How the runtime uses them is in `retry.rs`.

use super::*;
use futures_util::StreamExt;
use lapin::BasicProperties;
use listener::driver::{JournalAppend, JournalError, MAX_DELAY};
use listener::queues::{dead_letter_queue, quarantine_journal, quarantine_queue};
use serde_json::json;
use std::collections::BTreeSet;
use support::{Impostor, Proxy};

/// Appends to a journal.
async fn append(
    rabbit: &Rabbit,
    journal: &str,
    read_from: Option<u64>,
    timeout: Duration,
) -> Result<(), JournalError> {
    let (journal, entry) = (journal.to_owned(), Bytes::from_static(b"{}"));
    rabbit.journal(JournalAppend::new(journal, entry, timeout).read_from(read_from)).await.map(drop)
}

/// The processes of the broker's connections with this role.
async fn connections(node: &RabbitNode, vhost: &str, role: &str) -> BTreeSet<String> {
    let printed = node.eval(&with_connections(vhost, role, "C")).await;
    let pids = printed.trim().trim_matches(['[', ']']).split(',');
    pids.map(|pid| pid.trim().to_owned()).filter(|pid| !pid.is_empty()).collect()
}

/// RabbitMQ closes each connection that appends to a lost stream.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn the_end_of_a_connection_for_a_journal_affects_nothing_else() {
    const VHOST: &str = "journal-connection";
    let node = support::shared().await;
    let rabbit = rabbit(&node.vhost(VHOST).await);
    let send = async || {
        rabbit.send(to(Route::Queue("q.dead".to_owned()), "{}")).await.unwrap();
    };
    let append = async |journal| append(&rabbit, journal, None, SOON).await.unwrap();
    send().await;
    let sender = connections(node, VHOST, "send").await;
    append("kept.journal").await;
    let kept = connections(node, VHOST, "journal").await;
    append("lost.journal").await;
    assert_eq!((sender.len(), kept.len()), (1, 1));
    for _ in 0..3 {
        let journals = connections(node, VHOST, "journal").await;
        let lost: Vec<_> = journals.difference(&kept).collect();
        let [pid] = lost[..] else { panic!("{journals:?} next to {kept:?}") };
        let close = format!(r#"rabbit_networking:close_connection(list_to_pid("{pid}"), "test")"#);
        assert_eq!(node.eval(&close).await.trim(), "ok", "{pid}");
        send().await;
        append("kept.journal").await;
        append("lost.journal").await;
        assert_eq!(connections(node, VHOST, "send").await, sender);
        assert!(connections(node, VHOST, "journal").await.is_superset(&kept));
    }
}

/// A process whose first deliveries are redelivered appends to a journal before it sends.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn an_idle_connection_of_a_journal_is_closed_when_connections_are_limited() {
    const VHOST: &str = "journal-limit";
    let node = support::shared().await;
    let rabbit = rabbit(&node.vhost(VHOST).await);
    node.ctl(&["set_vhost_limits", "-p", VHOST, r#"{"max-connections": 1}"#]).await;
    append(&rabbit, "q.journal", None, SOON).await.unwrap();
    let mut outgoing = to(Route::Queue("q.dead".to_owned()), "{}");
    outgoing.timeout = 4 * SOON;
    rabbit.send(outgoing).await.unwrap();
    rabbit.close().await;
    append(&rabbit, "q.journal", None, SOON).await.unwrap();
}

/// Deletes the stream of an existing queue, as when RabbitMQ 4.3 is killed right after the declaration.
async fn lose_stream(node: &RabbitNode, vhost: &str, queue: &str) {
    let lose = format!(
        r#"{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"{vhost}">>, queue, <<"{queue}">>)),
           #{{name := Stream}} = amqqueue:get_type_state(Q),
           {{ok, _, _}} = ra:process_command({{rabbit_stream_coordinator, node()}},
                                             {{delete_stream, Stream, #{{}}}}),
           lost"#
    );
    assert_eq!(node.eval(&lose).await.trim(), "lost");
}

/// Deletes the queue of a journal whose stream is lost.
async fn delete_journal(node: &RabbitNode, vhost: &str, queue: &str) {
    // Earlier versions do not delete it this way; nor have they been seen to lose a stream.
    if node.version().await >= (4, 3) {
        node.ctl(&["delete_queue", "-p", vhost, queue]).await;
    } else {
        let name = if node.version().await < (4, 0) { "amqqueue:get_name(Q)" } else { "Q" };
        let delete = format!(
            r#"{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"{vhost}">>, queue, <<"{queue}">>)),
               rabbit_amqqueue:internal_delete({name}, <<"test">>)"#
        );
        node.eval(&delete).await;
    }
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_stream_that_is_missing_for_a_moment_does_not_count_as_lost() {
    const VHOST: &str = "journal-missing";
    let node = support::shared().await;
    let url = node.vhost(VHOST).await;
    let soon = rabbit(&url);
    append(&soon, "q.journal", None, SOON).await.unwrap();
    lose_stream(node, VHOST, "q.journal").await;
    wait_until("the stream is gone", SOON, async || {
        let result = append(&soon, "q.journal", None, SOON).await;
        matches!(result, Err(JournalError::Lost(_)))
    })
    .await;
    // The broker closes the connection of the first attempt; the second is made five seconds later.
    let proxy = Proxy::start(node.port()).await;
    let url = url.replace(&format!(":{}/", node.port()), &format!(":{}/", proxy.port()));
    let later = rabbit(&format!("{url}?kombu_reconnect_delay=5s"));
    let (appended, ()) = tokio::join!(append(&later, "q.journal", None, SOON), async {
        wait_until("the first attempt is over", SOON, async || {
            proxy.accepted() == 1 && proxy.connections() == 0
        })
        .await;
        delete_journal(node, VHOST, "q.journal").await;
    });
    appended.unwrap();
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_journal_whose_stream_is_lost_is_reported_until_it_is_deleted() {
    // As long as the runtime waits.
    const SHORT: Duration = Duration::from_secs(10);
    const VHOST: &str = "journal-lost";
    let node = support::shared().await;
    let rabbit = rabbit(&node.vhost(VHOST).await);
    append(&rabbit, "q.journal", None, SOON).await.unwrap();
    lose_stream(node, VHOST, "q.journal").await;
    // Its members end a moment later, and confirm until then.
    wait_until("the stream is gone", SOON, async || {
        let result = append(&rabbit, "q.journal", None, SHORT).await;
        matches!(result, Err(JournalError::Lost(_)))
    })
    .await;
    for read_from in [None, Some(0), None] {
        let result = append(&rabbit, "q.journal", read_from, SHORT).await;
        let Err(JournalError::Lost(reason)) = result else { panic!("{result:?}") };
        assert!(reason.contains("506 RESOURCE_ERROR - Stream not found"), "{reason}");
    }
    delete_journal(node, VHOST, "q.journal").await;
    append(&rabbit, "q.journal", Some(0), SOON).await.unwrap();
}

/// This needs no broker: the host does not answer for an hour.
#[tokio::test]
async fn a_journal_without_a_connection_reports_no_connection() {
    let silent = Impostor::start("");
    let rabbit = rabbit(&format!("amqp://127.0.0.1:{}?connection_timeout=3600000", silent.port()));
    let timeout = Duration::from_millis(500);
    let result = append(&rabbit, "q.journal", None, timeout).await.unwrap_err();
    assert_eq!(result, JournalError::Unreachable("no connection in time".to_owned()));
}

/// In bytes.
const LONGEST_POOL: usize = 241;

/// The journal has the largest size that the broker keeps; the runtime waits ten seconds for its
/// records.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_full_journal_is_read_in_time() {
    const JOURNAL: &str = "q.quarantine.journal";
    let node = support::shared().await;
    let url = node.vhost("full journal").await;
    let driver = rabbit(&url);
    let entry = json!({
        "process": "0123456789abcdef0123456789abcdef", "number": 1, "begin": [1234567890123456789_u64],
        "settled": [9876543210987654321_u64],
    })
    .to_string();
    let append = |read_from: Option<u64>| {
        JournalAppend::new(JOURNAL, Bytes::from(format!("{read_from:?}")), Duration::from_secs(10))
            .read_from(read_from)
    };
    driver.journal(append(None)).await.unwrap();
    let amqp = Amqp::connect(&url).await;
    let properties = BasicProperties::default;
    let sends = (0..45_000).map(|_| amqp.publish("", JOURNAL, &entry, properties()));
    futures_util::stream::iter(sends).buffer_unordered(500).count().await;
    amqp.close().await;
    let read = driver.journal(append(Some(0))).await.unwrap();
    assert!(read.entries.len() > 20_000, "{}", read.entries.len());
    assert!(read.next > 45_000, "{}", read.next);
}

/// RabbitMQ names the directory of a stream after the virtual host, the queue and more.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn the_journal_of_the_longest_pool_name_works_in_a_virtual_host_with_a_long_name() {
    let node = support::shared().await;
    let pool = "p".repeat(LONGEST_POOL);
    let journal = quarantine_journal(&pool);
    for vhost in ["longest".to_owned(), "v".repeat(60)] {
        let driver = rabbit(&node.vhost(&vhost).await);
        let append =
            JournalAppend::new(journal.clone(), Bytes::from_static(b"{}"), Duration::from_secs(10))
                .read_from(Some(0));
        let read = driver.journal(append).await.unwrap();
        assert_eq!(read.entries, ["{}"]);
        // The other side queues accept messages, too.
        for route in [
            Route::Quarantine(quarantine_queue(&pool)),
            Route::Queue(dead_letter_queue(&pool)),
            Route::Delayed { queue: pool.clone(), delay: MAX_DELAY },
        ] {
            driver.send(to(route, "{}")).await.unwrap();
        }
    }
}
