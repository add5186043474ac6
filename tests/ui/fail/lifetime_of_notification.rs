//! A `&Notification` that borrows for `'static`.
#![allow(unused)]

use listener::{Notification, notification_endpoint};

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self, whole: &Notification<'static>) {}
    //~                         ^^^^^^^^^^^^^^^^^^^^^^
}

fn main() {}
