//! The attribute on a function.

use listener::notification_endpoint;

#[notification_endpoint]
pub async fn info() {}
//~       ^^

fn main() {}
