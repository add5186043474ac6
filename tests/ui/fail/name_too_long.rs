//! An endpoint name that is too long for AMQP.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(name = "billing.billing.billing.billing.billing.billing.billing.billing.billing.billing.billing.billing.billing.billing.billing.billing.billing.billing.billing.billing.billing.billing.billing.billing.billing.billing.billing.billing.billing.billing.billing.billing.")]
//~                            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
