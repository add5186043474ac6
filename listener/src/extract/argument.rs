//! The five arguments that are extracted by name: `ctxt`, `publisher_id`, `event_type`, `payload`,
//! `metadata`. A trait for each kind defines its types, so that the compiler reports a wrong type at the
//! argument. Only generated code uses them.

use serde::Deserialize;

use crate::notification::context::Context;
use crate::notification::metadata::Metadata;
use crate::notification::{Notification, PartError};

/// Used by the code that `#[notification_endpoint]` generates; not for programs.
///
/// The types of `ctxt`: `&Context`, or any type that can be read from it.
#[diagnostic::on_unimplemented(
    message = "`ctxt` cannot be a `{Self}`",
    label = "neither `&Context` nor a type that implements `Deserialize`",
    note = "take `ctxt: &Context`, or derive `serde::Deserialize` for this type and take it by value"
)]
pub trait ContextArgument<'n>: Sized {
    /// Reads the context.
    ///
    /// # Errors
    /// The context does not fit the type.
    fn take(notification: &'n Notification<'n>) -> Result<Self, PartError>;
}

impl<'n> ContextArgument<'n> for &'n Context {
    fn take(notification: &'n Notification<'n>) -> Result<Self, PartError> {
        notification.context()
    }
}

#[diagnostic::do_not_recommend]
impl<'n, T: Deserialize<'n>> ContextArgument<'n> for T {
    fn take(notification: &'n Notification<'n>) -> Result<Self, PartError> {
        notification.context_as()
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
/// The types of `payload`: any that can be deserialized, including borrowed ones.
#[diagnostic::on_unimplemented(
    message = "`payload` cannot be a `{Self}`",
    label = "does not implement `Deserialize`",
    note = "derive `serde::Deserialize` for the type and take it by value; or take `serde_json::Value`, or `&serde_json::value::RawValue`"
)]
pub trait PayloadArgument<'n>: Sized {
    /// Reads the payload.
    ///
    /// # Errors
    /// The payload does not fit the type.
    fn take(notification: &'n Notification<'n>) -> Result<Self, PartError>;
}

#[diagnostic::do_not_recommend]
impl<'n, T: Deserialize<'n>> PayloadArgument<'n> for T {
    fn take(notification: &'n Notification<'n>) -> Result<Self, PartError> {
        notification.payload()
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
/// `Option<T>` for `payload`: `None` if it is null or missing. The macro recognizes the name `Option`;
/// under another name serde deserializes it, with the same result for every type of serde's own.
pub trait OptionalPayload<'n>: Sized {
    /// Reads the payload.
    ///
    /// # Errors
    /// The payload is neither null nor missing, and does not fit the type.
    fn take(notification: &'n Notification<'n>) -> Result<Self, PartError>;
}

impl<'n, T: PayloadArgument<'n>> OptionalPayload<'n> for Option<T> {
    fn take(notification: &'n Notification<'n>) -> Result<Self, PartError> {
        match notification.raw_payload().get() {
            "null" => Ok(None),
            _ => T::take(notification).map(Some),
        }
    }
}

/// Used by the code that `#[notification_endpoint]` generates; not for programs.
///
/// `Option<T>` for `ctxt`: `None` if the context is empty. The macro recognizes the name `Option`.
pub trait OptionalContext<'n>: Sized {
    /// Reads the context.
    ///
    /// # Errors
    /// The context is not empty and does not fit the type.
    fn take(notification: &'n Notification<'n>) -> Result<Self, PartError>;
}

impl<'n, T: ContextArgument<'n>> OptionalContext<'n> for Option<T> {
    fn take(notification: &'n Notification<'n>) -> Result<Self, PartError> {
        if notification.has_context() { T::take(notification).map(Some) } else { Ok(None) }
    }
}

/// Used by the code that `#[notification_endpoint]` generates; not for programs.
///
/// `Result<T, E>` for `payload` and `ctxt`: the method handles the error of deserializing. The macro
/// recognizes the name `Result`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the type of this argument",
    label = "not `Result<T, PartError>`",
    note = "use `Result<T, E>`, where `T` is a type that the argument accepts, and `E` is `PartError` or implements `From<PartError>`"
)]
pub trait FallibleArgument<'n, A>: Sized {
    /// Makes the argument from the result of deserializing.
    fn keep(read: Result<A, PartError>) -> Self;
}

#[diagnostic::do_not_recommend]
impl<'n, A, E: From<PartError>> FallibleArgument<'n, A> for Result<A, E> {
    fn keep(read: Result<A, PartError>) -> Self {
        read.map_err(E::from)
    }
}
