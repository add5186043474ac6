//! A program that depends on `listener` by another name only.

#[derive(Default)]
struct Renamed;

#[notices::notification_endpoint(crate = notices)]
impl Renamed {
    async fn info(&self, payload: String, event_type: &str) -> Result<(), String> {
        let _ = (payload, event_type);
        Ok(())
    }

    fn warn(&self) {}
}

fn main() {
    shown::print();
}
