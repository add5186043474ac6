//! One connection to one host: opened and closed within deadlines, and cut for certain when it
//! is dropped. What runs over it is `session.rs` (to consume) and `confirms.rs` (to send).
//!
//! lapin reads the socket and sends heartbeats through tokio, so it runs on a thread of our own
//! (`Io`): a program that blocks its runtime, or has only one thread, keeps its connections.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_rs::traits::Reactor;
use futures_util::{Stream, StreamExt};
use lapin::options::BasicConsumeOptions;
use lapin::types::{FieldTable, ShortString};
use lapin::uri::{
    AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo, SASLMechanism,
};
use lapin::{AsyncTcpStream, Channel, Connection, ConnectionProperties, Consumer, Event};
use socket2::{Socket, TcpKeepalive};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::dial::dial;
use super::greeting::Heard;
use super::hosts::Address;
use super::refusal::{self, Failure, Fault};
use super::version::Version;
use super::{socket, stream};
use crate::drivers::rabbit::Core;
use crate::drivers::rabbit::options::{CALL_TIMEOUT, CLOSE_TIMEOUT, LoginMethod, RabbitOptions};
use crate::transport::error::ConnectError;

/// The thread that all I/O of a driver runs on.
#[derive(Debug)]
pub(crate) struct Io(Option<tokio::runtime::Runtime>);

impl Io {
    pub(crate) fn start() -> io::Result<Self> {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("listener-rabbit")
            .enable_all()
            .build()
            .map(|runtime| Self(Some(runtime)))
    }

    pub(crate) fn handle(&self) -> &tokio::runtime::Handle {
        self.0.as_ref().expect("the runtime is taken only when this is dropped").handle()
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        // The last holder may be a task of that very runtime, or of the program's: neither may
        // wait for its threads.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A call to the broker, with the deadline that each has.
pub(crate) async fn call<T>(future: impl Future<Output = lapin::Result<T>>) -> Result<T, Fault> {
    within(CALL_TIMEOUT, future).await
}

async fn within<T>(
    limit: Duration,
    future: impl Future<Output = lapin::Result<T>>,
) -> Result<T, Fault> {
    match tokio::time::timeout(limit, future).await {
        Ok(result) => result.map_err(|error| Fault::from(&error)),
        Err(_) => Err(late(limit)),
    }
}

/// What happens to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LinkEvent {
    /// The broker takes no more messages: it is short of memory or disk.
    Blocked(String),
    /// It takes them again.
    Unblocked,
    /// The connection is over.
    Lost(Fault),
}

/// The events of a connection. There must be one reader only: lapin shares them out.
pub(crate) struct LinkEvents(Pin<Box<dyn Stream<Item = Event> + Send>>);

impl LinkEvents {
    pub(crate) async fn next(&mut self) -> LinkEvent {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<LinkEvent> {
        loop {
            let event = match ready!(self.0.poll_next_unpin(context)) {
                Some(Event::ConnectionBlocked(reason)) => LinkEvent::Blocked(reason),
                Some(Event::ConnectionUnblocked) => LinkEvent::Unblocked,
                Some(Event::Error(error)) => match Fault::from(&error) {
                    // A channel's error is told by that channel; it may be a scratch one.
                    fault if fault.is_of_a_channel() => continue,
                    fault => LinkEvent::Lost(fault),
                },
                Some(_) => continue,
                None => LinkEvent::Lost(Fault::Other("the connection ended".to_owned())),
            };
            return Poll::Ready(event);
        }
    }

    /// Why the connection is over.
    pub(crate) fn poll_lost(&mut self, context: &mut Context<'_>) -> Poll<Fault> {
        loop {
            if let LinkEvent::Lost(fault) = ready!(self.poll_next(context)) {
                return Poll::Ready(fault);
            }
        }
    }
}

/// What a connection is for.
#[derive(Clone, Copy)]
pub(crate) enum Role {
    /// To consume queues, each with this prefetch.
    Consume {
        prefetch: u16,
    },
    /// To consume a quarantine queue.
    Quarantine,
    Publish(Purpose),
}

/// What a connection that publishes is for.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    Send,
    /// To append to one journal and to read it.
    Journal,
}

impl Purpose {
    /// What the broker and the log show.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Journal => "journal",
        }
    }

    /// How long it is kept while nobody uses it, if not for ever. Where the broker limits how many there
    /// are, one of a journal must not keep the place of one that sends or consumes.
    pub(crate) const fn idle(self) -> Option<Duration> {
        match self {
            Self::Send => None,
            Self::Journal => Some(Duration::from_secs(60)),
        }
    }
}

/// From this prefetch on the broker has enough to send while acknowledgements wait for a pause of
/// the thread that writes them.
const AHEAD: u16 = 64;

impl Role {
    /// What the broker shows.
    const fn name(self) -> &'static str {
        match self {
            Self::Consume { .. } => "consume",
            Self::Quarantine => "quarantine",
            Self::Publish(purpose) => purpose.name(),
        }
    }

    /// Whether lapin's thread may pause to let more come. A caller waits for what is sent.
    const fn pauses(self) -> bool {
        matches!(self, Self::Consume { prefetch: AHEAD.. })
    }
}

/// Connects to a host within `limit`, on the driver's thread, which keeps the connection.
pub(crate) async fn connect(
    core: &Arc<Core>,
    address: &Address,
    role: Role,
    limit: Duration,
) -> Result<(Link, LinkEvents), Failure> {
    let io = core.io().map_err(Failure::Mistake)?;
    let (core, address) = (Arc::clone(core), address.clone());
    let open = async move { Link::open(&core.options, &core.vhost, &address, role, limit).await };
    // Aborted if this future is dropped, and the link that was being made is cut.
    AbortOnDropHandle::new(io.handle().spawn(open)).await.unwrap_or_else(|error| {
        let (action, reason) = ("connect".to_owned(), error.to_string());
        Err(Failure::Mistake(ConnectError::Local { action, reason }))
    })
}

/// A connection.
pub(crate) struct Link {
    connection: Connection,
    /// Who is logged in, for errors.
    pub(crate) user: String,
    /// The broker's, if it is a RabbitMQ.
    pub(crate) version: Option<Version>,
    // Last: cut when the connection has been dropped.
    _lifeline: Lifeline,
}

impl Link {
    /// Connects and logs in within `limit`, at one of the addresses of the host. Dropping the future leaves
    /// nothing behind.
    pub(crate) async fn open(
        options: &RabbitOptions,
        vhost: &str,
        address: &Address,
        role: Role,
        limit: Duration,
    ) -> Result<(Self, LinkEvents), Failure> {
        let Address { host, port, .. } = address;
        dial(host, *port, limit, |at, limit| {
            Self::open_at(options, vhost, address, role, at, limit)
        })
        .await
    }

    async fn open_at(
        options: &RabbitOptions,
        vhost: &str,
        address: &Address,
        role: Role,
        at: SocketAddr,
        limit: Duration,
    ) -> Result<(Self, LinkEvents), Failure> {
        let lifeline = Lifeline::default();
        let name = format!("listener:{}:{}", std::process::id(), role.name());
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let heard = Heard::default();
        let cut = lifeline.0.clone();
        let connector = Connection::connector(
            uri(options, vhost, address),
            stream::runtime(heard.clone(), options.largest_frame(), role.pauses()),
            async move |_: AMQPUri, runtime| {
                let stream = tokio::select! {
                    () = cut.token.cancelled() => return Err(cut_off().into()),
                    stream = runtime.tcp_connect_addr(at) => stream?,
                };
                cut.hold(stream.get_ref())?;
                Ok(AsyncTcpStream::Plain(stream))
            },
            properties,
        );
        let connection = within(limit, connector).await.map_err(|fault| match heard.other() {
            Some(answer) => refusal::no_broker(address, answer),
            None if heard.is_silent() => refusal::silent(&fault),
            None => refusal::connecting(fault, address, vhost),
        })?;
        let events = LinkEvents(Box::pin(connection.events_listener()));
        let link = Self {
            connection,
            user: address.user.clone(),
            version: heard.version(),
            _lifeline: lifeline,
        };
        Ok((link, events))
    }

    pub(crate) async fn channel(&self) -> Result<Channel, Fault> {
        call(self.connection.create_channel()).await
    }

    pub(crate) fn is_up(&self) -> bool {
        self.connection.status().connected()
    }

    /// The longest frame that the broker takes, in bytes.
    pub(crate) fn frame_max(&self) -> usize {
        self.connection.configuration().frame_max() as usize
    }

    /// Takes leave of the broker; the socket is cut by the drop that follows, in any case.
    pub(crate) async fn close(&self) {
        if let Err(fault) = within(CLOSE_TIMEOUT, self.connection.close(200, "OK".into())).await {
            tracing::debug!(%fault, "the connection was cut, not closed");
        }
    }
}

/// Closes a channel, and so makes sure that all that was written to it before has been taken.
pub(crate) async fn close_channel(channel: &Channel) -> Result<(), Fault> {
    within(CLOSE_TIMEOUT, channel.close(200, "OK".into())).await
}

/// Starts a consumer. The answer is read even if this future is dropped or times out: lapin cancels the
/// consumer when it is dropped then. Otherwise it would hold deliveries that nobody reads.
pub(crate) async fn consume(
    channel: &Channel,
    queue: ShortString,
    tag: ShortString,
    arguments: FieldTable,
) -> Result<Consumer, Fault> {
    let channel = channel.clone();
    let asked = tokio::spawn(async move {
        channel.basic_consume(queue, tag, BasicConsumeOptions::default(), arguments).await
    });
    match tokio::time::timeout(CALL_TIMEOUT, asked).await {
        Ok(Ok(answer)) => answer.map_err(|error| Fault::from(&error)),
        Ok(Err(error)) => Err(Fault::Other(error.to_string())),
        Err(_) => Err(late(CALL_TIMEOUT)),
    }
}

fn late(limit: Duration) -> Fault {
    Fault::Other(format!("no answer within {limit:?}"))
}

fn uri(options: &RabbitOptions, vhost: &str, address: &Address) -> AMQPUri {
    AMQPUri {
        scheme: AMQPScheme::AMQP,
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo {
                username: address.user.clone(),
                password: address.password.clone(),
            },
            host: address.host.clone(),
            port: address.port,
        },
        vhost: vhost.to_owned(),
        query: AMQPQueryString {
            heartbeat: Some(options.heartbeat_timeout_threshold),
            // lapin takes the lower of ours and the broker's, and 0 for no limit.
            frame_max: Some(options.largest_frame()),
            channel_max: (options.channel_max > 0).then_some(options.channel_max),
            auth_mechanism: Some(match options.rabbit_login_method {
                LoginMethod::Plain => SASLMechanism::Plain,
                LoginMethod::AmqPlain => SASLMechanism::AMQPlain,
                LoginMethod::External => SASLMechanism::External,
            }),
            ..AMQPQueryString::default()
        },
    }
}

/// The means to end a connection whatever lapin waits for. Its own thread would wait for ever
/// for a broker that accepts and says nothing.
#[derive(Default)]
struct Lifeline(Arc<Cut>);

#[derive(Default)]
struct Cut {
    token: CancellationToken,
    socket: OnceLock<Socket>,
}

impl Cut {
    fn hold(&self, socket: &socket::Socket) -> io::Result<()> {
        let socket = socket.settings()?;
        socket.set_tcp_nodelay(true)?;
        // Heartbeats find a dead peer sooner; this is for a broker that wants none.
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_secs(60)))?;
        let _ = self.socket.set(socket.try_clone()?);
        // The cut may have come while it connected.
        if self.token.is_cancelled() {
            self.shut();
            return Err(cut_off());
        }
        Ok(())
    }

    fn shut(&self) {
        if let Some(socket) = self.socket.get() {
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
    }
}

impl Drop for Lifeline {
    fn drop(&mut self) {
        self.0.token.cancel();
        self.0.shut();
    }
}

fn cut_off() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "given up")
}
