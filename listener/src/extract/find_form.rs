//! Finds the form of a type, in generated code, by method lookup, so an alias of `Result` has its form, and a
//! program's own type of that name does not: of the methods `form`, the compiler chooses the first that fits
//! the type, in the order of the references that they need.

use std::marker::PhantomData;

use crate::extract::Versioned;
use crate::extract::argument::{ContextArgument, PayloadArgument};
use crate::extract::form::{Fallible, Optional, Plain, Unwrapped};
use crate::notification::{Notification, PartError};
use crate::outcome::Failure;

/// A type whose form is looked up. Generated code calls `form` of a reference to it, or of a reference to a
/// reference if the type has generic arguments.
pub struct Form<T>(PhantomData<T>);

impl<T> Form<T> {
    /// The only value.
    pub const OF: Self = Self(PhantomData);
}

impl<T> Copy for Form<T> {}
impl<T> Clone for Form<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Form<Option<T>> {
    /// The form of an `Option`.
    #[must_use]
    pub const fn form(self) -> Optional<Plain> {
        Optional(Plain)
    }
}

impl<T, E> Form<Result<T, E>> {
    /// The form of a `Result`.
    #[must_use]
    pub const fn form(self) -> Fallible<Plain> {
        Fallible(Plain)
    }
}

impl<T> Form<Versioned<T>> {
    /// The form of a versioned object.
    #[must_use]
    pub const fn form(self) -> Unwrapped {
        Unwrapped
    }
}

/// Every other type.
pub trait OtherForm: Sized {
    /// The form.
    fn form(self) -> Plain {
        Plain
    }
}

impl<T> OtherForm for Form<T> {}

/// Types in others.
pub trait NestedForm: Sized {
    /// The form.
    type Form: Default;

    /// The form.
    fn form(self) -> Self::Form {
        Self::Form::default()
    }
}

impl<T, E> NestedForm for &Form<Result<Option<T>, E>> {
    type Form = Fallible<Optional<Plain>>;
}

impl<T, E> NestedForm for &Form<Result<Versioned<T>, E>> {
    type Form = Fallible<Unwrapped>;
}

impl<T, E> NestedForm for &Form<Option<Result<T, E>>> {
    type Form = Optional<Fallible<Plain>>;
}

impl<T> NestedForm for &Form<Option<Versioned<T>>> {
    type Form = Optional<Unwrapped>;
}

/// A versioned object in an `Option` in a `Result`.
pub trait DeepForm: Sized {
    /// The form.
    fn form(self) -> Fallible<Optional<Unwrapped>> {
        Fallible::default()
    }
}

impl<T, E> DeepForm for &&Form<Result<Option<Versioned<T>>, E>> {}

/// Reads an argument whose form is known. Methods of the form, so that the compiler does not conclude the form
/// from the one impl that fits a type.
macro_rules! read {
    ($($form:ty $(, $parameter:ident)?;)+) => {$(
        impl$(<$parameter>)? $form {
            /// Reads `ctxt`.
            ///
            /// # Errors
            /// The context does not fit the type.
            pub fn ctxt<'n, T: ContextArgument<'n, Self>>(
                self,
                notification: &'n Notification<'n>,
            ) -> Result<T, Failure> {
                T::take(self, notification).map_err(|error| failure("ctxt", error))
            }

            /// Reads `payload`.
            ///
            /// # Errors
            /// The payload does not fit the type.
            pub fn payload<'n, T: PayloadArgument<'n, Self>>(
                self,
                notification: &'n Notification<'n>,
            ) -> Result<T, Failure> {
                T::take(self, notification).map_err(|error| failure("payload", error))
            }
        }
    )+};
}

fn failure(argument: &'static str, error: PartError) -> Failure {
    Failure::Argument { argument, source: error.into() }
}

read! {
    Plain;
    Unwrapped;
    Optional<F>, F;
    Fallible<F>, F;
}
