//! A typical program: one endpoint, `listen()`, the configuration from the environment. It prints when
//! it begins and ends a notification; SERVICE_DELAY_MS is how long it takes for each. With
//! SERVICE_SILENT set it installs no subscriber for its logs.

use std::time::Duration;

use listener::{Error, notification_endpoint};

struct Service {
    delay: Duration,
}

fn service() -> Service {
    let delay = std::env::var("SERVICE_DELAY_MS").ok().and_then(|text| text.parse().ok());
    Service { delay: Duration::from_millis(delay.unwrap_or(0)) }
}

#[notification_endpoint(init = service)]
impl Service {
    async fn info(&self, payload: u64) {
        println!("begins {payload}");
        tokio::time::sleep(self.delay).await;
        println!("ends {payload}");
    }

    /// Never ends, whatever happens to the listener.
    fn warn(&self, payload: u64) {
        println!("hangs {payload}");
        loop {
            std::thread::park();
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    if std::env::var_os("SERVICE_SILENT").is_none() {
        tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    }
    listener::listen().await
}
