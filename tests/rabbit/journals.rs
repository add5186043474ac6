//! Journals: each over a connection of its own, and what becomes of one whose stream RabbitMQ has lost.
//! How they are declared is in `declared.rs`; what the runtime makes of them, in `retry.rs`.

use super::*;
use listener::driver::{JournalAppend, JournalError};
use std::collections::BTreeSet;
use support::Impostor;

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

/// The processes of a role's connections in the broker.
async fn connections(node: &RabbitNode, vhost: &str, role: &str) -> BTreeSet<String> {
    let printed = node.eval(&with_connections(vhost, role, "C")).await;
    let pids = printed.trim().trim_matches(['[', ']']).split(',');
    pids.map(|pid| pid.trim().to_owned()).filter(|pid| !pid.is_empty()).collect()
}

/// RabbitMQ closes the connection that appends to a stream which it has lost, each time.
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
        let [pid] = lost[..] else { panic!("{journals:?} beside {kept:?}") };
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
async fn an_idle_connection_of_a_journal_is_closed_where_connections_are_limited() {
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

/// The queue is there, and its stream is not: RabbitMQ 4.3 that is killed right after a stream was
/// declared comes back so.
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
        let told = append(&rabbit, "q.journal", None, SHORT).await;
        matches!(told, Err(JournalError::Lost(_)))
    })
    .await;
    for read_from in [None, Some(0), None] {
        let told = append(&rabbit, "q.journal", read_from, SHORT).await;
        let Err(JournalError::Lost(reason)) = told else { panic!("{told:?}") };
        assert!(reason.contains("506 RESOURCE_ERROR - Stream not found"), "{reason}");
    }
    // Versions before do not delete it so; nor has one been seen to lose a stream by itself.
    if node.version().await >= (4, 3) {
        node.ctl(&["delete_queue", "-p", VHOST, "q.journal"]).await;
    } else {
        let queue = if node.version().await < (4, 0) { "amqqueue:get_name(Q)" } else { "Q" };
        let delete = format!(
            r#"{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"{VHOST}">>, queue, <<"q.journal">>)),
               rabbit_amqqueue:internal_delete({queue}, <<"test">>)"#
        );
        node.eval(&delete).await;
    }
    append(&rabbit, "q.journal", Some(0), SOON).await.unwrap();
}

/// No broker is needed: nothing answers for an hour.
#[tokio::test]
async fn a_journal_that_finds_no_connection_does_not_say_that_one_stands() {
    let silent = Impostor::start("");
    let rabbit = rabbit(&format!("amqp://127.0.0.1:{}?connection_timeout=3600000", silent.port()));
    let timeout = Duration::from_millis(500);
    let told = append(&rabbit, "q.journal", None, timeout).await.unwrap_err();
    assert_eq!(told, JournalError::Unreachable("no connection in time".to_owned()));
}
