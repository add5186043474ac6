//! Functions that a listener cannot call.
#![allow(unused_variables)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info<T>(&self, payload: T) {}
    fn warn<const N: usize>(&self) {}
    unsafe fn error(&self) {}
    extern "C" fn critical(&self) {}
    async fn audit(&self, payload: impl Copy) {}
    async fn debug(&self, payload: &mut u8) {}
}

fn main() {}
