//! Builds a notifier: topics, exchange, wire format, and what is wrong with them.

use std::sync::Arc;
use std::time::Duration;

use crate::envelope::{Compression, Version};
use crate::notifier::Notifier;
use crate::notifier::error::NotifierBuildError;
use crate::notifier::send::Settings;
use crate::serializer::Serializer;
use crate::target::Target;
use crate::transport::Transport;

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
}

impl NotifierBuilder {
    pub(super) fn new(transport: Transport) -> Self {
        Self {
            transport,
            publisher_id: None,
            topics: Vec::new(),
            control_exchange: "openstack".to_owned(),
            version: Version::V2,
            compression: None,
            serializer: None,
            timeout: Duration::from_secs(30),
        }
    }

    /// Who sends, such as `compute.host1`. Default: null.
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

    /// Compresses the bodies, as oslo's `kombu_compression` does. Default: not.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = Some(compression);
        self
    }

    /// Changes payload and context on their way to the wire.
    pub fn serializer(mut self, serializer: impl Serializer) -> Self {
        self.serializer = Some(Arc::new(serializer));
        self
    }

    /// How long a call may take: reconnecting, sending, the confirmation. Default: 30 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Builds the notifier. No I/O: it connects when it first sends.
    ///
    /// # Errors
    /// A topic without a name.
    pub fn build(self) -> Result<Notifier, NotifierBuildError> {
        let topics =
            if self.topics.is_empty() { vec![Target::topic("notifications")] } else { self.topics };
        if topics.iter().any(|topic| topic.name().is_empty()) {
            return Err(NotifierBuildError::EmptyTopic);
        }
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
            }),
        })
    }
}
