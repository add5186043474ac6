//! Filters of endpoints and methods as the macro creates them; the semantics of each part are tested in
//! `listener/src/filter.rs`.

use listener::{Context, Notifier, Priority, State, notification_endpoint};
use serde_json::json;

use crate::rig::{Log, Rig, finish};

struct Narrow;

#[notification_endpoint(
    register = false,
    publisher_id = r"compute\.",
    context(project = "p-[0-9]$"),
    payload(state = "active|error", "display-name" = ".*"),
    metadata(message_id = "[0-9a-f-]{36}$")
)]
impl Narrow {
    async fn info(&self, event_type: &str, log: State<Log>) {
        let _ = log.send(format!("info {event_type}"));
    }

    #[on(info, warn, event_type = r"instance\.create\.(start|end)$")]
    async fn created(&self, event_type: &str, log: State<Log>) {
        let _ = log.send(format!("created {event_type}"));
    }
}

async fn seen(
    change: impl FnOnce(Notifier) -> Notifier,
    priority: Priority,
    project: &str,
    event_type: &str,
    state: &str,
) -> Vec<String> {
    let mut rig = Rig::new();
    let listener = rig.builder().endpoint(Narrow).build().unwrap();
    listener.start().await.unwrap();
    let context = Context::new().with("project", project);
    let payload = json!({"state": state, "display-name": "vm", "n": 1});
    let notifier = change(rig.notifier());
    notifier.notify(priority, &context, event_type, &payload).await.unwrap();
    finish(&listener).await;
    rig.seen_so_far()
}

#[tokio::test(start_paused = true)]
async fn a_notification_that_matches_both_filters_is_handled() {
    assert_eq!(
        seen(|n| n, Priority::Info, "p-1", "instance.create.end", "active").await,
        ["info instance.create.end", "created instance.create.end"]
    );
    assert_eq!(
        seen(|n| n, Priority::Warn, "p-1", "instance.create.end", "active").await,
        ["created instance.create.end"]
    );
}

#[tokio::test(start_paused = true)]
async fn the_filter_of_a_method_does_not_affect_other_methods() {
    assert_eq!(
        seen(|n| n, Priority::Info, "p-1", "instance.delete.end", "active").await,
        ["info instance.delete.end"]
    );
}

#[tokio::test(start_paused = true)]
async fn the_filter_of_an_endpoint_applies_to_all_its_methods() {
    let none: [&str; 0] = [];
    let create = "instance.create.end";
    assert_eq!(seen(|n| n, Priority::Info, "p-x", create, "active").await, none);
    assert_eq!(seen(|n| n, Priority::Info, "p-1", create, "building").await, none);
    let network = |n: Notifier| n.with_publisher_id("network.compute.host1");
    assert_eq!(seen(network, Priority::Info, "p-1", create, "active").await, none);
}
