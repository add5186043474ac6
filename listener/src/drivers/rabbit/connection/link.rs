//! One connection to one host: opened and closed within deadlines, and cut when it is dropped. The
//! sessions of `consuming/` and `publishing/` run over it.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_rs::traits::Reactor;
use futures_util::{Stream, StreamExt};
use lapin::uri::AMQPUri;
use lapin::{AsyncTcpStream, Channel, Connection, ConnectionProperties, Event};
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::channel::{call, select_confirms, within};
use super::dial::dial;
use super::failure::{self, Failure, Fault};
use super::greeting::Peer;
use super::hosts::Address;
use super::tls::Tls;
use super::version::Version;
use super::{login, stream};
use crate::drivers::rabbit::core::Core;
use crate::drivers::rabbit::options::{CLOSE_TIMEOUT, RabbitOptions};
use crate::drivers::rabbit::workarounds::connection_guard::ConnectionGuard;
use crate::transport::error::ConnectError;

/// What happens to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LinkEvent {
    /// The broker accepts no messages: it is short of memory or disk.
    Blocked(String),
    /// It accepts messages again.
    Unblocked,
    /// The connection has ended.
    Lost(Fault),
}

/// A new connection, and its events.
pub(crate) struct Connected {
    pub(crate) link: Link,
    pub(crate) events: LinkEvents,
}

/// The events of a connection. lapin gives each event to one reader only, so there must be one.
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
                    // The calls on that channel report it, unless it is a scratch channel.
                    fault if fault.closes_channel_only() => continue,
                    fault => LinkEvent::Lost(fault),
                },
                Some(_) => continue,
                None => LinkEvent::Lost(Fault::Other("the connection ended".to_owned())),
            };
            return Poll::Ready(event);
        }
    }

    /// Why the connection ended.
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
    Publish(ConnectionPurpose),
}

/// What a connection that publishes is for.
#[derive(Clone, Copy)]
pub(crate) enum ConnectionPurpose {
    Send,
    /// To append to one journal and to read it.
    Journal,
}

impl ConnectionPurpose {
    /// As shown by the broker and the log.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Journal => "journal",
        }
    }

    /// How long an idle connection is kept, if not for ever. Brokers may limit the number of
    /// connections, and one for a journal must not keep out one that sends or consumes.
    pub(crate) const fn idle(self) -> Option<Duration> {
        match self {
            Self::Send => None,
            Self::Journal => Some(Duration::from_secs(60)),
        }
    }
}

/// With a prefetch of at least this, the broker keeps sending although acknowledgements are only written
/// after a pause of lapin's thread.
const MIN_PREFETCH_FOR_PAUSES: u16 = 64;

impl Role {
    /// As shown by the broker.
    const fn name(self) -> &'static str {
        match self {
            Self::Consume { .. } => "consume",
            Self::Quarantine => "quarantine",
            Self::Publish(purpose) => purpose.name(),
        }
    }

    /// Whether lapin's thread may pause while data accumulates. Not where callers wait for confirms.
    const fn pauses(self) -> bool {
        matches!(self, Self::Consume { prefetch: MIN_PREFETCH_FOR_PAUSES.. })
    }
}

/// Connects to a host within `limit`, on the I/O thread.
pub(crate) async fn connect(
    core: &Arc<Core>,
    address: &Address,
    role: Role,
    limit: Duration,
) -> Result<Connected, Failure> {
    let io = core.io().map_err(Failure::Permanent)?;
    let (core, address) = (Arc::clone(core), address.clone());
    let open = async move { Link::open(&core.options, &core.vhost, &address, role, limit).await };
    // Aborted if this future is dropped; the unfinished connection is then cut.
    AbortOnDropHandle::new(io.handle().spawn(open)).await.unwrap_or_else(|error| {
        let (action, reason) = ("connect".to_owned(), error.to_string());
        Err(Failure::Permanent(ConnectError::Local { action, reason }))
    })
}

/// A connection.
pub(crate) struct Link {
    connection: Connection,
    /// The user that is logged in, for errors.
    pub(crate) user: String,
    /// The broker's, if it is RabbitMQ.
    pub(crate) version: Option<Version>,
    // Last: the socket is cut after the connection is dropped.
    _guard: ConnectionGuard,
}

impl Link {
    /// Connects and logs in within `limit`, at one of the addresses of the host. Nothing remains if the
    /// future is dropped.
    pub(crate) async fn open(
        options: &RabbitOptions,
        vhost: &str,
        address: &Address,
        role: Role,
        limit: Duration,
    ) -> Result<Connected, Failure> {
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
    ) -> Result<Connected, Failure> {
        let began = Instant::now();
        let tls = match options.ssl {
            false => None,
            true => {
                // The files may be on a file system that does not answer.
                let prepared = timeout(limit, Tls::prepare(options, &address.host)).await;
                let late = || format!("its certificates were not read within {limit:?}");
                let prepared = prepared.map_err(|_| Failure::transient(late()))?;
                Some(prepared.map_err(|problem| failure::tls_failed(problem, address))?)
            }
        };
        let limit = limit.saturating_sub(began.elapsed());
        let guard = ConnectionGuard::default();
        let name = format!("listener:{}:{}", std::process::id(), role.name());
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let peer = Peer::default();
        let abort = guard.abort_handle();
        let connector = Connection::connector(
            login::uri(options, vhost, address),
            stream::runtime(peer.clone(), options.largest_frame(), role.pauses(), tls),
            async move |_: AMQPUri, runtime| {
                let stream = tokio::select! {
                    error = abort.aborted() => return Err(error.into()),
                    stream = runtime.tcp_connect_addr(at) => stream?,
                };
                abort.register(&stream.get_ref().settings()?)?;
                Ok(AsyncTcpStream::Plain(stream))
            },
            properties,
        );
        let connection = within(limit, connector).await.map_err(|fault| {
            match (peer.tls_problem(), peer.other_protocol()) {
                (Some(problem), _) => failure::tls_failed(problem, address),
                (None, Some(answer)) => failure::not_a_broker(address, answer),
                (None, None) if peer.is_silent() => failure::peer_silent(&fault),
                (None, None) => failure::connect_failed(fault, address, vhost),
            }
        })?;
        let events = LinkEvents(Box::pin(connection.events_listener()));
        let link =
            Self { connection, user: address.user.clone(), version: peer.version(), _guard: guard };
        Ok(Connected { link, events })
    }

    pub(crate) async fn channel(&self) -> Result<Channel, Fault> {
        call(self.connection.create_channel()).await
    }

    /// A channel that confirms what is published on it.
    pub(crate) async fn confirm_channel(&self) -> Result<Channel, Fault> {
        let channel = self.channel().await?;
        select_confirms(&channel).await?;
        Ok(channel)
    }

    pub(crate) fn is_up(&self) -> bool {
        self.connection.status().connected()
    }

    /// The negotiated size of frames, in bytes.
    pub(crate) fn frame_max(&self) -> usize {
        self.connection.configuration().frame_max() as usize
    }

    /// Closes the connection in order. It is cut when it is dropped, in any case.
    pub(crate) async fn close(&self) {
        if let Err(fault) = within(CLOSE_TIMEOUT, self.connection.close(200, "OK".into())).await {
            tracing::debug!(%fault, "the connection was cut, not closed");
        }
    }
}
