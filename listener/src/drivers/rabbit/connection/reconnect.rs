//! Reconnecting, for consuming and publishing: rounds over all hosts, the delay after a
//! failed round, and a log line for each new reason only. Each side has its own loop around it, in
//! `consuming/supervisor.rs` and `publishing/publisher.rs`, because they wait for different events.

use std::time::Duration;
use std::vec;

use tokio::time::Instant;

use super::backoff::Backoff;
use super::failure::Failure;
use super::hosts::{Address, Rotation, share};
use crate::drivers::rabbit::core::Core;
use crate::drivers::rabbit::options::STABLE_AFTER;

/// The state that outlives attempts and sessions.
pub(crate) struct Reconnect {
    rotation: Rotation,
    backoff: Backoff,
    /// How long one host may take to connect.
    limit: Duration,
    /// The last reason that was logged. `connected` clears it.
    reported: String,
    /// Whether there was a session: then certificates were valid, and may be those that are being replaced.
    has_connected: bool,
}

impl Reconnect {
    pub(crate) fn new(core: &Core) -> Self {
        let options = &core.options;
        Self {
            rotation: Rotation::new(core.addresses.clone(), options.kombu_failover_strategy),
            backoff: Backoff::new(options),
            limit: options.connection_timeout,
            reported: String::new(),
            has_connected: false,
        }
    }

    /// One round over all hosts, which should end by `until`.
    pub(crate) fn round(&mut self, until: Option<Instant>) -> Round<'_> {
        let hosts = self.rotation.round();
        let count = hosts.len();
        Round { reconnect: self, hosts: hosts.into_iter(), count, until }
    }

    /// A session to this host was lost: the next round begins after it.
    pub(crate) fn lost(&mut self, address: &Address) {
        self.rotation.tried(address);
    }

    /// A session ended after `age`. Whether it was stable: then the delays start over.
    pub(crate) fn ended(&mut self, age: Duration) -> bool {
        let is_stable = age >= STABLE_AFTER;
        if is_stable {
            self.backoff.reset();
        }
        is_stable
    }

    /// The delay before the next round.
    pub(crate) fn delay(&mut self) -> Duration {
        self.backoff.delay()
    }

    /// The delay before the next round, where only an operator can fix what failed.
    pub(crate) fn slow_delay(&mut self) -> Duration {
        self.backoff.slow_delay()
    }

    /// Records the reason of a failure. Returns whether it differs from the last one.
    pub(crate) fn record_reason(&mut self, reason: &str) -> bool {
        let is_new = self.reported != reason;
        if is_new {
            reason.clone_into(&mut self.reported);
        }
        is_new
    }

    /// A session was made: the same reason is reported again.
    pub(crate) fn connected(&mut self) {
        self.has_connected = true;
        self.reported.clear();
    }

    #[cfg(test)]
    pub(crate) fn ceiling(&self) -> Duration {
        self.backoff.ceiling()
    }

    #[cfg(test)]
    pub(crate) fn reported(&self) -> &str {
        &self.reported
    }
}

/// A host of a round, and how long it may take to connect.
pub(crate) struct Host {
    pub(crate) address: Address,
    pub(crate) limit: Duration,
}

/// A round: each host once, with its share of the time.
pub(crate) struct Round<'r> {
    reconnect: &'r mut Reconnect,
    hosts: vec::IntoIter<Address>,
    count: usize,
    until: Option<Instant>,
}

impl Round<'_> {
    /// The next host, if any is left.
    pub(crate) fn next(&mut self) -> Option<Host> {
        let left = self.until.map(|until| until.saturating_duration_since(Instant::now()));
        let limit = share(self.reconnect.limit, left, self.hosts.len());
        Some(Host { address: self.hosts.next()?, limit })
    }

    /// A host failed. The failure, seen as that of one host of a round, with its name.
    pub(crate) fn failed(&mut self, address: &Address, failure: Failure) -> Failure {
        self.reconnect.rotation.tried(address);
        let failure = match self.reconnect.has_connected {
            true => failure.while_certificates_change(),
            false => failure,
        };
        match failure.for_one_of(self.count) {
            Failure::Transient { reason, .. } => Failure::transient(format!("{address}: {reason}")),
            permanent @ Failure::Permanent(_) => permanent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::rabbit::options::RabbitOptions;

    fn reconnect(url: &str) -> Reconnect {
        let url = url.parse().expect("a URL");
        let options = RabbitOptions::from_url(&url).expect("valid options");
        Reconnect::new(&Core::new(&url, options))
    }

    #[test]
    fn a_round_offers_each_host_once_and_the_next_one_begins_after_the_last() {
        let mut reconnect = reconnect("rabbit://a,b,c");
        let mut hosts = Vec::new();
        let mut round = reconnect.round(None);
        while let Some(Host { address, .. }) = round.next() {
            round.failed(&address, Failure::transient("down"));
            hosts.push(address);
            if hosts.len() == 2 {
                break;
            }
        }
        let mut round = reconnect.round(None);
        let first = round.next().expect("a host").address;
        assert!(!hosts.contains(&first));
        let rest: Vec<_> = std::iter::from_fn(|| round.next()).map(|host| host.address).collect();
        assert!(rest == hosts);
    }

    #[test]
    fn a_failure_names_its_host() {
        let mut reconnect = reconnect("rabbit://a");
        let mut round = reconnect.round(None);
        let Host { address, .. } = round.next().expect("a host");
        let failure = round.failed(&address, Failure::transient("down"));
        assert_eq!(failure, Failure::transient("a:5672: down"));
    }

    #[test]
    fn a_stable_session_starts_the_delays_over() {
        let mut reconnect = reconnect("rabbit://a");
        let first = reconnect.ceiling();
        reconnect.delay();
        assert!(!reconnect.ended(STABLE_AFTER / 2));
        assert!(reconnect.ceiling() > first);
        assert!(reconnect.ended(STABLE_AFTER));
        assert_eq!(reconnect.ceiling(), first);
    }

    #[test]
    fn a_reason_is_new_once_until_a_session_is_made() {
        let mut reconnect = reconnect("rabbit://a");
        let mut is_new = |reason| reconnect.record_reason(reason);
        assert_eq!([is_new("x"), is_new("x"), is_new("y")], [true, false, true]);
        reconnect.connected();
        assert!(reconnect.record_reason("y"));
    }
}
