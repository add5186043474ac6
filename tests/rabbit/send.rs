//! Sending: what `Ok` means when queues are deleted, full or refusing, and when the broker is low on
//! memory. A broker that crashes is in `faults.rs`.

use super::*;
use lapin::types::AMQPValue;
use support::{Impostor, Proxy};

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_deleted_queue_or_exchange_is_declared_again() {
    let node = support::shared().await;
    let url = node.vhost("deleted").await;
    let (rabbit, amqp) = (rabbit(&url), Amqp::connect(&url).await);
    send(&rabbit, "one").await;
    amqp.delete_queue(QUEUE).await;
    send(&rabbit, "two").await;
    assert_eq!(depth(node, "deleted").await, Some(1));
    node.api("DELETE", "/api/exchanges/deleted/nova", None).await;
    send(&rabbit, "three").await;
    assert_eq!(depth(node, "deleted").await, Some(2));
    let directly = Route::Queue("notifications.info.dead".to_owned());
    rabbit.send(to(directly, "four")).await.unwrap();
    assert_eq!(node.queue_depth("deleted", "notifications.info.dead").await, Some(1));
    rabbit.close().await;
    let connections = node.ctl(&["list_connections", "vhost", "client_properties"]).await;
    let is_left = |line: &str| line.starts_with("deleted\t") && line.contains(":send");
    assert!(!connections.lines().any(is_left), "{connections}");
    send(&rabbit, "five").await;
    assert_eq!(depth(node, "deleted").await, Some(3));
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_full_queue_refuses_messages_until_it_is_drained() {
    let node = support::shared().await;
    let url = node.vhost("full").await;
    let (rabbit, amqp) = (rabbit(&url), Amqp::connect(&url).await);
    let full = [
        ("x-max-length", AMQPValue::LongInt(1)),
        ("x-overflow", AMQPValue::LongString("reject-publish".into())),
    ];
    amqp.declare_queue(QUEUE, true, &full).await;
    send(&rabbit, "one").await;
    let mut outgoing = topic("two");
    outgoing.timeout = Duration::from_secs(2);
    let route = outgoing.route.to_string();
    assert_eq!(rabbit.send(outgoing).await, Err(SendError::Refused { route }));
    let sending = rabbit.send(topic("three"));
    let drained = async {
        wait_until("room", SOON, async || !amqp.drain(QUEUE).await.is_empty()).await;
    };
    let (sent, ()) = tokio::join!(sending, drained);
    assert_eq!(sent, Ok(()));
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_message_that_is_too_large_does_not_fail_others() {
    let node = RabbitNode::start_with("max_message_size = 100000").await;
    let rabbit = rabbit(&node.url());
    let large = "x".repeat(150_000);
    let sends = (0..200).map(|n| {
        let (rabbit, large) = (&rabbit, &large);
        async move {
            let body = if n == 100 { large.clone() } else { n.to_string() };
            (n, rabbit.send(topic(&body)).await)
        }
    });
    for (n, result) in futures_util::future::join_all(sends).await {
        if n == 100 {
            match result {
                Err(SendError::TooLarge { size, limit, .. }) => {
                    assert_eq!((size, limit), (150_000, 100_000));
                }
                other => panic!("{other:?}"),
            }
        } else {
            assert_eq!(result, Ok(()), "{n}");
        }
    }
    // Those that shared the channel may have been sent twice.
    assert!(depth(&node, "/").await.unwrap() >= 199);
}

/// This needs no broker: nothing listens on the port.
#[tokio::test]
async fn a_message_that_never_had_a_connection_was_not_sent() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let rabbit = rabbit(&format!("amqp://guest:guest@{unused}"));
    let outgoing = topic("one").timeout(Duration::from_secs(2));
    let error = rabbit.send(outgoing).await.unwrap_err();
    assert!(matches!(error, SendError::NotSent { .. }), "{error}");
    assert!(error.is_transient() && !error.may_have_been_sent(), "{error}");
    let text = error.to_string();
    assert!(text.starts_with("nothing was sent to ") && text.contains("refused"), "{text}");
}

/// It was refused before; the attempt that is in transit at the timeout may reach the queue.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_message_unconfirmed_at_its_timeout_may_have_been_sent_even_if_refused_before() {
    let node = RabbitNode::start().await;
    let rabbit = rabbit(&node.url());
    let amqp = Amqp::connect(&node.url()).await;
    let full = [
        ("x-max-length", AMQPValue::LongInt(0)),
        ("x-overflow", AMQPValue::LongString("reject-publish".into())),
    ];
    amqp.declare_queue("full", true, &full).await;
    amqp.close().await;
    let mut outgoing = to(Route::Queue("full".to_owned()), "one");
    outgoing.timeout = Duration::from_secs(9);
    // The first attempt waits for two seconds: the queue may be new.
    let suspend = async {
        tokio::time::sleep(Duration::from_secs(4)).await;
        node.suspend().await;
    };
    let (sent, ()) = tokio::join!(rabbit.send(outgoing), suspend);
    node.resume().await;
    let error = sent.unwrap_err();
    assert!(matches!(error, SendError::TimedOut { .. }), "{error}");
    assert!(error.may_have_been_sent(), "{error}");
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_broker_short_of_memory_is_waited_for() {
    let node = RabbitNode::start().await;
    let rabbit = rabbit(&node.url());
    let mut subscribed = subscribe(&rabbit).await;
    send(&rabbit, "one").await;
    node.ctl(&["set_vm_memory_high_watermark", "0.00001"]).await;
    // The broker reports the alarm when something is published.
    let mut outgoing = topic("two");
    outgoing.timeout = Duration::from_secs(2);
    match rabbit.send(outgoing).await {
        Err(SendError::TimedOut { last: Some(last), .. }) => {
            assert_eq!(last, "the broker blocks publishers: low on memory");
        }
        other => panic!("{other:?}"),
    }
    // Consuming continues.
    next(&mut subscribed).await.settle(Settle::Ack).unwrap();
    let sending = rabbit.send(topic("three"));
    let (sent, _) =
        tokio::join!(sending, node.ctl(&["set_vm_memory_high_watermark", "absolute", "6GB"]));
    assert_eq!(sent, Ok(()));
    ack_until(&mut subscribed, "three").await.settle(Settle::Ack).unwrap();
    subscribed.consumer.close().await;
    assert_eq!(depth(&node, "/").await, Some(0));
    // The blocked ends with its connection.
    node.ctl(&["set_vm_memory_high_watermark", "0.00001"]).await;
    rabbit.send(topic("four").timeout(Duration::from_secs(2))).await.unwrap_err();
    assert!(rabbit.blocked().is_some());
    node.ctl(&["close_all_connections", "test"]).await;
    wait_until("no blocked", SOON, async || rabbit.blocked().is_none()).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn an_unreachable_broker_is_not_an_obstacle_once_no_send_waits() {
    let node = support::shared().await;
    let proxy = Proxy::start(node.port()).await;
    proxy.refuse(true);
    let url = node.vhost("blocked").await;
    let rabbit = rabbit(&url.replace(&node.port().to_string(), &proxy.port().to_string()));
    let outgoing = topic("one").timeout(Duration::from_secs(1));
    let error = rabbit.send(outgoing).await.unwrap_err().to_string();
    assert!(error.contains(&proxy.port().to_string()), "{error}");
    wait_until("no send waits", SOON, async || rabbit.blocked().is_none()).await;
    proxy.refuse(false);
    send(&rabbit, "two").await;
}

/// This needs no broker: the host does not answer for an hour.
#[tokio::test]
async fn a_connecting_driver_is_closed_immediately_when_no_send_waits() {
    let silent = Impostor::start("");
    let url = format!("amqp://127.0.0.1:{}?connection_timeout=3600000", silent.port());
    let rabbit = rabbit(&url);
    let outgoing = topic("one").timeout(Duration::from_secs(1));
    rabbit.send(outgoing).await.unwrap_err();
    wait_until("a connection", SOON, async || silent.accepted() > 0).await;
    timeout(SOON, rabbit.close()).await.expect("it does not wait for the host");
}

/// The send comes during the back-off before the next connection.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_send_that_times_out_reports_what_ended_the_last_connection() {
    const VHOST: &str = "publisher-delay";
    let node = support::shared().await;
    let rabbit = rabbit(&node.vhost(VHOST).await);
    wait_until("the reason is reported", SOON, async || {
        send(&rabbit, "one").await;
        node.eval(&close_connections(VHOST, "send")).await;
        let outgoing = topic("two").timeout(Duration::from_millis(200));
        let Err(error) = rabbit.send(outgoing).await else { return false };
        error.to_string().contains("the connection was lost: 320 CONNECTION_FORCED")
    })
    .await;
}

/// Wakes a parked thread.
struct Thread(std::thread::Thread);

impl std::task::Wake for Thread {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.unpark();
    }
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_driver_is_closed_outside_of_a_runtime() {
    let node = support::shared().await;
    let rabbit = rabbit(&node.vhost("outside").await);
    send(&rabbit, "one").await;
    let closed = std::thread::spawn(move || {
        let waker = std::sync::Arc::new(Thread(std::thread::current())).into();
        let mut context = std::task::Context::from_waker(&waker);
        let mut close = rabbit.close();
        while close.as_mut().poll(&mut context).is_pending() {
            std::thread::park();
        }
    });
    wait_until("it is closed", SOON, async || closed.is_finished()).await;
    closed.join().unwrap();
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn names_and_headers_that_amqp_cannot_carry_are_refused() {
    let node = support::shared().await;
    let rabbit = rabbit(&node.vhost("names").await);
    let long = rabbit.send(to(Route::Queue("q".repeat(256)), "one")).await.unwrap_err();
    assert!(long.to_string().contains("has 256 bytes"), "{long}");
    let mut outgoing = topic("one");
    outgoing.properties.headers.insert("large", "h".repeat(200_000).as_str().into());
    let large = rabbit.send(outgoing).await.unwrap_err();
    assert!(matches!(large, SendError::HeadersTooLarge { .. }), "{large}");
    send(&rabbit, "two").await;
}

/// This needs no broker: the port closes each connection. A connection on it is an attempt.
#[tokio::test]
async fn an_unreachable_broker_is_tried_once_and_once_more_for_each_retry() {
    for retries in [0, 2] {
        let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("rabbit://guest:guest@{}", port.local_addr().unwrap());
        let transport = listener::Transport::open(&url).unwrap();
        let notifier = listener::Notifier::builder(transport).build().unwrap();
        let notifier = notifier.with_retry(listener::Retry::Times(retries));
        let (context, mut attempts) = (listener::Context::new(), 0);
        let mut sending = std::pin::pin!(notifier.info(&context, "x", &1));
        let error = loop {
            tokio::select! {
                biased;
                accepted = port.accept() => {
                    drop(accepted.unwrap());
                    attempts += 1;
                }
                sent = &mut sending => break sent.unwrap_err(),
            }
        };
        assert_eq!(attempts, retries + 1);
        assert!(error.is_transient() && !error.may_have_been_sent(), "{error:?}");
        assert!(error.to_string().contains("nothing was sent"), "{error:?}");
    }
}
