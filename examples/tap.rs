//! Run it with `cargo run -p examples --example tap -- URL [TOPIC..]`, such as
//! `rabbit://guest:guest@127.0.0.1:5672 nova/notifications`.
//!
//! Prints each notification of a transport in one line, without taking it from other consumers: it has a
//! queue of its own, which the broker deletes five minutes after the last tap has ended. A TOPIC is `topic` or
//! `exchange/topic`; the default topic is `notifications`, the default exchange `openstack`.

use std::time::Duration;

use listener::options::Executor;
use listener::{Listener, Notification, Target, notification_endpoint};

/// lapin is excluded, because it logs the bodies of returned messages.
const LOG: &str = "info,lapin=off";

const POOL: &str = "listener-tap";

struct Tap;

#[notification_endpoint(register = false)]
impl Tap {
    #[on(audit, debug, info, warn, error, critical, sample)]
    async fn print(&self, notification: &Notification<'_>) {
        println!(
            "{} {:8} {} {} {}",
            notification.timestamp(),
            notification.priority().to_string(),
            notification.publisher_id().unwrap_or("-"),
            notification.event_type().unwrap_or("-"),
            notification.raw_payload(),
        );
    }
}

#[tokio::main]
async fn main() -> Result<(), listener::Error> {
    tracing_subscriber::fmt().with_env_filter(LOG).with_writer(std::io::stderr).init();
    let mut arguments = std::env::args().skip(1);
    let Some(url) = arguments.next() else {
        eprintln!("usage: tap URL [TOPIC..]");
        std::process::exit(2);
    };
    let mut builder = Listener::builder()
        .transport_url(&url)
        .temporary_pool(POOL, Duration::from_secs(300))
        .executor(Executor::Sequential)
        .endpoint(Tap);
    for topic in arguments {
        builder = builder.target(Target::from(topic.as_str()));
    }
    builder.build()?.run().await
}
