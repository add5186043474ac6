//! A scope that shadows the names of the prelude.
#![allow(dead_code)]

use listener::notification_endpoint;

struct Result;
struct Option;
struct Box;
struct String;
struct Ok;
struct Err;
struct Some;
struct None;
trait Default {}
trait Into {}
trait Send {}
trait Fn {}

#[derive(::core::default::Default)]
struct Shadowed;

#[notification_endpoint(publisher_id = "a", group = "g")]
impl Shadowed {
    async fn info(
        &self,
        payload: ::std::string::String,
        event_type: &str,
    ) -> ::core::result::Result<(), &'static str> {
        let _ = (payload, event_type);
        ::core::result::Result::Ok(())
    }

    fn warn(payload: ::core::option::Option<u8>) {
        let _ = payload;
    }
}

fn main() {
    shown::print();
}
