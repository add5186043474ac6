//! `listen()`, and the other places where URL, drivers and runtime meet. The options are declared in
//! `options/listener.rs` and read in `config/`.

use crate::config::Config;
use crate::options::listener::ExternalOptions;
use crate::runtime::Listener;
use crate::runtime::builder::ListenerBuilder;
use crate::runtime::error::Error;
use crate::transport::Transport;

/// Runs every registered endpoint until SIGINT or SIGTERM, configured from the environment
/// and the file that `LISTENER_CONFIG` names; see [`Config`] for the options.
///
/// If nothing is configured, it listens on `memory://` and logs a warning; [`Config`] describes when a URL is
/// required.
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
/// All mistakes in the configuration, or all mistakes of the endpoints, in one error; a broker that cannot be
/// reached or refuses. A connection that is lost later is not an error: it is restored.
pub async fn listen() -> Result<(), Error> {
    let config = Config::from_env()?;
    Listener::builder().config(config).registered().build()?.run().await
}

impl ListenerBuilder {
    /// The transport that this URL names, opened by [`Transport::open`]; a mistake in it is
    /// reported by `build`, with all others.
    pub fn transport_url(self, url: &str) -> Self {
        self.opened(Transport::open(url))
    }

    /// Applies a configuration: each option that it contains replaces the builder's value; topics and groups
    /// are added. Later calls take precedence. If nothing at all is configured and no transport has been set,
    /// the transport is `memory://`.
    pub fn config(mut self, config: Config) -> Self {
        config.apply_to(self.options_mut());
        let is_deployed = config.is_deployed;
        // The executor is one of the options; its size was folded into it.
        let ExternalOptions {
            transport_url,
            topics,
            control_exchange,
            queues,
            groups,
            enabled_endpoints,
            disabled_endpoints,
            executor: _,
            executor_size: _,
            ordered_by,
        } = config.sources;
        if let Some(url) = transport_url {
            self = self.without_transports().transport_url(&url);
        } else if !is_deployed && !self.has_transport() {
            tracing::warn!(
                "nothing is configured: listening in memory, where only this process can \
                 notify; set LISTENER_TRANSPORT_URL=amqp://user:password@host:5672 to use RabbitMQ, \
                 or memory:// to listen in memory without this warning"
            );
            self = self.transport_url("memory://");
        }
        self = topics.into_iter().fold(self, Self::target);
        self = groups.into_iter().fold(self, Self::group);
        self = self.enabled_endpoints(enabled_endpoints).disabled_endpoints(disabled_endpoints);
        if let Some(exchange) = control_exchange {
            self = self.control_exchange(exchange);
        }
        if let Some(queues) = queues {
            self = self.queues(queues);
        }
        if let Some(key) = ordered_by {
            self = self.ordered_by(key);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::listener::{Executor, ListenerOptions};

    #[test]
    fn the_configuration_wins_over_the_builder_in_what_is_given() {
        let check = |given: Executor, variables: &[(&str, &str)], expected: Executor| {
            let variables = variables
                .iter()
                .map(|(name, value)| (format!("LISTENER_{name}"), (*value).to_owned()));
            let config = Config::from_variables(variables).expect("a configuration");
            let mut builder = Listener::builder().executor(given).config(config);
            assert_eq!(builder.options_mut().executor, expected);
        };
        let (one, many) = (Executor::Sequential, Executor::Concurrent(16));
        check(one, &[], one);
        check(many, &[], many);
        check(one, &[("EXECUTOR", "concurrent")], ListenerOptions::default().executor);
        check(many, &[("EXECUTOR", "concurrent")], many);
        check(many, &[("EXECUTOR", "sequential")], one);
        check(one, &[("EXECUTOR_THREAD_POOL_SIZE", "8")], Executor::Concurrent(8));
        check(one, &[("EXECUTOR", "sequential"), ("EXECUTOR_THREAD_POOL_SIZE", "1")], one);
    }
}
