//! Raw identifiers.

use listener::{Endpoint, State, notification_endpoint};

#[derive(Default)]
#[allow(non_camel_case_types)]
struct r#type;

#[notification_endpoint]
impl r#type {
    #[on(info)]
    fn r#match(&self, r#payload: u8, r#in: State<u8>) {
        let _ = (r#payload, r#in);
    }

    async fn r#warn() {}
}

fn main() {
    assert_eq!(r#type::DEFINITION.name, "type");
    let names: Vec<_> = r#type::METHODS.iter().map(|method| method.name).collect();
    assert_eq!(names, ["match", "warn"]);
}
