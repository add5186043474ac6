//! A library with two endpoints, one in a nested module, and no public function.

#[derive(Default)]
struct Invoices;

#[listener::notification_endpoint]
impl Invoices {
    async fn info(&self, event_type: &str) {
        let _ = event_type;
    }
}

pub mod deep {
    #[derive(Default)]
    struct Refunds;

    #[listener::notification_endpoint]
    impl Refunds {
        fn error(&self) {}
    }
}
