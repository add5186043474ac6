//! Builds a notifier: topics, exchange, serializer, spool, and their checks. The options and their setters
//! are declared in `options/notifier.rs`; `mod.rs` makes the notifier.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::envelope::{Compression, EnvelopeVersion};
use crate::notifier::error::NotifierBuildError;
use crate::notifier::outputs::Output;
use crate::notifier::outputs::name::UnknownOutput;
use crate::notifier::outputs::routing::Routing;
use crate::notifier::redaction::Redaction;
use crate::notifier::retry::Retry;
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
    outputs: Vec<Result<Output, UnknownOutput>>,
    routings: Vec<Routing>,
    redaction: Redaction,
    retry: Retry,
}

/// The parts of a notifier.
pub(super) struct Parts {
    pub(super) transport: Transport,
    pub(super) publisher_id: Option<Arc<str>>,
    pub(super) retry: Retry,
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
            outputs: Vec::new(),
            routings: Vec::new(),
            redaction: Redaction::default(),
            retry: Retry::default(),
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

    /// Adds an output: one of [`Output`]'s, or one of the program. Without any, notifications go to the
    /// broker, in the envelope [`version`](Self::version); with some, only to these, all at once.
    ///
    /// The failure of an output does not prevent the others, and
    /// [`NotifyError::Outputs`](crate::NotifyError::Outputs) lists those that failed. `timeout` is the limit for
    /// each output.
    ///
    /// ```
    /// use listener::output::Output;
    /// use listener::{Context, Notifier, Receipt, Transport};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let builder = Notifier::builder(Transport::open("memory://doc-outputs")?);
    /// let notifier = builder.output(Output::MessagingV2).output(Output::Log).build()?;
    /// let receipt = notifier.info(&Context::new(), "invoice.created", &"i-1").await?;
    /// assert_eq!(receipt, Receipt::Confirmed);
    /// # Ok(())
    /// # }
    /// ```
    pub fn output(mut self, output: impl Into<Output>) -> Self {
        self.outputs.push(Ok(output.into()));
        self
    }

    /// Adds outputs by their names, as in oslo.messaging's option `driver`: `messaging`, `messagingv2`,
    /// `log`, `noop`, `test`. An unknown name is an error when the notifier is built.
    pub fn drivers<T: AsRef<str>>(mut self, names: impl IntoIterator<Item = T>) -> Self {
        self.outputs.extend(names.into_iter().map(|name| name.as_ref().parse()));
        self
    }

    /// Adds outputs that are selected for each notification by its event type and its priority: the driver
    /// `routing` of oslo.messaging. Like [`output`](Self::output) it replaces the default output.
    pub fn routing(mut self, routing: Routing) -> Self {
        self.routings.push(routing);
        self
    }

    /// How often a notification is sent again, within the timeout. Default: until the timeout.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// The keys of contexts that are not sent to any output, because they are secrets. Default: `auth_token`
    /// and `service_catalog`, which `redacted_copy` of oslo.context leaves out.
    pub fn redacted_keys<K: Into<String>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.redaction = Redaction::of(keys);
        self
    }

    /// Sends contexts with all their keys, secrets included.
    pub fn whole_context(self) -> Self {
        self.redacted_keys([""; 0])
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
        let mut outputs = Vec::new();
        for output in self.outputs {
            match output {
                Ok(output) => outputs.push(output),
                Err(error) => mistakes.push(error.into()),
            }
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
        if outputs.is_empty() && self.routings.is_empty() {
            outputs.push(match version {
                EnvelopeVersion::V1 => Output::Messaging,
                _ => Output::MessagingV2,
            });
        }
        // A name that is given twice loads one driver in oslo.messaging.
        let mut names = HashSet::new();
        outputs.retain(|output| {
            matches!(output, Output::Test(_) | Output::Custom(_))
                || names.insert(output.name().to_owned())
        });
        let timeout = timeout.min(MAX_TIMEOUT);
        let open = |options| Spool::open(options, self.transport.clone(), timeout);
        let spool = self.spool.map(open).transpose()?;
        Ok(Parts {
            transport: self.transport,
            publisher_id: self.publisher_id,
            retry: self.retry,
            settings: Settings {
                topics,
                control_exchange: self.control_exchange,
                outputs,
                routings: self.routings,
                redaction: self.redaction,
                compression,
                serializer: self.serializer,
                timeout,
                max_body,
                window: Window::new(window, window_bytes),
                queue: Window::new(window, window_bytes),
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
