//! A user extractor, also in an argument whose name resembles `payload`.
#![deny(warnings)]
#![allow(dead_code, unused_variables)]

use listener::{FromNotification, Notification, notification_endpoint};

struct Tenant;

impl<'n> FromNotification<'n> for Tenant {
    type Error = std::fmt::Error;

    fn from_notification(_: &'n Notification<'n>) -> Result<Self, Self::Error> {
        Ok(Self)
    }
}

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self, tenant: Tenant, body: Tenant, context: Option<Tenant>) {}
}

fn main() {}
