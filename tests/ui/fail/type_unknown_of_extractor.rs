//! An extractor of an unknown type.
#![allow(unused)]

use listener::{State, notification_endpoint};

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    fn info(&self, db: State<Missing>) {}
    //~                      ^^^^^^^
}

fn main() {}
