//! An order by a key of what has none.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(ordered_by = "publisher_id.host")]
//~                                  ^^^^^^^^^^^^^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
