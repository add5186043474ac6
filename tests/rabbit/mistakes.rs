//! Errors that an operator has to fix are reported immediately, with a fix; everything that works without
//! a missing permission continues.

use super::*;
use lapin::types::AMQPValue;
use serde_json::json;
use support::{Proxy, oslo_url};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The URL of a user with only these permissions.
pub(super) async fn user(
    node: &RabbitNode,
    vhost: &str,
    configure: &str,
    write: &str,
    read: &str,
) -> String {
    let url = node.vhost(vhost).await;
    let user = format!("user_{vhost}");
    let password = json!({"password": "pw", "tags": ""});
    node.api("PUT", &format!("/api/users/{user}"), Some(password)).await;
    let may = json!({"configure": configure, "write": write, "read": read});
    node.api("PUT", &format!("/api/permissions/{vhost}/{user}"), Some(may)).await;
    url.replace("guest:guest", &format!("{user}:pw"))
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_wrong_password_is_reported_immediately() {
    let node = support::shared().await;
    let url = node.url().replace("guest:guest", "guest:wrong");
    let host = format!("127.0.0.1:{}", node.port());
    let expected = ConnectError::LoginRefused { host, user: "guest".to_owned() };
    assert_eq!(refused(&url, subscription(QUEUE)).await, expected);
    assert_eq!(rabbit(&url).send(topic("one")).await, Err(SendError::Connect(expected)));
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_wrong_virtual_host_is_reported_immediately() {
    let node = support::shared().await;
    let url = node.url().replace("%2F", "nowhere");
    let expected = ConnectError::VirtualHost {
        host: format!("127.0.0.1:{}", node.port()),
        user: "guest".to_owned(),
        vhost: "nowhere".to_owned(),
        reason: "NOT_ALLOWED - vhost nowhere not found".to_owned(),
    };
    assert_eq!(refused(&url, subscription(QUEUE)).await, expected);
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn an_unreachable_broker_is_waited_for() {
    let mut waiting = subscription(QUEUE);
    waiting.timeout = Duration::from_secs(2);
    // Nothing listens on the discard port.
    match refused("rabbit://127.0.0.1:9,127.0.0.1:10", waiting).await {
        ConnectError::Unreachable { after, attempts } => {
            assert_eq!(after, Duration::from_secs(2));
            assert!(attempts.contains("127.0.0.1:9 (Connection refused"), "{attempts}");
            assert!(attempts.contains("127.0.0.1:10 (Connection refused"), "{attempts}");
        }
        other => panic!("{other}"),
    }
}

/// The port of a server that sends this greeting to every client, and then closes the connection or
/// keeps it.
async fn server(greeting: &'static [u8], stays: bool) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut clients = Vec::new();
        while let Ok((mut client, _)) = listener.accept().await {
            let mut header = [0; 8];
            client.read_exact(&mut header).await.unwrap();
            client.write_all(greeting).await.unwrap();
            if stays {
                clients.push(client);
            }
        }
    });
    port
}

async fn answered(greeting: &'static [u8], stays: bool) -> String {
    let port = server(greeting, stays).await;
    let mut waiting = subscription(QUEUE);
    waiting.timeout = Duration::from_secs(20);
    let error = refused(&format!("amqp://127.0.0.1:{port}"), waiting).await;
    error.to_string().replace(&port.to_string(), "PORT")
}

#[tokio::test]
async fn a_server_that_is_not_a_broker_is_identified_with_a_fix() {
    let check = async |greeting, expected: &str| {
        let fix = "check the port in the transport URL: without TLS it is 5672 unless the broker is configured otherwise";
        let expected =
            format!("127.0.0.1:PORT is not an AMQP broker: it answered with {expected}; {fix}");
        assert_eq!(answered(greeting, true).await, expected);
        assert_eq!(answered(greeting, false).await, expected);
    };
    // A TLS alert: the client sent no handshake.
    check(
        b"\x15\x03\x03\x00\x02\x02\x0a",
        "TLS (use it with `ssl=true` in a rabbit:// URL, or an amqps:// URL)",
    )
    .await;
    check(b"HTTP/1.1 400 Bad Request\r\n\r\n", "HTTP").await;
    check(b"SSH-2.0-OpenSSH_9.6\r\n", "\"SSH-2.0-OpenSSH_9.6\"").await;
    check(b"AMQP\x00\x01\x00\x00", "another version of AMQP, 1.0.0").await;
    check(b"\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8", "something else").await;
}

#[tokio::test]
async fn a_server_that_closes_without_an_answer_is_reported_after_the_timeout() {
    let port = server(b"", false).await;
    let mut waiting = subscription(QUEUE);
    waiting.timeout = Duration::from_secs(2);
    let error = refused(&format!("amqp://127.0.0.1:{port}"), waiting).await;
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
    let expected = "the peer sent no AMQP: it may be a port for TLS or HTTP, or a proxy without a broker behind it";
    assert!(error.to_string().contains(expected), "{error}");
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn without_configure_permission_an_existing_queue_can_be_consumed() {
    let node = support::shared().await;
    let url = user(node, "tapped", "^$", "^$", ".*").await;
    let amqp = Amqp::connect(&node.vhost("tapped").await).await;
    amqp.declare_exchange("nova", true).await;
    amqp.declare_queue(QUEUE, true, &[]).await;
    amqp.publish("", QUEUE, "one", lapin_properties()).await;
    let rabbit = rabbit(&url);
    let mut subscribed = subscribe(&rabbit).await;
    next(&mut subscribed).await.settle(Settle::Ack).unwrap();
    subscribed.consumer.close().await;
    assert_eq!(depth(node, "tapped").await, Some(0));
    match refused(&url, subscription("missing.info")).await {
        ConnectError::Forbidden { user, action, .. } => {
            assert_eq!(user, "user_tapped");
            assert_eq!(action, "declare queue \"missing.info\"");
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_missing_permission_to_consume_or_publish_is_named() {
    let node = support::shared().await;
    let url = user(node, "powerless", "^$", "^$", "^$").await;
    let amqp = Amqp::connect(&node.vhost("powerless").await).await;
    amqp.declare_exchange("nova", true).await;
    amqp.declare_queue(QUEUE, true, &[]).await;
    amqp.bind(QUEUE, "nova", QUEUE).await;
    let error = refused(&url, subscription(QUEUE)).await.to_string();
    let expected =
        format!("user \"user_powerless\" may not consume queue {QUEUE:?}; grant read on it (");
    assert!(error.starts_with(&expected), "{error}");
    let error = rabbit(&url).send(topic("one")).await.unwrap_err().to_string();
    let expected = format!(
        "user \"user_powerless\" may not publish to exchange \"nova\" with routing key {QUEUE:?}; grant write on the exchange ("
    );
    assert!(error.contains(&expected), "{error}");
}

fn lapin_properties() -> lapin::BasicProperties {
    lapin::BasicProperties::default()
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_mismatch_is_an_error_only_for_options_in_the_url() {
    let node = support::shared().await;
    let url = node.vhost("mismatch").await;
    let amqp = Amqp::connect(&url).await;
    amqp.declare_queue(QUEUE, false, &[]).await;
    subscribe(&rabbit(&url)).await.consumer.close().await;
    let requested = format!("{url}?amqp_durable_queues=true");
    let expected = ConnectError::Mismatch {
        what: format!("queue {QUEUE:?}"),
        difference: "durable was requested to be true, and is false".to_owned(),
    };
    assert_eq!(refused(&requested, subscription(QUEUE)).await, expected);
    assert_eq!(rabbit(&requested).send(topic("one")).await, Err(SendError::Connect(expected)));
    // With an explicit type, because versions report a queue without one differently.
    let classic = ("x-queue-type", AMQPValue::LongString("classic".into()));
    amqp.declare_queue("durable.info", true, &[classic]).await;
    let quorum = format!("{url}?rabbit_quorum_queue=true");
    let expected = ConnectError::Mismatch {
        what: "queue \"durable.info\"".to_owned(),
        difference: "x-queue-type was requested to be quorum, and is classic".to_owned(),
    };
    assert_eq!(refused(&quorum, subscription("durable.info")).await, expected);
}

/// Returns and confirms of concurrent messages must not be confused.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn of_many_messages_exactly_the_unroutable_ones_are_returned() {
    let node = support::shared().await;
    let url = user(node, "returned", "^$", "^nova$", ".*").await;
    let amqp = Amqp::connect(&node.vhost("returned").await).await;
    amqp.declare_exchange("nova", true).await;
    // A transient queue confirms as fast as unroutable messages are returned, in the same frame.
    amqp.declare_queue(QUEUE, false, &[]).await;
    amqp.bind(QUEUE, "nova", QUEUE).await;
    let rabbit = rabbit(&url);
    let sends = (0..6000).map(|n| {
        let key = if n % 3 == 0 { "nowhere.info" } else { QUEUE };
        let route = Route::Topic { exchange: "nova".to_owned(), routing_key: key.to_owned() };
        let (rabbit, body) = (&rabbit, format!("{n} {key}"));
        async move { (body.clone(), rabbit.send(to(route, &body)).await) }
    });
    let sent = futures_util::future::join_all(sends).await;
    let mut expected = Vec::new();
    for (body, result) in sent {
        if body.ends_with(QUEUE) {
            assert_eq!(result, Ok(()), "{body}");
            expected.push(body);
        } else {
            let refused = SendError::Connect(ConnectError::Forbidden {
                user: "user_returned".to_owned(),
                action: "declare queue \"nowhere.info\"".to_owned(),
                reason: String::new(),
                fix: "grant the permission, or let another user create it first".into(),
            });
            let found = result.unwrap_err();
            let (found, refused) = (found.to_string(), refused.to_string());
            assert_eq!(found.split(" (").next(), refused.split(" (").next(), "{body}");
        }
    }
    let mut found: Vec<_> = amqp
        .drain(QUEUE)
        .await
        .into_iter()
        .map(|message| String::from_utf8(message.delivery.data).unwrap())
        .collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_quorum_queue_with_a_low_delivery_limit_is_refused_unless_the_loss_is_accepted() {
    let node = support::shared().await;
    let url = node.vhost("low_limit").await;
    let amqp = Amqp::connect(&url).await;
    let quorum = ("x-queue-type", AMQPValue::LongString("quorum".into()));
    let limit = |limit| ("x-delivery-limit", AMQPValue::LongInt(limit));
    amqp.declare_queue(QUEUE, true, &[quorum.clone(), limit(3)]).await;
    match refused(&url, subscription(QUEUE)).await {
        ConnectError::UnsuitableQueue { queue, problem, fix } => {
            assert_eq!(queue, QUEUE);
            assert!(problem.starts_with("has a delivery limit of 3:"), "{problem}");
            assert!(fix.starts_with("expected 5 or more:"), "{fix}");
        }
        other => panic!("{other}"),
    }
    let allowed = rabbit(&format!("{url}?allow_low_delivery_limit=true"));
    subscribe(&allowed).await.consumer.close().await;
    // Queues with a higher limit, and quorum queues without one, are accepted.
    amqp.declare_queue("high", true, &[quorum.clone(), limit(20)]).await;
    amqp.declare_queue("none", true, &[quorum]).await;
    amqp.declare_queue("classic", true, &[]).await;
    for queue in ["high", "none", "classic"] {
        let subscribed = rabbit(&url).subscribe(subscription(queue)).await.unwrap();
        subscribed.consumer.close().await;
    }
    // A queue that would be declared with such a limit is refused as well.
    let requested = format!("{url}?rabbit_quorum_queue=true&rabbit_quorum_delivery_limit=2");
    let error = refused(&requested, subscription("requested")).await;
    assert!(error.to_string().contains("has a delivery limit of 2:"), "{error}");
}

/// From RabbitMQ 4.0 on a negative limit means none; earlier versions drop the first redelivery.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_negative_delivery_limit_is_refused_before_4_0() {
    let node = support::shared().await;
    let url = node.vhost("negative limit").await;
    let requested = format!("{url}?rabbit_quorum_queue=true&rabbit_quorum_delivery_limit=-1");
    if node.version().await >= (4, 0) {
        let mut subscribed = rabbit(&requested).subscribe(subscription(QUEUE)).await.unwrap();
        send(&rabbit(&requested), "one").await;
        next(&mut subscribed).await.settle(Settle::Requeue).unwrap();
        next(&mut subscribed).await.settle(Settle::Ack).unwrap();
        subscribed.consumer.close().await;
    } else {
        let error = refused(&requested, subscription(QUEUE)).await;
        assert!(error.to_string().contains("has a delivery limit of -1:"), "{error}");
    }
}

/// RabbitMQ 4 can be configured to deny them; earlier versions accept them.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_broker_that_denies_transient_queues_is_reported_with_the_option_to_set() {
    let mut node = RabbitNode::start().await;
    let can_deny = node.version().await >= (4, 0);
    if can_deny {
        node.configure("deprecated_features.permit.transient_nonexcl_queues = false");
        node.restart().await;
    }
    let fixes = [
        (oslo_url(&node.vhost("oslo").await), "set amqp_durable_queues=true in the transport URL"),
        (
            node.vhost("amqp").await + "?amqp_durable_queues=false",
            "remove amqp_durable_queues=false from the transport URL",
        ),
    ];
    for (url, fix) in fixes {
        if !can_deny {
            subscribe(&rabbit(&url)).await.consumer.close().await;
            continue;
        }
        match refused(&url, subscription(QUEUE)).await {
            ConnectError::Refused { action, reason } => {
                assert_eq!(action, format!("declare queue {QUEUE:?}"));
                assert!(reason.contains(fix), "{reason}");
            }
            other => panic!("{other}"),
        }
        let error = rabbit(&url).send(topic("one")).await.unwrap_err();
        assert!(!error.is_transient() && error.to_string().contains(fix), "{error}");
    }
    // With the suggested options it works.
    let durable = oslo_url(&node.vhost("durable").await) + "?amqp_durable_queues=true";
    subscribe(&rabbit(&durable)).await.consumer.close().await;
    subscribe(&rabbit(&node.vhost("default").await)).await.consumer.close().await;
}

/// The exclusive consumer may end; and if it does not, the error must not suggest that no broker was
/// reached.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_queue_with_an_exclusive_consumer_is_waited_for() {
    use lapin::options::{BasicCancelOptions, QueueDeclareOptions};
    use lapin::types::FieldTable;

    let node = support::shared().await;
    let url = node.vhost("exclusive").await;
    let (consumer, owner) = (Amqp::connect(&url).await, Amqp::connect(&url).await);
    consumer.declare_queue(QUEUE, true, &[]).await;
    let held = consumer.consume_exclusively(QUEUE).await;
    let exclusive = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    let declared =
        owner.channel().queue_declare("locked.info".into(), exclusive, FieldTable::default());
    declared.await.unwrap();

    for queue in [QUEUE, "locked.info"] {
        let text = times_out(&url, subscription(queue), "has the queue exclusively; stop it").await;
        assert!(text.contains("could not be consumed within"), "{text}");
        assert!(!text.contains("check host and port"), "{text}");
    }
    let rabbit = rabbit(&url);
    let both = async {
        let (one, other) = (subscription(QUEUE), subscription("locked.info"));
        tokio::join!(rabbit.subscribe(one), rabbit.subscribe(other))
    };
    let released = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        consumer.channel().basic_cancel(held.tag(), BasicCancelOptions::default()).await.unwrap();
        owner.close().await;
    };
    let ((one, other), ()) = tokio::join!(both, released);
    one.unwrap().consumer.close().await;
    other.unwrap().consumer.close().await;
}

/// The last attempt is made over a slow link: its timeout is over before the broker answers.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn an_unanswered_attempt_does_not_hide_the_error_of_the_previous_one() {
    let node = support::shared().await;
    let proxy = Proxy::start(node.port()).await;
    let url = node.vhost("unanswered").await;
    let consumer = Amqp::connect(&url).await;
    consumer.declare_queue(QUEUE, true, &[]).await;
    let _held = consumer.consume_exclusively(QUEUE).await;
    let through = url.replace(&node.port().to_string(), &proxy.port().to_string());
    let (buffer, _guard) = permissions::logged();
    // On a busy machine the first attempt alone may take more than fifteen seconds.
    let waiting = subscription(QUEUE).timeout(Duration::from_secs(40));
    let slowed = async {
        wait_until("the first attempt has failed", SOON, async || {
            buffer.text().contains("cannot attach to RabbitMQ yet")
        })
        .await;
        let latency = Duration::from_secs(1);
        proxy.toxics(support::Toxics { latency, ..support::Toxics::default() });
    };
    let (error, ()) = tokio::join!(refused(&through, waiting), slowed);
    assert!(error.to_string().contains("has the queue exclusively; stop it"), "{error}");
}

/// An upgrade may leave flags disabled; later versions require them. The refusal closes the connection,
/// so it must not be requested again.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_feature_behind_a_disabled_flag_is_requested_once() {
    use listener::driver::JournalAppend;
    use listener::driver::JournalError;

    let mut node = RabbitNode::start().await;
    if node.version().await > (3, 10) {
        return;
    }
    let data = node.eval("list_to_binary(rabbit_mnesia:dir())").await;
    let data = std::path::PathBuf::from(data.trim_matches(['<', '>', '"']));
    node.stop().await;
    // As on a node that was created by an older version: only this flag is enabled.
    let folder = data.parent().and_then(std::path::Path::parent).unwrap();
    std::fs::write(folder.join("rabbitmq-env.conf"), "RABBITMQ_FEATURE_FLAGS=user_limits\n")
        .unwrap();
    std::fs::remove_dir_all(folder.join("mnesia")).unwrap();
    node.restart().await;
    let proxy = Proxy::start(node.port()).await;
    let url = node.url().replace(&node.port().to_string(), &proxy.port().to_string());
    let rabbit = rabbit(&(url + "?rabbit_quorum_queue=true"));
    let journal = async |entry: &str| {
        let append = JournalAppend::new(
            "q.quarantine.journal",
            Bytes::copy_from_slice(entry.as_bytes()),
            SOON,
        )
        .read_from(Some(0));
        let error = rabbit.journal(append).await.unwrap_err();
        assert!(matches!(error, JournalError::Unsupported(_)), "{error}");
        assert!(error.to_string().contains("feature flag"), "{error}");
    };
    let put = async |queue: &str| {
        let queue = queue.to_owned();
        let is_quarantine = queue.ends_with(".quarantine");
        let route = if is_quarantine { Route::Quarantine(queue) } else { Route::Queue(queue) };
        rabbit.send(to(route, "{}")).await.unwrap();
    };
    journal("1").await;
    put("one.quarantine").await;
    // Over a new connection, because the first attempt lost its own.
    journal("2").await;
    let connections = proxy.accepted();
    journal("3").await;
    put("two.quarantine").await;
    put("one.dead").await;
    let delayed = Route::Delayed { queue: "q".to_owned(), delay: Duration::from_secs(600) };
    rabbit.send(to(delayed, "{}")).await.unwrap();
    assert_eq!(proxy.accepted(), connections);
    // A work queue is declared with the requested arguments, or not at all.
    let error = rabbit.send(topic("one")).await.unwrap_err();
    assert!(!error.is_transient() && error.to_string().contains("feature flag"), "{error}");
}
