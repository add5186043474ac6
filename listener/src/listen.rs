//! `listen()`, and the other places where URL, drivers and runtime meet. What the options
//! are called and where they are read is in `config.rs`.

use crate::config::{Config, ExecutorKind};
use crate::runtime::Listener;
use crate::runtime::builder::ListenerBuilder;
use crate::runtime::error::Error;
use crate::runtime::options::{Executor, Options, RetryOptions};
use crate::transport::Transport;

/// Runs every registered endpoint until SIGINT or SIGTERM, configured from the environment
/// and the file that `LISTENER_CONFIG` names; see [`Config`] for the options.
///
/// Where nothing at all is configured it listens on `memory://`, and logs so; [`Config`] says when a
/// URL has to be given.
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

/// What the configuration makes of an executor: what it does not say is left as it is.
fn configured_executor(
    given: Executor,
    kind: Option<ExecutorKind>,
    size: Option<usize>,
) -> Executor {
    match (kind, size, given) {
        (Some(ExecutorKind::Sequential), _, _) => Executor::Sequential,
        (_, Some(size), _) => Executor::Concurrent(size),
        (Some(ExecutorKind::Concurrent), None, Executor::Sequential) => Options::default().executor,
        (_, None, given) => given,
    }
}

impl ListenerBuilder {
    /// The transport that this URL names, opened by [`Transport::open`]; a mistake in it is
    /// reported by `build`, with all others.
    pub fn transport_url(self, url: &str) -> Self {
        self.opened(Transport::open(url))
    }

    /// Takes over what the configuration says; what it does not say is left as it is. Where it is
    /// empty altogether and the builder has no transport, that is `memory://`.
    pub fn configured(mut self, config: Config) -> Self {
        if let Some(url) = config.transport_url.as_deref() {
            self = self.transport_url(url);
        } else if !config.is_deployed && !self.has_transport() {
            tracing::warn!(
                "nothing is configured: listening in memory, where only this process can \
                 notify; set LISTENER_TRANSPORT_URL=amqp://user:password@host:5672 to use RabbitMQ, \
                 or memory:// to listen in memory without this warning"
            );
            self = self.transport_url("memory://");
        }
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
        let (kind, size) = (config.executor, config.executor_thread_pool_size);
        self = self.change_executor(|executor| configured_executor(executor, kind, size));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_wins_over_the_builder_in_all_that_it_says() {
        let check = |given: Executor, variables: &[(&str, &str)], expected: Executor| {
            let variables = variables
                .iter()
                .map(|(name, value)| (format!("LISTENER_{name}"), (*value).to_owned()));
            let config = Config::from_variables(variables).expect("a configuration");
            let mut found = None;
            let _ = Listener::builder().executor(given).configured(config).change_executor(
                |executor| {
                    found = Some(executor);
                    executor
                },
            );
            assert_eq!(found, Some(expected));
        };
        let (one, many) = (Executor::Sequential, Executor::Concurrent(16));
        check(one, &[], one);
        check(many, &[], many);
        check(one, &[("EXECUTOR", "concurrent")], Options::default().executor);
        check(many, &[("EXECUTOR", "concurrent")], many);
        check(many, &[("EXECUTOR", "sequential")], one);
        check(one, &[("EXECUTOR_THREAD_POOL_SIZE", "8")], Executor::Concurrent(8));
        check(one, &[("EXECUTOR", "sequential"), ("EXECUTOR_THREAD_POOL_SIZE", "1")], one);
    }
}
