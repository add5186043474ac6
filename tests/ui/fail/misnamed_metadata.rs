//! A `&Metadata` with another name.
#![allow(unused)]

use listener::{Metadata, notification_endpoint};

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self, m: &Metadata) {}
    //~                  ^
}

fn main() {}
