//! Several hosts in the transport URL, of which some are unreachable, silent or refuse the login.

use support::{Impostor, Proxy};

use super::faults::finish;
use super::*;

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_silent_host_costs_a_timeout_and_no_thread() {
    let node = support::shared().await;
    let proxy = Proxy::start(node.port()).await;
    proxy.stall(true);
    let url = format!("rabbit://guest:guest@127.0.0.1:{}/", proxy.port());
    let mut waiting = subscription(QUEUE);
    waiting.timeout = Duration::from_secs(3);
    let rabbit = rabbit(&url);
    for _ in 0..3 {
        let error = rabbit.subscribe(waiting.clone()).await.unwrap_err();
        assert!(error.to_string().contains("no answer yet"), "{error}");
    }
    drop(rabbit);
    wait_until("no link", SOON, async || proxy.connections() == 0).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn the_next_host_is_tried() {
    let node = support::shared().await;
    let url = node.vhost("hosts").await.replace("@127", "@127.0.0.1:9,guest:guest@127");
    for _ in 0..4 {
        let rabbit = rabbit(&url);
        send(&rabbit, "one").await;
        let mut subscribed = subscribe(&rabbit).await;
        next(&mut subscribed).await.settle(Settle::Ack).unwrap();
        finish(subscribed, node, "hosts").await;
    }
}

/// One of two hosts refuses the login: messages are sent over the other, also after that was
/// unreachable.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_host_that_refuses_the_login_does_not_keep_messages_from_another() {
    let node = support::shared().await;
    node.vhost("refusing").await;
    let (good, bad) = (Proxy::start(node.port()).await, Proxy::start(node.port()).await);
    let hosts =
        format!("guest:guest@127.0.0.1:{},guest:wrong@127.0.0.1:{}", good.port(), bad.port());
    // Their order is random for each driver.
    for _ in 0..6 {
        let rabbit = rabbit(&format!("amqp://{hosts}/refusing"));
        send(&rabbit, "first").await;
        good.refuse(true);
        good.cut();
        let outgoing = topic("lost").timeout(Duration::from_secs(2));
        let error = rabbit.send(outgoing).await.unwrap_err();
        assert!(error.is_transient(), "{error}");
        good.refuse(false);
        send(&rabbit, "last").await;
    }
    // If all hosts refuse, the error is returned immediately.
    let url = format!(
        "amqp://guest:wrong@127.0.0.1:{},guest:no@127.0.0.1:{}/refusing",
        good.port(),
        bad.port()
    );
    let error = rabbit(&url).send(topic("one")).await.unwrap_err();
    assert!(matches!(error, SendError::Connect(ConnectError::LoginRefused { .. })), "{error}");
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn silent_hosts_leave_time_for_the_last_one() {
    let node = support::shared().await;
    let url = node.vhost("silent").await;
    let silent: [Impostor; 3] = std::array::from_fn(|_| Impostor::start(""));
    let silent_hosts = silent.iter().map(|host| format!("127.0.0.1:{}", host.port()));
    let hosts = silent_hosts.collect::<Vec<_>>().join(",");
    let url = url.replace("guest:guest@", &format!("{hosts},guest:guest@"));
    let limit = Duration::from_secs(20);
    // Their order is random for each driver.
    let drivers = (0..8).map(|n| {
        let rabbit = rabbit(&url);
        async move {
            if n % 2 == 0 {
                let subscription = subscription(QUEUE).timeout(limit);
                rabbit.subscribe(subscription).await.unwrap().consumer.close().await;
            } else {
                rabbit.send(topic("one").timeout(limit)).await.unwrap();
            }
        }
    });
    futures_util::future::join_all(drivers).await;
}
