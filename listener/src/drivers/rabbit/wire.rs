//! Converts properties and headers between lapin's types and those of the driver's contract, and checks
//! the length of names. Called for each delivery (`consuming/consumers.rs`) and each message
//! (`publishing/message.rs`).

use std::borrow::Cow;

use lapin::BasicProperties;
use lapin::types::generation::gen_field_table;
use lapin::types::parsing::parse_field_table;
use lapin::types::{
    AMQPValue, ByteArray, DecimalValue, FieldArray, FieldTable, LongString, ShortString,
};

use super::workarounds::nested_tables;
use crate::transport::delivery::{HeaderValue, Headers, Properties};

/// The longest name, in bytes.
pub(super) const NAME_LIMIT: usize = 255;

/// A name or short string of more than 255 bytes, which AMQP cannot represent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} has {length} bytes, and AMQP takes {NAME_LIMIT} at most")]
pub(super) struct TooLong {
    what: String,
    length: usize,
}

/// A short string of AMQP.
pub(super) fn short(what: &str, text: &str) -> Result<ShortString, TooLong> {
    ShortString::try_new(text).map_err(|_| TooLong { what: what.to_owned(), length: text.len() })
}

/// The properties of a delivery.
pub(super) fn from_amqp(properties: &BasicProperties) -> Properties {
    let text = |text: &Option<ShortString>| text.as_ref().map(|text| text.as_str().into());
    Properties {
        content_type: properties
            .content_type()
            .as_ref()
            .map(|text| known(text.as_str(), "application/json")),
        content_encoding: properties
            .content_encoding()
            .as_ref()
            .map(|text| known(text.as_str(), "utf-8")),
        headers: properties.headers().as_ref().map(headers_from).unwrap_or_default(),
        priority: *properties.priority(),
        correlation_id: text(properties.correlation_id()),
        reply_to: text(properties.reply_to()),
        message_id: text(properties.message_id()),
        timestamp: *properties.timestamp(),
        kind: text(properties.kind()),
        app_id: text(properties.app_id()),
    }
}

/// The properties of a message. All messages are persistent.
pub(super) fn to_amqp(properties: &Properties) -> Result<BasicProperties, TooLong> {
    let mut amqp = BasicProperties::default()
        .with_headers(headers_to(&properties.headers)?)
        .with_delivery_mode(2);
    if let Some(text) = &properties.content_type {
        amqp = amqp.with_content_type(short("the content type", text)?);
    }
    if let Some(text) = &properties.content_encoding {
        amqp = amqp.with_content_encoding(short("the content encoding", text)?);
    }
    if let Some(priority) = properties.priority {
        amqp = amqp.with_priority(priority);
    }
    if let Some(text) = &properties.correlation_id {
        amqp = amqp.with_correlation_id(short("the correlation id", text)?);
    }
    if let Some(text) = &properties.reply_to {
        amqp = amqp.with_reply_to(short("the address for replies", text)?);
    }
    if let Some(text) = &properties.message_id {
        amqp = amqp.with_message_id(short("the message id", text)?);
    }
    if let Some(timestamp) = properties.timestamp {
        amqp = amqp.with_timestamp(timestamp);
    }
    if let Some(text) = &properties.kind {
        amqp = amqp.with_type(short("the message type", text)?);
    }
    if let Some(text) = &properties.app_id {
        amqp = amqp.with_app_id(short("the application id", text)?);
    }
    Ok(amqp)
}

/// Borrows the usual value, to save an allocation for nearly every message.
fn known(text: &str, usual: &'static str) -> Cow<'static, str> {
    if text == usual { Cow::Borrowed(usual) } else { Cow::Owned(text.to_owned()) }
}

/// The headers in an encoded table, for tests; none if lapin would not read it.
#[must_use]
pub fn headers_from_table(bytes: &[u8]) -> Option<Headers> {
    if !nested_tables::is_readable_table(bytes) {
        return None;
    }
    let (_, table) = parse_field_table(bytes).expect("readable tables can be parsed");
    Some(headers_from(&table))
}

/// An encoded table with these headers, for tests; none if a name is too long.
#[must_use]
pub fn table_from_headers(headers: &Headers) -> Option<Vec<u8>> {
    let table = headers_to(headers).ok()?;
    let written = gen_field_table(&table)(Vec::new().into());
    Some(written.expect("writing to a Vec does not fail").into_inner().0)
}

/// Recursive: `nested_tables.rs` lets no deep table pass.
fn headers_from(table: &FieldTable) -> Headers {
    table.into_iter().map(|(name, value)| (name.as_str().to_owned(), value_from(value))).collect()
}

fn value_from(value: &AMQPValue) -> HeaderValue {
    match value {
        AMQPValue::Void => HeaderValue::Null,
        AMQPValue::Boolean(truth) => HeaderValue::Bool(*truth),
        AMQPValue::ShortShortInt(n) => HeaderValue::Int8(*n),
        AMQPValue::ShortShortUInt(n) => HeaderValue::UInt8(*n),
        AMQPValue::ShortInt(n) => HeaderValue::Int16(*n),
        AMQPValue::ShortUInt(n) => HeaderValue::UInt16(*n),
        AMQPValue::LongInt(n) => HeaderValue::Int32(*n),
        AMQPValue::LongUInt(n) => HeaderValue::UInt32(*n),
        AMQPValue::LongLongInt(n) => HeaderValue::Int64(*n),
        AMQPValue::Float(n) => HeaderValue::Float32(*n),
        AMQPValue::Double(n) => HeaderValue::Float64(*n),
        AMQPValue::DecimalValue(n) => HeaderValue::Decimal { scale: n.scale, value: n.value },
        AMQPValue::Timestamp(seconds) => HeaderValue::Timestamp(*seconds),
        AMQPValue::ShortString(text) => HeaderValue::Text(text.as_str().to_owned()),
        AMQPValue::LongString(text) => match std::str::from_utf8(text.as_bytes()) {
            Ok(text) => HeaderValue::Text(text.to_owned()),
            Err(_) => HeaderValue::RawText(text.as_bytes().to_vec()),
        },
        AMQPValue::ByteArray(bytes) => HeaderValue::Bytes(bytes.as_slice().to_vec()),
        AMQPValue::FieldArray(list) => {
            HeaderValue::Array(list.as_slice().iter().map(value_from).collect())
        }
        AMQPValue::FieldTable(table) => HeaderValue::Table(headers_from(table)),
    }
}

pub(super) fn headers_to(headers: &Headers) -> Result<FieldTable, TooLong> {
    let mut table = FieldTable::default();
    for (name, value) in headers.iter() {
        table.insert(short("a header's name", name)?, value_to(value)?);
    }
    Ok(table)
}

fn value_to(value: &HeaderValue) -> Result<AMQPValue, TooLong> {
    Ok(match value {
        HeaderValue::Null => AMQPValue::Void,
        HeaderValue::Bool(truth) => AMQPValue::Boolean(*truth),
        HeaderValue::Int8(n) => AMQPValue::ShortShortInt(*n),
        HeaderValue::UInt8(n) => AMQPValue::ShortShortUInt(*n),
        HeaderValue::Int16(n) => AMQPValue::ShortInt(*n),
        HeaderValue::UInt16(n) => AMQPValue::ShortUInt(*n),
        HeaderValue::Int32(n) => AMQPValue::LongInt(*n),
        HeaderValue::UInt32(n) => AMQPValue::LongUInt(*n),
        HeaderValue::Int64(n) => AMQPValue::LongLongInt(*n),
        HeaderValue::Float32(n) => AMQPValue::Float(*n),
        HeaderValue::Float64(n) => AMQPValue::Double(*n),
        HeaderValue::Decimal { scale, value } => {
            AMQPValue::DecimalValue(DecimalValue { scale: *scale, value: *value })
        }
        HeaderValue::Timestamp(seconds) => AMQPValue::Timestamp(*seconds),
        HeaderValue::Text(text) => AMQPValue::LongString(LongString::from(text.as_bytes())),
        HeaderValue::RawText(bytes) => AMQPValue::LongString(LongString::from(bytes.as_slice())),
        HeaderValue::Bytes(bytes) => AMQPValue::ByteArray(ByteArray::from(bytes.as_slice())),
        HeaderValue::Array(list) => AMQPValue::FieldArray(FieldArray::from(
            list.iter().map(value_to).collect::<Result<Vec<_>, _>>()?,
        )),
        HeaderValue::Table(table) => AMQPValue::FieldTable(headers_to(table)?),
    })
}

#[cfg(test)]
mod tests {
    use lapin::protocol::basic::gen_properties;

    use super::*;

    /// All properties, and a header of each type, sorted by name as in lapin's tables.
    fn all() -> Properties {
        let table = Headers::from_iter([("k".to_owned(), HeaderValue::Null)]);
        let list = vec![HeaderValue::Bool(true), HeaderValue::from("x")];
        let values = [
            HeaderValue::Null,
            HeaderValue::Bool(true),
            HeaderValue::Int8(-1),
            HeaderValue::UInt8(1),
            HeaderValue::Int16(-2),
            HeaderValue::UInt16(2),
            HeaderValue::Int32(-3),
            HeaderValue::UInt32(3),
            HeaderValue::Int64(-4),
            HeaderValue::Float32(0.25),
            HeaderValue::Float64(0.5),
            HeaderValue::Decimal { scale: 2, value: 1234 },
            HeaderValue::Timestamp(7),
            HeaderValue::from("é"),
            HeaderValue::RawText(vec![0xc3]),
            HeaderValue::Bytes(vec![0xff]),
            HeaderValue::Array(list),
            HeaderValue::Table(table),
        ];
        let named = |(n, value)| (format!("{n:02}"), value);
        Properties {
            content_type: Some("application/json".into()),
            content_encoding: Some("utf-8".into()),
            headers: values.into_iter().enumerate().map(named).collect(),
            priority: Some(5),
            correlation_id: Some("correlation".into()),
            reply_to: Some("replies".into()),
            message_id: Some("message".into()),
            timestamp: Some(1_778_311_773),
            kind: Some("kind".into()),
            app_id: Some("app".into()),
        }
    }

    #[test]
    fn sent_properties_are_read_back_unchanged() {
        let amqp = to_amqp(&all()).expect("names are short");
        assert_eq!(*amqp.delivery_mode(), Some(2));
        let found = from_amqp(&amqp);
        assert_eq!(found, all());
        assert!(matches!(found.content_type, Some(Cow::Borrowed(_))));
        assert!(matches!(found.content_encoding, Some(Cow::Borrowed(_))));
    }

    #[test]
    fn the_type_of_each_header_is_that_of_the_wire() {
        let table = headers_to(&all().headers).expect("names are short");
        let types = table.inner().values().map(|value| value.get_type().get_id());
        assert_eq!(types.collect::<String>(), "VtbBsuIilfdDTSSxAF");
    }

    #[test]
    fn the_size_is_that_on_the_wire() {
        for properties in [Properties::default(), all()] {
            let amqp = to_amqp(&properties).expect("names are short");
            let written = gen_properties(&amqp)(Vec::new().into()).expect("it is a Vec");
            // Without two bytes of flags and the delivery mode.
            assert_eq!(written.into_inner().0.len(), properties.size() + 3);
        }
    }

    #[test]
    fn names_that_are_too_long_for_amqp_are_refused() {
        let name = "n".repeat(256);
        let properties = Properties {
            headers: Headers::from_iter([(name, HeaderValue::Null)]),
            ..Properties::default()
        };
        assert_eq!(
            to_amqp(&properties).expect_err("too long").to_string(),
            "a header's name has 256 bytes, and AMQP takes 255 at most"
        );
    }
}
