//! Finds types that borrow for `'static` in the signature of a method: an argument borrows from the
//! notification, and the error of a method must own its values. Without this, the borrow checker reports such
//! a type with names of generated code.
//! The question is decided by method lookup, see `cases!`.

use std::error::Error;
use std::marker::PhantomData;

use crate::extract::FromNotification;
use crate::extract::argument::{ContextArgument, PayloadArgument};
use crate::extract::form::Plain;
use crate::outcome::IntoOutcome;

/// A role in the signature that a type can have, for a lifetime.
pub trait Role<'n, T> {}

/// The type of `ctxt`.
pub enum AsContext {}

impl<'n, T: ContextArgument<'n, Plain>> Role<'n, T> for AsContext {}

/// The type of `payload`.
pub enum AsPayload {}

impl<'n, T: PayloadArgument<'n, Plain>> Role<'n, T> for AsPayload {}

/// The type of a fallible `ctxt`.
pub enum AsFallibleContext {}

impl<'n, T: ContextArgument<'n, Plain>, E> Role<'n, Result<T, E>> for AsFallibleContext {}

/// The type of a fallible `payload`.
pub enum AsFalliblePayload {}

impl<'n, T: PayloadArgument<'n, Plain>, E> Role<'n, Result<T, E>> for AsFalliblePayload {}

/// The type of an argument that is extracted by its type.
pub enum AsExtractor {}

impl<'n, T: FromNotification<'n>> Role<'n, T> for AsExtractor {}

/// The returned type.
pub enum AsReturned {}

impl<T: IntoOutcome> Role<'_, T> for AsReturned {}

/// A returned type with an error that implements `Error`: such an error must be `'static`.
pub enum WithError {}

impl<T, E: Error> Role<'_, Result<T, E>> for WithError {}

/// A role that the output of `F`, a `fn(&'n ()) -> T`, has for `'n`.
pub trait OutputRole<'n, F> {}

impl<'n, R, F, T> OutputRole<'n, F> for R
where
    F: FnOnce(&'n ()) -> T,
    R: Role<'n, T>,
{
}

/// The verdict on a type that is fine, or whose error the compiler reports better.
pub enum Valid {}

/// The verdict on a type that borrows for `'static`.
pub enum BorrowsForStatic {}

/// A verdict that is never given. Every type accepts it, so that the compiler does not conclude the verdict
/// from the one impl that fits a type.
pub enum Undecided {}

/// The cases, each with its verdict.
///
/// A trait bound cannot say "implemented, but not for every lifetime". Method lookup can: of several traits
/// with the same method, the compiler chooses the first whose bounds hold, in the order of the references
/// that they need, and `for<'n> ..` does not hold for an impl for one particular lifetime. (It does hold for
/// an impl with a bound such as `'n: 'static`, so that is left to the borrow checker.) Generated code writes a
/// type with elided lifetimes as the output of `fn(&()) -> T`, which makes all of them one parameter.
macro_rules! cases {
    ($(fn $method:ident { $($case:ident => $verdict:ident;)+ })+) => {$($(
        /// A case in the order of method lookup.
        pub trait $case: Sized {
            /// The verdict on the type in this case.
            fn $method(self) -> PhantomData<$verdict> {
                PhantomData
            }
        }
    )+)+};
}

cases! {
    fn __listener_argument {
        ArgumentForEvery => Valid;
        ArgumentForStatic => BorrowsForStatic;
        NoArgument => Valid;
    }
    fn __listener_returned {
        OwnedReturned => Valid;
        BorrowingError => BorrowsForStatic;
        ReturnedForEvery => Valid;
        ReturnedForStatic => BorrowsForStatic;
        NotReturned => Valid;
    }
}

/// The lifetime of an argument. Generated code calls `__listener_argument` of `&&` of it.
///
/// A type with an elided lifetime is not judged, as `fn(&()) -> T` does not match it: the compiler may infer
/// `'static` for it, or several lifetimes.
pub struct Argument<R, F>(PhantomData<(R, F)>);

impl<R, F> Argument<R, F> {
    /// The lifetime of the output of a function pointer.
    pub const fn lifetime(_: F) -> Self
    where
        F: Copy,
    {
        Self(PhantomData)
    }
}

impl<R, F> Copy for Argument<R, F> {}
impl<R, F> Clone for Argument<R, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R, T> ArgumentForEvery for &&Argument<R, fn(&()) -> T> where R: for<'n> Role<'n, T> {}
impl<R, T> ArgumentForStatic for &Argument<R, fn(&()) -> T> where R: Role<'static, T> {}
impl<R, F> NoArgument for Argument<R, F> {}

/// The lifetime of a returned type. Generated code calls `__listener_returned` of `&&&&`
/// of it, if a lifetime of the type is that of a reference.
pub struct Returned<F>(PhantomData<F>);

impl<F> Returned<F> {
    /// The lifetime of the output of a function pointer.
    pub const fn lifetime(_: F) -> Self
    where
        F: Copy,
    {
        Self(PhantomData)
    }
}

impl<F> Copy for Returned<F> {}
impl<F> Clone for Returned<F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> OwnedReturned for &&&&Returned<fn(&()) -> T> {}
impl<F> BorrowingError for &&&Returned<F>
where
    WithError: for<'n> OutputRole<'n, F>,
    AsReturned: OutputRole<'static, F>,
{
}
impl<F> ReturnedForEvery for &&Returned<F> where AsReturned: for<'n> OutputRole<'n, F> {}
impl<F> ReturnedForStatic for &Returned<F> where AsReturned: OutputRole<'static, F> {}
impl<F> NotReturned for Returned<F> {}

/// Used by the code that `#[notification_endpoint]` generates; not for programs.
#[diagnostic::on_unimplemented(
    message = "`{Self}` borrows for `'static`, but an argument borrows from its notification",
    label = "requires `'static`",
    note = "leave `'static` out, as in `&Notification<'_>`; in a type of your own, take a lifetime parameter instead of `'static`, or own the value, such as a `String` instead of a `&'static str`"
)]
pub trait ArgumentLifetime<V> {
    /// Accepts the verdict.
    fn check(_: PhantomData<V>) {}
}

impl<T> ArgumentLifetime<Valid> for T {}
impl<T> ArgumentLifetime<Undecided> for T {}

/// Used by the code that `#[notification_endpoint]` generates; not for programs.
#[diagnostic::on_unimplemented(
    message = "an endpoint method cannot return `{Self}`, because its error borrows",
    label = "the error is not `'static`",
    note = "own the values in the error, such as a `String` instead of a `&str`: the listener keeps it after the call, so it must be `std::error::Error + Send + Sync + 'static`"
)]
pub trait ReturnedLifetime<V> {
    /// Accepts the verdict.
    fn check(_: PhantomData<V>) {}
}

impl<T> ReturnedLifetime<Valid> for T {}
impl<T> ReturnedLifetime<Undecided> for T {}
