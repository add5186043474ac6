//! Endpoints in a function that is never called, in `macro_rules!`, and with keywords as names.
#![allow(dead_code)]

use listener::notification_endpoint;

fn never_called() {
    #[derive(Default)]
    struct InFunction;

    #[notification_endpoint]
    impl InFunction {
        async fn info(&self) {}
    }
}

macro_rules! endpoint {
    ($name:ident, $priority:ident, $argument:ident: $type:ty) => {
        #[derive(Default)]
        struct $name;

        #[notification_endpoint]
        impl $name {
            async fn $priority(&self, $argument: $type) {
                let _ = $argument;
            }
        }
    };
}

endpoint!(InMacro, warn, payload: String);
endpoint!(AgainInMacro, error, payload: Vec<u8>);

mod r#mod {
    #[derive(Default)]
    #[allow(non_camel_case_types)]
    struct r#type;

    #[listener::notification_endpoint]
    impl r#type {
        #[on(info)]
        fn r#match(&self, r#payload: u8) {
            let _ = r#payload;
        }
    }
}

fn main() {
    shown::print();
}
