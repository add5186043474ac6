//! An extractor for `'static` notifications only.
#![allow(unused)]

use listener::{FromNotification, Notification, notification_endpoint};

struct Tenant(&'static str);

impl FromNotification<'static> for Tenant {
    type Error = std::convert::Infallible;

    fn from_notification(notification: &'static Notification<'static>) -> Result<Self, Self::Error> {
        Ok(Self(notification.event_type().unwrap_or_default()))
    }
}

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    fn info(&self, tenant: Tenant) {}
    //~                    ^^^^^^
}

fn main() {}
