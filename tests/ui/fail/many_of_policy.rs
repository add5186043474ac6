//! Many mistakes in retries and order: all are reported at once.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(name = ",", retry(attempts = 0, delay = "5", tries = 3), timeout = "1d", ordered_by = "x")]
//~                            ^^^                   ^          ^^^  ^^^^^                 ^^^^               ^^^
impl Billing {
    #[on(info, timeout = "5")]
    //~        ^^^^^^^
    async fn created(&self) {}
}

fn main() {}
