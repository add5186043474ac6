//! Run it with `cargo run -p examples --example quickstart`: no broker is needed.
//!
//! An endpoint with a method for each of three priorities, and a notifier that sends one
//! notification to each, in memory. The program ends after the third is handled.

use std::borrow::Cow;

use listener::{
    Context, Listener, Metadata, Notifier, State, Target, Transport, notification_endpoint,
};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

#[derive(Serialize, Deserialize)]
struct Created {
    instance_id: String,
    vcpus: u32,
}

#[derive(Serialize, Deserialize)]
struct Usage {
    host: String,
    memory_percent: f64,
}

/// A payload may borrow from its message. A `Cow` borrows text without escapes; a `&str` cannot hold text
/// with `\n`, `\"` or `\u00e9`, which are frequent in error messages.
#[derive(Serialize, Deserialize)]
struct Fault<'f> {
    #[serde(borrow)]
    instance_id: Cow<'f, str>,
    #[serde(borrow)]
    message: Cow<'f, str>,
}

/// Tells `main` that a notification was handled.
type Done = mpsc::UnboundedSender<()>;

#[derive(Default)]
struct Quickstart;

#[notification_endpoint]
impl Quickstart {
    async fn info(&self, event_type: &str, payload: Created, done: State<Done>) {
        println!("info   {event_type}: {} has {} vcpus", payload.instance_id, payload.vcpus);
        let _ = done.send(());
    }

    async fn warn(&self, publisher_id: &str, payload: Usage, done: State<Done>) {
        println!("warn   {publisher_id}: {} is {}% full", payload.host, payload.memory_percent);
        let _ = done.send(());
    }

    async fn error(
        &self,
        ctxt: &Context,
        payload: Fault<'_>,
        metadata: &Metadata,
        done: State<Done>,
    ) {
        let request = ctxt.get_str("request_id").unwrap_or("no request");
        println!(
            "error  {}: {} ({request})",
            payload.instance_id,
            payload.message.replace('\n', " ")
        );
        assert!(!metadata.message_id().is_empty());
        let _ = done.send(());
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let transport = Transport::open("memory://")?;
    let (done, mut handled) = mpsc::unbounded_channel::<()>();
    let listener = Listener::builder()
        .transport(transport.clone())
        .target(Target::topic("notifications"))
        .state(done)
        .build()?;
    listener.start().await?;

    let notifier = Notifier::builder(transport).publisher_id("compute.host1").build()?;
    let ctxt = Context::new().with("request_id", "req-1");
    let created = Created { instance_id: "i-1".to_owned(), vcpus: 4 };
    notifier.info(&ctxt, "instance.create.end", &created).await?;
    let usage = Usage { host: "host1".to_owned(), memory_percent: 93.5 };
    notifier.warn(&ctxt, "host.usage", &usage).await?;
    let fault =
        Fault { instance_id: "i-2".into(), message: "no valid host:\n\"disk full\"".into() };
    notifier.error(&ctxt, "instance.create.error", &fault).await?;

    for _ in 0..3 {
        handled.recv().await.ok_or("the listener ended")?;
    }
    listener.shutdown().await?;
    Ok(())
}
