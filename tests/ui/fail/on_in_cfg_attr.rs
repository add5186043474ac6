//! An `#[on(..)]` in `cfg_attr`.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    #[cfg_attr(all(), on(info))]
//~ ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    async fn created(&self) {}
}

fn main() {}
