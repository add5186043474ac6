//! Filters: the same rule on the same notification gives the same result as Python's `NotificationFilter`,
//! for each rule and each notification of a table, as a filter of the attribute and as one that is built at
//! run time. In memory, so only Python is needed.

use std::collections::BTreeSet;
use std::time::Duration;

use listener::driver::{Outgoing, Route};
use listener::{EndpointExt, Filter, Listener, Metadata, State, Transport, notification_endpoint};
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

        /// A listener with the filters of the attributes.
        fn of_attributes(transport: Transport, matches: mpsc::UnboundedSender<Match>) -> Listener {
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

/// An endpoint without a filter of its own, which reports matches under a name.
struct Named(&'static str);

#[notification_endpoint(register = false)]
impl Named {
    async fn info(&self, metadata: &Metadata, matches: State<mpsc::UnboundedSender<Match>>) {
        let number = metadata.message_id().strip_prefix("m-").unwrap().parse().unwrap();
        let _ = matches.send((self.0, number));
    }
}

/// A rule of Python as a filter that is built at run time.
fn at_run_time(rule: &Value) -> Filter {
    let mut parts = Vec::new();
    for (part, value) in rule.as_object().unwrap() {
        match value.as_object() {
            None if part == "publisher_id" => parts.push(Filter::publisher_id(text(value))),
            None => parts.push(Filter::event_type(text(value))),
            Some(keys) => parts.extend(keys.iter().map(|(key, value)| match part.as_str() {
                "context" => Filter::context(key, text(value)),
                "metadata" => Filter::metadata(key, text(value)),
                _ => Filter::payload(key, text(value)),
            })),
        }
    }
    parts.into_iter().map(Result::unwrap).reduce(|all, part| all & part).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// A listener with the same filters, built at run time.
fn of_values(transport: Transport, matches: mpsc::UnboundedSender<Match>) -> Listener {
    let builder = Listener::builder().transport(transport).state(matches);
    let add = |builder: listener::ListenerBuilder, (name, rule): (&'static str, Value)| {
        builder.endpoint(Named(name).named(name).filter(at_run_time(&rule)))
    };
    rules().into_iter().fold(builder, add).build().unwrap()
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

/// The matches of a listener of ours.
async fn by_us(
    bus: &str,
    listener: fn(Transport, mpsc::UnboundedSender<Match>) -> Listener,
) -> BTreeSet<Match> {
    let transport = Transport::open(&format!("memory://interop-{bus}")).unwrap();
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
    assert!(by_python.len() > 100, "too few match: {by_python:?}");
    let table = notifications();
    let only = |these: &BTreeSet<Match>, those: &BTreeSet<Match>| {
        let only = these.difference(those);
        only.map(|(name, number)| format!("{name} {}", table[*number])).collect::<Vec<_>>()
    };
    for by_us in [by_us("attributes", of_attributes).await, by_us("values", of_values).await] {
        assert_eq!((only(&by_us, &by_python), only(&by_python, &by_us)), (vec![], vec![]));
    }
}
