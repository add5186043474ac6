//! A program with its own endpoints; the library is a dependency that no code names.

#[derive(Default)]
struct Counter;

#[listener::notification_endpoint]
impl Counter {
    async fn info(&self) {}
}

fn main() {
    shown::print();
}
