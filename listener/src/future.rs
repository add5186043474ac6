//! The future that methods of `Driver`, `Inbox` and other traits return which are used as `dyn`.
//! Inside of the crate, modules without such a trait use that of `futures-util`, which is the same.

use std::pin::Pin;

/// A boxed future, as methods of [`Driver`](crate::driver::Driver) and [`Inbox`](crate::Inbox) return it:
/// `Box::pin(async move { .. })` makes one. It is the same type as `futures::future::BoxFuture`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
