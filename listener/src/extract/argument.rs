//! The five arguments that are extracted by name: `ctxt`, `publisher_id`, `event_type`, `payload`,
//! `metadata`. A trait for each kind defines its types, so that the compiler reports a wrong type at the
//! argument. Only generated code uses them. The form of a type, in `form.rs`, tells an `Option` or a `Result`
//! from other types.

use serde::Deserialize;

use crate::extract::form::{Fallible, Optional, Plain};
use crate::notification::context::Context;
use crate::notification::metadata::Metadata;
use crate::notification::{Notification, PartError};

/// Used by the code that `#[notification_endpoint]` generates; not for programs.
///
/// The types of `ctxt`: `&Context`, any type that can be read from it, and `Option` and `Result` of one.
#[diagnostic::on_unimplemented(
    message = "`ctxt` cannot be a `{Self}`",
    label = "neither `&Context` nor a type that implements `Deserialize`",
    note = "take `ctxt: &Context`, or derive `serde::Deserialize` for this type and take it by value"
)]
pub trait ContextArgument<'n, Form>: Sized {
    /// Reads the context.
    ///
    /// # Errors
    /// The context does not fit the type.
    fn take(form: Form, notification: &'n Notification<'n>) -> Result<Self, PartError>;
}

impl<'n> ContextArgument<'n, Plain> for &'n Context {
    fn take(_: Plain, notification: &'n Notification<'n>) -> Result<Self, PartError> {
        notification.context()
    }
}

#[diagnostic::do_not_recommend]
impl<'n, T: Deserialize<'n>> ContextArgument<'n, Plain> for T {
    fn take(_: Plain, notification: &'n Notification<'n>) -> Result<Self, PartError> {
        notification.context_as()
    }
}

/// `None` if the context is empty.
impl<'n, F, T: ContextArgument<'n, F>> ContextArgument<'n, Optional<F>> for Option<T> {
    fn take(
        Optional(form): Optional<F>,
        notification: &'n Notification<'n>,
    ) -> Result<Self, PartError> {
        if notification.has_context() { T::take(form, notification).map(Some) } else { Ok(None) }
    }
}

/// The method handles the error of deserializing.
impl<'n, F, T: ContextArgument<'n, F>, E: ArgumentError> ContextArgument<'n, Fallible<F>>
    for Result<T, E>
{
    fn take(
        Fallible(form): Fallible<F>,
        notification: &'n Notification<'n>,
    ) -> Result<Self, PartError> {
        Ok(T::take(form, notification).map_err(E::from_part_error))
    }
}

/// Used by the code that `#[notification_endpoint]` generates; not for programs.
///
/// The types of `publisher_id` and `event_type`.
#[diagnostic::on_unimplemented(
    message = "`publisher_id` and `event_type` cannot be a `{Self}`",
    label = "expected `&str`",
    note = "take `&str` (null is the empty string), `Option<&str>` (null is `None`), `String` or `Option<String>`"
)]
pub trait TextArgument<'n>: Sized {
    /// Makes the argument. `None`: it is null or missing.
    fn take(text: Option<&'n str>) -> Self;
}

impl<'n> TextArgument<'n> for &'n str {
    fn take(text: Option<&'n str>) -> Self {
        text.unwrap_or_default()
    }
}

impl<'n> TextArgument<'n> for Option<&'n str> {
    fn take(text: Option<&'n str>) -> Self {
        text
    }
}

impl<'n> TextArgument<'n> for String {
    fn take(text: Option<&'n str>) -> Self {
        text.unwrap_or_default().to_owned()
    }
}

impl<'n> TextArgument<'n> for Option<String> {
    fn take(text: Option<&'n str>) -> Self {
        text.map(str::to_owned)
    }
}

/// Used by the code that `#[notification_endpoint]` generates; not for programs.
///
/// The types of `payload`: any that can be deserialized, including borrowed ones, `Versioned<T>`, and
/// `Option` and `Result` of one.
#[diagnostic::on_unimplemented(
    message = "`payload` cannot be a `{Self}`",
    label = "does not implement `Deserialize`",
    note = "derive `serde::Deserialize` for the type and take it by value; or take `serde_json::Value`, or `&serde_json::value::RawValue`"
)]
pub trait PayloadArgument<'n, Form>: Sized {
    /// Reads the payload.
    ///
    /// # Errors
    /// The payload does not fit the type.
    fn take(form: Form, notification: &'n Notification<'n>) -> Result<Self, PartError>;
}

#[diagnostic::do_not_recommend]
impl<'n, T: Deserialize<'n>> PayloadArgument<'n, Plain> for T {
    fn take(_: Plain, notification: &'n Notification<'n>) -> Result<Self, PartError> {
        notification.payload()
    }
}

/// `None` if the payload is null or missing.
impl<'n, F, T: PayloadArgument<'n, F>> PayloadArgument<'n, Optional<F>> for Option<T> {
    fn take(
        Optional(form): Optional<F>,
        notification: &'n Notification<'n>,
    ) -> Result<Self, PartError> {
        match notification.raw_payload().get() {
            "null" => Ok(None),
            _ => T::take(form, notification).map(Some),
        }
    }
}

/// The method handles the error of deserializing.
impl<'n, F, T: PayloadArgument<'n, F>, E: ArgumentError> PayloadArgument<'n, Fallible<F>>
    for Result<T, E>
{
    fn take(
        Fallible(form): Fallible<F>,
        notification: &'n Notification<'n>,
    ) -> Result<Self, PartError> {
        Ok(T::take(form, notification).map_err(E::from_part_error))
    }
}

/// Used by the code that `#[notification_endpoint]` generates; not for programs.
///
/// The types of `metadata`.
#[diagnostic::on_unimplemented(
    message = "`metadata` cannot be a `{Self}`",
    label = "expected `&Metadata`",
    note = "take `metadata: &Metadata`"
)]
pub trait MetadataArgument<'n>: Sized {
    /// Makes the argument.
    fn take(notification: &'n Notification<'n>) -> Self;
}

impl<'n> MetadataArgument<'n> for &'n Metadata {
    fn take(notification: &'n Notification<'n>) -> Self {
        notification.metadata()
    }
}

/// Used by the code that `#[notification_endpoint]` generates; not for programs.
///
/// The types of `E` in an argument `Result<T, E>`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of this argument",
    label = "the error is not `PartError`",
    note = "use `Result<T, PartError>` (`listener::PartError`), or an error that implements `From<PartError>`"
)]
pub trait ArgumentError {
    /// Makes the error of the argument from that of deserializing.
    fn from_part_error(error: PartError) -> Self;
}

#[diagnostic::do_not_recommend]
impl<E: From<PartError>> ArgumentError for E {
    fn from_part_error(error: PartError) -> Self {
        E::from(error)
    }
}
