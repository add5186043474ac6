//! Constants among the methods stay usable; bodies are emitted unchanged.

use listener::{Endpoint, notification_endpoint};

#[derive(Default)]
pub struct Items;

#[notification_endpoint]
#[allow(clippy::unused_self)]
impl Items {
    #![allow(unused_variables)]

    /// Documented.
    pub const LIMIT: usize = {
        const fn two() -> usize {
            2
        }
        two()
    };
    const NAMES: [&'static str; Self::LIMIT] = ["a", "b"];

    /// A const `fn` is a `fn`.
    pub const fn info(&self, payload: [u8; Items::LIMIT]) {}

    pub(crate) async fn warn(&self, payload: [u8; Self::LIMIT]) {
        #[derive(Default)]
        struct Inner;
        impl Inner {
            fn helper(&self) -> usize {
                Items::NAMES.len()
            }
        }
        let _ = Inner.helper();
    }
}

fn main() {
    assert_eq!(Items::METHODS.len(), Items::LIMIT);
}
