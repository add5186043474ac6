//! Properties and headers between AMQP's types and ours, both ways, and names short enough
//! for AMQP. Called for each delivery (`consume.rs`) and each message (`publish.rs`).

use std::borrow::Cow;

use lapin::BasicProperties;
use lapin::types::generation::gen_field_table;
use lapin::types::parsing::parse_field_table;
use lapin::types::{AMQPValue, ByteArray, FieldArray, FieldTable, LongString, ShortString};

use super::screen;
use crate::transport::delivery::{HeaderValue, Headers, Properties};

/// What AMQP cannot carry: a name or short text of more than 255 bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} has {length} bytes, and AMQP takes at most 255")]
pub(super) struct TooLong {
    what: String,
    length: usize,
}

/// A name, as AMQP takes it.
pub(super) fn short(what: &str, text: &str) -> Result<ShortString, TooLong> {
    ShortString::try_new(text).map_err(|_| TooLong { what: what.to_owned(), length: text.len() })
}

/// The properties of a delivery.
pub(super) fn from_amqp(properties: &BasicProperties) -> Properties {
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
    }
}

/// The properties of a message, beside those that each message has: persistent, priority 0.
pub(super) fn to_amqp(properties: &Properties) -> Result<BasicProperties, TooLong> {
    let mut amqp = BasicProperties::default()
        .with_headers(headers_to(&properties.headers)?)
        .with_delivery_mode(2)
        .with_priority(0);
    if let Some(text) = &properties.content_type {
        amqp = amqp.with_content_type(short("the content type", text)?);
    }
    if let Some(text) = &properties.content_encoding {
        amqp = amqp.with_content_encoding(short("the content encoding", text)?);
    }
    Ok(amqp)
}

/// What nearly every message says is borrowed.
fn known(text: &str, usual: &'static str) -> Cow<'static, str> {
    if text == usual { Cow::Borrowed(usual) } else { Cow::Owned(text.to_owned()) }
}

/// The headers that a table of AMQP holds, for tests that have the bytes of one; none if it is
/// not let through.
#[must_use]
pub fn headers_from_table(bytes: &[u8]) -> Option<Headers> {
    if !screen::is_readable_table(bytes) {
        return None;
    }
    let (_, table) = parse_field_table(bytes).expect("what is let through can be read");
    Some(headers_from(&table))
}

/// The table of AMQP that holds these headers, as bytes; none if a name is too long.
#[must_use]
pub fn table_from_headers(headers: &Headers) -> Option<Vec<u8>> {
    let table = headers_to(headers).ok()?;
    let written = gen_field_table(&table)(Vec::new().into());
    Some(written.expect("writing to a Vec does not fail").into_inner().0)
}

/// By recursion: `screen.rs` lets no deep table through.
fn headers_from(table: &FieldTable) -> Headers {
    table.into_iter().map(|(name, value)| (name.as_str().to_owned(), value_from(value))).collect()
}

fn value_from(value: &AMQPValue) -> HeaderValue {
    match value {
        AMQPValue::Void => HeaderValue::Null,
        AMQPValue::Boolean(truth) => HeaderValue::Bool(*truth),
        AMQPValue::ShortShortInt(n) => HeaderValue::Int((*n).into()),
        AMQPValue::ShortShortUInt(n) => HeaderValue::Int((*n).into()),
        AMQPValue::ShortInt(n) => HeaderValue::Int((*n).into()),
        AMQPValue::ShortUInt(n) => HeaderValue::Int((*n).into()),
        AMQPValue::LongInt(n) => HeaderValue::Int((*n).into()),
        AMQPValue::LongUInt(n) => HeaderValue::Int((*n).into()),
        AMQPValue::LongLongInt(n) => HeaderValue::Int(*n),
        AMQPValue::Float(n) => HeaderValue::Float((*n).into()),
        AMQPValue::Double(n) => HeaderValue::Float(*n),
        AMQPValue::DecimalValue(n) => {
            HeaderValue::Float(f64::from(n.value) / 10f64.powi(n.scale.into()))
        }
        AMQPValue::Timestamp(seconds) => HeaderValue::Timestamp(*seconds),
        AMQPValue::ShortString(text) => HeaderValue::Text(text.as_str().to_owned()),
        AMQPValue::LongString(text) => match std::str::from_utf8(text.as_bytes()) {
            Ok(text) => HeaderValue::Text(text.to_owned()),
            Err(_) => HeaderValue::Bytes(text.as_bytes().to_vec()),
        },
        AMQPValue::ByteArray(bytes) => HeaderValue::Bytes(bytes.as_slice().to_vec()),
        AMQPValue::FieldArray(list) => {
            HeaderValue::List(list.as_slice().iter().map(value_from).collect())
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
        HeaderValue::Int(n) => AMQPValue::LongLongInt(*n),
        HeaderValue::Float(n) => AMQPValue::Double(*n),
        HeaderValue::Timestamp(seconds) => AMQPValue::Timestamp(*seconds),
        HeaderValue::Text(text) => AMQPValue::LongString(LongString::from(text.as_bytes())),
        HeaderValue::Bytes(bytes) => AMQPValue::ByteArray(ByteArray::from(bytes.as_slice())),
        HeaderValue::List(list) => AMQPValue::FieldArray(FieldArray::from(
            list.iter().map(value_to).collect::<Result<Vec<_>, _>>()?,
        )),
        HeaderValue::Table(table) => AMQPValue::FieldTable(headers_to(table)?),
    })
}

/// About how many bytes the headers take on the wire: they must fit one frame, or the broker
/// ends the connection.
pub(super) fn size(headers: &Headers) -> usize {
    headers.iter().map(|(name, value)| name.len() + 2 + value_size(value)).sum()
}

fn value_size(value: &HeaderValue) -> usize {
    match value {
        HeaderValue::Text(text) => text.len() + 4,
        HeaderValue::Bytes(bytes) => bytes.len() + 4,
        HeaderValue::List(list) => list.iter().map(|v| 1 + value_size(v)).sum::<usize>() + 4,
        HeaderValue::Table(table) => size(table) + 4,
        _ => 8,
    }
}

#[cfg(test)]
mod tests {
    use lapin::types::DecimalValue;

    use super::*;

    #[test]
    fn what_we_send_is_read_back_as_it_was() {
        let table = Headers::from_iter([("k".to_owned(), HeaderValue::Null)]);
        let list = vec![HeaderValue::Bool(true), HeaderValue::from("x")];
        let properties = Properties {
            content_type: Some("application/json".into()),
            content_encoding: Some("utf-8".into()),
            // In the order of the names: lapin keeps tables sorted.
            headers: Headers::from_iter([
                ("a".to_owned(), HeaderValue::Int(-5)),
                ("b".to_owned(), HeaderValue::Float(0.5)),
                ("c".to_owned(), HeaderValue::Timestamp(7)),
                ("d".to_owned(), HeaderValue::Bytes(vec![0xff])),
                ("e".to_owned(), HeaderValue::List(list)),
                ("f".to_owned(), HeaderValue::Table(table)),
            ]),
        };
        let amqp = to_amqp(&properties).expect("names are short");
        assert_eq!((*amqp.delivery_mode(), *amqp.priority()), (Some(2), Some(0)));
        let found = from_amqp(&amqp);
        assert_eq!(found, properties);
        assert!(matches!(found.content_type, Some(Cow::Borrowed(_))));
        assert!(matches!(found.content_encoding, Some(Cow::Borrowed(_))));
    }

    #[test]
    fn every_type_of_amqp_is_read() {
        let check = |value, expected| assert_eq!(value_from(&value), expected);
        check(AMQPValue::ShortShortInt(-1), HeaderValue::Int(-1));
        check(AMQPValue::ShortShortUInt(1), HeaderValue::Int(1));
        check(AMQPValue::ShortInt(-2), HeaderValue::Int(-2));
        check(AMQPValue::ShortUInt(2), HeaderValue::Int(2));
        check(AMQPValue::LongInt(-3), HeaderValue::Int(-3));
        check(AMQPValue::LongUInt(3), HeaderValue::Int(3));
        check(AMQPValue::Float(0.25), HeaderValue::Float(0.25));
        check(
            AMQPValue::DecimalValue(DecimalValue { scale: 2, value: 125 }),
            HeaderValue::Float(1.25),
        );
        check(AMQPValue::LongString(LongString::from("é")), HeaderValue::from("é"));
        check(AMQPValue::LongString(LongString::from(vec![0xc3])), HeaderValue::Bytes(vec![0xc3]));
    }

    #[test]
    fn names_that_amqp_cannot_carry_are_refused() {
        let name = "n".repeat(256);
        let properties = Properties {
            headers: Headers::from_iter([(name, HeaderValue::Null)]),
            ..Properties::default()
        };
        assert_eq!(
            to_amqp(&properties).expect_err("too long").to_string(),
            "a header's name has 256 bytes, and AMQP takes at most 255"
        );
    }
}
