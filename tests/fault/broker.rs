//! Faults of the broker: it is killed, suspended or stopped, closes connections and channels, or refuses
//! logins. Rows 1 to 5, 13, 24 and 38 of the list.

use std::time::Duration;

use serde_json::json;
use support::{Act, Job, Proxy, RabbitNode, harmed, shared};
use tokio::time::sleep;

use crate::trial::{PREFETCH, Trial, WINDOW, all_sent, plain};

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_broker_killed_under_load_loses_nothing() {
    let mut node = harmed().await;
    let mut trial = Trial::new(1, "kill -9 of the broker under load", &node).await;
    let mut worker = trial.worker().await;
    let sending = trial.sending(plain(0..3000));
    trial.until_handled(&mut worker, 1000).await;
    node.kill().await;
    worker.ready(false).await;
    node.restart().await;
    trial.attached_after(worker.ready(true).await);
    all_sent(sending).await;
    trial.until_all_handled(&mut worker).await;
    // Unsettled deliveries are redelivered, and those whose acknowledgement the broker had not stored;
    // unconfirmed messages are sent again.
    trial.finish(worker, &node, 2 * PREFETCH + WINDOW as u32).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_briefly_suspended_broker_costs_no_session() {
    let node = harmed().await;
    let mut trial = Trial::new(2, "broker suspended for 1 s", &node).await;
    trial.options.pause_ms = 50;
    let mut worker = trial.worker().await;
    let sending = trial.sending(plain(0..500));
    trial.until_handled(&mut worker, 100).await;
    node.suspend().await;
    sleep(Duration::from_secs(1)).await;
    node.resume().await;
    all_sent(sending).await;
    trial.until_all_handled(&mut worker).await;
    assert_eq!(worker.losses(), 0, "{}", worker.log());
    trial.finish(worker, &node, 0).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_long_suspended_broker_is_given_up_and_attached_again_once() {
    let node = harmed().await;
    let mut trial = Trial::new(2, "broker suspended for three heartbeats", &node).await;
    let mut worker = trial.worker().await;
    let sending = trial.sending(plain(0..500));
    trial.until_handled(&mut worker, 100).await;
    node.suspend().await;
    // Heartbeats arrive every 2 s; twice that without one ends the session.
    worker.ready(false).await;
    worker.logs("no heartbeat").await;
    worker.is_calm(Duration::from_secs(2)).await;
    node.resume().await;
    trial.attached_after(worker.ready(true).await);
    all_sent(sending).await;
    trial.until_all_handled(&mut worker).await;
    // The consumer of the old session does not remain.
    worker.until("one consumer is left", async |_| consumers(&node, &trial.vhost).await == 1).await;
    trial.finish(worker, &node, PREFETCH + WINDOW as u32).await;
}

async fn consumers(node: &RabbitNode, vhost: &str) -> usize {
    let consumers = node.ctl(&["list_consumers", "-p", vhost, "queue_name"]).await;
    consumers.matches("notifications.info").count()
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_cleanly_restarted_broker_is_attached_again() {
    let node = harmed().await;
    let mut trial = Trial::new(3, "stop_app, start_app", &node).await;
    trial.options.pause_ms = 100;
    let mut worker = trial.worker().await;
    let sending = trial.sending(plain(0..1000));
    trial.until_handled(&mut worker, 300).await;
    node.ctl(&["stop_app"]).await;
    worker.ready(false).await;
    node.ctl(&["start_app"]).await;
    trial.attached_after(worker.ready(true).await);
    all_sent(sending).await;
    trial.until_all_handled(&mut worker).await;
    trial.finish(worker, &node, PREFETCH + WINDOW as u32).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn connections_closed_each_second_cause_no_reconnect_storm() {
    const CLOSED: u32 = 6;
    let node = shared().await;
    let proxy = Proxy::start(node.port()).await;
    let trial = Trial::new(4, "all connections closed each second", node).await;
    let mut trial = trial.through(node, proxy.port());
    // The worker is busy throughout.
    trial.options.pause_ms = 250;
    let mut worker = trial.worker().await;
    let sending = trial.sending(plain(0..1500));
    let close = ["close_all_connections", "--vhost", &trial.vhost, "a test"];
    for _ in 0..CLOSED {
        node.ctl(&close).await;
        sleep(Duration::from_secs(1)).await;
    }
    trial.attached_after(worker.ready(true).await);
    all_sent(sending).await;
    trial.until_all_handled(&mut worker).await;
    // The first connection, and at most two for each that was closed: a new one may be closed while it
    // is being established.
    assert!(proxy.accepted() <= 1 + 2 * CLOSED as usize, "{} connections", proxy.accepted());
    trial.finish(worker, node, CLOSED * (PREFETCH + WINDOW as u32)).await;
}

/// Makes the broker close each consuming channel of the virtual host, by an acknowledgement with an
/// unknown delivery tag.
async fn close_channels(node: &RabbitNode, vhost: &str) {
    let script = format!(
        r#"[gen_server:cast(P, {{method, {{'basic.ack', 99999999, false}}, none, noflow}})
           || [{{pid, P}}, {{vhost, <<"{vhost}">>}}, {{consumer_count, C}}]
           <- rabbit_channel:info_all([pid, vhost, consumer_count]), C > 0]"#
    );
    let closed = node.eval(&script).await;
    assert!(closed.contains("ok"), "no channel was closed: {closed}");
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_channel_closed_by_the_broker_ends_only_its_session() {
    let node = shared().await;
    let mut trial = Trial::new(5, "the consuming channel closed by the broker", node).await;
    trial.options.pause_ms = 100;
    let mut worker = trial.worker().await;
    let sending = trial.sending(plain(0..1000));
    for handled in [200, 500] {
        trial.until_handled(&mut worker, handled).await;
        let losses = worker.losses();
        close_channels(node, &trial.vhost).await;
        worker.until("the session is lost", async |worker| worker.losses() > losses).await;
        trial.attached_after(worker.ready(true).await);
    }
    all_sent(sending).await;
    trial.until_all_handled(&mut worker).await;
    assert!(worker.log().contains("PRECONDITION_FAILED"), "{}", node.last_words());
    trial.finish(worker, node, 2 * PREFETCH).await;
}

/// Sets the consumer timeout, in milliseconds, after which the broker closes the channel, or from
/// RabbitMQ 4.3 on cancels the consumer; `tick` is how often channels check it.
async fn consumer_timeout(node: &RabbitNode, timeout: u32, tick: u32) {
    for (name, value) in [("consumer_timeout", timeout), ("channel_tick_interval", tick)] {
        node.eval(&format!("application:set_env(rabbit, {name}, {value})")).await;
    }
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_handler_slower_than_the_consumer_timeout_loses_its_session_and_no_message() {
    let node = harmed().await;
    consumer_timeout(&node, 2000, 500).await;
    let mut trial = Trial::new(13, "a handler slower than the consumer timeout", &node).await;
    // From 4.3 on classic queues have no consumer timeout.
    if node.version().await >= (4, 3) {
        trial.options.url = format!("{}&rabbit_quorum_queue=true", trial.options.url);
    }
    let mut worker = trial.worker().await;
    trial.send([Job { id: 0, act: Act::SleepOnce(6000) }]).await;
    trial.send(plain(1..200)).await;
    worker.logs("set a shorter handler_timeout").await;
    trial.attached_after(worker.ready(true).await);
    trial.until_all_handled(&mut worker).await;
    // The first call ends too, but its session is over.
    worker.logs("the session is over: the broker redelivers it").await;
    consumer_timeout(&node, 1_800_000, 60_000).await;
    trial.finish(worker, &node, PREFETCH).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn revoked_credentials_and_permissions_are_waited_for() {
    let node = shared().await;
    let mut trial = Trial::new(24, "password, permissions changed", node).await;
    let user = json!({"password": "right", "tags": ""});
    node.api("PUT", "/api/users/worker", Some(user)).await;
    let vhost = trial.vhost.clone();
    let grant = ["set_permissions", "-p", &vhost, "worker", ".*", ".*", ".*"];
    node.ctl(&grant).await;
    trial.options.url = trial.options.url.replace("guest:guest", "worker:right");
    let mut worker = trial.worker().await;
    let close = ["close_all_connections", "--vhost", &vhost, "a test"];
    let faults: [(&[&str], &[&str], &str); 2] = [
        (
            &["change_password", "worker", "wrong"],
            &["change_password", "worker", "right"],
            "refused to log in user",
        ),
        (
            &["clear_permissions", "-p", &vhost, "worker"],
            &grant,
            "that user \\\"worker\\\" may use",
        ),
    ];
    for (round, (harm, fix, said)) in (0..).zip(faults) {
        node.ctl(harm).await;
        node.ctl(&close).await;
        trial.send(plain(round * 200..(round + 1) * 200)).await;
        worker.ready(false).await;
        worker.logs(said).await;
        worker.is_calm(Duration::from_secs(2)).await;
        node.ctl(fix).await;
        trial.attached_after(worker.ready(true).await);
        trial.until_all_settled(&mut worker, node).await;
    }
    assert!(!worker.log().contains("right"), "no password is logged: {}", worker.log());
    trial.finish(worker, node, 0).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_deleted_virtual_host_is_waited_for() {
    let node = shared().await;
    let mut trial = Trial::new(24, "virtual host deleted", node).await;
    let mut worker = trial.worker().await;
    trial.send(plain(0..100)).await;
    trial.until_all_handled(&mut worker).await;
    node.ctl(&["delete_vhost", &trial.vhost]).await;
    worker.ready(false).await;
    worker.logs("has no virtual host").await;
    worker.is_calm(Duration::from_secs(2)).await;
    node.vhost(&trial.vhost).await;
    trial.attached_after(worker.ready(true).await);
    trial.send(plain(100..200)).await;
    trial.until_all_handled(&mut worker).await;
    trial.finish(worker, node, 0).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn the_management_api_is_not_needed() {
    let node = harmed().await;
    let trial = Trial::new(38, "management API absent", &node).await;
    node.eval("application:stop(rabbitmq_management)").await;
    let mut worker = trial.worker().await;
    trial.send((0..100).map(|id| Job { id, act: Act::Fail(u32::from(id < 10)) })).await;
    trial.until_all_handled(&mut worker).await;
    assert_eq!(worker.losses(), 0, "{}", worker.log());
    node.eval("application:start(rabbitmq_management)").await;
    trial.finish(worker, &node, 0).await;
}
