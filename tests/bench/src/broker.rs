//! The broker of the benchmark: a private RabbitMQ node with one queue, which is filled, counted and
//! emptied here. The node itself is in `support`.

use std::time::Duration;

use lapin::options::{QueueDeclareOptions, QueuePurgeOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection};
use support::{Amqp, Authority, Folder, RabbitNode, Validity};
use tokio::time::{Instant, sleep};

use crate::Error;
use crate::notification::{Writer, large};
use crate::publish::lapin::{connected, send};

pub(crate) const EXCHANGE: &str = "openstack";
pub(crate) const QUEUE: &str = "notifications.info";

const CA: &str = "ca.pem";

const SETTLE: Duration = Duration::from_secs(30);

pub(crate) struct Broker {
    node: RabbitNode,
    quorum: bool,
    writer: Writer,
    /// The certificates of the node.
    folder: Folder,
    // Held open: the channel closes with it.
    _connection: Connection,
    channel: Channel,
}

impl Broker {
    /// Starts a node with an empty queue.
    pub(crate) async fn start(quorum: bool) -> Result<Self, Error> {
        let (authority, folder) = (Authority::new("bench"), Folder::new());
        let ca = folder.path(CA);
        authority.write(&ca);
        let identity = authority.issue(&folder, "broker", &["localhost"], Validity::Now);
        let node = RabbitNode::start_with_tls(&ca, &identity, false).await;
        let url = node.url();
        let amqp = Amqp::connect(&url).await;
        amqp.declare_exchange(EXCHANGE, true).await;
        let kind = [("x-queue-type", AMQPValue::LongString("quorum".into()))];
        amqp.declare_queue(QUEUE, true, if quorum { &kind } else { &[] }).await;
        amqp.bind(QUEUE, EXCHANGE, QUEUE).await;
        amqp.close().await;
        let (connection, channel) = connected(&url).await?;
        Ok(Self {
            node,
            quorum,
            writer: Writer::as_oslo(),
            folder,
            _connection: connection,
            channel,
        })
    }

    pub(crate) fn url(&self) -> String {
        self.node.url()
    }

    /// The URL with TLS, and the CA of the broker.
    pub(crate) fn tls_url(&self) -> String {
        let (port, ca) = (self.node.tls_port(), self.folder.path(CA));
        format!("amqps://guest:guest@localhost:{port}/%2F?cacertfile={}", ca.display())
    }

    pub(crate) fn is_quorum(&self) -> bool {
        self.quorum
    }

    pub(crate) fn pid(&self) -> Result<String, Error> {
        Ok(self.node.vm_pid().ok_or("the broker is down")?.to_string())
    }

    pub(crate) async fn version(&self) -> String {
        self.node.ctl(&["version"]).await.trim().to_owned()
    }

    pub(crate) fn body_bytes(&self) -> Result<usize, Error> {
        Ok(self.writer.body(0)?.len())
    }

    /// Fills the queue with this many messages, and waits until the broker is at rest.
    pub(crate) async fn fill(&self, messages: u64) -> Result<(), Error> {
        self.purge().await?;
        send(&self.channel, &self.writer, messages, 1000).await?;
        self.holds(messages).await?;
        sleep(Duration::from_millis(500)).await;
        Ok(())
    }

    /// Fills the queue with this many messages of this size.
    pub(crate) async fn fill_large(&self, messages: u64, bytes: usize) -> Result<(), Error> {
        self.purge().await?;
        let amqp = Amqp::connect(&self.url()).await;
        for number in 0..messages {
            let properties = BasicProperties::default();
            amqp.publish(EXCHANGE, QUEUE, large(number, bytes)?, properties).await;
        }
        amqp.close().await;
        self.holds(messages).await
    }

    /// Waits until this many messages are ready in the queue: unacknowledged messages of a contender are
    /// requeued with a delay, and the count of a quorum queue lags.
    pub(crate) async fn holds(&self, messages: u64) -> Result<(), Error> {
        let end = Instant::now() + SETTLE;
        sleep(Duration::from_millis(100)).await;
        loop {
            let ready = self.ready().await?;
            if ready == messages {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(format!("{ready} messages in the queue, expected {messages}").into());
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    pub(crate) async fn purge(&self) -> Result<(), Error> {
        self.channel.queue_purge(QUEUE.into(), QueuePurgeOptions::default()).await?;
        self.holds(0).await
    }

    async fn ready(&self) -> Result<u64, Error> {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let declared =
            self.channel.queue_declare(QUEUE.into(), options, FieldTable::default()).await?;
        Ok(declared.message_count().into())
    }
}

pub(crate) fn port(url: &str) -> Result<u16, Error> {
    let port = url.trim_end_matches("/%2F").rsplit_once(':').ok_or("the URL has no port")?.1;
    Ok(port.parse()?)
}
