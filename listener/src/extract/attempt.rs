//! `Attempt` and `ReceivedAt`: how often a method was called for a notification, and when the listener
//! received it. How it was received is `&DeliveryInfo`.

use std::convert::Infallible;
use std::time::SystemTime;

use crate::extract::FromNotification;
use crate::notification::Notification;

/// The number of this call of the method for this delivery, starting at 1. `Outcome::Retry` causes
/// another call; a redelivery starts at 1 again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Attempt(pub u32);

impl<'n> FromNotification<'n> for Attempt {
    type Error = Infallible;

    fn from_notification(notification: &'n Notification<'n>) -> Result<Self, Infallible> {
        Ok(Self(notification.attempt()))
    }
}

/// When the listener received the delivery, by the clock of this machine. `Metadata::timestamp` is when the
/// notification was sent, by the clock of the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReceivedAt(pub SystemTime);

impl<'n> FromNotification<'n> for ReceivedAt {
    type Error = Infallible;

    fn from_notification(notification: &'n Notification<'n>) -> Result<Self, Infallible> {
        Ok(Self(notification.received_at()))
    }
}
