//! A serializer changes payload and context on both sides, before filters apply.

use listener::{BoxError, Context, Notifier, Serializer, State, notification_endpoint};
use serde_json::Value;

use crate::rig::{Log, Rig, finish};

/// Wraps payloads and signs contexts; refuses contexts that are not signed.
struct Wrapping;

impl Serializer for Wrapping {
    fn serialize_payload(&self, _: &Context, payload: Value) -> Result<Value, BoxError> {
        Ok(serde_json::json!({ "wrapped": payload }))
    }

    fn deserialize_payload(
        &self,
        context: &Context,
        mut payload: Value,
    ) -> Result<Value, BoxError> {
        context.get("signed").ok_or("not signed")?;
        Ok(payload["wrapped"].take())
    }

    fn serialize_context(&self, context: Context) -> Result<Context, BoxError> {
        Ok(context.with("signed", true))
    }
}

struct Logs;

#[notification_endpoint(register = false, payload(name = "inner$"), context(user = "u-1"))]
impl Logs {
    async fn info(&self, ctxt: &Context, payload: Value, publisher_id: &str, log: State<Log>) {
        let _ = log.send(format!("{publisher_id} {payload} {}", ctxt.get("signed").is_some()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_serializer_applies_to_both_sides_and_filters_see_plain_values() {
    let mut rig = Rig::new();
    let listener = rig.builder().serializer(Wrapping).endpoint(Logs).build().unwrap();
    listener.start().await.unwrap();
    let builder = Notifier::builder(rig.transport.clone()).publisher_id("p");
    let notifier = builder.serializer(Wrapping).build().unwrap();
    let payload = serde_json::json!({"name": "inner"});
    notifier.info(&Context::new().with("user", "u-1"), "x", &payload).await.unwrap();
    assert_eq!(rig.seen().await, r#"p {"name":"inner"} true"#);
    finish(&listener).await;
}

#[tokio::test(start_paused = true)]
async fn a_notification_refused_by_the_serializer_is_a_dead_letter() {
    let rig = Rig::new();
    let listener = rig.builder().serializer(Wrapping).endpoint(Logs).build().unwrap();
    listener.start().await.unwrap();
    rig.notifier().info(&Context::new(), "x", &"plain").await.unwrap();
    let dead_letter = rig.dead_letter().await;
    assert_eq!(
        (dead_letter.reason.as_str(), dead_letter.error.as_str()),
        ("undecodable", "the serializer could not read it: not signed")
    );
    finish(&listener).await;
}

struct Panicking;

impl Serializer for Panicking {
    fn deserialize_payload(&self, _: &Context, payload: Value) -> Result<Value, BoxError> {
        panic!("cannot read {payload}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_panicking_serializer_makes_a_dead_letter_and_the_listener_keeps_running() {
    let rig = Rig::new();
    let listener = rig.builder().serializer(Panicking).endpoint(Logs).build().unwrap();
    listener.start().await.unwrap();
    for payload in 0..2 {
        rig.notifier().info(&Context::new(), "x", &payload).await.unwrap();
        let dead_letter = rig.dead_letter().await;
        let expected = ("panic".to_owned(), format!("panicked: cannot read {payload}"));
        assert_eq!((dead_letter.reason, dead_letter.error), expected);
    }
    finish(&listener).await;
    rig.assert_empty("notifications.info").await;
}
