//! A program that knows `listener` by another name.
//! `listener` by its own does not exist here.

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
