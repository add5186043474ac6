//! An empty `instances`.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing<T>(T);

#[notification_endpoint(instances())]
//~                     ^^^^^^^^^
impl<T: Default + Send + Sync + 'static> Billing<T> {
    async fn info(&self) {}
}

fn main() {}
