//! Every option, read back from the definition.

use listener::{Endpoint, notification_endpoint};

#[derive(Default)]
struct One;

#[notification_endpoint(
    topic = "notifications",
    exchange = "nova",
    publisher_id = "^compute",
    event_type = "^instance",
    context(project = "^a$", "other-key" = "b", type = "c"),
    metadata(message_id = "^7", timestamp = "^20"),
    payload(state = "active"),
    group = "billing",
    order = -1
)]
impl One {
    fn info() {}

    #[on(error, critical, payload(code = "^5"))]
    fn failed() {}
}

struct Two;

impl Two {
    fn create() -> Self {
        Two
    }
}

#[notification_endpoint(topics("a", "b",), init = Two::create, crate = ::listener, order = 7,)]
impl Two {
    fn sample() {}
}

struct Three;

#[notification_endpoint(provided)]
impl Three {
    fn audit() {}
}

struct Four;

#[notification_endpoint(register = false)]
impl Four {
    fn debug() {}
}

fn main() {
    let one = One::DEFINITION;
    assert_eq!((one.name, one.module), ("One", module_path!()));
    assert!(one.file.ends_with("options.rs"));
    assert_eq!((one.line, one.topics), (8, &["notifications"][..]));
    assert_eq!((one.exchange, one.group, one.order), (Some("nova"), Some("billing"), -1));
    assert_eq!(one.filter.publisher_id, Some("^compute"));
    assert_eq!(one.filter.event_type, Some("^instance"));
    assert_eq!(one.filter.context, [("project", "^a$"), ("other-key", "b"), ("type", "c")]);
    assert_eq!(one.filter.metadata, [("message_id", "^7"), ("timestamp", "^20")]);
    assert_eq!(one.filter.payload, [("state", "active")]);
    assert_eq!(One::METHODS[1].filter.payload, [("code", "^5")]);
    assert_eq!(format!("{:?}", One::METHODS[1].priorities), "[Error, Critical]");

    let two = Two::DEFINITION;
    assert_eq!((two.topics, two.order), (&["a", "b"][..], 7));

    let mut registered: Vec<_> = inventory_of_this_program();
    registered.sort_unstable();
    assert_eq!(registered, ["One made", "Three provided", "Two made"]);
    assert_eq!(Four::DEFINITION.name, "Four");
}

fn inventory_of_this_program() -> Vec<String> {
    use listener::__private::inventory;
    use listener::__private::Registration;
    use listener::__private::for_tests::Source;

    let kind = |source: &Source| match source {
        Source::Made(make) => {
            let _ = make();
            "made"
        }
        Source::Provided => "provided",
    };
    inventory::iter::<Registration>
        .into_iter()
        .map(|one| format!("{} {}", one.definition.name, kind(&one.source)))
        .collect()
}
