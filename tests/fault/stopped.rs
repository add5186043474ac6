//! A program that is stopped in the middle of its work: finished notifications are acknowledged, the
//! others are left to the next program.

use futures_util::future::join_all;
use listener::{Context, Notifier, Transport};
use support::amqp::oslo_properties;
use support::rabbit_node::shared;
use support::{Amqp, Impostor, Proxy};

use crate::program::{Program, numbers};

async fn fill(url: &str, count: u64) {
    let notifier = Notifier::builder(Transport::open(url).unwrap()).build().unwrap();
    let context = Context::new();
    let sends = (0..count).map(|number| {
        let (notifier, context) = (&notifier, &context);
        async move { notifier.info(context, "x", &number).await }
    });
    for sent in join_all(sends).await {
        sent.unwrap();
    }
    notifier.close().await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn sigterm_finishes_running_calls_and_leaves_the_rest_to_the_next_program() {
    const COUNT: u64 = 2000;
    let node = shared().await;
    let url = node.vhost("sigterm").await;
    fill(&url, COUNT).await;

    // The whole takes three seconds, of which the signal comes after one: also on a busy machine.
    let variables = [("LISTENER_TRANSPORT_URL", url.as_str()), ("SERVICE_DELAY_MS", "100")];
    let mut first = Program::start(&variables);
    let mut lines = Vec::new();
    while numbers(&lines, "ends").len() < 500 {
        lines.push(first.line().await);
    }
    first.signal("-TERM");
    let ended = first.ended().await;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    lines.extend(ended.lines);
    let finished = numbers(&lines, "ends");
    assert_eq!(numbers(&lines, "begins"), finished, "every call that began has ended");
    assert!(finished.len() < COUNT as usize, "it was stopped in the middle");

    let mut second = Program::start(&[("LISTENER_TRANSPORT_URL", &url)]);
    let mut lines = Vec::new();
    while finished.len() + numbers(&lines, "ends").len() < COUNT as usize {
        lines.push(second.line().await);
    }
    second.signal("-INT");
    let ended = second.ended().await;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    lines.extend(ended.lines);
    let rest = numbers(&lines, "ends");
    assert_eq!(lines.iter().filter(|line| line.starts_with("ends")).count(), rest.len());
    assert_eq!(finished.intersection(&rest).count(), 0, "nothing was handled twice");
    assert_eq!(finished.union(&rest).count(), COUNT as usize, "nothing was lost");
    assert_eq!(node.queue_depth("sigterm", "notifications.info").await, Some(0));
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_second_signal_exits_at_once_and_loses_nothing() {
    let node = shared().await;
    let url = node.vhost("second-signal").await;
    fill(&url, 3).await;
    let variables = [("LISTENER_TRANSPORT_URL", url.as_str()), ("SERVICE_DELAY_MS", "600000")];
    let mut program = Program::start(&variables);
    for _ in 0..3 {
        assert!(program.line().await.starts_with("begins"));
    }
    program.signal("-TERM");
    // Both signals would count as one if the second came before the first was handled.
    program.logs("stopping").await;
    program.signal("-TERM");
    let ended = program.ended().await;
    assert_eq!(ended.status.code(), Some(130), "{}", ended.stderr);
    assert_eq!(node.queue_depth("second-signal", "notifications.info").await, Some(3));
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_hanging_method_keeps_the_process_until_a_second_signal() {
    let node = shared().await;
    let url = node.vhost("hangs").await;
    let notifier = Notifier::builder(Transport::open(&url).unwrap()).build().unwrap();
    notifier.warn(&Context::new(), "x", &1).await.unwrap();
    notifier.close().await;
    let variables = [("LISTENER_TRANSPORT_URL", url.as_str()), ("LISTENER_SHUTDOWN_TIMEOUT", "1")];
    let mut program = Program::start(&variables);
    assert_eq!(program.line().await, "hangs 1");
    program.signal("-TERM");
    program.logs("are unfinished at the deadline").await;
    program.logs("stopped").await;
    // The delivery is requeued although its method still runs.
    support::wait::wait_until("the delivery is back", crate::program::SOON, async || {
        let ready = ["list_queues", "-p", "hangs", "name", "messages_ready"];
        node.ctl(&ready).await.contains("notifications.warn\t1")
    })
    .await;
    program.signal("-TERM");
    let ended = program.ended().await;
    assert_eq!(ended.status.code(), Some(130), "{}", ended.stderr);
}

/// A dead letter cannot be sent because no host answers: the stop does not wait for them.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_stop_does_not_wait_for_a_silent_host() {
    let node = shared().await;
    let direct = node.vhost("unanswered").await;
    let (proxy, silent) = (Proxy::start(node.port()).await, Impostor::start(""));
    let through = direct.replace(&node.port().to_string(), &proxy.port().to_string());
    let hosts = format!("@127.0.0.1:{},guest:guest@", silent.port());
    // One hour.
    let url = through.replacen('@', &hosts, 1) + "?connection_timeout=3600000";
    let variables = [("LISTENER_TRANSPORT_URL", url.as_str()), ("LISTENER_SHUTDOWN_TIMEOUT", "1")];
    let mut program = Program::start(&variables);
    program.logs("attached to RabbitMQ").await;
    // The consuming connection exists, and another one cannot be established.
    proxy.refuse(true);
    let before = silent.accepted();
    let amqp = Amqp::connect(&direct).await;
    amqp.publish("", "notifications.info", "no notification", oslo_properties(&[])).await;
    let is_tried = async || silent.accepted() > before;
    support::wait::wait_until("the silent host is tried", crate::program::SOON, is_tried).await;
    program.signal("-TERM");
    let ended = program.ended().await;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert_eq!(node.queue_depth("unanswered", "notifications.info").await, Some(1));
}
