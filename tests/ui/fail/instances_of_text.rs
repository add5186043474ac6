//! A list of types with an entry that is not a type.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing<T>(T);

#[notification_endpoint(instances("Billing"))]
    //~                           ^^^^^^^^^
impl<T: Default + Send + Sync + 'static> Billing<T> {
    async fn info(&self) {}
}

fn main() {}
