//! A lifetime that is not declared, in an argument.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(serde::Deserialize)]
struct Fault<'a> {
    #[serde(borrow)]
    code: std::borrow::Cow<'a, str>,
}

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self, payload: Fault<'a>) {}
    //~                                 ^^
}

fn main() {}
