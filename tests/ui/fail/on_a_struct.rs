//! The attribute on a struct.

use listener::notification_endpoint;

#[notification_endpoint]
#[derive(Default)]
struct Billing;
//~^^^

fn main() {}
