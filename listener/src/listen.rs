//! `listen()`, and the other places where URL, drivers and runtime meet. What the options
//! are called and where they are read is in `config.rs`.

use crate::config::Config;
use crate::runtime::Listener;
use crate::runtime::builder::ListenerBuilder;
use crate::runtime::error::Error;
use crate::runtime::options::{Executor, RetryOptions};
use crate::transport::Transport;

/// Runs every registered endpoint until SIGINT or SIGTERM, configured from the environment
/// and the file that `LISTENER_CONFIG` names; see [`Config`] for the options.
///
/// Without any configuration it listens on `memory://`, and logs so.
///
/// ```no_run
/// use listener::notification_endpoint;
///
/// #[derive(Default)]
/// struct Audit;
///
/// #[notification_endpoint]
/// impl Audit {
///     async fn info(&self, event_type: &str) {
///         println!("{event_type}");
///     }
/// }
///
/// #[tokio::main]
/// async fn main() -> Result<(), listener::Error> {
///     listener::listen().await
/// }
/// ```
///
/// # Errors
/// A mistake in the configuration or of the endpoints, all at once; a broker that cannot be
/// reached or refuses. A connection that is lost later is no error: it is made again.
pub async fn listen() -> Result<(), Error> {
    let config = Config::from_env()?;
    Listener::builder().configured(config).registered().build()?.run().await
}

impl ListenerBuilder {
    /// The transport that this URL names, opened by [`Transport::open`]; a mistake in it is
    /// reported by `build`, with all others.
    pub fn transport_url(self, url: &str) -> Self {
        self.opened(Transport::open(url))
    }

    /// Takes over what the configuration says; what it does not say is left as it is. A
    /// transport URL that it does not name is `memory://`.
    pub fn configured(mut self, config: Config) -> Self {
        let url = config.transport_url.as_deref().unwrap_or_else(|| {
            tracing::warn!(
                "no transport is configured: listening in memory, where only this process can \
                 notify; set LISTENER_TRANSPORT_URL=amqp://user:password@host:5672 to use RabbitMQ"
            );
            "memory://"
        });
        self = self.transport_url(url);
        for target in config.topics {
            self = self.target(target);
        }
        for group in config.groups {
            self = self.group(group);
        }
        if let Some(exchange) = config.control_exchange {
            self = self.control_exchange(exchange);
        }
        if let Some(pool) = config.pool {
            self = self.pool(pool);
        }
        if let Some(allow) = config.allow_requeue {
            self = self.allow_requeue(allow);
        }
        if let Some(size) = config.executor_thread_pool_size {
            self = self.executor(Executor::Concurrent(size));
        }
        if config.sequential {
            self = self.executor(Executor::Sequential);
        }
        if let Some(prefetch) = config.prefetch {
            self = self.prefetch(prefetch);
        }
        if let Some(bytes) = config.bytes_in_flight {
            self = self.bytes_in_flight(bytes);
        }
        if let Some(timeout) = config.handler_timeout {
            self = self.handler_timeout(timeout);
        }
        if let Some(on_unknown) = config.unknown_priority {
            self = self.on_unknown_priority(on_unknown);
        }
        let Config { retry_attempts, retry_pause, retry_max_pause, .. } = config;
        self = self.change_retry(|retry| RetryOptions {
            attempts: retry_attempts.unwrap_or(retry.attempts),
            pause: retry_pause.unwrap_or(retry.pause),
            max_pause: retry_max_pause.unwrap_or(retry.max_pause),
            ..retry
        });
        if let Some(key) = config.ordered_by {
            self = self.ordered_by(key);
        }
        if let Some(timeout) = config.start_timeout {
            self = self.start_timeout(timeout);
        }
        if let Some(timeout) = config.shutdown_timeout {
            self = self.shutdown_timeout(timeout);
        }
        self
    }
}
