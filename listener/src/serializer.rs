//! Serializers: convert payload and context between wire and program, for peers with their own encoding
//! (oslo.messaging's `Serializer`). Without one, both are read directly from the text.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::notification::context::Context;
use crate::notification::fields::Fields;
use crate::notification::owned::OwnedFields;
use crate::outcome::BoxError;

/// Converts payload and context between wire and program. By default each method returns its argument
/// unchanged.
///
/// A listener calls the `deserialize_` methods for each delivery before any filter, and possibly several
/// times: with `ordered_by` or an inbox once for the keys, and again whenever the notification is read for
/// another call. After an error the delivery is dead-lettered. A notifier calls the `serialize_` methods
/// once for each notification, and returns an error to the caller.
pub trait Serializer: Send + Sync + 'static {
    /// The payload for the wire. `context` is the one before `serialize_context`.
    ///
    /// # Errors
    /// The payload cannot be sent.
    fn serialize_payload(&self, context: &Context, payload: Value) -> Result<Value, BoxError> {
        let _ = context;
        Ok(payload)
    }

    /// The payload for the program. `context` is the one after `deserialize_context`.
    ///
    /// # Errors
    /// The payload cannot be read.
    fn deserialize_payload(&self, context: &Context, payload: Value) -> Result<Value, BoxError> {
        let _ = context;
        Ok(payload)
    }

    /// The context for the wire.
    ///
    /// # Errors
    /// The context cannot be sent.
    fn serialize_context(&self, context: Context) -> Result<Context, BoxError> {
        Ok(context)
    }

    /// The context for the program.
    ///
    /// # Errors
    /// The context cannot be read.
    fn deserialize_context(&self, context: Context) -> Result<Context, BoxError> {
        Ok(context)
    }
}

/// An `Arc` of a serializer serves several listeners and notifiers.
impl<T: Serializer + ?Sized> Serializer for Arc<T> {
    fn serialize_payload(&self, context: &Context, payload: Value) -> Result<Value, BoxError> {
        (**self).serialize_payload(context, payload)
    }

    fn deserialize_payload(&self, context: &Context, payload: Value) -> Result<Value, BoxError> {
        (**self).deserialize_payload(context, payload)
    }

    fn serialize_context(&self, context: Context) -> Result<Context, BoxError> {
        (**self).serialize_context(context)
    }

    fn deserialize_context(&self, context: Context) -> Result<Context, BoxError> {
        (**self).deserialize_context(context)
    }
}

impl fmt::Debug for dyn Serializer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Serializer")
    }
}

/// Changes nothing, like a notifier or a listener without a serializer: for a wrapper that needs a base.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoOpSerializer;

impl Serializer for NoOpSerializer {}

/// oslo.messaging's serializer of payloads: converts them to JSON.
///
/// There it converts dates, UUIDs and objects with `to_primitive`. Here a payload's `Serialize` has done that
/// before a serializer sees it, so this one changes nothing; with a notifier, floats that are not finite
/// are null.
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonPayloadSerializer;

impl Serializer for JsonPayloadSerializer {}

/// Maps contexts with functions of the program, and leaves payloads to a base, like the
/// `RequestContextSerializer` that each project of OpenStack has.
///
/// ```
/// use listener::{BoxError, Context, NoOpSerializer, Notifier, RequestContextSerializer, Transport};
///
/// let to_wire = |context: Context| Ok(context.with("read_only", false));
/// let from_wire = |context: Context| match context.get("request_id") {
///     Some(_) => Ok(context),
///     None => Err(BoxError::from("the context has no request_id")),
/// };
/// let serializer = RequestContextSerializer::new(NoOpSerializer, to_wire, from_wire);
/// let transport = Transport::open("memory://doc-request-context")?;
/// let notifier = Notifier::builder(transport).serializer(serializer).build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
pub struct RequestContextSerializer<B, S, D> {
    base: B,
    serialize: S,
    deserialize: D,
}

impl<B, S, D> RequestContextSerializer<B, S, D>
where
    B: Serializer,
    S: Fn(Context) -> Result<Context, BoxError> + Send + Sync + 'static,
    D: Fn(Context) -> Result<Context, BoxError> + Send + Sync + 'static,
{
    /// A serializer of contexts: `serialize` maps those for the wire, `deserialize` those for the program. The
    /// methods of `base` for contexts are not called.
    pub const fn new(base: B, serialize: S, deserialize: D) -> Self {
        Self { base, serialize, deserialize }
    }
}

impl<B, S, D> Serializer for RequestContextSerializer<B, S, D>
where
    B: Serializer,
    S: Fn(Context) -> Result<Context, BoxError> + Send + Sync + 'static,
    D: Fn(Context) -> Result<Context, BoxError> + Send + Sync + 'static,
{
    fn serialize_payload(&self, context: &Context, payload: Value) -> Result<Value, BoxError> {
        self.base.serialize_payload(context, payload)
    }

    fn deserialize_payload(&self, context: &Context, payload: Value) -> Result<Value, BoxError> {
        self.base.deserialize_payload(context, payload)
    }

    fn serialize_context(&self, context: Context) -> Result<Context, BoxError> {
        (self.serialize)(context)
    }

    fn deserialize_context(&self, context: Context) -> Result<Context, BoxError> {
        (self.deserialize)(context)
    }
}

impl<B, S, D> fmt::Debug for RequestContextSerializer<B, S, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestContextSerializer")
    }
}

/// The serializer could not read a notification.
#[derive(Debug, thiserror::Error)]
#[error("the serializer could not read it")]
pub(crate) struct SerializerError(#[source] BoxError);

impl SerializerError {
    fn new(error: impl Into<BoxError>) -> Self {
        Self(error.into())
    }
}

/// The fields for the program.
pub(crate) fn deserialize(
    serializer: &dyn Serializer,
    fields: &Fields<'_>,
) -> Result<OwnedFields, SerializerError> {
    let value = |raw: &RawValue| serde_json::from_str(raw.get()).map_err(SerializerError::new);
    let raw = |value: &Value| serde_json::value::to_raw_value(value).map_err(SerializerError::new);

    let mut context = Context::new();
    for (key, text) in &fields.context {
        let value: Value = value(text)?;
        context.insert(key.as_ref(), value);
    }
    let context = serializer.deserialize_context(context).map_err(SerializerError)?;
    let payload = serializer
        .deserialize_payload(&context, value(fields.payload)?)
        .map_err(SerializerError)?;

    let mut owned = OwnedFields::new(fields);
    owned.payload = raw(&payload)?;
    owned.context = context
        .iter()
        .map(|(key, value)| Ok((key.to_owned(), raw(value)?)))
        .collect::<Result<_, _>>()?;
    Ok(owned)
}
