//! What a notifier removes from contexts before anything is sent.

use listener::output::{Output, TestOutput};
use listener::{Context, Notifier, NotifierBuilder};
use serde_json::{Value, json};

use crate::rig::Rig;

fn secret() -> Context {
    Context::new()
        .with("auth_token", "secret")
        .with("service_catalog", json!([{"type": "compute"}]))
        .with("user", "u")
}

/// Expects this context on the wire, with the broker as the only output and with another, and at that.
async fn check(configure: impl Fn(NotifierBuilder) -> NotifierBuilder, expected: Context) {
    let (rig, list) = (Rig::new(), TestOutput::new());
    let build = |builder| configure(builder).build().unwrap();
    let alone = build(Notifier::builder(rig.transport.clone()));
    let several = Notifier::builder(rig.transport.clone()).output(Output::MessagingV2);
    for notifier in [alone, build(several.output(list.clone()))] {
        notifier.info(&secret(), "x", &1).await.unwrap();
        let body = rig.take("notifications.info").await.body;
        let outer: Value = serde_json::from_slice(&body).unwrap();
        let inner: Value = serde_json::from_str(outer["oslo.message"].as_str().unwrap()).unwrap();
        let fields = inner.as_object().unwrap().iter();
        let context: Context = fields
            .filter_map(|(key, value)| Some((key.strip_prefix("_context_")?, value.clone())))
            .collect();
        assert_eq!(context, expected);
    }
    assert_eq!(list.notifications()[0].context, expected);
}

#[tokio::test(start_paused = true)]
async fn secrets_of_a_context_are_not_sent() {
    check(|builder| builder, Context::new().with("user", "u")).await;
}

#[tokio::test(start_paused = true)]
async fn other_keys_can_be_redacted() {
    let expected = Context::new()
        .with("auth_token", "secret")
        .with("service_catalog", json!([{"type": "compute"}]));
    check(|builder| builder.redacted_keys(["user"]), expected).await;
}

#[tokio::test(start_paused = true)]
async fn a_whole_context_can_be_sent() {
    check(NotifierBuilder::whole_context, secret()).await;
}
