//! The attribute on something else.

use listener::notification_endpoint;

#[notification_endpoint]
#[derive(Default)]
struct Billing;

#[notification_endpoint]
pub async fn info() {}

fn main() {}
