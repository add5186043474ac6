//! An extractor that borrows, with `'static`.
#![allow(unused)]

use listener::{FromNotification, Notification, notification_endpoint};

struct Tenant<'n>(&'n str);

impl<'n> FromNotification<'n> for Tenant<'n> {
    type Error = std::convert::Infallible;

    fn from_notification(notification: &'n Notification<'n>) -> Result<Self, Self::Error> {
        Ok(Self(notification.event_type().unwrap_or_default()))
    }
}

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self, tenant: Tenant<'static>) {}
    //~                          ^^^^^^^^^^^^^^^
}

fn main() {}
