//! Builds a notifier: topics, exchange, serializer, spool, and what is wrong with them. The options and
//! their setters are declared in `options/notifier.rs`.

use std::sync::Arc;
use std::time::Duration;

use crate::envelope::{Compression, Version};
use crate::notifier::Notifier;
use crate::notifier::error::NotifierBuildError;
use crate::notifier::send::Settings;
use crate::notifier::spool::SpoolOptions;
use crate::notifier::window::Window;
use crate::options::declare::Group;
use crate::options::notifier::{NotifierOptions, notifier_setters};
use crate::options::value::Wrong;
use crate::serializer::Serializer;
use crate::target::{DEFAULT_EXCHANGE, DEFAULT_TOPIC, Role, Target, mistake, warn_of_topic};
use crate::transport::Transport;
use crate::transport::driver::LONGEST_WAIT;

/// Builds a [`Notifier`].
#[derive(Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct NotifierBuilder {
    transport: Transport,
    publisher_id: Option<Arc<str>>,
    topics: Vec<Target>,
    control_exchange: String,
    options: NotifierOptions,
    serializer: Option<Arc<dyn Serializer>>,
    pub(super) spool: Option<SpoolOptions>,
}

impl NotifierBuilder {
    pub(super) fn new(transport: Transport) -> Self {
        Self {
            transport,
            publisher_id: None,
            topics: Vec::new(),
            control_exchange: DEFAULT_EXCHANGE.to_owned(),
            options: NotifierOptions::default(),
            serializer: None,
            spool: None,
        }
    }

    notifier_setters!();

    /// The publisher id of its notifications, such as `compute.host1`. Default: null.
    pub fn publisher_id(mut self, publisher_id: impl Into<Arc<str>>) -> Self {
        self.publisher_id = Some(publisher_id.into());
        self
    }

    /// Also sends to this topic. Default: `notifications`.
    pub fn topic(self, topic: impl Into<String>) -> Self {
        self.target(Target::topic(topic))
    }

    /// Also sends to this topic, on the exchange that the target names.
    pub fn target(mut self, target: Target) -> Self {
        self.topics.push(target);
        self
    }

    /// The exchange of topics that name none. Default: `openstack`.
    pub fn control_exchange(mut self, exchange: impl Into<String>) -> Self {
        self.control_exchange = exchange.into();
        self
    }

    /// Changes payload and context before they are sent. Default: none.
    pub fn serializer(mut self, serializer: impl Serializer) -> Self {
        self.serializer = Some(Arc::new(serializer));
        self
    }

    /// Builds the notifier. It connects when it first sends.
    ///
    /// No I/O, but for the spool, if there is one: its directory is made, locked and read
    /// through, and what waits in it is sent from now on, in a task of the current runtime.
    ///
    /// # Errors
    /// Names that no broker takes, and values that an option does not accept, all such mistakes at once. Without any, a spool
    /// that cannot be opened: another notifier has it, a file cannot be read or written, or this
    /// is no tokio runtime.
    pub fn build(self) -> Result<Notifier, NotifierBuildError> {
        let topics =
            if self.topics.is_empty() { vec![Target::topic(DEFAULT_TOPIC)] } else { self.topics };
        let mut mistakes = Vec::new();
        if topics.iter().any(|topic| topic.name().is_empty()) {
            mistakes.push(NotifierBuildError::EmptyTopic);
        }
        mistakes.extend(wrong_names(&topics, &self.control_exchange));
        mistakes.extend(self.options.wrong().into_iter().map(|(option, wrong)| {
            let Wrong { expected, found } = wrong;
            NotifierBuildError::Option { option, found, expected }
        }));
        if let Some(error) = NotifierBuildError::of(mistakes) {
            return Err(error);
        }
        let NotifierOptions { version, compression, timeout, max_body, window, window_bytes } =
            self.options;
        let timeout = timeout.min(LONGEST_WAIT);
        let open = |options: SpoolOptions| options.open(self.transport.clone(), timeout);
        let spool = self.spool.map(open).transpose()?;
        Ok(Notifier {
            transport: self.transport,
            publisher_id: self.publisher_id,
            settings: Arc::new(Settings {
                topics,
                control_exchange: self.control_exchange,
                version,
                compression,
                serializer: self.serializer,
                timeout,
                max_body,
                window: Window::new(window, window_bytes),
                spool,
            }),
        })
    }
}

fn wrong_names(topics: &[Target], exchange: &str) -> Vec<NotifierBuildError> {
    topics.iter().for_each(|topic| warn_of_topic(topic.name()));
    let exchanges = topics.iter().filter_map(Target::exchange_name).chain([exchange]);
    let exchanges = exchanges.map(|exchange| (Role::Exchange, exchange));
    let names = topics.iter().map(|topic| (Role::Route, topic.name())).chain(exchanges);
    names.filter_map(|(role, name)| mistake(role, name).map(NotifierBuildError::Name)).collect()
}
