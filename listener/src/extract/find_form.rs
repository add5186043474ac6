//! Finds the form of a type, in generated code, by method lookup, so an alias of `Result` has its form, and a
//! program's own type of that name does not: of the methods `__listener_form`, the compiler chooses the first that fits
//! the type, in the order of the references that they need.

use std::marker::PhantomData;

use crate::extract::Versioned;
use crate::extract::argument::{ArgumentError, ContextArgument, PayloadArgument};
use crate::extract::form::{Fallible, Optional, Plain, Unwrapped};
use crate::notification::{Notification, PartError};
use crate::outcome::Failure;

/// A type whose form is looked up. Generated code calls `__listener_form` of `&&` of it.
///
/// `N` is [`NamedResult`] if the type is written with that name: then its error must be one of an
/// argument. A type with another name is a `Result` only if its error is such a one; serde reads the others.
pub struct Form<T, N>(PhantomData<(T, N)>);

/// The type is written as `Result`.
pub enum NamedResult {}

/// The type has another name.
pub enum OtherName {}

impl<T, N> Form<T, N> {
    /// The only value.
    pub const OF: Self = Self(PhantomData);
}

impl<T, N> Copy for Form<T, N> {}
impl<T, N> Clone for Form<T, N> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, N> Form<Option<T>, N> {
    /// The form of an `Option`.
    #[must_use]
    pub const fn __listener_form(self) -> Optional<Plain> {
        Optional(Plain)
    }
}

impl<T, E> Form<Result<T, E>, NamedResult> {
    /// The form of a `Result`.
    #[must_use]
    pub const fn __listener_form(self) -> Fallible<Plain> {
        Fallible(Plain)
    }
}

impl<T, E: ArgumentError> Form<Result<T, E>, OtherName> {
    /// The form of an alias of a `Result`.
    #[must_use]
    pub const fn __listener_form(self) -> Fallible<Plain> {
        Fallible(Plain)
    }
}

impl<T, N> Form<Versioned<T>, N> {
    /// The form of a versioned object.
    #[must_use]
    pub const fn __listener_form(self) -> Unwrapped {
        Unwrapped
    }
}

/// Every other type.
pub trait OtherForm: Sized {
    /// The form.
    fn __listener_form(self) -> Plain {
        Plain
    }
}

impl<T, N> OtherForm for Form<T, N> {}

macro_rules! nested {
    ($(#[doc = $doc:literal])+ $trait:ident: $([$($parameter:ident),*] $type:ty => $form:ty;)+) => {
        $(#[doc = $doc])+
        pub trait $trait: Sized {
            /// The form.
            type Form: Default;

            /// The form.
            fn __listener_form(self) -> Self::Form {
                Self::Form::default()
            }
        }
        $(
            impl<$($parameter,)* N> $trait for $type {
                type Form = $form;
            }
        )+
    };
}

nested! {
    /// A type in another.
    NestedForm:
    [T, E] &Form<Result<Option<T>, E>, N> => Fallible<Optional<Plain>>;
    [T, D, E] &Form<Result<Result<T, D>, E>, N> => Fallible<Fallible<Plain>>;
    [T, E] &Form<Result<Versioned<T>, E>, N> => Fallible<Unwrapped>;
    [T, E] &Form<Option<Result<T, E>>, N> => Optional<Fallible<Plain>>;
    [T] &Form<Option<Versioned<T>>, N> => Optional<Unwrapped>;
}

nested! {
    /// A versioned object in two others.
    DeepForm:
    [T, E] &&Form<Result<Option<Versioned<T>>, E>, N> => Fallible<Optional<Unwrapped>>;
    [T, D, E] &&Form<Result<Result<Versioned<T>, D>, E>, N> => Fallible<Fallible<Unwrapped>>;
    [T, E] &&Form<Option<Result<Versioned<T>, E>>, N> => Optional<Fallible<Unwrapped>>;
}

/// `payload`, of type `T` with the form `F`. A value of this type is made before it is read, so that the
/// compiler does not conclude the form from the one impl that fits `T`. Invariant in `T`: a type with `'static`
/// must not become one with a shorter lifetime, whose error would be at the call of the method.
pub struct Payload<F, T>(F, PhantomData<fn(T) -> T>);

impl<F, T> Payload<F, T> {
    /// Reads it.
    ///
    /// # Errors
    /// The payload does not fit the type.
    pub fn read<'n>(self, notification: &'n Notification<'n>) -> Result<T, Failure>
    where
        T: PayloadArgument<'n, F>,
    {
        T::take(self.0, notification).map_err(|error| failure("payload", error))
    }
}

/// `ctxt`, of type `T` with the form `F`.
pub struct Ctxt<F, T>(F, PhantomData<fn(T) -> T>);

impl<F, T> Ctxt<F, T> {
    /// Reads it.
    ///
    /// # Errors
    /// The context does not fit the type.
    pub fn read<'n>(self, notification: &'n Notification<'n>) -> Result<T, Failure>
    where
        T: ContextArgument<'n, F>,
    {
        T::take(self.0, notification).map_err(|error| failure("ctxt", error))
    }
}

fn failure(argument: &'static str, error: PartError) -> Failure {
    Failure::Argument { argument, source: error.into() }
}

macro_rules! arguments {
    ($($form:ty $(, $parameter:ident)?;)+) => {$(
        impl$(<$parameter>)? $form {
            /// A `ctxt` of this form.
            pub fn ctxt<T>(self) -> Ctxt<Self, T> {
                Ctxt(self, PhantomData)
            }

            /// A `payload` of this form.
            pub fn payload<T>(self) -> Payload<Self, T> {
                Payload(self, PhantomData)
            }
        }
    )+};
}

arguments! {
    Plain;
    Unwrapped;
    Optional<F>, F;
    Fallible<F>, F;
}
