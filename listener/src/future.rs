//! The future that a method of a trait returns where the trait is used as `dyn`.

use std::pin::Pin;

/// A boxed future, as methods of [`Driver`](crate::driver::Driver) and [`Inbox`](crate::Inbox) return it:
/// `Box::pin(async move { .. })` makes one. It is the same type as `futures::future::BoxFuture`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
