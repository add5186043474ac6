//! A `State` that is not `Sync`.
#![allow(unused)]

use std::rc::Rc;

use listener::{State, notification_endpoint};

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self, db: State<Rc<u8>>) {}
    //~                      ^^^^^^^^^^^^^
}

fn main() {}
