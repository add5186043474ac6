//! Secrets are not shown: a marker is put wherever a secret may be, in URL, file, variables, context,
//! payload and headers. Everything that this crate logs at any level, all errors, every `Debug`, and the
//! headers that it adds to dead letters are searched for it. A binary of its own, because the log is
//! global. The error of a program's method is not restricted: it is logged, and copied to
//! `listener-error`.
#![allow(clippy::unwrap_used, reason = "tests")]

mod log;
mod values;

use std::time::Duration;

use bytes::Bytes;
use listener::driver::{Binding, Outgoing, Route, Subscription};
use listener::driver::{HeaderValue, Properties, Settle};
use listener::{
    BoxError, Context, Listener, Notification, Notifier, Serializer, State, Transport,
    notification_endpoint,
};
use serde::Deserialize;
use serde_json::{Value, json};
use support::{RabbitNode, SECRET};
use tokio::sync::mpsc;

use self::log::Log;

const LONG: Duration = Duration::from_secs(60);
const QUEUE: &str = "notifications.info";

type Seen = mpsc::UnboundedSender<String>;

#[derive(Deserialize)]
struct Payload {
    #[expect(dead_code, reason = "it never fits")]
    password: u32,
}

#[derive(Deserialize)]
enum Word {
    Known,
}

/// Handles everything, and fails in every way except with its own error.
struct Endpoint;

#[notification_endpoint(register = false, event_type = "takes")]
impl Endpoint {
    async fn info(
        &self,
        ctxt: &Context,
        note: &Notification<'_>,
        payload: Value,
        seen: State<Seen>,
    ) {
        // The endpoint itself sees all secrets.
        assert_eq!(
            (ctxt.get_str("auth_token"), payload["password"].as_str()),
            (Some(SECRET), Some(SECRET))
        );
        let _ = seen.send(format!("{ctxt:?} {note:?} {:?} {:?}", note.metadata(), note.delivery()));
    }
}

struct Misfit;

#[notification_endpoint(register = false, event_type = "misfit")]
impl Misfit {
    async fn info(&self, payload: Payload) {
        let _ = payload;
    }
}

struct Unknown;

#[notification_endpoint(register = false, event_type = "unknown")]
impl Unknown {
    async fn info(&self, payload: Word) {
        assert!(matches!(payload, Word::Known));
    }
}

/// A serializer that refuses marked payloads with its own error.
struct Refuses;

impl Serializer for Refuses {
    fn deserialize_payload(&self, _: &Context, payload: Value) -> Result<Value, BoxError> {
        if payload["refuse"] == json!(true) { Err("it is marked".into()) } else { Ok(payload) }
    }
}

/// A notification of this type with secrets as values.
fn body(event_type: &str, payload: &Value) -> String {
    json!({
        "message_id": "m", "publisher_id": "p", "priority": "INFO", "event_type": event_type,
        "payload": payload, "timestamp": "t", "_unique_id": "u", "_context_auth_token": SECRET,
    })
    .to_string()
}

/// Bodies that become dead letters, each for another reason.
fn bodies() -> Vec<String> {
    let tagged = json!({"__type__": SECRET, "__value__": SECRET});
    vec![
        body("misfit", &json!({"password": SECRET})),
        body("misfit", &json!(SECRET)),
        body("unknown", &json!(SECRET)),
        body("unknown", &json!({SECRET: SECRET})),
        body("takes", &json!({"refuse": true, "password": SECRET})),
        body("takes", &tagged),
        format!("{{\"payload\": \"{SECRET}\", {SECRET}}}"),
        format!("\"{SECRET}\""),
        SECRET.to_owned(),
        json!({"oslo.version": SECRET, "oslo.message": SECRET}).to_string(),
        json!({"oslo.version": "2.0", "oslo.message": SECRET}).to_string(),
        json!({"oslo.version": "2.0", "oslo.message": {"payload": SECRET}}).to_string(),
    ]
}

fn properties() -> Properties {
    let mut properties = Properties::default().content_type(Some("application/json".into()));
    properties.headers.insert("x-token", SECRET.into());
    let list = vec![HeaderValue::from(SECRET), HeaderValue::Table(properties.headers.clone())];
    properties.headers.insert("x-tokens", HeaderValue::Array(list));
    properties
}

async fn put(transport: &Transport, body: String, properties: Properties) {
    let route = Route::Queue(QUEUE.to_owned());
    let body = Bytes::from(body);
    transport.send(Outgoing::new(route, body, LONG).properties(properties)).await.unwrap();
}

/// Sends every secret through a listener, and checks everything that it shows.
async fn whole_run(url: &str, log: &Log) {
    let transport = Transport::open(url).unwrap();
    let (sender, mut seen) = mpsc::unbounded_channel();
    let listener = Listener::builder()
        .transport(transport.clone())
        .serializer(Refuses)
        .state::<Seen>(sender)
        .endpoint(Endpoint)
        .endpoint(Misfit)
        .endpoint(Unknown)
        .build()
        .unwrap();
    listener.start().await.unwrap();
    log.note(&format!("{listener:?} {transport:?} {transport}"));

    let builder = Notifier::builder(transport.clone()).publisher_id("p").whole_context();
    log.note(&format!("{builder:?}"));
    let notifier = builder.build().unwrap();
    log.note(&format!("{notifier:?}"));
    let context = Context::new().with("auth_token", SECRET);
    notifier.info(&context, "takes", &json!({"password": SECRET})).await.unwrap();
    log.note(&tokio::time::timeout(LONG, seen.recv()).await.unwrap().unwrap());

    let mut labelled = properties();
    labelled.headers.insert("compression", SECRET.into());
    let bodies = bodies();
    let count = bodies.len() + 1;
    put(&transport, body("takes", &json!({})), labelled).await;
    for body in bodies {
        put(&transport, body, properties()).await;
    }
    look_at_dead_letters(&transport, count, log).await;
    listener.stop().await;
    listener.wait().await.unwrap();
    transport.close().await;
}

async fn look_at_dead_letters(transport: &Transport, count: usize, log: &Log) {
    let binding = Binding::unbound(format!("{QUEUE}.dead"));
    let subscription = Subscription::new(vec![binding], 100, LONG);
    log.note(&format!("{subscription:?}"));
    let mut dead = transport.subscribe(subscription).await.unwrap();
    for _ in 0..count {
        let dead_letter =
            tokio::time::timeout(LONG, dead.deliveries.recv()).await.unwrap().unwrap();
        let headers = &dead_letter.properties.headers;
        assert!(headers.get_str("listener-reason").is_some(), "{headers:?}");
        for (name, value) in headers.iter().filter(|(name, _)| name.starts_with("listener-")) {
            log.note(&format!("{name}: {}", headers.get_str(name).unwrap_or_default()));
            log.note(&format!("{value:?}"));
        }
        log.note(&format!("{dead_letter:?} {:?}", dead_letter.properties));
        dead_letter.settle(Settle::Ack).unwrap();
    }
    dead.consumer.close().await;
}

#[tokio::test]
async fn a_whole_run_shows_no_secret() {
    let log = Log::of_this_process();
    whole_run(&format!("memory://u:{SECRET}@secrets/"), log).await;
    values::every_value_that_may_hold_one(log);
    unreachable_broker(log).await;
    log.assert_shows_no_secret();
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_whole_run_over_rabbitmq_shows_no_secret() {
    let log = Log::of_this_process();
    let node = RabbitNode::start().await;
    node.ctl(&["add_user", "keeper", SECRET]).await;
    node.ctl(&["set_permissions", "keeper", ".*", ".*", ".*"]).await;
    let url = |password: &str| format!("amqp://keeper:{password}@127.0.0.1:{}", node.port());
    whole_run(&url(SECRET), log).await;
    log.note(&refused(&url(&format!("wrong{SECRET}"))).await);
    log.assert_shows_no_secret();
}

/// The errors of a listener and a notifier whose broker does not answer, or refuses them.
async fn unreachable_broker(log: &Log) {
    let url = format!("rabbit://keeper:{SECRET}@127.0.0.1:1/v?processname={SECRET}");
    log.note(&refused(&url).await);
    let transport = Transport::open(&url).unwrap();
    let notifier = Notifier::builder(transport).timeout(Duration::from_secs(1)).build().unwrap();
    let context = Context::new().with("auth_token", SECRET);
    let error = notifier.info(&context, "e", &json!(SECRET)).await.unwrap_err();
    log.note(&values::shown(&error));
}

async fn refused(url: &str) -> String {
    let listener = Listener::builder()
        .transport_url(url)
        .start_timeout(Duration::from_secs(2))
        .endpoint(Misfit)
        .build()
        .unwrap();
    values::shown(&listener.start().await.unwrap_err())
}
