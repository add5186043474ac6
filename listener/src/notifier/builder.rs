//! Builds a notifier: topics, exchange, serializer, spool, and their checks. The options and their setters
//! are declared in `options/notifier.rs`; `mod.rs` makes the notifier.

use std::sync::Arc;
use std::time::Duration;

use crate::envelope::{Compression, EnvelopeVersion};
use crate::notifier::error::NotifierBuildError;
use crate::notifier::send::Settings;
use crate::notifier::spool::{Spool, SpoolOptions};
use crate::notifier::window::Window;
use crate::options::declare::Group;
use crate::options::notifier::{NotifierOptions, notifier_setters};
use crate::options::value::Wrong;
use crate::serializer::Serializer;
use crate::target::{DEFAULT_EXCHANGE, DEFAULT_TOPIC, Role, Target, mistake, warn_of_topic};
use crate::transport::Transport;
use crate::transport::driver::MAX_TIMEOUT;

/// Builds a [`Notifier`](crate::Notifier).
#[derive(Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct NotifierBuilder {
    transport: Transport,
    publisher_id: Option<Arc<str>>,
    topics: Vec<Target>,
    control_exchange: String,
    options: NotifierOptions,
    serializer: Option<Arc<dyn Serializer>>,
    spool: Option<SpoolOptions>,
}

/// The parts of a notifier.
pub(super) struct Parts {
    pub(super) transport: Transport,
    pub(super) publisher_id: Option<Arc<str>>,
    pub(super) settings: Settings,
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

    /// Adds a topic to send to. Without `topic` and `target`, notifications are sent to `notifications`.
    pub fn topic(self, topic: impl Into<String>) -> Self {
        self.target(Target::topic(topic))
    }

    /// Adds a target to send to: its topic, on its exchange. Replaces the default topic, as `topic`
    /// does.
    pub fn target(mut self, target: Target) -> Self {
        self.topics.push(target);
        self
    }

    /// The exchange of topics without one of their own. Default: `openstack`.
    pub fn control_exchange(mut self, exchange: impl Into<String>) -> Self {
        self.control_exchange = exchange.into();
        self
    }

    /// Changes payload and context before they are sent. Default: none.
    pub fn serializer(mut self, serializer: impl Serializer) -> Self {
        self.serializer = Some(Arc::new(serializer));
        self
    }

    #[cfg(feature = "spool")]
    /// Writes notifications to disk while the broker is unreachable. Default: no spool.
    ///
    /// `Ok` then means that the broker confirmed the notification or that it is on the disk of this
    /// machine; the receipt of [`notify`](crate::Notifier::notify) says which. The notifier must be built in
    /// a tokio runtime, which must keep running until the spool is sent.
    ///
    /// ```
    /// use listener::options::SpoolOptions;
    /// use listener::{Context, Notifier, Transport};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = std::env::temp_dir().join(format!("doc-spool-{}", std::process::id()));
    /// let transport = Transport::open("memory://doc-spool")?;
    /// let notifier = Notifier::builder(transport).spool(SpoolOptions::new(&directory)).build()?;
    /// notifier.info(&Context::new(), "instance.create.end", &"i-1").await?;
    /// notifier.close().await;
    /// assert_eq!(notifier.spooled().waiting, 0);
    /// # std::fs::remove_dir_all(directory)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn spool(mut self, options: SpoolOptions) -> Self {
        self.spool = Some(options);
        self
    }

    /// Checks the options and opens the spool.
    pub(super) fn parts(self) -> Result<Parts, NotifierBuildError> {
        let topics =
            if self.topics.is_empty() { vec![Target::topic(DEFAULT_TOPIC)] } else { self.topics };
        let mut mistakes = Vec::new();
        if topics.iter().any(|topic| topic.topic_name().is_empty()) {
            mistakes.push(NotifierBuildError::EmptyTopic);
        }
        mistakes.extend(wrong_names(&topics, &self.control_exchange));
        let of_spool = self.spool.as_ref().map(SpoolOptions::wrong).unwrap_or_default();
        for (prefix, wrong) in [("", self.options.wrong()), ("spool.", of_spool)] {
            mistakes.extend(wrong.into_iter().map(|(option, wrong)| {
                let (option, Wrong { expected, found }) = (format!("{prefix}{option}"), wrong);
                NotifierBuildError::Option { option, found, expected }
            }));
        }
        if let Some(error) = NotifierBuildError::of(mistakes) {
            return Err(error);
        }
        let NotifierOptions { version, compression, timeout, max_body, window, window_bytes } =
            self.options;
        let timeout = timeout.min(MAX_TIMEOUT);
        let open = |options| Spool::open(options, self.transport.clone(), timeout);
        let spool = self.spool.map(open).transpose()?;
        Ok(Parts {
            transport: self.transport,
            publisher_id: self.publisher_id,
            settings: Settings {
                topics,
                control_exchange: self.control_exchange,
                version,
                compression,
                serializer: self.serializer,
                timeout,
                max_body,
                window: Window::new(window, window_bytes),
                spool,
            },
        })
    }
}

fn wrong_names(topics: &[Target], exchange: &str) -> Vec<NotifierBuildError> {
    topics.iter().for_each(|topic| warn_of_topic(topic.topic_name()));
    let exchanges = topics.iter().filter_map(Target::exchange_name).chain([exchange]);
    let exchanges = exchanges.map(|exchange| (Role::Exchange, exchange));
    let names = topics.iter().map(|topic| (Role::Route, topic.topic_name())).chain(exchanges);
    names.filter_map(|(role, name)| mistake(role, name).map(NotifierBuildError::Name)).collect()
}
