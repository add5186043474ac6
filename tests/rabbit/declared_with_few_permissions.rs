//! What a driver declares for a user that may not declare or bind everything: nothing that would
//! be wrong for the deployment, and a missing exchange is waited for.

use lapin::BasicProperties;
use serde_json::json;
use support::oslo_url;

use super::declared::{bindings, is_routed, queue};
use super::mistakes::user;
use super::*;

/// A user with the permissions that the guide lists for the pool `billing`.
async fn billing(node: &RabbitNode, vhost: &str) -> String {
    let (configure, write, read) =
        (r"^billing($|\.)", r"^(billing$|amq\.default$)", r"^(billing($|\.)|nova$)");
    oslo_url(&user(node, vhost, configure, write, read).await)
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn without_permission_to_declare_it_a_missing_exchange_is_waited_for() {
    let node = support::shared().await;
    let url = billing(node, "least_missing").await;
    let pool = || bindings(&[("nova", QUEUE, "billing")]);
    // The second time the queue exists.
    for _ in 0..2 {
        times_out(&url, pool(), "exchange \"nova\" does not exist").await;
    }
    let amqp = Amqp::connect(&node.vhost("least_missing").await).await;
    let later = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        amqp.declare_exchange("nova", false).await;
    };
    let driver = rabbit(&url);
    let (subscribed, ()) = tokio::join!(driver.subscribe(pool()), later);
    let subscribed = subscribed.expect("the exchange exists by now");
    assert!(is_routed(&amqp, "nova", QUEUE).await);
    subscribed.consumer.close().await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn an_existing_queue_is_consumed_with_its_bindings_while_its_exchange_is_missing() {
    let node = support::shared().await;
    let url = user(node, "given_queue", "^$", "^$", "^orders$").await;
    let amqp = Amqp::connect(&node.vhost("given_queue").await).await;
    amqp.declare_queue("orders", true, &[]).await;
    amqp.publish("", "orders", "one", BasicProperties::default()).await;
    let pool = bindings(&[("openstack", QUEUE, "orders")]);
    let mut subscribed = rabbit(&url).subscribe(pool).await.unwrap();
    let delivery = next(&mut subscribed).await;
    assert_eq!(delivery.body, "one");
    delivery.settle(Settle::Ack).unwrap();
    subscribed.consumer.close().await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn other_exchanges_are_bound_while_one_is_missing() {
    let node = support::shared().await;
    let url = user(node, "one_missing", "^billing", "^billing", ".*").await;
    let amqp = Amqp::connect(&node.vhost("one_missing").await).await;
    amqp.declare_exchange("nova", false).await;
    let pool = bindings(&[("cinder", QUEUE, "billing"), ("nova", QUEUE, "billing")]);
    times_out(&url, pool, "exchange \"cinder\" does not exist").await;
    assert!(is_routed(&amqp, "nova", QUEUE).await);
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn without_permission_to_declare_it_a_deleted_exchange_is_waited_for() {
    let node = support::shared().await;
    let url = billing(node, "least_vanished").await;
    let admin = node.vhost("least_vanished").await;
    let amqp = Amqp::connect(&admin).await;
    amqp.declare_exchange("nova", false).await;
    let driver = rabbit(&url);
    let subscribed = driver.subscribe(bindings(&[("nova", QUEUE, "billing")])).await.unwrap();
    // As after a restart of the broker; not every version deletes a transient exchange then.
    node.api("DELETE", "/api/exchanges/least_vanished/nova", None).await;
    let mut changes = subscribed.consumer.state();
    node.ctl(&["close_all_connections", "-p", "least_vanished", "restart"]).await;
    let is_reported = |state: &ConnectionState| matches!(state, ConnectionState::Lost { reason } if reason.contains("exchange \"nova\" does not exist"));
    timeout(SOON, changes.wait_for(is_reported)).await.expect("the error is reported").unwrap();
    let amqp = Amqp::connect(&admin).await;
    amqp.declare_exchange("nova", false).await;
    state(&subscribed, true).await;
    assert!(is_routed(&amqp, "nova", QUEUE).await);
    subscribed.consumer.close().await;
}

/// A user for the queues of the topic `notifications`, which may bind them to `nova` but not
/// configure it, so that it cannot find out whether the exchange is durable.
async fn without_exchange_permission(node: &RabbitNode, vhost: &str) -> String {
    let (configure, write, read) = (
        r"^notifications\.",
        r"^(notifications\.|nova$|amq\.default$)",
        r"^(notifications\.|nova$)",
    );
    oslo_url(&user(node, vhost, configure, write, read).await)
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn the_queue_of_a_pool_is_durable_when_the_deployment_s_durability_is_unknown() {
    let node = support::shared().await;
    for (vhost, exchange) in [("hidden_pool", Some(true)), ("hidden_pool_missing", None)] {
        let url = billing(node, vhost).await;
        let amqp = Amqp::connect(&node.vhost(vhost).await).await;
        if let Some(durable) = exchange {
            amqp.declare_exchange("nova", durable).await;
        }
        let pool = bindings(&[("nova", QUEUE, "billing")]);
        if exchange.is_some() {
            rabbit(&url).subscribe(pool).await.expect("the exchange exists");
        } else {
            times_out(&url, pool, "exchange \"nova\" does not exist").await;
        }
        assert_eq!(queue(node, vhost, "billing").await["durable"], true, "{vhost}");
    }
}

/// Declared as transient in a durable deployment, it would keep services from publishing.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_shared_queue_is_not_declared_when_the_deployment_s_durability_is_unknown() {
    let node = support::shared().await;
    let vhost = "hidden_shared";
    let url = without_exchange_permission(node, vhost).await;
    let amqp = Amqp::connect(&node.vhost(vhost).await).await;
    // The service that owns it has not started yet.
    times_out(&url, subscription(QUEUE), "exchange \"nova\" does not exist").await;
    rabbit(&url).send(topic("one")).await.unwrap_err();
    assert_eq!(node.queues(vhost).await, [""; 0]);

    amqp.declare_exchange("nova", true).await;
    let expected = "set amqp_durable_queues (true or false) in the transport URL as the other services have it, or grant the permission to configure exchange \"nova\"";
    let error = refused(&url, subscription(QUEUE)).await;
    assert!(error.to_string().contains(expected), "{error}");
    assert!(!error.is_transient());
    let error = rabbit(&url).send(topic("one")).await.unwrap_err();
    assert!(error.to_string().contains(expected), "{error}");
    assert_eq!(node.queues(vhost).await, [""; 0]);

    // A service of the deployment declares the queue of another priority.
    amqp.declare_queue("notifications.error", true, &[]).await;
    subscribe(&rabbit(&url)).await.consumer.close().await;
    assert_eq!(queue(node, vhost, QUEUE).await["durable"], true);
    for (durable, missing) in [(true, "notifications.warn"), (false, "notifications.audit")] {
        let given = format!("{url}?amqp_durable_queues={durable}");
        let subscribed = rabbit(&given).subscribe(subscription(missing)).await.unwrap();
        assert_eq!(queue(node, vhost, missing).await["durable"], durable);
        subscribed.consumer.close().await;
    }
}

/// At the next start it would exist, and count as bound.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_queue_that_may_not_be_bound_is_not_declared() {
    let node = support::shared().await;
    let admin = Amqp::connect(&node.vhost("no_binding").await).await;
    admin.declare_exchange("nova", true).await;
    let url =
        user(node, "no_binding", "^(billing|notif)", "^(billing|notif|nova)", "^billing").await;
    let error = rabbit(&url).send(topic("one")).await.unwrap_err();
    assert!(error.to_string().contains("may not bind queue \"notifications.info\""), "{error}");
    assert_eq!(node.queues("no_binding").await, [""; 0]);
    for _ in 0..2 {
        match refused(&url, bindings(&[("nova", QUEUE, "billing")])).await {
            ConnectError::Forbidden { action, .. } => {
                assert_eq!(action, "bind queue \"billing\" to exchange \"nova\"");
            }
            other => panic!("{other}"),
        }
        assert_eq!(node.queues("no_binding").await, [""; 0]);
    }
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_missing_topic_permission_is_reported_and_no_queue_is_declared() {
    const OTHER: &str = "notifications.error";
    let node = support::shared().await;
    for (vhost, exists) in [("topic_permissions", true), ("topic_permissions_missing", false)] {
        // RabbitMQ 4.3 has topic permissions only for existing exchanges.
        if !exists && node.version().await >= (4, 3) {
            continue;
        }
        let url = user(node, vhost, ".*", ".*", ".*").await;
        if exists {
            Amqp::connect(&node.vhost(vhost).await).await.declare_exchange("nova", true).await;
        }
        let may = json!({"exchange": "nova", "write": ".*", "read": r"^notifications\.info$"});
        node.api("PUT", &format!("/api/topic-permissions/{vhost}/user_{vhost}"), Some(may)).await;
        for _ in 0..2 {
            let pool = bindings(&[("nova", QUEUE, "billing"), ("nova", OTHER, "billing")]);
            let error = refused(&url, pool).await.to_string();
            let expected = "may not bind queue \"billing\" to exchange \"nova\"";
            assert!(error.contains(expected) && error.contains("set_topic_permissions"), "{error}");
            let route = Route::Topic { exchange: "nova".to_owned(), routing_key: OTHER.to_owned() };
            let error = rabbit(&url).send(to(route, "{}")).await.unwrap_err().to_string();
            assert!(error.contains("may not bind queue \"notifications.error\""), "{error}");
            assert_eq!(node.queues(vhost).await, [""; 0]);
        }
        let allowed = bindings(&[("nova", QUEUE, "billing")]);
        rabbit(&url).subscribe(allowed).await.unwrap().consumer.close().await;
    }
}

/// Only its consumer also binds it: declared for a copy, it would count as bound at the next start.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_deleted_queue_with_a_consumer_is_not_declared_for_a_copy() {
    let node = support::shared().await;
    let vhost = "vanished_unbound";
    let admin = node.vhost(vhost).await;
    let amqp = Amqp::connect(&admin).await;
    amqp.declare_exchange("nova", true).await;
    amqp.declare_queue("billing", true, &[]).await;
    amqp.bind("billing", "nova", QUEUE).await;
    // The user may declare the queue, but not bind it.
    let driver =
        rabbit(&user(node, vhost, "^billing", "^(billing|amq.default$)", "^billing").await);
    let subscribed = driver.subscribe(bindings(&[("nova", QUEUE, "billing")])).await.unwrap();
    let mut changes = subscribed.consumer.state();
    amqp.delete_queue("billing").await;
    let is_reported = |state: &ConnectionState| matches!(state, ConnectionState::Lost { reason } if reason.contains("may not bind"));
    timeout(SOON, changes.wait_for(is_reported)).await.expect("the error is reported").unwrap();
    let second = Duration::from_secs(1);
    for route in [
        Route::Queue("billing".to_owned()),
        Route::Delayed { queue: "billing".to_owned(), delay: second },
    ] {
        let copy = to(route, "{}").timeout(3 * second);
        let error = driver.send(copy).await.unwrap_err();
        assert!(error.to_string().contains("queue \"billing\" has vanished"), "{error}");
    }
    assert_eq!(node.queues(vhost).await, [""; 0]);
    // A user that may bind it declares it again.
    amqp.declare_queue("billing", true, &[]).await;
    amqp.bind("billing", "nova", QUEUE).await;
    driver.send(to(Route::Queue("billing".to_owned()), "{}")).await.unwrap();
    subscribed.consumer.close().await;
}
