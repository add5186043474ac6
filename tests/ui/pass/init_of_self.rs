//! `Self` in the path of `init`.
#![deny(warnings)]

use listener::{State, notification_endpoint};

struct Billing(u64);

impl Billing {
    async fn connect(limit: State<u64>) -> Result<Self, String> {
        Ok(Self(*limit))
    }
}

#[notification_endpoint(init = Self::connect)]
impl Billing {
    async fn info(&self) {
        let _ = self.0;
    }
}

struct Archive<T>(T);

impl<T: Default> Archive<T> {
    fn create() -> Self {
        Self(T::default())
    }
}

#[notification_endpoint(init = Self::create, instances(Archive<u8>, Archive<String>))]
impl<T: Default + PartialEq + Send + Sync + 'static> Archive<T> {
    fn info(&self) {
        let _ = self.0 == T::default();
    }
}

struct Tuple(State<u64>);

#[notification_endpoint(init = Self)]
impl Tuple {
    fn info(&self) {
        let _ = (*self.0, 1);
    }
}

fn main() {}
