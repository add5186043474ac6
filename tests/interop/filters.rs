//! Filters: the same rule on the same notification gives the same result as Python's `NotificationFilter`,
//! for each rule and each notification of a table. In memory, so only Python is needed.

use std::collections::BTreeSet;
use std::time::Duration;

use listener::driver::{Outgoing, Route};
use listener::{Listener, Metadata, State, Transport, notification_endpoint};
use serde_json::{Value, json};
use support::python_peer::PythonFilter;
use tokio::sync::mpsc;

/// The name of a rule, and the number of a notification that it matches.
type Match = (&'static str, usize);

/// For each rule an endpoint with that filter, and the rule as Python takes it.
macro_rules! rules {
    ($($name:ident ($($filter:tt)*) $json:tt;)+) => {
        $(
            struct $name;

            #[notification_endpoint(register = false, $($filter)*)]
            impl $name {
                async fn info(metadata: &Metadata, matches: State<mpsc::UnboundedSender<Match>>) {
                    let number = metadata.message_id().strip_prefix("m-").unwrap().parse().unwrap();
                    let _ = matches.send((stringify!($name), number));
                }
            }
        )+

        fn rules() -> Vec<(&'static str, Value)> {
            vec![$((stringify!($name), json!($json))),+]
        }

        fn listener(transport: Transport, matches: mpsc::UnboundedSender<Match>) -> Listener {
            let builder = Listener::builder().transport(transport).state(matches);
            builder$(.endpoint($name))+.build().unwrap()
        }
    };
}

rules! {
    Publisher (publisher_id = r"^compute\..*") {"publisher_id": r"^compute\..*"};
    PublisherEnd (publisher_id = "host1$") {"publisher_id": "host1$"};
    Event (event_type = r"compute\.instance\.(create|delete)\.end$") {"event_type": r"compute\.instance\.(create|delete)\.end$"};
    Either (event_type = r"volume|compute\.instance\.create") {"event_type": r"volume|compute\.instance\.create"};
    Unanchored (event_type = "instance") {"event_type": "instance"};
    Tenant (context(tenant_id = "^p-[0-9]$")) {"context": {"tenant_id": "^p-[0-9]$"}};
    AnyTenant (context(tenant_id = ".*")) {"context": {"tenant_id": ".*"}};
    TwoKeys (context(tenant_id = "p", user = "ü")) {"context": {"tenant_id": "p", "user": "ü"}};
    MessageId (metadata(message_id = "m-1?[0-4]$")) {"metadata": {"message_id": "m-1?[0-4]$"}};
    Timestamp (metadata(timestamp = "2026-05-09 ")) {"metadata": {"timestamp": "2026-05-09 "}};
    State_ (payload(state = "^active$")) {"payload": {"state": "^active$"}};
    AnyState (payload(state = ".*")) {"payload": {"state": ".*"}};
    Digit (payload(state = r"\d+")) {"payload": {"state": r"\d+"}};
    Dotted (payload("instance.state" = "active")) {"payload": {"instance.state": "active"}};
    All (publisher_id = "compute", event_type = "compute", context(tenant_id = "p"), payload(state = "a"))
        {"publisher_id": "compute", "event_type": "compute", "context": {"tenant_id": "p"}, "payload": {"state": "a"}};
}

/// Notifications that differ in one part each.
fn notifications() -> Vec<Value> {
    let plain = json!({
        "publisher_id": "compute.host1",
        "event_type": "compute.instance.create.end",
        "ctxt": {"tenant_id": "p-1", "user": "ü"},
        "payload": {"state": "active", "instance": {"state": "active"}},
        "timestamp": "2026-05-09 07:29:33.123456",
    });
    let other = |part: &str, value: Value| {
        let mut notification = plain.clone();
        notification[part] = value;
        notification
    };
    let names = [json!(null), json!(""), json!("network.host1"), json!("compute.host1\n")];
    let values = [
        json!(null),
        json!(1),
        json!(1.5),
        json!(true),
        json!(["active"]),
        json!({"a": "p-1"}),
        json!(""),
        json!("inactive"),
        json!("42"),
        json!("٤٢"),
        json!("active\nnext"),
        json!("\u{fc}ber"),
    ];
    let mut all = vec![plain.clone()];
    all.extend(names.iter().map(|name| other("publisher_id", name.clone())));
    for event_type in [
        json!(null),
        json!(["compute.instance.create.end"]),
        json!(7),
        json!("volume.create"),
        json!("compute.instance.delete.end"),
        json!("x.compute.instance.delete.end"),
    ] {
        all.push(other("event_type", event_type));
    }
    all.extend(values.iter().map(|value| other("ctxt", json!({"tenant_id": value}))));
    all.push(other("ctxt", json!({})));
    all.extend(values.iter().map(|value| other("payload", json!({"state": value}))));
    for payload in [json!({}), json!([]), json!({"instance.state": "active"})] {
        all.push(other("payload", payload));
    }
    all.push(other("timestamp", json!("2025-05-09 07:29:33")));
    all
}

fn message_id(number: usize) -> String {
    format!("m-{number}")
}

/// The matches of our listener.
async fn by_us() -> BTreeSet<Match> {
    let transport = Transport::open("memory://interop-filters").unwrap();
    let (sender, mut matches) = mpsc::unbounded_channel();
    let listener = listener(transport.clone(), sender);
    listener.start().await.unwrap();
    for (number, notification) in notifications().iter().enumerate() {
        let mut body = notification.as_object().unwrap().clone();
        let context = body.remove("ctxt").unwrap();
        for (key, value) in context.as_object().unwrap() {
            body.insert(format!("_context_{key}"), value.clone());
        }
        body.insert("message_id".to_owned(), message_id(number).into());
        body.insert("priority".to_owned(), "INFO".into());
        let route = Route::Topic {
            exchange: "openstack".to_owned(),
            routing_key: "notifications.info".to_owned(),
        };
        let body = Value::Object(body).to_string();
        transport.send(Outgoing::new(route, body, Duration::from_secs(60))).await.unwrap();
    }
    support::wait_until("everything is settled", crate::collect::SOON, async || {
        listener.health().queues.iter().map(|queue| queue.acknowledged).sum::<u64>()
            == notifications().len() as u64
    })
    .await;
    listener.stop().await;
    listener.wait().await.unwrap();
    drop(listener);
    std::iter::from_fn(|| matches.try_recv().ok()).collect()
}

#[tokio::test]
#[ignore = "needs rabbitmq and oslo.messaging"]
async fn filters_match_the_notifications_that_those_of_python_match() {
    let mut python = PythonFilter::start().await;
    let mut by_python = BTreeSet::new();
    for (name, rule) in rules() {
        for (number, notification) in notifications().iter().enumerate() {
            let mut question = notification.clone();
            question["rule"] = rule.clone();
            question["metadata"] =
                json!({"message_id": message_id(number), "timestamp": notification["timestamp"]});
            if python.matches(&question).await {
                by_python.insert((name, number));
            }
        }
    }
    let by_us = by_us().await;
    assert!(by_python.len() > 100, "too few match: {by_python:?}");
    let table = notifications();
    let only = |these: &BTreeSet<Match>, those: &BTreeSet<Match>| {
        let only = these.difference(those);
        only.map(|(name, number)| format!("{name} {}", table[*number])).collect::<Vec<_>>()
    };
    assert_eq!((only(&by_us, &by_python), only(&by_python, &by_us)), (vec![], vec![]));
}
