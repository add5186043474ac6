//! A `&'static DeliveryInfo`.
#![allow(unused)]

use listener::{DeliveryInfo, notification_endpoint};

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self, delivery: &'static DeliveryInfo) {}
    //~                            ^^^^^^^^^^^^^^^^^^^^^
}

fn main() {}
