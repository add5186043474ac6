//! A program that depends on `listener` by another name: the expansion of the attribute must find it,
//! as there is no crate named `listener`.

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
