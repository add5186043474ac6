//! Blocks that `macro_rules!` generates, from fragments of every kind.

use listener::{Endpoint, Priority, notification_endpoint};

macro_rules! whole_block {
    ($block:item) => {
        #[notification_endpoint]
        $block
    };
}

macro_rules! types {
    ($name:ty, $argument:ty, $returned:ty) => {
        #[notification_endpoint]
        impl $name {
            async fn info(&self, payload: &str, _taken: $argument) -> $returned {
                let _ = payload;
                Ok(())
            }
        }
    };
}

macro_rules! whole_methods {
    ($($method:item)*) => {
        #[notification_endpoint]
        impl C {
            $($method)*
        }
    };
}

macro_rules! parts {
    ($body:block $visibility:vis, $(#[$meta:meta])* $lifetime:lifetime $name:ident $value:expr) => {
        #[notification_endpoint(order = $value)]
        impl D {
            $(#[$meta])*
            $visibility async fn $name<$lifetime>(&$lifetime self, _payload: &$lifetime str) $body
        }
    };
}

#[derive(Default)]
struct A;

whole_block! {
    impl A {
        #[on(info)]
        fn any(&self) {}
    }
}

#[derive(Default)]
struct B;

types!(B, Priority, Result<(), String>);

#[derive(Default)]
struct C;

whole_methods! {
    #[on(warn)]
    fn any() {}

    async fn info() {}
}

#[derive(Default)]
pub struct D;

parts!({} pub, #[doc = "Documented."] #[inline] 'a error -3);

fn main() {
    let counts = [A::METHODS.len(), B::METHODS.len(), C::METHODS.len(), D::METHODS.len()];
    assert_eq!((counts, D::DEFINITION.order), ([1, 1, 2, 1], -3));
}
