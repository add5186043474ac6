//! Resolves the name of a host and tries its addresses, in the order of the resolver. Each gets its
//! share of the time, so that an address that drops packets does not use up the time of the next.
//! `link.rs` makes the attempts.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::{Instant, timeout_at};

use super::failure::Failure;

/// Resolves a name, and makes an attempt with each of its addresses until one succeeds. An attempt must
/// end within the time that it is given.
pub(crate) async fn dial<T, F>(
    host: &str,
    port: u16,
    limit: Duration,
    attempt: impl Fn(SocketAddr, Duration) -> F,
) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let deadline = Instant::now() + limit;
    let resolved = timeout_at(deadline, lookup_host((host, port))).await;
    let addresses: Vec<SocketAddr> = match resolved {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => return Err(Failure::transient(error.to_string())),
        Err(_) => {
            return Err(Failure::transient(format!("its name was not resolved within {limit:?}")));
        }
    };
    each(&addresses, deadline, attempt).await
}

/// As `dial`, for resolved addresses.
async fn each<T, F>(
    addresses: &[SocketAddr],
    deadline: Instant,
    attempt: impl Fn(SocketAddr, Duration) -> F,
) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let mut seen = HashSet::new();
    let addresses: Vec<_> = addresses.iter().filter(|address| seen.insert(**address)).collect();
    let mut reasons = Vec::new();
    let mut has_answered = false;
    for (tried, address) in addresses.iter().enumerate() {
        let left = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let share = deadline.saturating_duration_since(Instant::now()) / left;
        let attempted = attempt(**address, rounded(share)).await;
        match attempted.map_err(|failure| failure.for_one_of(addresses.len())) {
            Ok(done) => return Ok(done),
            Err(Failure::Transient { reason, has_answered: answers }) => {
                has_answered |= answers;
                reasons.push((address.ip(), reason));
            }
            Err(permanent) => return Err(permanent),
        }
    }
    let reason = match reasons.as_slice() {
        [] => "its name has no address".to_owned(),
        [(_, reason)] => reason.clone(),
        reasons => {
            let said: Vec<_> =
                reasons.iter().map(|(address, reason)| format!("{address}: {reason}")).collect();
            said.join("; ")
        }
    };
    Err(Failure::Transient { reason, has_answered })
}

/// Rounded up to milliseconds, as it appears in errors.
fn rounded(time: Duration) -> Duration {
    let millis = time.as_nanos().div_ceil(1_000_000);
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use socket2::{Domain, Socket, Type};
    use tokio::net::TcpStream;

    use super::*;

    async fn connect(address: SocketAddr, limit: Duration) -> Result<SocketAddr, Failure> {
        let late = || Failure::transient(format!("no answer within {limit:?}"));
        // Connections on this machine take no time; others do.
        if limit.is_zero() {
            return Err(late());
        }
        let connected = tokio::time::timeout(limit, TcpStream::connect(address)).await;
        let connected = connected.map_err(|_| late())?;
        connected.map(|_| address).map_err(|error| Failure::transient(error.kind().to_string()))
    }

    /// An address that answers no connection, because its backlog is full.
    fn silent() -> (SocketAddr, Vec<Socket>) {
        let socket = || Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let listening = socket();
        listening.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), 0)).into()).expect("a port");
        listening.listen(0).expect("a backlog");
        let address = listening.local_addr().expect("an address");
        let mut sockets = vec![listening];
        for _ in 0..4 {
            let waiting = socket();
            waiting.set_nonblocking(true).expect("an option");
            let _ = waiting.connect(&address);
            sockets.push(waiting);
        }
        (address.as_socket().expect("an address"), sockets)
    }

    fn closed() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("an address")
    }

    #[tokio::test]
    async fn an_address_that_drops_packets_leaves_time_for_the_next() {
        let (silent, _sockets) = silent();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let good = listener.local_addr().expect("an address");
        let deadline = Instant::now() + Duration::from_secs(4);
        let found = each(&[silent, silent, good], deadline, connect).await;
        assert_eq!(found, Ok(good));
    }

    #[tokio::test]
    async fn each_address_is_named_with_its_reason() {
        let (silent, _sockets) = silent();
        let deadline = Instant::now() + Duration::from_secs(1);
        let Err(Failure::Transient { reason, .. }) =
            each(&[silent, closed()], deadline, connect).await
        else {
            panic!("both answered");
        };
        let (first, second) = reason.split_once("; ").expect("two");
        assert!(first.starts_with("127.0.0.2: no answer within "), "{reason}");
        assert_eq!(second, "127.0.0.1: connection refused");
        let alone = each(&[closed()], deadline, connect).await;
        assert_eq!(alone, Err(Failure::transient("connection refused".to_owned())));
    }

    #[tokio::test]
    async fn an_address_where_something_else_answers_is_passed_over() {
        let other = crate::transport::error::ConnectError::NoBroker {
            host: "h".to_owned(),
            answer: "HTTP".to_owned(),
        };
        let (first, second) = (closed(), closed());
        let attempt = |address, _| {
            let failed = Err(Failure::Permanent(other.clone()));
            std::future::ready(if address == first { failed } else { Ok(address) })
        };
        let deadline = Instant::now() + Duration::from_secs(1);
        assert_eq!(each(&[first, second], deadline, attempt).await, Ok(second));
        // It is the only address.
        let alone = each(&[first], deadline, attempt).await;
        assert_eq!(alone, Err(Failure::Permanent(other.clone())));
    }

    #[tokio::test]
    async fn a_permanent_failure_at_one_address_is_reported_immediately() {
        let refused_login = crate::transport::error::ConnectError::LoginRefused {
            host: "h".to_owned(),
            user: "u".to_owned(),
        };
        let deadline = Instant::now() + Duration::from_secs(1);
        let addresses = [closed(), closed()];
        let refused = each::<(), _>(&addresses, deadline, |_, _| {
            std::future::ready(Err(Failure::Permanent(refused_login.clone())))
        });
        assert_eq!(refused.await, Err(Failure::Permanent(refused_login.clone())));
    }
}
