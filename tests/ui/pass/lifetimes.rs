//! Types with `'static` and with elided lifetimes that are valid, and errors that borrow and are converted.
#![deny(warnings)]
#![allow(dead_code, unused_variables, mismatched_lifetime_syntaxes)]

use std::borrow::Cow;
use std::collections::HashMap;

use listener::{
    BoxError, FromNotification, Notification, Outcome, PartError, State, notification_endpoint,
};

#[derive(serde::Deserialize)]
struct Fault<'a> {
    #[serde(borrow)]
    code: Cow<'a, str>,
}

#[derive(serde::Deserialize)]
struct Pair<'a, 'b> {
    #[serde(borrow)]
    one: Cow<'a, str>,
    #[serde(borrow)]
    other: Cow<'b, str>,
}

/// Owns its values whatever its lifetime is: no field is `#[serde(borrow)]`.
#[derive(serde::Deserialize)]
struct Event<'a> {
    name: Cow<'a, str>,
}

struct Tenant<'n>(&'n str);

impl<'n> FromNotification<'n> for Tenant<'n> {
    type Error = std::convert::Infallible;

    fn from_notification(notification: &'n Notification<'n>) -> Result<Self, Self::Error> {
        Ok(Self(notification.event_type().unwrap_or_default()))
    }
}

/// An extractor that is `'static` itself.
struct Limits;

impl<'n> FromNotification<'n> for &'static Limits {
    type Error = std::convert::Infallible;

    fn from_notification(_: &'n Notification<'n>) -> Result<Self, Self::Error> {
        Ok(&Limits)
    }
}

/// Converted to a boxed error, though it borrows: it is not an `Error` itself.
struct Missing<'a>(&'a str);

impl From<Missing<'_>> for BoxError {
    fn from(missing: Missing<'_>) -> Self {
        missing.0.into()
    }
}

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    fn info(&self, payload: Fault, ctxt: Option<Fault<'_>>, tenant: Tenant) {}

    fn warn(&self, payload: Pair, table: State<HashMap<&'static str, u8>>, whole: &Notification) {}

    async fn error<'a>(&self, payload: Pair<'a, 'a>, tenant: Tenant<'a>) -> Result<(), Missing<'_>> {
        Err(Missing("nothing"))
    }

    async fn debug(&self, payload: Event<'static>, limits: &'static Limits) -> Result<(), &str> {
        tokio::task::yield_now().await;
        Err("nothing")
    }

    fn audit(&self, payload: HashMap<Cow<'static, str>, Cow<'static, str>>) -> Result<Outcome, Cow<'static, str>> {
        Err(Cow::Borrowed("nothing"))
    }

    fn sample(payload: Result<Vec<Fault<'_>>, PartError>, work: State<Box<dyn for<'x> Fn(&'x str) + Send + Sync>>) {}

    fn critical(&self, payload: Option<Fault>) -> Result<(), Box<dyn std::error::Error + Send + Sync + 'static>> {
        Ok(())
    }
}

/// A generic endpoint, with a payload that is its parameter.
#[derive(Default)]
struct Archive<T>(std::marker::PhantomData<T>);

#[notification_endpoint(instances(Archive<u8>, Archive<String>))]
impl<T: serde::de::DeserializeOwned + Send + Sync + 'static> Archive<T> {
    async fn info(&self, payload: T) {}

    fn warn(&self, payload: Option<Vec<T>>, ctxt: Result<HashMap<String, T>, PartError>) {}
}

fn main() {}
