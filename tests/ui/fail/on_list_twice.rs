//! Two `#[on(..)]` on one method.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    #[on(info, event_type = "^a")]
    #[on(warn, event_type = "^b")]
//~ ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    async fn created(&self) {}
}

fn main() {}
