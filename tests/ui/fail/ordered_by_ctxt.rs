//! An `ordered_by` with `ctxt`, the name of the argument.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(ordered_by = "ctxt.request_id")]
//~                                  ^^^^^^^^^^^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
