//! An `#[on(..)]` on a constant.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    #[on(info)]
//~ ^^^^^^^^^^^
    const LIMIT: u8 = 1;
    async fn info(&self) {}
}

fn main() {}
