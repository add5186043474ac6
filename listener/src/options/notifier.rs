//! The options of a notifier. Its builder has their setters, and the parts that are not options:
//! transport, topics, publisher, serializer, spool.

use std::time::Duration;

use crate::envelope::{Compression, EnvelopeVersion};
use crate::options::declare::options;
use crate::options::value::{TIME, number};

options! {
    /// The options of a notifier.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct NotifierOptions;
    table notifier_table;
    setters notifier_setters;

    /// The form on the wire: `V2` as oslo's driver `messagingv2` writes it, `V1` as `messaging` does.
    pub version: EnvelopeVersion = [EnvelopeVersion::V2];
    /// Compresses the bodies, as oslo's `kombu_compression` does.
    pub compression: Option<Compression> as Compression = [None];
    /// How long a call may take: waiting for the window, reconnecting, sending, the confirmation.
    pub timeout: Duration = [30 s] takes TIME;
    /// The largest body, in bytes as sent, so after compression.
    ///
    /// A notification that is larger is refused before anything is sent. RabbitMQ 4 takes 16 MiB by
    /// default, earlier versions take 128 MiB; the driver also respects the broker's own limit.
    pub max_body: usize = [16 MiB];
    /// Unconfirmed notifications, at most, over all clones of the notifier.
    ///
    /// Further calls wait for space, within their timeout.
    pub window: usize = [1000] takes number(1_usize);
    /// Bytes of the bodies of unconfirmed notifications, at most, over all clones of the notifier.
    ///
    /// A larger notification is sent when no other one is unconfirmed.
    pub window_bytes: u32 = [64 MiB] takes number(1_u32);
}
