//! Builds a notifier: topics, exchange, wire format, and what is wrong with them. All
//! defaults of a notifier stand here.

use std::sync::Arc;
use std::time::Duration;

use crate::envelope::{Compression, Version};
use crate::notifier::Notifier;
use crate::notifier::error::NotifierBuildError;
use crate::notifier::send::Settings;
use crate::notifier::spool::SpoolOptions;
use crate::notifier::window::Window;
use crate::serializer::Serializer;
use crate::target::{DEFAULT_EXCHANGE, DEFAULT_TOPIC, Role, Target, mistake, warn_of_topic};
use crate::transport::Transport;
use crate::transport::driver::LONGEST_WAIT;

/// RabbitMQ 4 takes so much by default, and earlier ones more.
const MAX_BODY: usize = 16 << 20;

/// Builds a [`Notifier`].
#[derive(Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct NotifierBuilder {
    transport: Transport,
    publisher_id: Option<Arc<str>>,
    topics: Vec<Target>,
    control_exchange: String,
    version: Version,
    compression: Option<Compression>,
    serializer: Option<Arc<dyn Serializer>>,
    timeout: Duration,
    max_body: usize,
    window: usize,
    window_bytes: u32,
    pub(super) spool: Option<SpoolOptions>,
}

impl NotifierBuilder {
    pub(super) fn new(transport: Transport) -> Self {
        Self {
            transport,
            publisher_id: None,
            topics: Vec::new(),
            control_exchange: DEFAULT_EXCHANGE.to_owned(),
            version: Version::V2,
            compression: None,
            serializer: None,
            timeout: Duration::from_secs(30),
            max_body: MAX_BODY,
            window: 1000,
            window_bytes: 64 << 20,
            spool: None,
        }
    }

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

    /// The form on the wire: `V2` as oslo's driver `messagingv2` writes it (the default), `V1`
    /// as `messaging` does.
    pub fn version(mut self, version: Version) -> Self {
        self.version = version;
        self
    }

    /// Compresses the bodies, as oslo.messaging's `kombu_compression` does. Default: no compression.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = Some(compression);
        self
    }

    /// Changes payload and context before they are sent. Default: none.
    pub fn serializer(mut self, serializer: impl Serializer) -> Self {
        self.serializer = Some(Arc::new(serializer));
        self
    }

    /// How long a call may take: waiting for room in the window, reconnecting, sending, the confirmation.
    /// Default: 30 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.min(LONGEST_WAIT);
        self
    }

    /// The largest body in bytes, after compression. A larger notification fails with
    /// [`NotifyError::TooLarge`](crate::NotifyError::TooLarge) before anything is sent. Default: 16 MiB,
    /// the default of RabbitMQ 4; that of earlier releases is 128 MiB. The driver enforces the broker's
    /// own limit too.
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    /// How many notifications may be in flight at once, over all clones of the notifier. Further calls
    /// wait, and fail with [`NotifyError::WindowFull`](crate::NotifyError::WindowFull) after `timeout`.
    /// Default: 1000.
    pub fn window(mut self, notifications: usize) -> Self {
        self.window = notifications;
        self
    }

    /// How many bytes of bodies may be in flight at once, over all clones of the notifier. A larger
    /// notification is sent alone. Default: 64 MiB.
    pub fn window_bytes(mut self, bytes: u32) -> Self {
        self.window_bytes = bytes;
        self
    }

    /// Builds the notifier. It connects when it first sends.
    ///
    /// No I/O, but for the spool, if there is one: its directory is made, locked and read
    /// through, and what waits in it is sent from now on, in a task of the current runtime.
    ///
    /// # Errors
    /// Names that no broker takes, and an empty window, all such mistakes at once. Without any, a spool
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
        if self.window == 0 || self.window_bytes == 0 {
            mistakes.push(NotifierBuildError::EmptyWindow);
        }
        if let Some(error) = NotifierBuildError::of(mistakes) {
            return Err(error);
        }
        let open = |options: SpoolOptions| options.open(self.transport.clone(), self.timeout);
        let spool = self.spool.map(open).transpose()?;
        Ok(Notifier {
            transport: self.transport,
            publisher_id: self.publisher_id,
            settings: Arc::new(Settings {
                topics,
                control_exchange: self.control_exchange,
                version: self.version,
                compression: self.compression,
                serializer: self.serializer,
                timeout: self.timeout,
                max_body: self.max_body,
                window: Window::new(self.window, self.window_bytes),
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
