//! `Attempt` and `ReceivedAt`: how often a method was called for a notification, and since
//! when the listener has it. Where it came from is `&DeliveryInfo`.

use std::convert::Infallible;
use std::time::SystemTime;

use crate::extract::FromNotification;
use crate::notification::Notification;

/// Which call of this method this is for this delivery, from 1. `Outcome::Retry` makes a
/// second one; a delivery that the broker gives out again begins at 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Attempt(pub u32);

impl<'n> FromNotification<'n> for Attempt {
    type Error = Infallible;

    fn from_notification(notification: &'n Notification<'n>) -> Result<Self, Infallible> {
        Ok(Self(notification.attempt()))
    }
}

/// When the listener took the delivery, by the clock of this machine. When the notification
/// was sent, by the sender's clock, is `Metadata::timestamp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReceivedAt(pub SystemTime);

impl<'n> FromNotification<'n> for ReceivedAt {
    type Error = Infallible;

    fn from_notification(notification: &'n Notification<'n>) -> Result<Self, Infallible> {
        Ok(Self(notification.received_at()))
    }
}
