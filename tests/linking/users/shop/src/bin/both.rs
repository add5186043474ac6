//! Endpoints of the program's own, and the library's.

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
