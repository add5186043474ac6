//! `crate = path`, for programs in which `listener` has another path.

mod facade {
    pub use listener as notifications;
}

use facade::notifications::{Endpoint, notification_endpoint};

#[derive(Default)]
struct Renamed;

#[notification_endpoint(crate = crate::facade::notifications)]
impl Renamed {
    async fn info(&self, payload: u8, event_type: &str) {
        let _ = (payload, event_type);
    }
}

fn main() {
    assert_eq!(Renamed::DEFINITION.name, "Renamed");
}
