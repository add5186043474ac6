//! What does not build: every mistake that can be found without I/O, all in one error, each with a fix.

use std::time::Duration;

use listener::ListenerBuilder;
use listener::error::BuildError;
use listener::options::{ListenerOptions, PoisonOptions, RetryOptions};
use listener::{Config, Listener, Notifier, State, Target, Transport, notification_endpoint};

use crate::logging::Buffer;
use crate::rig::Log;

struct Database;

#[derive(Default)]
struct Needy;

#[notification_endpoint(register = false)]
impl Needy {
    async fn info(&self, _db: State<Database>, _log: State<Log>) {}
    async fn warn(&self, _db: State<Database>) {}
}

#[derive(Default)]
struct Plain;

#[notification_endpoint(register = false)]
impl Plain {
    async fn info(&self) {}
}

struct Given;

#[notification_endpoint(provided, group = "given")]
impl Given {
    async fn info(&self) {}
}

/// The error of a builder, without the line and column of the endpoint.
fn error(built: Result<Listener, BuildError>) -> String {
    let text = built.expect_err("it must not build").to_string();
    text.split_inclusive(".rs:")
        .map(|part| part.trim_start_matches(|c: char| c.is_ascii_digit()))
        .collect()
}

#[test]
fn a_missing_state_is_reported_with_endpoint_method_and_location() {
    let built = Listener::builder()
        .transport_url("memory://")
        .state(Log::clone(&tokio::sync::mpsc::unbounded_channel().0))
        .endpoint(Needy)
        .build();
    let needs = |method| {
        format!(
            "\n- endpoint `flow::build::Needy` (tests/flow/build.rs:): method `{method}` takes `State<flow::build::Database>`, and the listener has none; give it with `Listener::builder().config(Config::from_env()?).state(..)` instead of `listen()`"
        )
    };
    assert_eq!(
        error(built),
        format!("the listener cannot be built, for 2 reasons:{}{}", needs("info"), needs("warn"))
    );
}

struct Guarded<T>(T);

/// Takes states that are wrapped in more or fewer types than the given ones.
struct Wrapped;

#[notification_endpoint(register = false)]
impl Wrapped {
    async fn info(&self, _db: State<std::sync::Arc<Database>>) {}
    async fn warn(&self, _count: State<u8>) {}
    async fn error(&self, _other: State<u16>) {}
    async fn debug(&self, _db: State<std::sync::Arc<std::sync::Mutex<Database>>>) {}
    async fn audit(&self, _twice: State<u32>) {}
}

#[test]
fn a_missing_state_suggests_a_similar_one_that_was_given() {
    let built = Listener::builder()
        .transport_url("memory://")
        .state(Database)
        .state(Guarded(1_u8))
        .state(Guarded(Some(1_u32)))
        .endpoint(Wrapped)
        .build();
    let text = error(built);
    let fixes: Vec<&str> = text
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once("has none; "))
        .map(|m| m.1)
        .collect();
    assert_eq!(
        fixes,
        [
            "did you mean `State<flow::build::Database>`, which it has? A `State` needs no `Arc` around it.",
            "did you mean `State<flow::build::Guarded<u8>>`, which it has?",
            "give it with `Listener::builder().config(Config::from_env()?).state(..)` instead of `listen()`",
            "did you mean `State<flow::build::Database>`, which it has?",
            "did you mean `State<flow::build::Guarded<core::option::Option<u32>>>`, which it has?",
        ]
    );
}

struct OwnTopic;

#[notification_endpoint(register = false, topic = "versioned_notifications")]
impl OwnTopic {
    async fn info(&self) {}
}

/// What is logged while a listener is built.
fn logged(builder: ListenerBuilder) -> String {
    let buffer = Buffer::default();
    let guard = buffer.set();
    let built = builder.transport_url("memory://").build();
    drop(guard);
    assert!(built.is_ok(), "{built:?}");
    buffer.text()
}

#[test]
fn topics_of_the_listener_that_no_endpoint_uses_are_warned_about() {
    let builder = || Listener::builder().target(Target::topic("billing").exchange("nova"));
    let text = logged(builder().endpoint(OwnTopic));
    let warning = "the listener's topics have no effect: each endpoint names its own";
    assert!(
        text.contains("WARN") && text.contains(warning) && text.contains("nova/billing"),
        "{text}"
    );
    assert_eq!(logged(builder().endpoint(OwnTopic).endpoint(Plain)), "");
    assert_eq!(logged(Listener::builder().endpoint(OwnTopic)), "");
}

#[test]
fn every_mistake_is_reported_at_once() {
    let built = Listener::builder()
        .transport_url("rabit://guest:secret@h/")
        .target(Target::topic(""))
        .pool("")
        .prefetch(0)
        .group("no such group")
        .endpoint(Plain)
        .build();
    let text = error(built);
    assert!(!text.contains("secret"), "{text}");
    let mistakes: Vec<&str> = text.lines().skip(1).map(|line| &line[2..]).collect();
    assert_eq!(
        mistakes,
        [
            "the topic of a target is empty; expected a name",
            "pool is empty; expected the name of a queue",
            "prefetch is 0; expected a number from 1 to 65535 (0 would take the whole queue into memory)",
            "no endpoint is in group \"no such group\"; the groups are: generic, given, group-a, group-b, init-both, init-delayed, init-fails, init-fallible, init-hangs, init-panics, init-panics-at-once, init-plain, init-states, metering, named-registered",
            "no driver is named \"rabit\" in the transport URL; expected one of: rabbit (or kombu), amqp, amqps, memory (or fake)",
        ]
    );
}

/// With fewer, every orderly stop would count as a crash.
#[test]
fn a_quarantine_after_below_two_is_refused() {
    for quarantine_after in [0, 1] {
        let poison =
            PoisonOptions::default().quarantine_after(quarantine_after).dead_letter_after(3);
        let options = ListenerOptions::default().poison(poison);
        let text = error(Listener::builder().options(options).endpoint(Plain).build());
        let expected = format!(
            "poison.quarantine_after is {quarantine_after}; expected a whole number, 2 or more (a first crash looks \
             like an orderly stop"
        );
        assert!(text.contains(&expected), "{text}");
    }
}

#[test]
fn a_build_error_boxed_by_main_prints_its_message() {
    fn main() -> Result<(), Box<dyn std::error::Error>> {
        let _ = Listener::builder().transport_url("rabit://h/").endpoint(Plain).build()?;
        Ok(())
    }
    assert_eq!(
        format!("Error: {:?}", main().unwrap_err()),
        "Error: the listener cannot be built: no driver is named \"rabit\" in the transport URL; expected one of: rabbit (or kombu), amqp, amqps, memory (or fake)"
    );
}

#[test]
fn a_url_that_asks_for_tls_in_an_unknown_way_is_refused() {
    for scheme in ["rabbit+ssl", "RABBITS"] {
        let error = Transport::open(&format!("{scheme}://u:secret@h:5671/")).unwrap_err();
        let found = scheme.to_lowercase();
        assert_eq!(
            error.to_string(),
            format!(
                "\"{found}\" in the transport URL asks for TLS in a way that is not known; use `amqps://`, or `rabbit://` with the option `ssl=true`"
            )
        );
    }
}

#[test]
fn a_provided_endpoint_without_an_instance_is_reported() {
    let built = Listener::builder().transport_url("memory://").group("given").build();
    assert_eq!(
        error(built),
        "the listener cannot be built: endpoint `flow::build::Given` (tests/flow/build.rs:) is `provided`, but no instance was given; pass one to `.endpoint(..)` of the listener's builder, or select other endpoints with `.group(..)`"
    );
}

#[derive(Default)]
struct Wild;

#[notification_endpoint(register = false, topic = "nova.*")]
impl Wild {
    async fn info(&self) {}
}

fn with(change: impl FnOnce(ListenerBuilder) -> ListenerBuilder) -> Result<Listener, BuildError> {
    change(Listener::builder().transport_url("memory://").endpoint(Plain)).build()
}

/// The error for a topic, a pool or an exchange.
fn wrong(change: impl FnOnce(ListenerBuilder) -> ListenerBuilder) -> String {
    let text = error(with(change));
    text.strip_prefix("the listener cannot be built: ").expect(&text).to_owned()
}

#[test]
fn a_name_too_long_for_its_queue_names_is_refused() {
    let long = |length| "a".repeat(length);
    let shown = format!("\"{}..\"", long(40));
    let topic = |length| Target::topic(long(length));
    assert!(with(|builder| builder.pool(long(241))).is_ok());
    assert_eq!(
        wrong(|builder| builder.pool(long(242))),
        format!(
            "pool {shown} has 242 bytes; expected 241 at most: names such as `<pool>.retry.131072s` are made from it, and AMQP allows 255 bytes"
        )
    );
    assert!(with(|builder| builder.target(topic(232))).is_ok());
    assert_eq!(
        wrong(|builder| builder.target(topic(233))),
        format!(
            "topic {shown} has 233 bytes; expected 232 at most: names such as `<topic>.critical.retry.131072s` are made from it, and AMQP allows 255 bytes"
        )
    );
    // With a pool, the queue is not named after the topic.
    assert!(with(|builder| builder.target(topic(246)).pool("tap")).is_ok());
    assert!(
        wrong(|builder| builder.target(topic(247)).pool("tap")).contains("expected 246 at most")
    );
    assert!(
        wrong(|builder| builder.control_exchange(long(256)))
            .contains(&format!("exchange {shown} has 256 bytes; expected 255 at most"))
    );
}

#[test]
fn a_topic_that_is_a_pattern_or_a_list_is_refused() {
    for name in ["notifications.*", "#", "nova.#.info"] {
        assert_eq!(
            wrong(|builder| builder.target(Target::topic(name))),
            format!(
                "topic \"{name}\" contains `*` or `#`; expected the name of one topic: a topic is not a pattern, so list each by its name"
            )
        );
    }
    assert_eq!(
        wrong(|builder| builder.target(Target::topic("notifications,nova"))),
        "topic \"notifications,nova\" contains a comma; expected the name of one topic: list several individually"
    );
    for name in ["notifications versioned_notifications", "notifications\n", " notifications"] {
        assert_eq!(
            wrong(|builder| builder.target(Target::topic(name))),
            format!(
                "topic {name:?} contains white space; expected the name of one topic: list several individually, and in a variable with commas"
            )
        );
    }
    let variables = [("LISTENER_TOPICS".to_owned(), "notifications nova".to_owned())];
    let text = Config::from_variables(variables).unwrap_err().to_string();
    let option = "option \"topics\" in the environment (LISTENER_..): topic \"notifications nova\"";
    assert!(text.starts_with(option) && text.contains("and in a variable with commas"), "{text}");
    assert_eq!(
        error(Listener::builder().transport_url("memory://").endpoint(Wild).build()),
        "the listener cannot be built: endpoint `flow::build::Wild` (tests/flow/build.rs:): topic \"nova.*\" contains `*` or `#`; expected the name of one topic: a topic is not a pattern, so list each by its name"
    );
}

#[test]
fn a_name_reserved_by_the_broker_is_refused() {
    let reserved = "begins with `amq.`, which is reserved for brokers; choose another name";
    assert_eq!(wrong(|builder| builder.pool("amq.tap")), format!("pool \"amq.tap\" {reserved}"));
    assert_eq!(
        wrong(|builder| builder.target(Target::topic("amq.x"))),
        format!("topic \"amq.x\" {reserved}")
    );
    for exists in
        ["amq.topic", "amq.direct", "amq.fanout", "amq.headers", "amq.match", "amq.rabbitmq.trace"]
    {
        assert!(with(|builder| builder.control_exchange(exists).pool("tap")).is_ok(), "{exists}");
    }
    for name in ["amq.nova", "amq."] {
        let expected = format!(
            "exchange \"{name}\" begins with `amq.`, which is reserved for exchanges of the broker, such as `amq.topic`; choose another name"
        );
        assert_eq!(wrong(|builder| builder.control_exchange(name)), expected);
        let transport = Transport::open("memory://").unwrap();
        let built = Notifier::builder(transport).control_exchange(name).build();
        assert_eq!(built.unwrap_err().to_string(), expected);
    }
    assert!(
        wrong(|builder| builder.pool("tap\n"))
            .starts_with("pool \"tap\\n\" begins or ends with white space")
    );
}

struct AllOfNova;

#[notification_endpoint(register = false, exchange = "nova*", topic = "notifications")]
impl AllOfNova {
    async fn info(&self) {}
}

#[test]
fn an_exchange_that_is_a_pattern_or_a_list_is_refused() {
    for name in ["*", "#", "nova*"] {
        let expected = format!(
            "exchange \"{name}\" contains `*` or `#`; expected the name of one exchange: an exchange is not a pattern, so write each topic as `exchange/topic`"
        );
        let target = Target::from(format!("{name}/notifications").as_str());
        assert_eq!(wrong(|builder| builder.target(target)), expected);
        assert_eq!(wrong(|builder| builder.control_exchange(name)), expected);
    }
    for name in ["nova,neutron", "nova neutron", "nova/notifications", "nova, neutron"] {
        assert_eq!(
            wrong(|builder| builder.control_exchange(name)),
            format!(
                "exchange \"{name}\" contains white space, a comma or `/`; expected the name of one exchange: list several with their topics, each as `exchange/topic`"
            )
        );
        let variables = [("LISTENER_CONTROL_EXCHANGE".to_owned(), name.to_owned())];
        let text = Config::from_variables(variables).unwrap_err().to_string();
        assert!(text.contains("expected the name of one exchange"), "{text}");
    }
    assert_eq!(
        error(Listener::builder().transport_url("memory://").endpoint(AllOfNova).build()),
        "the listener cannot be built: endpoint `flow::build::AllOfNova` (tests/flow/build.rs:): exchange \"nova*\" contains `*` or `#`; expected the name of one exchange: an exchange is not a pattern, so write each topic as `exchange/topic`"
    );
    for name in ["nova", "nova.cell-1", "nova:2", "nova_x"] {
        assert!(with(|builder| builder.control_exchange(name)).is_ok(), "{name}");
    }
}

#[test]
fn a_pool_on_the_default_exchange_is_refused() {
    let expected = "the nameless exchange routes to the queue that a message names, and a pool cannot be bound to it; name the exchange that the notifications are sent to, or remove the pool";
    let target = || Target::from("/notifications");
    assert_eq!(wrong(|builder| builder.target(target()).pool("tap")), expected);
    assert_eq!(wrong(|builder| builder.control_exchange("").pool("tap")), expected);
    assert!(with(|builder| builder.target(target())).is_ok());
    assert!(with(|builder| builder.control_exchange("")).is_ok());
    let variables = [("LISTENER_POOL", "tap"), ("LISTENER_TOPICS", "/notifications")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let config = Config::from_variables(variables).unwrap();
    assert_eq!(wrong(|builder| builder.config(config).transport_url("memory://")), expected);
}

#[test]
fn a_pool_named_like_a_side_queue_of_another_queue_is_refused() {
    for name in [
        "notifications.info.dead",
        "tap.quarantine",
        "tap.quarantine.journal",
        "notifications.info.retry.1s",
        "tap.retry.131072s",
    ] {
        assert_eq!(
            wrong(|builder| builder.pool(name)),
            format!(
                "pool \"{name}\" ends like a dead-letter, quarantine or retry queue of another queue, which a pool must not consume; choose another name"
            )
        );
    }
    for name in ["dead", "tap.dead.2", "retry.1s", "tap.retry.s", "tap.retry.1x", "tap.journal"] {
        assert!(with(|builder| builder.pool(name)).is_ok(), "{name}");
    }
}

#[test]
fn a_send_timeout_or_hold_of_zero_is_refused() {
    let options = ListenerOptions::default().send_timeout(Duration::ZERO);
    assert_eq!(
        wrong(|builder| builder.options(options)),
        "send_timeout is 0ns; expected a duration above zero"
    );
    let retry = RetryOptions::default().hold(Duration::ZERO);
    assert_eq!(
        wrong(|builder| builder.retry(retry)),
        "retry.hold is 0ns; expected a duration above zero"
    );
}

#[test]
fn the_names_of_a_notifier_are_checked_the_same_way() {
    let transport = Transport::open("memory://").unwrap();
    let error = Notifier::builder(transport)
        .topic("notifications.*")
        .topic("a".repeat(247))
        .control_exchange("e".repeat(256))
        .build()
        .unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("the notifier cannot be built, for 3 reasons:"), "{text}");
    assert!(text.contains("topic \"notifications.*\" contains `*` or `#`"), "{text}");
    assert!(text.contains("has 247 bytes; expected 246 at most"), "{text}");
    assert!(text.contains("has 256 bytes; expected 255 at most"), "{text}");
}

#[test]
fn a_provided_endpoint_with_an_instance_builds() {
    let built =
        Listener::builder().transport_url("memory://").group("given").endpoint(Given).build();
    assert!(built.is_ok(), "{built:?}");
}

#[test]
fn an_endpoint_given_twice_is_an_error() {
    let builder = Listener::builder().transport_url("memory://");
    assert_eq!(
        error(builder.endpoint(Plain).endpoint(Plain).build()),
        "the listener cannot be built: endpoint `flow::build::Plain` (tests/flow/build.rs:): two instances were given without a name; expected at most one: logs and copies identify an endpoint by its type and name; give each a name, as in `.endpoint(instance.named(\"tenant-a\"))`"
    );
}

#[test]
fn a_state_given_twice_is_an_error() {
    let built = Listener::builder()
        .transport_url("memory://")
        .state(1_u8)
        .state(2_u8)
        .endpoint(Plain)
        .build();
    assert_eq!(
        error(built),
        "the listener cannot be built: two states of type `u8` were given; expected at most one of each type: wrap one in a newtype"
    );
}

#[test]
fn a_configuration_without_a_transport_is_an_error() {
    let config = |name: &str, value: &str| {
        Config::from_variables([(name.to_owned(), value.to_owned())]).unwrap()
    };
    for (name, value) in [
        ("LISTENER_TRANSPORT_URL", ""),
        ("LISTENER_TOPICS", "notifications"),
        ("KUBERNETES_SERVICE_HOST", "10.0.0.1"),
    ] {
        let built = Listener::builder().config(config(name, value)).endpoint(Plain).build();
        let text = error(built);
        assert!(
            text.contains("the transport is not given; expected LISTENER_TRANSPORT_URL"),
            "{text}"
        );
        let builder = Listener::builder().transport_url("memory://kept");
        let built = builder.config(config(name, value)).endpoint(Plain).build();
        assert!(format!("{built:?}").contains("memory://kept"), "{built:?}");
    }
}

#[test]
fn without_configuration_the_transport_is_memory() {
    let built = Listener::builder().config(Config::default()).endpoint(Plain).build();
    assert!(format!("{built:?}").contains("Transport(memory://)"), "{built:?}");
}

#[test]
fn a_builder_without_a_transport_is_an_error() {
    let built = Listener::builder().endpoint(Plain).build();
    assert_eq!(
        error(built),
        "the listener cannot be built: the transport is not given; expected LISTENER_TRANSPORT_URL, `.transport(..)` or `.transport_url(..)`: amqp://user:password@host:5672 for RabbitMQ, or memory:// where only this process notifies"
    );
}

#[test]
fn the_expiry_of_a_temporary_pool_is_within_the_broker_s_limits() {
    for (expires, fits) in [
        (Duration::ZERO, false),
        (Duration::from_millis(999), false),
        (Duration::from_secs(1), true),
        (Duration::from_secs(49 * 24 * 3600), true),
        (Duration::from_secs(50 * 24 * 3600), false),
        (Duration::MAX, false),
    ] {
        let built = with(|builder| builder.temporary_pool("tap", expires));
        assert_eq!(built.is_ok(), fits, "{expires:?}");
        if let Err(error) = built {
            assert!(error.to_string().contains("temporary_pool is"), "{error}");
        }
    }
}

#[test]
fn a_pause_above_the_maximum_pause_is_refused() {
    let retry = RetryOptions::default().delay(Duration::from_secs(120));
    let text = wrong(|builder| builder.retry(retry.clone()));
    assert!(
        text.contains("retry.delay is 120s; expected no more than `retry.max_delay`"),
        "{text}"
    );
    let max_delay = Duration::from_secs(120);
    assert!(with(|builder| builder.retry(retry.max_delay(max_delay))).is_ok());
}
