//! Several instances of one endpoint type, filters that are built at run time, and endpoints that are
//! enabled by name. How filters combine is tested in `listener/src/filter/tests.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use listener::error::BuildError;
use listener::options::RetryOptions;
use listener::{Config, Context, EndpointExt, Filter, Listener, ListenerBuilder, Outcome, State};
use listener::{Target, Transport, notification_endpoint};

use crate::rig::{Log, Rig, finish, once};

/// Logs what it handles; asks for a retry while its switch is on.
struct Metering {
    tenant: &'static str,
    fails: Arc<AtomicBool>,
}

impl Metering {
    fn new(tenant: &'static str) -> Self {
        Self { tenant, fails: Arc::default() }
    }
}

#[notification_endpoint(provided, group = "metering")]
impl Metering {
    async fn info(&self, event_type: &str, log: State<Log>) -> Outcome {
        if self.fails.load(Ordering::SeqCst) {
            return Outcome::retry_after(Duration::from_secs(60));
        }
        let _ = log.send(format!("{} {event_type}", self.tenant));
        Outcome::Handled
    }
}

#[derive(Default)]
struct Registered;

#[notification_endpoint(group = "named-registered")]
impl Registered {
    async fn info(&self, event_type: &str, log: State<Log>) {
        let _ = log.send(format!("registered {event_type}"));
    }
}

struct Provided;

#[notification_endpoint(provided, group = "named-registered")]
impl Provided {
    async fn info(&self, log: State<Log>) {
        let _ = log.send("provided".to_owned());
    }
}

fn project(id: &str) -> Filter {
    Filter::context("project_id", format!("{id}$")).unwrap()
}

async fn notify(rig: &Rig, project: &str, event_type: &str) {
    let context = Context::new().with("project_id", project);
    rig.notifier().info(&context, event_type, &()).await.unwrap();
}

/// What the endpoints log for one notification `x` of project `a`.
async fn seen(mut rig: Rig, builder: ListenerBuilder) -> Vec<String> {
    let listener = builder.build().unwrap();
    listener.start().await.unwrap();
    notify(&rig, "a", "x").await;
    finish(&listener).await;
    let mut seen = rig.seen_so_far();
    seen.sort();
    seen
}

#[track_caller]
fn error(built: Result<Listener, BuildError>) -> String {
    let text = built.unwrap_err().to_string();
    // Without the locations.
    text.split(" (tests/flow/")
        .map(|part| part.split_once("): ").map_or(part, |(_, rest)| rest))
        .collect::<Vec<_>>()
        .join(": ")
}

#[tokio::test(start_paused = true)]
async fn each_instance_handles_what_its_filter_matches_with_its_own_state() {
    let mut rig = Rig::new();
    let listener = rig
        .builder()
        .endpoint(Metering::new("a").named("tenant-a").filter(project("a")))
        .endpoint(Metering::new("b").named("tenant-b").filter(!project("a")))
        .build()
        .unwrap();
    listener.start().await.unwrap();
    notify(&rig, "a", "first").await;
    notify(&rig, "b", "second").await;
    finish(&listener).await;
    let mut seen = rig.seen_so_far();
    seen.sort();
    assert_eq!(seen, ["a first", "b second"]);
}

#[tokio::test(start_paused = true)]
async fn a_copy_reaches_the_instance_that_failed_after_a_restart_in_another_order() {
    let mut rig = Rig::new();
    let failing = Metering::new("a");
    failing.fails.store(true, Ordering::SeqCst);
    let retry = RetryOptions::default().attempts(3);
    let first = rig
        .builder()
        .retry(retry.clone())
        .endpoint(failing.named("tenant-a"))
        .endpoint(Metering::new("b").named("tenant-b"))
        .build()
        .unwrap();
    first.start().await.unwrap();
    notify(&rig, "a", "x").await;
    finish(&first).await;
    assert_eq!(rig.seen_so_far(), ["b x"]);
    let second = rig
        .builder()
        .retry(retry)
        .endpoint(Metering::new("c").named("tenant-0"))
        .endpoint(Metering::new("b").named("tenant-b"))
        .endpoint(Metering::new("a").named("tenant-a"))
        .build()
        .unwrap();
    second.start().await.unwrap();
    assert_eq!(rig.seen().await, "a x");
    finish(&second).await;
    assert_eq!(rig.seen_so_far(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_copy_for_an_instance_that_is_gone_is_a_dead_letter_with_its_name() {
    let rig = Rig::new();
    let failing = Metering::new("a");
    failing.fails.store(true, Ordering::SeqCst);
    let listener = rig.builder().retry(once()).endpoint(failing.named("tenant-a")).build().unwrap();
    listener.start().await.unwrap();
    notify(&rig, "a", "x").await;
    finish(&listener).await;
    let letter = rig.dead_letter().await;
    assert_eq!(letter.methods, "flow::named_instances::Metering[tenant-a]::info");
}

#[tokio::test(start_paused = true)]
async fn an_instance_consumes_its_own_topics() {
    let mut rig = Rig::new();
    let listener = rig
        .builder()
        .endpoint(Metering::new("nova").named("nova").topic("nova/compute"))
        .endpoint(Metering::new("other"))
        .build()
        .unwrap();
    listener.start().await.unwrap();
    notify(&rig, "a", "x").await;
    let nova = listener::Notifier::builder(rig.transport.clone())
        .topic("compute")
        .control_exchange("nova")
        .build()
        .unwrap();
    nova.info(&Context::new(), "y", &()).await.unwrap();
    finish(&listener).await;
    let mut seen = rig.seen_so_far();
    seen.sort();
    assert_eq!(seen, ["nova y", "other x"]);
    let invalid = rig.builder().endpoint(Metering::new("a").topic(Target::topic("a.*")));
    assert!(error(invalid.build()).contains("topic \"a.*\" contains `*` or `#`"));
}

#[test]
fn instances_that_copies_could_not_tell_apart_do_not_build() {
    let rig = Rig::new();
    let builder = || rig.builder();
    let endpoint = "the listener cannot be built: endpoint `flow::named_instances::Metering`";
    let (one, two) = (|| Metering::new("a"), || Metering::new("b"));
    assert_eq!(
        error(builder().endpoint(one().named("a")).endpoint(two().named("a")).build()),
        format!(
            "{endpoint}: two instances are named \"a\"; expected a different name for each: copies identify an instance by it"
        )
    );
    let unnamed = error(builder().endpoint(one()).endpoint(two()).build());
    assert!(unnamed.contains("give each a name, as in `.endpoint(instance.named("), "{unnamed}");
    assert!(builder().endpoint(one()).endpoint(two().named("b")).build().is_ok());
}

#[test]
fn the_name_of_an_instance_is_checked() {
    let built = |name: &str| Rig::new().builder().endpoint(Metering::new("a").named(name)).build();
    for (name, mistake) in
        [("", "empty"), ("a b", "other characters"), ("a::b", "other characters")]
    {
        let error = error(built(name));
        assert!(error.contains(mistake) && error.contains("expected 1 to 64 bytes"), "{error}");
    }
    assert!(error(built(&"a".repeat(65))).contains("too long"));
    assert!(built(&"a".repeat(64)).is_ok());
    assert!(built("tenant-A_1.b").is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_predicate_that_panics_is_a_failure_of_its_method_only() {
    let mut rig = Rig::new();
    let panics = Filter::predicate(|_| panic!("no luck"));
    let listener = rig
        .builder()
        .retry(RetryOptions::default().attempts(2))
        .endpoint(Metering::new("a").named("a").filter(panics))
        .endpoint(Metering::new("b").named("b"))
        .build()
        .unwrap();
    listener.start().await.unwrap();
    notify(&rig, "a", "x").await;
    let letter = rig.dead_letter().await;
    assert_eq!(letter.reason, "panic");
    assert_eq!(
        letter.error,
        "flow::named_instances::Metering[a]::info: panicked: a predicate of its filter: no luck"
    );
    assert_eq!(letter.methods, "flow::named_instances::Metering[a]::info");
    finish(&listener).await;
    assert_eq!(rig.seen_so_far(), ["b x"]);
}

#[tokio::test(start_paused = true)]
async fn a_registered_endpoint_can_be_filtered() {
    let group = |rig: &Rig| rig.builder().group("named-registered").endpoint(Provided);
    let rig = Rig::new();
    let builder = group(&rig).filter::<Registered>(project("b"));
    assert_eq!(seen(rig, builder).await, ["provided"]);
    let rig = Rig::new();
    let builder = group(&rig).filter::<Registered>(project("a"));
    assert_eq!(seen(rig, builder).await, ["provided", "registered x"]);
    let nothing = error(group(&Rig::new()).filter::<Metering>(project("a")).build());
    assert!(nothing.contains("the listener has no instance of it"), "{nothing}");
}

#[tokio::test(start_paused = true)]
async fn endpoints_are_enabled_and_disabled_by_type_group_and_instance() {
    async fn check(change: impl FnOnce(ListenerBuilder) -> ListenerBuilder, expected: &[&str]) {
        let rig = Rig::new();
        let builder = rig
            .builder()
            .group("named-registered")
            .endpoint(Provided)
            .endpoint(Metering::new("a").named("tenant-a"))
            .endpoint(Metering::new("b").named("tenant-b"));
        assert_eq!(seen(rig, change(builder)).await, expected);
    }
    check(|b| b, &["a x", "b x", "provided", "registered x"]).await;
    check(|b| b.disabled_endpoints(["Metering"]), &["provided", "registered x"]).await;
    check(|b| b.enabled_endpoints(["metering"]), &["a x", "b x"]).await;
    check(|b| b.enabled_endpoints(["tenant-a", "Registered"]), &["a x", "registered x"]).await;
    check(
        |b| b.enabled_endpoints(["metering"]).disabled_endpoints(["Metering[tenant-b]"]),
        &["a x"],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn endpoints_are_disabled_by_the_configuration() {
    let variables = [
        ("DISABLED_ENDPOINTS", "tenant-a, flow::named_instances::Registered"),
        ("TRANSPORT_URL", "memory://disabled-by-configuration"),
    ];
    let variables = variables.map(|(name, value)| (format!("LISTENER_{name}"), value.to_owned()));
    let rig = Rig::on(Transport::open("memory://disabled-by-configuration").unwrap());
    let builder = Listener::builder()
        .config(Config::from_variables(variables).unwrap())
        .state(rig.log())
        .group("named-registered")
        .endpoint(Provided)
        .endpoint(Metering::new("a").named("tenant-a"));
    assert_eq!(seen(rig, builder).await, ["provided"]);
}

#[test]
fn an_unknown_name_is_an_error_with_the_nearest_one() {
    let rig = Rig::new();
    let builder = || rig.builder().endpoint(Metering::new("a"));
    let text = error(builder().disabled_endpoints(["Meterin"]).build());
    assert_eq!(
        text,
        "the listener cannot be built: disabled_endpoints names \"Meterin\", which is not an endpoint, an instance or a group of this program; did you mean \"Metering\"?"
    );
    let text = error(builder().enabled_endpoints(["somewhere_else_entirely"]).build());
    assert!(text.contains("; the names are: ") && text.contains("Metering"), "{text}");
    let text = error(builder().disabled_endpoints(["Metering"]).build());
    assert!(text.contains("every endpoint is disabled"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_whose_condition_is_false_does_not_run_and_is_not_missed() {
    let rig = Rig::new();
    let builder = rig
        .builder()
        .group("named-registered")
        .endpoint_if(false, || -> Provided { unreachable!("it is not made") })
        .endpoint_if(true, || Metering::new("a"));
    assert_eq!(seen(rig, builder).await, ["a x", "registered x"]);
    let rig = Rig::new();
    // The name of an endpoint that is left out stays known.
    let builder = rig
        .builder()
        .endpoint_if(false, || Metering::new("a").named("tenant-a"))
        .endpoint(Provided)
        .disabled_endpoints(["Metering"]);
    assert_eq!(seen(rig, builder).await, ["provided"]);
    let none = Listener::builder().transport_url("memory://").endpoint_if(false, || Provided);
    assert!(error(none.build()).contains("every endpoint is disabled"));
}
