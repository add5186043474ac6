//! `Attempt` and `ReceivedAt`: how often a method was called for a notification, and when the listener
//! received it. How it was received is `&DeliveryInfo`.

use std::convert::Infallible;
use std::time::SystemTime;

use crate::extract::FromNotification;
use crate::notification::Notification;

/// The number of this attempt for the notification, starting at 1.
///
/// It continues across retries, in the process and through retry queues. A redelivery after a lost connection
/// or a crash does not count, and starts at the number that the delivery had; a dead letter that is moved back
/// starts at 1.
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
