//! Every argument and every return type of an endpoint method: the right value arrives.

use listener::{
    Context, DeliveryInfo, FromNotification, Metadata, Notification, Outcome, Priority, State,
    notification_endpoint,
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

/// Runs one endpoint on one body, and gives what it wrote.
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

struct Five;

#[notification_endpoint(register = false)]
impl Five {
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
async fn the_five_arguments_come_by_name_in_any_order() {
    assert_eq!(
        written(Five, BODY).await,
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
async fn a_context_may_be_a_type_and_a_payload_the_text_itself() {
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
async fn null_and_missing_parts_are_empty_or_none() {
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
async fn other_arguments_come_by_type() {
    assert_eq!(
        written(ByType, BODY).await,
        "u-1 info instance.create.end notifications.info openstack false"
    );
}

#[tokio::test(start_paused = true)]
async fn an_argument_that_cannot_be_made_is_a_dead_letter_and_no_call() {
    let mut rig = Rig::new();
    let listener = rig.builder().endpoint(ByType).build().unwrap();
    listener.start().await.unwrap();
    rig.send_raw(r#"{"priority": "INFO"}"#).await;
    let letter = rig.dead_letter().await;
    assert_eq!(
        (letter.reason.as_str(), letter.error.as_str()),
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
async fn every_return_type_handles() {
    assert_eq!(written(Unit, BODY).await, "Unit");
    assert_eq!(written(Plain, BODY).await, "Plain");
    assert_eq!(written(Fallible, BODY).await, "Fallible");
    assert_eq!(written(Both, BODY).await, "Both");
    assert_eq!(written(Boxed, BODY).await, "Boxed");
}

struct Plainly;

#[notification_endpoint(register = false)]
impl Plainly {
    fn info(payload: Payload<'_>, log: State<Log>) {
        let _ = log.send(format!("{} {}", payload.id, payload.tags.len()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_plain_fn_without_receiver_is_called_on_a_single_thread() {
    assert_eq!(written(Plainly, BODY).await, "i-1 2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_fn_is_called_on_many_threads() {
    assert_eq!(written(Plainly, BODY).await, "i-1 2");
}
