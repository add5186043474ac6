//! A program with its own endpoints and those of the library.

listener::link!(billing,);

#[derive(Default)]
struct Counter;

#[listener::notification_endpoint]
impl Counter {
    async fn info(&self) {}
}

fn main() {
    shown::print();
}
