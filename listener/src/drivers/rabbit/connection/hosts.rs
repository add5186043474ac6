//! The hosts of a transport URL, the order in which they are tried, and how much time each gets. They
//! are tried by `reconnect.rs`.

use std::fmt;
use std::time::Duration;

use crate::drivers::rabbit::options::FailoverStrategy;
use crate::transport::url::TransportUrl;

/// A host, and how to log in there. `Display` is `host:port`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) password: String,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// The hosts of a URL in its order; `guest` at localhost if it has none.
pub(crate) fn addresses(url: &TransportUrl) -> Vec<Address> {
    if url.hosts().is_empty() {
        return vec![Address {
            host: "127.0.0.1".to_owned(),
            port: default_port(url),
            user: "guest".to_owned(),
            password: "guest".to_owned(),
        }];
    }
    let address = |host: &crate::transport::url::Host| {
        // Neither is inherited from the previous host; a user without a password has an empty one.
        let (user, password) = match &host.username {
            Some(user) => (user.as_str(), host.password().unwrap_or_default()),
            None => ("guest", "guest"),
        };
        Address {
            host: host.name.clone(),
            port: host.port.unwrap_or_else(|| default_port(url)),
            user: user.to_owned(),
            password: password.to_owned(),
        }
    };
    url.hosts().iter().map(address).collect()
}

/// As in oslo.messaging, a `rabbit://` URL with `ssl=true` has the same default as one without.
fn default_port(url: &TransportUrl) -> u16 {
    if url.scheme() == "amqps" { 5671 } else { 5672 }
}

/// The order of attempts: each host is tried once in a round, and the next round begins after the host
/// that was tried last.
#[derive(Clone)]
pub(crate) struct Rotation {
    order: Vec<Address>,
    next: usize,
    strategy: FailoverStrategy,
}

impl Rotation {
    pub(crate) fn new(order: Vec<Address>, strategy: FailoverStrategy) -> Self {
        Self { order, next: 0, strategy }
    }

    /// The hosts of the next round.
    pub(crate) fn round(&mut self) -> Vec<Address> {
        if self.strategy == FailoverStrategy::Shuffle {
            fastrand::shuffle(&mut self.order);
            return self.order.clone();
        }
        let mut round = self.order.clone();
        round.rotate_left(self.next);
        round
    }

    /// Makes the next round begin after this host.
    pub(crate) fn tried(&mut self, address: &Address) {
        if let Some(at) = self.order.iter().position(|other| other == address) {
            self.next = (at + 1) % self.order.len();
        }
    }
}

/// How long a host may take to connect, at most `limit`. If the round has to end within `left`, each of
/// the remaining hosts gets an equal share, so that hosts that drop packets do not use up the time of
/// the others.
pub(crate) fn share(limit: Duration, left: Option<Duration>, hosts: usize) -> Duration {
    let hosts = u32::try_from(hosts).unwrap_or(u32::MAX);
    match left {
        Some(left) if hosts > 1 => (left / hosts).max(LEAST_SHARE).min(limit),
        _ => limit,
    }
}

/// A host behind a slow network needs this long to connect.
const LEAST_SHARE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(url: &str) -> Vec<String> {
        let url: TransportUrl = url.parse().expect("a transport URL");
        addresses(&url).iter().map(|a| format!("{}:{}@{a}", a.user, a.password)).collect()
    }

    #[test]
    fn what_the_url_leaves_out_is_filled_in() {
        assert_eq!(hosts("rabbit://"), ["guest:guest@127.0.0.1:5672"]);
        assert_eq!(
            hosts("rabbit://u:p@h1:1,h2,v@[::1]"),
            ["u:p@h1:1", "guest:guest@h2:5672", "v:@[::1]:5672"]
        );
    }

    #[test]
    fn only_an_amqps_url_has_the_port_of_tls() {
        let port = |url: &str| addresses(&url.parse().expect("a transport URL"))[0].port;
        assert_eq!(port("amqps://h"), 5671);
        assert_eq!(port("amqps://"), 5671);
        assert_eq!(port("rabbit://h/?ssl=true"), 5672);
        assert_eq!(port("amqp://h"), 5672);
    }

    #[test]
    fn a_round_begins_after_the_host_that_was_tried_last() {
        let url: TransportUrl = "rabbit://a,b,c".parse().expect("a transport URL");
        let mut rotation = Rotation::new(addresses(&url), FailoverStrategy::RoundRobin);
        let names = |round: &[Address]| round.iter().map(|a| a.host.clone()).collect::<String>();
        let first = rotation.round();
        assert_eq!(names(&first), "abc");
        rotation.tried(&first[1]);
        assert_eq!(names(&rotation.round()), "cab");
        rotation.tried(&first[2]);
        assert_eq!(names(&rotation.round()), "abc");
    }

    #[test]
    fn the_hosts_share_the_time_that_is_left() {
        let seconds = Duration::from_secs;
        let limit = seconds(10);
        let shared = |left, hosts| share(limit, Some(seconds(left)), hosts);
        // Three that drop packets leave time for the fourth.
        assert_eq!(shared(30, 4), Duration::from_millis(7500));
        assert_eq!(shared(60, 4), limit);
        assert_eq!(shared(4, 4), seconds(2));
        assert_eq!(shared(4, 1), limit);
        assert_eq!(share(limit, None, 4), limit);
        assert_eq!(share(seconds(1), Some(seconds(30)), 4), seconds(1));
    }
}
