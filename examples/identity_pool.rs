//! Run it with `cargo run -p examples --example identity_pool`: no broker is needed.
//!
//! A listener of StarlingX's kind, which keeps a copy of the identities of a cloud: two members share a pool,
//! and a constant filter selects the events of users and projects. Other listeners of keystone's
//! notifications still receive everything. In Python: `get_notification_listener(transport, targets,
//! [endpoint], pool="identity-sync")` with `filter_rule = NotificationFilter(event_type=..)`.

use listener::{
    Context, Listener, ListenerBuilder, Notifier, State, Target, Transport, notification_endpoint,
};
use serde::Deserialize;
use tokio::sync::mpsc;

type Changes = mpsc::UnboundedSender<String>;

/// The payload of keystone's basic notifications.
#[derive(Deserialize)]
struct Resource {
    resource_info: String,
}

/// One member of the pool.
struct IdentitySync;

#[notification_endpoint(
    register = false,
    publisher_id = r"identity\.",
    event_type = r"identity\.(user|project)\.(created|updated|deleted)$"
)]
impl IdentitySync {
    async fn info(&self, event_type: &str, payload: Resource, changes: State<Changes>) {
        let action = match event_type.ends_with(".deleted") {
            true => "removes",
            false => "fetches",
        };
        let _ = changes.send(format!("pool {action} {}", payload.resource_info));
    }
}

/// A listener without a pool, which receives everything as well.
struct Audit;

#[notification_endpoint(register = false)]
impl Audit {
    async fn info(&self, event_type: &str, changes: State<Changes>) {
        let _ = changes.send(format!("audit of {event_type}"));
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let transport = Transport::open("memory://identity")?;
    let keystone = || Target::topic("notifications").exchange("keystone");
    let (changes, mut made) = mpsc::unbounded_channel::<String>();
    let builder = || -> ListenerBuilder {
        Listener::builder().transport(transport.clone()).target(keystone()).state(changes.clone())
    };
    let listeners = [
        builder().pool("identity-sync").endpoint(IdentitySync).build()?,
        builder().pool("identity-sync").endpoint(IdentitySync).build()?,
        builder().endpoint(Audit).build()?,
    ];
    for listener in &listeners {
        listener.start().await?;
    }

    let notifier = Notifier::builder(transport.clone())
        .target(keystone())
        .publisher_id("identity.controller-0")
        .build()?;
    let ctxt = Context::new().with("project_id", "c97027dd880d4c129ae7a4ba7edade05");
    for (event_type, id) in [
        ("identity.project.created", "671da331c47d4e29bb6ea1d270154ec3"),
        ("identity.user.created", "4ce5c085e09a478ea4edcd667a92df78"),
        ("identity.authenticate", "4ce5c085e09a478ea4edcd667a92df78"),
        ("identity.user.deleted", "4ce5c085e09a478ea4edcd667a92df78"),
    ] {
        let payload = serde_json::json!({"resource_info": id});
        notifier.info(&ctxt, event_type, &payload).await?;
    }
    // Three changes in the pool, and four for the audit.
    for _ in 0..7 {
        println!("{}", made.recv().await.ok_or("the listeners ended")?);
    }
    for listener in &listeners {
        listener.shutdown().await?;
    }
    Ok(())
}
