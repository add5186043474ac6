//! A `name` for a generic endpoint.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Archive<S>(S);

#[notification_endpoint(name = "archive", instances(Archive<u8>, Archive<u16>))]
//~                            ^^^^^^^^^
impl<S: Send + Sync + 'static> Archive<S> {
    async fn info(&self) {}
}

fn main() {}
