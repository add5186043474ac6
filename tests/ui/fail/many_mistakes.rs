//! Many mistakes in one block: all are reported at once, and none causes another error.
#![deny(warnings)]

use listener::{Context, Endpoint, notification_endpoint};

#[derive(Default)]
struct Billing;

#[notification_endpoint(topik = "a", publisher_id = "(", order = 99999999999)]
//~                     ^^^^^                       ^^^          ^^^^^^^^^^^
impl Billing {
    async fn info(&mut self, context: &Context) {
    //~           ^^^^^^^^^  ^^^^^^^
        let _ = context;
    }

    #[on(warn, fatal, event_type = "[")]
    //~        ^^^^^               ^^^
    async fn failed(&self) {}

    async fn eror(&self) {}
    //~      ^^^^

    #[on(sample)]
    async fn sampled(&self) {}

    fn helper() {}
   //~ ^^^^^^
}

// The type can still be used as an endpoint.
fn needs_endpoint<E: Endpoint>(_: E) {}

fn main() {
    needs_endpoint(Billing);
    Billing::helper();
}
