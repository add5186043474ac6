//! How often a notification is sent again: oslo.messaging's option `retry`.
//! The driver counts the attempts.

/// How often a notification is sent again if the broker is unreachable, closes the connection or refuses the
/// notification for a moment.
///
/// The timeout of the notifier ends a call in any case. One attempt to connect tries each host once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Retry {
    /// Until the notifier's timeout.
    #[default]
    UntilTimeout,
    /// At most so often: with 2, there are up to 3 attempts.
    Times(u32),
}

impl Retry {
    /// The value of oslo.messaging's option: -1 (and any negative number) for no limit, 0 for one attempt, 2
    /// for up to three.
    ///
    /// ```
    /// use listener::Retry;
    ///
    /// assert_eq!(Retry::from_count(-1), Retry::UntilTimeout);
    /// assert_eq!(Retry::from_count(2), Retry::Times(2));
    /// ```
    #[must_use]
    pub fn from_count(count: i64) -> Self {
        if count < 0 {
            return Self::UntilTimeout;
        }
        Self::Times(u32::try_from(count).unwrap_or(u32::MAX))
    }

    pub(super) const fn limit(self) -> Option<u32> {
        match self {
            Self::UntilTimeout => None,
            Self::Times(times) => Some(times),
        }
    }
}
