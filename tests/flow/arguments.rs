//! Every kind of argument and every return type of an endpoint method.

use std::time::{Duration, SystemTime};

use listener::options::Executor;
use listener::options::{RetryOptions, RetryStorage};
use listener::{
    Attempt, Context, DeliveryInfo, FromNotification, Metadata, Notification, Outcome, PartError,
    Priority, ReceivedAt, State, Versioned, VersionedPayload, notification_endpoint,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::rig::{Log, Rig, finish};

const BODY: &str = r#"{
    "message_id": "m-1", "publisher_id": "compute.host1", "event_type": "instance.create.end",
    "priority": "INFO", "timestamp": "2026-05-09 07:29:33.123456",
    "payload": {"id": "i-1", "tags": ["a", "\u00e9"]},
    "_context_user": "u-1", "_context_roles": ["admin"]
}"#;

/// Runs one endpoint on one body and returns what it logged.
async fn written(endpoint: impl listener::Endpoint, body: &str) -> String {
    let mut rig = Rig::new();
    let listener = rig.builder().endpoint(endpoint).build().unwrap();
    listener.start().await.unwrap();
    rig.send_raw(body.to_owned()).await;
    let seen = rig.seen().await;
    finish(&listener).await;
    rig.assert_empty("notifications.info.dead").await;
    seen
}

struct NamedFive;

#[notification_endpoint(register = false)]
impl NamedFive {
    async fn info(
        &self,
        metadata: &Metadata,
        payload: Payload<'_>,
        event_type: &str,
        publisher_id: &str,
        ctxt: &Context,
        log: State<Log>,
    ) {
        let _ = log.send(format!(
            "{} {:?} {publisher_id} {event_type} {} {:?} {} {}",
            ctxt.get_str("user").unwrap(),
            ctxt.get("roles").unwrap().as_array().unwrap().len(),
            payload.id,
            payload.tags,
            metadata.message_id(),
            metadata.timestamp(),
        ));
    }
}

#[derive(Deserialize)]
struct Payload<'p> {
    id: &'p str,
    tags: Vec<String>,
}

#[tokio::test(start_paused = true)]
async fn the_five_named_arguments_are_passed_in_any_order() {
    assert_eq!(
        written(NamedFive, BODY).await,
        r#"u-1 1 compute.host1 instance.create.end i-1 ["a", "é"] m-1 2026-05-09 07:29:33.123456"#
    );
}

struct Typed;

#[derive(Deserialize)]
struct User {
    user: String,
}

#[notification_endpoint(register = false)]
impl Typed {
    async fn info(&self, ctxt: User, _payload: &RawValue, log: State<Log>) {
        let _ = log.send(format!("{} {}", ctxt.user, _payload.get()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_context_can_be_a_type_and_a_payload_its_raw_json() {
    assert_eq!(written(Typed, BODY).await, r#"u-1 {"id": "i-1", "tags": ["a", "\u00e9"]}"#);
}

struct Missing;

#[notification_endpoint(register = false)]
impl Missing {
    async fn info(
        &self,
        publisher_id: &str,
        event_type: Option<&str>,
        payload: Option<String>,
        metadata: &Metadata,
        log: State<Log>,
    ) {
        let _ = log.send(format!(
            "{publisher_id:?} {event_type:?} {payload:?} {:?}",
            metadata.message_id()
        ));
    }
}

#[tokio::test(start_paused = true)]
async fn null_and_missing_fields_are_empty_or_none() {
    let body = r#"{"priority": "info", "publisher_id": null, "payload": null}"#;
    assert_eq!(written(Missing, body).await, r#""" None None """#);
}

struct ByType;

struct Tenant(String);

impl<'n> FromNotification<'n> for Tenant {
    type Error = String;

    fn from_notification(notification: &'n Notification<'n>) -> Result<Self, String> {
        let user = notification.context().map_err(|error| error.to_string())?.get_str("user");
        user.map(|user| Self(user.to_owned())).ok_or_else(|| "no user".to_owned())
    }
}

#[notification_endpoint(register = false)]
impl ByType {
    async fn info(
        &self,
        Tenant(tenant): Tenant,
        notification: &Notification<'_>,
        at: Priority,
        info: &DeliveryInfo,
        State(log): State<Log>,
    ) {
        let _ = log.send(format!(
            "{tenant} {at} {} {} {} {}",
            notification.event_type().unwrap(),
            info.queue,
            info.exchange,
            info.redelivered,
        ));
    }
}

#[tokio::test(start_paused = true)]
async fn other_arguments_are_extracted_by_type() {
    assert_eq!(
        written(ByType, BODY).await,
        "u-1 info instance.create.end notifications.info openstack false"
    );
}

#[tokio::test(start_paused = true)]
async fn a_failed_extraction_is_a_dead_letter_and_the_method_is_not_called() {
    let mut rig = Rig::new();
    let listener = rig.builder().endpoint(ByType).build().unwrap();
    listener.start().await.unwrap();
    rig.send_raw(r#"{"priority": "INFO"}"#).await;
    let dead_letter = rig.dead_letter().await;
    assert_eq!(
        (dead_letter.reason.as_str(), dead_letter.error.as_str()),
        ("argument", "flow::arguments::ByType::info: argument `Tenant`: no user")
    );
    assert_eq!(rig.seen_so_far(), [""; 0]);
    finish(&listener).await;
}

macro_rules! returns {
    ($($name:ident $returns:ty: $value:expr;)*) => {$(
        struct $name;

        #[notification_endpoint(register = false)]
        impl $name {
            async fn info(&self, log: State<Log>) -> $returns {
                let _ = log.send(stringify!($name).to_owned());
                $value
            }
        }
    )*};
}

returns! {
    Unit (): ();
    Plain Outcome: Outcome::Handled;
    Fallible Result<(), std::num::ParseIntError>: "1".parse::<u8>().map(|_| ());
    Both Result<Outcome, String>: Ok(Outcome::Handled);
    Boxed Result<(), Box<dyn std::error::Error + Send + Sync>>: Ok(());
}

#[tokio::test(start_paused = true)]
async fn every_return_type_can_mean_handled() {
    assert_eq!(written(Unit, BODY).await, "Unit");
    assert_eq!(written(Plain, BODY).await, "Plain");
    assert_eq!(written(Fallible, BODY).await, "Fallible");
    assert_eq!(written(Both, BODY).await, "Both");
    assert_eq!(written(Boxed, BODY).await, "Boxed");
}

struct NoReceiver;

#[notification_endpoint(register = false)]
impl NoReceiver {
    fn info(payload: Payload<'_>, log: State<Log>) {
        let _ = log.send(format!("{} {}", payload.id, payload.tags.len()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_plain_fn_without_a_receiver_is_called_on_a_single_threaded_runtime() {
    assert_eq!(written(NoReceiver, BODY).await, "i-1 2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_fn_is_called_on_a_multi_threaded_runtime() {
    assert_eq!(written(NoReceiver, BODY).await, "i-1 2");
}

struct Tolerant;

#[notification_endpoint(register = false)]
impl Tolerant {
    async fn info(
        &self,
        ctxt: Option<User>,
        payload: Result<Option<u32>, PartError>,
        tenant: Option<Tenant>,
        who: Result<Tenant, String>,
        optional: Option<State<std::net::IpAddr>>,
        log: State<Log>,
    ) {
        let _ = log.send(format!(
            "{:?} {:?} {:?} {:?} {}",
            ctxt.map(|ctxt| ctxt.user),
            payload.map_err(|error| error.to_string()),
            tenant.map(|Tenant(user)| user),
            who.map(|Tenant(user)| user),
            optional.is_none(),
        ));
    }
}

struct Owned;

#[notification_endpoint(register = false)]
impl Owned {
    async fn info(
        &self,
        ctxt: Result<User, PartError>,
        publisher_id: String,
        event_type: Option<String>,
        payload: serde_json::Value,
        log: State<Log>,
    ) {
        let user = ctxt.map(|ctxt| ctxt.user).map_err(|error| error.to_string());
        let _ = log.send(format!("{user:?} {publisher_id:?} {event_type:?} {payload}"));
    }
}

#[tokio::test(start_paused = true)]
async fn strings_can_be_owned_and_a_mismatched_context_can_be_a_result() {
    assert_eq!(
        written(Owned, BODY).await,
        r#"Ok("u-1") "compute.host1" Some("instance.create.end") {"id":"i-1","tags":["a","é"]}"#
    );
    assert_eq!(
        written(Owned, r#"{"priority": "INFO", "payload": 1, "_context_user": 7}"#).await,
        r#"Err("context.user: invalid type: integer `7`, expected a string at line 1 column 1") "" None 1"#
    );
}

struct RetriesTwice;

#[notification_endpoint(register = false)]
impl RetriesTwice {
    async fn info(&self, attempt: Attempt, log: State<Log>) -> Outcome {
        if attempt < Attempt(3) {
            return Outcome::retry();
        }
        let _ = log.send(format!("{attempt:?}"));
        Outcome::Handled
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_are_counted_from_one() {
    assert_eq!(written(RetriesTwice, BODY).await, "Attempt(3)");
}

/// Logs when a notification was received, and asks for one retry.
struct LogsReceivedAt;

type Received = tokio::sync::mpsc::UnboundedSender<(u32, u32, SystemTime)>;

#[notification_endpoint(register = false)]
impl LogsReceivedAt {
    async fn info(
        &self,
        payload: u32,
        attempt: Attempt,
        ReceivedAt(at): ReceivedAt,
        received: State<Received>,
    ) -> Outcome {
        let _ = received.send((payload, attempt.0, at));
        if attempt == Attempt(1) { Outcome::retry() } else { Outcome::Handled }
    }

    fn warn(&self, payload: u32, attempt: Attempt, at: ReceivedAt, received: State<Received>) {
        let _ = received.send((payload, attempt.0, at.0));
    }
}

#[tokio::test(start_paused = true)]
async fn received_at_is_the_time_of_arrival_however_long_a_notification_waits() {
    let rig = Rig::new();
    let (sender, mut received) = tokio::sync::mpsc::unbounded_channel();
    let retry = RetryOptions::default().storage(RetryStorage::Process);
    let builder = rig.builder().pool("one").retry(retry).executor(Executor::Sequential);
    let listener = builder.state::<Received>(sender).endpoint(LogsReceivedAt).build().unwrap();
    listener.start().await.unwrap();
    let before = SystemTime::now();
    rig.notifier().info(&Context::new(), "x", &1).await.unwrap();
    rig.notifier().info(&Context::new(), "x", &2).await.unwrap();
    rig.notifier().warn(&Context::new(), "x", &3).await.unwrap();
    // The first is in its retry delay; the others have arrived and wait behind it.
    tokio::time::sleep(Duration::from_millis(1)).await;
    let arrived = SystemTime::now();
    let mut calls = Vec::new();
    while calls.len() < 5 {
        calls.push(received.recv().await.unwrap());
    }
    finish(&listener).await;
    let order: Vec<_> = calls.iter().map(|(number, attempt, _)| (*number, *attempt)).collect();
    assert_eq!(order, [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1)]);
    assert_eq!((calls[0].2, calls[2].2), (calls[1].2, calls[3].2), "the same at each call");
    for (number, _, at) in calls {
        assert!((before..=arrived).contains(&at), "{number}");
    }
}

#[tokio::test(start_paused = true)]
async fn option_and_result_arguments_accept_missing_and_unreadable_parts() {
    assert_eq!(
        written(Tolerant, r#"{"priority": "INFO", "payload": 7, "_context_user": "u-1"}"#).await,
        r#"Some("u-1") Ok(Some(7)) Some("u-1") Ok("u-1") true"#
    );
    assert_eq!(
        written(Tolerant, r#"{"priority": "INFO"}"#).await,
        r#"None Ok(None) None Err("no user") true"#
    );
    assert_eq!(
        written(Tolerant, r#"{"priority": "INFO", "payload": "seven"}"#).await,
        r#"None Err("payload: invalid type: a string, expected u32 at line 1 column 7") None Err("no user") true"#
    );
}

struct Versions;

#[derive(Debug, Deserialize)]
struct Instance {
    uuid: String,
    flavor: Flavor,
}

#[derive(Debug, Deserialize)]
struct Flavor {
    vcpus: u32,
}

impl VersionedPayload for Instance {
    const NAME: &'static str = "InstancePayload";
    const VERSION: (u32, u32) = (1, 2);
}

#[notification_endpoint(register = false)]
impl Versions {
    #[on(info, event_type = "strict")]
    async fn strict(&self, payload: Versioned<Instance>, log: State<Log>) {
        let (major, minor) = payload.version;
        let _ = log.send(format!("{} {} {major}.{minor}", payload.uuid, payload.flavor.vcpus));
    }

    #[on(info, event_type = "lenient")]
    async fn lenient(&self, payload: Result<Versioned<Instance>, PartError>, log: State<Log>) {
        let _ = log
            .send(format!("{:?}", payload.map_err(|error| error.is_unsupported_version()).err()));
    }

    #[on(info, event_type = "optional")]
    async fn optional(&self, payload: Option<Versioned<Instance>>, log: State<Log>) {
        let _ = log.send(payload.map_or_else(|| "none".to_owned(), |payload| payload.data.uuid));
    }
}

fn versioned(event_type: &str, version: &str) -> String {
    format!(
        r#"{{"priority": "INFO", "event_type": "{event_type}", "payload": {{
            "nova_object.name": "InstancePayload", "nova_object.namespace": "nova",
            "nova_object.version": "{version}", "nova_object.data": {{
                "uuid": "i-1",
                "flavor": {{"nova_object.name": "F", "nova_object.data": {{"vcpus": 4}}}}
            }}
        }}}}"#
    )
}

#[tokio::test(start_paused = true)]
async fn a_versioned_payload_is_unwrapped_and_its_version_is_checked() {
    assert_eq!(written(Versions, &versioned("strict", "1.5")).await, "i-1 4 1.5");
    assert_eq!(written(Versions, &versioned("lenient", "2.0")).await, "Some(true)");
    assert_eq!(written(Versions, &versioned("optional", "1.2")).await, "i-1");
    let nothing = r#"{"priority": "INFO", "event_type": "optional", "payload": null}"#;
    assert_eq!(written(Versions, nothing).await, "none");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_major_version_has_its_own_dead_letter_reason() {
    let rig = Rig::new();
    let listener = rig.builder().endpoint(Versions).build().unwrap();
    listener.start().await.unwrap();
    rig.send_raw(versioned("strict", "2.0")).await;
    let dead_letter = rig.dead_letter().await;
    finish(&listener).await;
    assert_eq!(
        (dead_letter.reason.as_str(), dead_letter.error.as_str()),
        (
            "version",
            "flow::arguments::Versions::strict: argument `payload`: expected version 1.2 of InstancePayload, or a later 1.x, found 2.0"
        )
    );
}

struct LogsPayload;

#[notification_endpoint(register = false)]
impl LogsPayload {
    async fn info(&self, payload: u32, State(log): State<Log>) {
        let _ = log.send(format!("payload {payload}"));
    }
}

#[tokio::test]
async fn a_method_can_be_called_directly_with_a_state_of_the_test() {
    let (log, mut seen) = tokio::sync::mpsc::unbounded_channel();
    LogsPayload.info(7, State::new(log)).await;
    assert_eq!(seen.recv().await.as_deref(), Some("payload 7"));
}
