//! Run it with `cargo run -p examples --example notify -- URL PRIORITY EVENT_TYPE PAYLOAD [TOPIC]`, such
//! as `rabbit://guest:guest@127.0.0.1:5672 info compute.instance.create.end '{"instance_id": "i-1"}'`.
//!
//! Sends one notification, and exits with code 0 after the broker has confirmed it. TOPIC is `topic` or
//! `exchange/topic`, such as `nova/versioned_notifications`; default: `openstack/notifications`.

use std::error::Error;
use std::process::ExitCode;

use listener::{Context, Notifier, Priority, Target, Transport};
use serde_json::value::RawValue;

/// lapin is excluded, because it logs the bodies of returned messages.
const LOG: &str = "info,lapin=off";

const USAGE: &str = "usage: notify URL PRIORITY EVENT_TYPE PAYLOAD [TOPIC]";

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_env_filter(LOG).with_writer(std::io::stderr).init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, priority, event_type, payload, topic @ ..] = arguments.as_slice() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let target = match topic {
        [] => Target::topic("notifications"),
        [topic] => Target::from(topic.as_str()),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match notify(url, target, priority, event_type, payload).await {
        Ok(()) => {
            println!("confirmed");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprint!("{error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprint!(": {error}");
                cause = error.source();
            }
            eprintln!();
            ExitCode::FAILURE
        }
    }
}

async fn notify(
    url: &str,
    target: Target,
    priority: &str,
    event_type: &str,
    payload: &str,
) -> Result<(), Box<dyn Error>> {
    let priority: Priority = priority.parse()?;
    let payload: &RawValue =
        serde_json::from_str(payload).map_err(|error| format!("PAYLOAD is not JSON: {error}"))?;
    let publisher_id = format!("listener-notify.{}", std::process::id());
    let builder = Notifier::builder(Transport::open(url)?).publisher_id(publisher_id);
    let notifier = builder.target(target).build()?;
    notifier.notify(priority, &Context::new(), event_type, payload).await?;
    notifier.close().await;
    Ok(())
}
