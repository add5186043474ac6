//! An optional `&Notification` that borrows for `'static`.
#![allow(unused)]

use listener::{Notification, notification_endpoint};

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    fn info(whole: Option<&Notification<'static>>) {}
    //~            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
}

fn main() {}
