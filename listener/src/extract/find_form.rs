//! Finds the form of a type, in generated code, by method lookup, so an alias of `Result` has its form, and a
//! program's own type of that name does not: of the methods `__listener_form`, the compiler chooses the first
//! that fits the type, in the order of the references that they need.

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

/// Values that carry a type. Generated code names a type as `<T as Typed>`, not as a type argument: for an
/// unknown type in a type argument rustc suggests a parameter, which it does not in the signature.
pub trait Typed: Sized {
    /// The type, written as `Result`.
    const NAMED_RESULT: Form<Self, NamedResult> = Form(PhantomData);
    /// The type, with another name.
    const OTHER_NAME: Form<Self, OtherName> = Form(PhantomData);
    /// The type of an argument.
    const TYPE: PhantomData<fn(Self) -> Self> = PhantomData;
}

impl<T> Typed for T {}

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

/// Reads `payload`, of type `T` with the form `F`. Both are values, so that the compiler does not conclude the
/// form from the one impl that fits `T`.
///
/// # Errors
/// The payload does not fit the type.
pub fn payload<'n, F, T: PayloadArgument<'n, F>>(
    form: F,
    _: PhantomData<fn(T) -> T>,
    notification: &'n Notification<'n>,
) -> Result<T, Failure> {
    T::take(form, notification).map_err(|error| failure("payload", error))
}

/// Reads `ctxt`, of type `T` with the form `F`.
///
/// # Errors
/// The context does not fit the type.
pub fn ctxt<'n, F, T: ContextArgument<'n, F>>(
    form: F,
    _: PhantomData<fn(T) -> T>,
    notification: &'n Notification<'n>,
) -> Result<T, Failure> {
    T::take(form, notification).map_err(|error| failure("ctxt", error))
}

fn failure(argument: &'static str, error: PartError) -> Failure {
    Failure::Argument { argument, source: error.into() }
}

#[cfg(test)]
mod tests {
    use std::any::type_name_of_val;

    use super::*;

    type Read<T> = Result<T, PartError>;
    type Maybe<T> = Option<T>;
    type Object = Versioned<u8>;

    mod own {
        pub(super) struct Option<T>(pub(super) T);
    }

    macro_rules! check {
        ($ty:ty, $expected:ty) => {
            let found = (&&<$ty as Typed>::OTHER_NAME).__listener_form();
            assert_eq!(type_name_of_val(&found), std::any::type_name::<$expected>());
        };
    }

    #[test]
    fn the_form_is_that_of_the_type_under_any_name() {
        check!(u8, Plain);
        check!(own::Option<u8>, Plain);
        check!(Maybe<u8>, Optional<Plain>);
        check!(Read<u8>, Fallible<Plain>);
        check!(Object, Unwrapped);
        check!(Maybe<Object>, Optional<Unwrapped>);
        check!(Read<Maybe<u8>>, Fallible<Optional<Plain>>);
        check!(Read<Object>, Fallible<Unwrapped>);
        check!(Maybe<Read<u8>>, Optional<Fallible<Plain>>);
        check!(Read<Maybe<Object>>, Fallible<Optional<Unwrapped>>);
        assert_eq!(own::Option(1).0, 1);
    }

    #[test]
    fn a_result_with_another_error_is_one_only_if_it_has_that_name() {
        check!(Result<u8, String>, Plain);
        let named = <Result<u8, String> as Typed>::NAMED_RESULT.__listener_form();
        assert_eq!(type_name_of_val(&named), std::any::type_name::<Fallible<Plain>>());
    }
}
