//! Any notification is read as it was written, in each version, compressed or not.

use listener::envelope::{
    Compression, EnvelopeVersion, Labels, Limits, Message, encode, open, read,
};
use listener::{Context, Priority};
use serde_json::Value;

use super::source::Source;

const PRIORITIES: [Priority; 7] = [
    Priority::Audit,
    Priority::Debug,
    Priority::Info,
    Priority::Warn,
    Priority::Error,
    Priority::Critical,
    Priority::Sample,
];

pub fn round_trip(data: &[u8]) {
    let mut source = Source::new(data);
    let choice = source.byte();
    let version = if choice & 1 == 0 { EnvelopeVersion::V1 } else { EnvelopeVersion::V2 };
    let compression = [None, None, Some(Compression::Zlib), Some(Compression::Bzip2)]
        [usize::from(choice >> 1 & 3)];
    let priority = PRIORITIES[usize::from(choice >> 3) % PRIORITIES.len()];
    let (event_type, publisher_id, id) = (source.text(), source.text(), source.text());
    let payload = source.json(16);
    let mut context = Context::new();
    while !source.is_empty() {
        context.insert(source.text(), source.json(4));
    }
    let message = Message {
        message_id: &id,
        publisher_id: Some(&publisher_id),
        event_type: &event_type,
        priority,
        payload: &payload,
        timestamp: "2026-05-09 07:29:33.123456",
        unique_id: &id,
        context: &context,
    };
    let mut body = encode(version, &message).unwrap();
    assert!(body.is_ascii(), "written in ASCII, as Python does");
    if let Some(compression) = compression {
        body = compression.compress(&body);
    }
    let label = compression.map(Compression::content_type);
    let labels = Labels { content_type: Some("application/json"), compression: label };
    let opened = match open(&body, labels, &Limits::default()) {
        Ok(opened) => opened,
        // A payload may happen to look like a tag of kombu.
        Err(error) => return assert!(has_tag(&payload, &context), "{error}"),
    };
    let fields = read(&opened.text).unwrap();
    assert_eq!(opened.version, version);
    assert_eq!(fields.message_id.as_deref(), Some(message.message_id));
    assert_eq!(fields.publisher_id.as_deref(), message.publisher_id);
    assert_eq!(fields.event_type.as_deref(), Some(message.event_type));
    assert_eq!(fields.priority.as_deref(), Some(priority.wire()));
    if version == EnvelopeVersion::V2 || !has_tag(&payload, &context) {
        assert_eq!(serde_json::from_str::<Value>(fields.payload.get()).unwrap(), payload);
        let found = fields.context.iter().map(|(key, value)| {
            (key.to_string(), serde_json::from_str::<Value>(value.get()).unwrap())
        });
        assert_eq!(found.collect::<Context>(), context);
    }
}

fn has_tag(payload: &Value, context: &Context) -> bool {
    format!("{payload} {:?}", context.iter().map(|(_, value)| value).collect::<Vec<_>>())
        .contains("__type__")
}
