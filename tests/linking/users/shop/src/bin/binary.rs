//! Endpoints of the program's own; the library is listed in Cargo.toml, and never named.

#[derive(Default)]
struct Counter;

#[listener::notification_endpoint]
impl Counter {
    async fn info(&self) {}
}

fn main() {
    shown::print();
}
