//! An endpoint that collects every notification in the form in which the Python peer prints it.

use std::time::Duration;

use listener::ListenerBuilder;
use listener::{
    Context, Listener, Metadata, Notification, Target, Transport, notification_endpoint,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// How long a notification may take to arrive.
pub(crate) const SOON: Duration = Duration::from_secs(60);

pub(crate) struct Collector {
    listener: Listener,
    collected: mpsc::UnboundedReceiver<Value>,
}

struct Collect(mpsc::UnboundedSender<Value>);

#[notification_endpoint(register = false)]
impl Collect {
    #[on(audit, debug, info, warn, error, critical, sample)]
    async fn all(
        &self,
        ctxt: &Context,
        publisher_id: Option<&str>,
        event_type: Option<&str>,
        payload: Value,
        metadata: &Metadata,
        notification: &Notification<'_>,
    ) {
        let _ = self.0.send(json!({
            "priority": notification.priority().as_str(),
            "ctxt": ctxt,
            "publisher_id": publisher_id,
            "event_type": event_type,
            "payload": payload,
            "metadata": metadata,
        }));
    }
}

impl Collector {
    /// Listens on `notifications` through a pool.
    pub(crate) async fn start(url: &str, pool: &str) -> Self {
        Self::build(url, |builder| builder.pool(pool)).await
    }

    /// Listens on `notifications`, sharing the queues of all listeners without a pool.
    pub(crate) async fn unpooled(url: &str) -> Self {
        Self::build(url, |builder| builder).await
    }

    /// Like `unpooled`, but it may fail.
    pub(crate) async fn try_unpooled(url: &str) -> Result<Self, listener::Error> {
        Self::try_build(url, |builder| builder).await
    }

    /// Listens on these targets, sharing the queues of all listeners without a pool.
    pub(crate) async fn of(url: &str, targets: impl IntoIterator<Item = Target>) -> Self {
        Self::build(url, |builder| targets.into_iter().fold(builder, ListenerBuilder::target)).await
    }

    async fn build(url: &str, change: impl FnOnce(ListenerBuilder) -> ListenerBuilder) -> Self {
        Self::try_build(url, change).await.unwrap()
    }

    async fn try_build(
        url: &str,
        change: impl FnOnce(ListenerBuilder) -> ListenerBuilder,
    ) -> Result<Self, listener::Error> {
        let (sender, collected) = mpsc::unbounded_channel();
        let builder = Listener::builder().transport(Transport::open(url).unwrap());
        let listener = change(builder).endpoint(Collect(sender)).build().unwrap();
        listener.start().await?;
        Ok(Self { listener, collected })
    }

    pub(crate) async fn next(&mut self) -> Value {
        let next = tokio::time::timeout(SOON, self.collected.recv()).await;
        next.expect("nothing arrived").unwrap()
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.listener.is_ready()
    }

    pub(crate) async fn stop(self) {
        self.listener.stop().await;
        self.listener.wait().await.unwrap();
    }
}

/// A line that the Python peer printed. Its context has an additional key, `client_timeout`, which the
/// driver of oslo.messaging adds for RPC, and which is removed here.
pub(crate) fn from_python(line: &str) -> Value {
    let mut seen: Value = serde_json::from_str(line).unwrap();
    let extra = seen["ctxt"].as_object_mut().unwrap().remove("client_timeout");
    assert_eq!(extra, Some(Value::Null), "the Python driver no longer adds `client_timeout`");
    seen
}
