//! An `ordered_by` in `#[on(..)]`.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    #[on(info, ordered_by = "event_type")]
    //~        ^^^^^^^^^^
    async fn created(&self) {}
}

fn main() {}
