//! Serializers: what stands on the wire ↔ plain values, for programs whose peers change
//! payload or context on the way (oslo.messaging's `Serializer`). Without one, both are read
//! straight from the text.

use std::fmt;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::notification::context::Context;
use crate::notification::fields::Fields;
use crate::notification::owned::OwnedFields;
use crate::outcome::BoxError;

/// Changes payload and context between the wire and the program. Each method gives back what
/// it was given unless it is overridden.
///
/// A listener calls the `deserialize_` methods for each delivery before any filter, and may do so
/// several times: with `ordered_by` or an inbox a first time for its keys, and again whenever the
/// notification is read anew for another call. An error sends the delivery to the dead letters. A
/// notifier calls the `serialize_` methods
/// once for each notification; an error is the caller's.
pub trait Serializer: Send + Sync + 'static {
    /// The payload as it goes on the wire. `context` is the one before `serialize_context`.
    ///
    /// # Errors
    /// The payload cannot be sent.
    fn serialize_payload(&self, context: &Context, payload: Value) -> Result<Value, BoxError> {
        let _ = context;
        Ok(payload)
    }

    /// The payload as the program sees it. `context` is the one after `deserialize_context`.
    ///
    /// # Errors
    /// The payload cannot be read.
    fn deserialize_payload(&self, context: &Context, payload: Value) -> Result<Value, BoxError> {
        let _ = context;
        Ok(payload)
    }

    /// The context as it goes on the wire.
    ///
    /// # Errors
    /// The context cannot be sent.
    fn serialize_context(&self, context: Context) -> Result<Context, BoxError> {
        Ok(context)
    }

    /// The context as the program sees it.
    ///
    /// # Errors
    /// The context cannot be read.
    fn deserialize_context(&self, context: Context) -> Result<Context, BoxError> {
        Ok(context)
    }
}

impl fmt::Debug for dyn Serializer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Serializer")
    }
}

/// The serializer could not read a notification.
#[derive(Debug, thiserror::Error)]
#[error("the serializer could not read it: {0}")]
pub(crate) struct SerializerError(#[source] BoxError);

impl SerializerError {
    fn new(error: impl Into<BoxError>) -> Self {
        Self(error.into())
    }
}

/// The fields as the program is to see them.
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
