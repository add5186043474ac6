//! A user's crate has no clippy warnings, even with all pedantic lints: the macro prescribes signatures, so
//! clippy must not suggest others.

use crate::outside;

const MAIN: &str = r#"//! A program with each kind of method.
#![forbid(unsafe_code)]

use listener::{Attempt, Context, DeliveryInfo, Endpoint, Metadata, Outcome, Priority, State};
use listener::notification_endpoint;
use serde::Deserialize;

#[derive(Deserialize)]
struct Instance {
    uuid: String,
}

#[derive(Clone, Copy, Default)]
struct Billing;

#[notification_endpoint(
    event_type = r"^instance\.",
    name = "billing",
    retry(attempts = 3, delay = "1s"),
    timeout = "30s",
    ordered_by = "payload.uuid"
)]
impl Billing {
    fn info(&self, payload: Instance, db: State<String>) {
        println!("{} {}", payload.uuid, *db);
    }

    async fn warn(&self, _payload: Option<Instance>) -> Result<(), String> {
        Ok(())
    }

    #[on(error, critical)]
    fn failed(event_type: String, tenant: Option<State<String>>) -> Result<Outcome, String> {
        println!("{event_type} {}", tenant.is_some());
        Ok(Outcome::Handled)
    }

    async fn audit(
        &self,
        ctxt: &Context,
        publisher_id: &str,
        event_type: Option<&str>,
        payload: Instance,
        metadata: &Metadata,
        priority: Priority,
        delivery: &DeliveryInfo,
        attempt: Attempt,
    ) {
        println!("{ctxt:?} {publisher_id} {event_type:?} {} {metadata:?}", payload.uuid);
        println!("{priority} {delivery:?} {attempt:?}");
    }
}

fn main() {
    println!("{}", Billing::DEFINITION.name);
}
"#;

#[test]
fn a_pedantic_crate_has_no_warning() {
    let folder = outside::write("pedantic", MAIN);
    let output = outside::cargo(&folder)
        .args(["clippy", "--quiet", "--offline", "--", "-W", "clippy::pedantic", "-D", "warnings"])
        .args(["-W", "unused_qualifications", "-W", "elided_lifetimes_in_paths"])
        .output()
        .expect("cargo runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}
