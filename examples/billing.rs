//! Run it with `cargo run -p examples --example billing`: no broker is needed.
//!
//! Shared state, filters, and methods that fail: a notification that cannot be billed becomes a dead
//! letter, and the log has the reason.

use listener::{
    Classified, Context, Listener, Notification, Notifier, Outcome, State, Transport,
    notification_endpoint, permanent,
};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

/// lapin is excluded, because it logs the bodies of returned messages.
const LOG: &str = "info,lapin=off";

#[derive(Serialize, Deserialize)]
struct Instance {
    instance_id: String,
    flavor: String,
    hours: u32,
}

/// The state of all methods: the price, and the channel for the rows.
struct Ledger {
    cents_an_hour: u32,
    rows: mpsc::UnboundedSender<String>,
}

impl Ledger {
    fn write(&self, row: String) {
        // The receiver is gone after `main` has returned.
        let _ = self.rows.send(row);
    }
}

#[derive(Debug)]
struct UnknownFlavor(String);

impl std::fmt::Display for UnknownFlavor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "flavor {:?} has no price", self.0)
    }
}

impl std::error::Error for UnknownFlavor {}

#[derive(Default)]
struct Billing;

#[notification_endpoint(publisher_id = r"^compute\.", event_type = r"^compute\.instance\.")]
impl Billing {
    /// An ordinary error is retried, and dead-lettered after the last attempt. A permanent error is
    /// dead-lettered immediately.
    #[on(info, event_type = r"^compute\.instance\.delete\.end$")]
    async fn bill(
        &self,
        payload: Instance,
        State(ledger): State<Ledger>,
    ) -> Result<(), Classified> {
        if payload.flavor != "small" {
            ledger.write(format!("{} is not billed", payload.instance_id));
            return Err(permanent(UnknownFlavor(payload.flavor)));
        }
        let cents = payload.hours * ledger.cents_an_hour;
        ledger.write(format!("{} costs {cents} cents", payload.instance_id));
        Ok(())
    }

    async fn error(&self, notification: &Notification<'_>, ledger: State<Ledger>) -> Outcome {
        let event_type = notification.event_type().unwrap_or_default();
        ledger.write(format!("{event_type} was dead-lettered"));
        Outcome::dead_letter("errors are reviewed manually")
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_env_filter(LOG).with_writer(std::io::stderr).init();
    let transport = Transport::open("memory://billing")?;
    let (rows, mut written) = mpsc::unbounded_channel();
    let ledger = Ledger { cents_an_hour: 2, rows };
    let listener = Listener::builder().transport(transport.clone()).state(ledger).build()?;
    listener.start().await?;

    let ctxt = Context::new();
    let compute = Notifier::builder(transport).publisher_id("compute.host1").build()?;
    let network = compute.with_publisher_id("network.host1");
    let instance = |id: &str, flavor: &str| Instance {
        instance_id: id.to_owned(),
        flavor: flavor.to_owned(),
        hours: 21,
    };
    compute.info(&ctxt, "compute.instance.delete.end", &instance("i-1", "small")).await?;
    compute.info(&ctxt, "compute.instance.delete.end", &instance("i-2", "huge")).await?;
    compute.info(&ctxt, "compute.instance.delete.start", &instance("i-3", "small")).await?;
    network.info(&ctxt, "compute.instance.delete.end", &instance("i-4", "small")).await?;
    compute.error(&ctxt, "compute.instance.delete.error", &instance("i-5", "small")).await?;
    for _ in 0..3 {
        println!("{}", written.recv().await.ok_or("the listener ended")?);
    }
    listener.shutdown().await?;
    Ok(())
}
