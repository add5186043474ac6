//! The hosts of a transport URL, the order in which they are tried, and the pauses between
//! the rounds. Who tries them is `supervisor.rs` (to consume) and `publish.rs` (to send).

use std::fmt;
use std::time::Duration;

use crate::drivers::rabbit::options::{FailoverStrategy, MISTAKE_PAUSE, RabbitOptions};
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

/// The hosts of a URL as they are written; guest on this machine when there is none.
pub(crate) fn addresses(url: &TransportUrl) -> Vec<Address> {
    if url.hosts().is_empty() {
        return vec![Address {
            host: "127.0.0.1".to_owned(),
            port: 5672,
            user: "guest".to_owned(),
            password: "guest".to_owned(),
        }];
    }
    let address = |host: &crate::transport::url::Host| {
        // Neither is inherited from the host before; a user alone has an empty password.
        let (user, password) = match &host.username {
            Some(user) => (user.as_str(), host.password().unwrap_or_default()),
            None => ("guest", "guest"),
        };
        Address {
            host: host.name.clone(),
            port: host.port.unwrap_or(5672),
            user: user.to_owned(),
            password: password.to_owned(),
        }
    };
    url.hosts().iter().map(address).collect()
}

/// Goes round the hosts: each is tried once in a round, the next round begins after the last
/// one tried.
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

    /// A round begins after this host from now on.
    pub(crate) fn tried(&mut self, address: &Address) {
        if let Some(at) = self.order.iter().position(|other| other == address) {
            self.next = (at + 1) % self.order.len();
        }
    }
}

/// How long a host may take to connect, of `limit`. Where a round has to be over in the time that is
/// left, each of the hosts that are to be tried gets its share, so that those that drop packets do
/// not use up the time of the others.
pub(crate) fn share(limit: Duration, left: Option<Duration>, hosts: usize) -> Duration {
    let hosts = u32::try_from(hosts).unwrap_or(u32::MAX);
    match left {
        Some(left) if hosts > 1 => (left / hosts).max(LEAST_SHARE).min(limit),
        _ => limit,
    }
}

/// A host across a slow network needs so long to connect.
const LEAST_SHARE: Duration = Duration::from_secs(2);

/// The pauses between the rounds: each is drawn evenly from nothing to a ceiling that grows,
/// so that many clients of a broker that comes back do not come at once.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    delay: Duration,
    interval: Duration,
    step: Duration,
    max: Duration,
    rounds: u32,
}

/// No pause is shorter, whatever the options say: nothing may spin.
const SHORTEST: Duration = Duration::from_millis(50);

impl Backoff {
    pub(crate) fn new(options: &RabbitOptions) -> Self {
        Self {
            delay: options.kombu_reconnect_delay,
            interval: options.rabbit_retry_interval,
            step: options.rabbit_retry_backoff,
            max: options.rabbit_interval_max,
            rounds: 0,
        }
    }

    /// After a session that stood long enough.
    pub(crate) fn reset(&mut self) {
        self.rounds = 0;
    }

    /// The next pause after a transient failure.
    pub(crate) fn pause(&mut self) -> Duration {
        let ceiling = self.ceiling();
        self.rounds = self.rounds.saturating_add(1);
        (self.delay + ceiling.mul_f64(fastrand::f64())).max(SHORTEST)
    }

    /// The next pause after a refusal that only a person can fix.
    pub(crate) fn slow_pause(&mut self) -> Duration {
        let pause = self.pause() + Duration::from_secs(2) * self.rounds.min(15);
        pause.min(MISTAKE_PAUSE)
    }

    /// The longest that the next pause may be, but for `delay`.
    pub(crate) fn ceiling(&self) -> Duration {
        self.step.saturating_mul(self.rounds).saturating_add(self.interval).min(self.max)
    }
}

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

    #[test]
    fn the_ceiling_of_the_pauses_grows_and_ends() {
        let mut backoff = Backoff::new(&RabbitOptions::default());
        let mut ceilings = Vec::new();
        for _ in 0..17 {
            ceilings.push(backoff.ceiling().as_secs());
            let longest = backoff.ceiling() + Duration::from_millis(100);
            let pause = backoff.pause();
            assert!(pause >= SHORTEST && pause <= longest, "{pause:?}");
        }
        assert_eq!(ceilings, [1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 30, 30]);
        assert!(backoff.slow_pause() <= MISTAKE_PAUSE);
        backoff.reset();
        assert_eq!(backoff.ceiling(), Duration::from_secs(1));
    }
}
