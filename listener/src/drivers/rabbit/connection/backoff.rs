//! How long to wait between two rounds of attempts. Which hosts a round tries is in `hosts.rs`;
//! `reconnect.rs` uses both.

use std::time::Duration;

use crate::drivers::rabbit::options::{PERMANENT_FAILURE_MAX_DELAY, RabbitOptions};

/// Delays with full jitter: each is drawn uniformly between zero and a ceiling that grows, so that the
/// many clients of a broker that has restarted do not connect at the same moment.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    delay: Duration,
    interval: Duration,
    step: Duration,
    max: Duration,
    rounds: u32,
}

/// The shortest delay, whatever the options are, so that no loop spins.
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

    /// Starts over, after a session that was stable.
    pub(crate) fn reset(&mut self) {
        self.rounds = 0;
    }

    /// The next delay after a transient failure.
    pub(crate) fn delay(&mut self) -> Duration {
        let ceiling = self.ceiling();
        self.rounds = self.rounds.saturating_add(1);
        (self.delay + ceiling.mul_f64(fastrand::f64())).max(SHORTEST)
    }

    /// The next delay after a failure that only an operator can fix.
    pub(crate) fn slow_delay(&mut self) -> Duration {
        let delay = self.delay() + Duration::from_secs(2) * self.rounds.min(15);
        delay.min(PERMANENT_FAILURE_MAX_DELAY)
    }

    /// The upper bound of the next delay, without `delay`.
    pub(crate) fn ceiling(&self) -> Duration {
        self.step.saturating_mul(self.rounds).saturating_add(self.interval).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_of_the_delays_grows_and_ends() {
        let mut backoff = Backoff::new(&RabbitOptions::default());
        let mut ceilings = Vec::new();
        for _ in 0..17 {
            ceilings.push(backoff.ceiling().as_secs());
            let longest = backoff.ceiling() + Duration::from_millis(100);
            let delay = backoff.delay();
            assert!(delay >= SHORTEST && delay <= longest, "{delay:?}");
        }
        assert_eq!(ceilings, [1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 30, 30]);
        assert!(backoff.slow_delay() <= PERMANENT_FAILURE_MAX_DELAY);
        backoff.reset();
        assert_eq!(backoff.ceiling(), Duration::from_secs(1));
    }
}
