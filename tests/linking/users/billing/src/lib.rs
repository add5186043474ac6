//! A library with two endpoints, one in a module of its own, and nothing to call.

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
