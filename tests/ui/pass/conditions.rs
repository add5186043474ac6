//! `cfg` in `cfg_attr`, on methods and arguments: what is not compiled is not registered.
#![deny(warnings)]
#![allow(dead_code, unused_variables)]

use listener::notification_endpoint;
use listener::__private::Endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    #[cfg_attr(all(), cfg(any()), allow(unused))]
    async fn info(&self, payload: Missing) -> Missing {}

    #[cfg_attr(all(), inline, cfg_attr(all(), cfg(all())))]
    async fn warn(&self, #[cfg_attr(all(), cfg(any()))] payload: Missing, #[cfg(all())] _payload: u8) {}

    #[cfg_attr(any(), cfg(any()))]
    fn error(&self) {}

    #[cfg(any())]
    fn sample(&self, payload: Missing<'missing>) {}

    /// Two methods of one name on opposite conditions.
    #[cfg_attr(all(), cfg(all()))]
    fn debug(&self) {}

    #[cfg_attr(all(), cfg(any()))]
    fn debug(&self) {}
}

fn main() {
    let names: Vec<_> = Billing::METHODS.iter().map(|method| method.name).collect();
    assert_eq!(names, ["warn", "error", "debug"]);
}
