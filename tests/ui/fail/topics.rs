//! Topics that contradict each other, or are none.

use listener::notification_endpoint;

#[derive(Default)]
struct A;

#[notification_endpoint(topic = "a", topics("b", "a"))]
impl A {
    async fn info(&self) {}
}

#[derive(Default)]
struct B;

#[notification_endpoint(topics())]
impl B {
    async fn info(&self) {}
}

#[derive(Default)]
struct C;

#[notification_endpoint(topic = "")]
impl C {
    async fn info(&self) {}
}

#[derive(Default)]
struct D;

#[notification_endpoint(exchange = "nova")]
impl D {
    async fn info(&self) {}
}

fn main() {}
