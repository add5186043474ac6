//! A `&Context` with another name.
#![allow(unused)]

use listener::{Context, notification_endpoint};

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self, context: &Context) {}
    //~                  ^^^^^^^
}

fn main() {}
