//! An endpoint in a module, in a function, behind a path, of one concrete type, and made by
//! `macro_rules!`.

use listener::{Endpoint, notification_endpoint};

mod inner {
    use super::notification_endpoint;

    #[derive(Default)]
    pub struct Inner;

    #[notification_endpoint]
    impl Inner {
        fn info(&self) {}
    }
}

#[derive(Default)]
struct Far;

mod elsewhere {
    #[listener::notification_endpoint]
    impl super::Far {
        fn info(&self) {}
    }
}

#[derive(Default)]
struct Of<T>(T);

#[notification_endpoint]
impl Of<Vec<u8>> {
    fn info(&self) {
        let _ = self.0.len();
    }
}

macro_rules! endpoint {
    ($name:ident, $method:ident, $priority:ident, $payload:ty, $filter:literal, $order:expr) => {
        #[derive(Default)]
        struct $name;

        #[notification_endpoint(event_type = $filter, order = $order)]
        impl $name {
            #[on($priority, publisher_id = $filter)]
            async fn $method(&self, payload: $payload) {
                let _ = payload;
            }
        }
    };
}

endpoint!(Made, any_name, error, Vec<u8>, "^a", -3);

fn main() {
    #[derive(Default)]
    struct Local;

    #[notification_endpoint]
    impl Local {
        fn info(&self) {}
    }

    assert!(inner::Inner::DEFINITION.module.ends_with("::inner"));
    assert_eq!(Far::DEFINITION.name, "Far");
    assert_eq!(Of::<Vec<u8>>::DEFINITION.name, "Of<Vec<u8>>");
    assert_eq!(Made::DEFINITION.order, -3);
    assert_eq!(Local::DEFINITION.name, "Local");
}
