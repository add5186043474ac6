//! Any body under any labels: it is decompressed and read, or refused with a short error.

use listener::envelope::{
    Compression, EnvelopeVersion, Fields, Labels, Limits, Message, Opened, encode, open, read,
};
use listener::{Context, Priority};
use serde_json::Value;

use super::tells_no_secret;

const MAX_BODY: usize = 1 << 20;

const TYPES: [Option<&str>; 4] =
    [Some("application/json"), None, Some("Application/JSON; charset=utf-8"), Some("text/plain")];

const COMPRESSIONS: [Option<&str>; 4] = [None, Some("gzip"), Some("application/x-bz2"), Some("")];

/// A first byte below 16 chooses the labels; otherwise they are guessed from the bytes.
pub fn envelope(data: &[u8]) {
    let (choice, body) = match data.split_first() {
        Some((choice @ ..16, body)) => (usize::from(*choice), body),
        Some((b'x' | 0x1f, _)) => (4, data),
        Some((b'B', _)) => (8, data),
        _ => (0, data),
    };
    let labels = Labels { content_type: TYPES[choice % 4], compression: COMPRESSIONS[choice / 4] };
    let limits = Limits::default().max_body(MAX_BODY).max_decompressed(MAX_BODY).max_depth(64);
    let opened = match open(body, labels, &limits) {
        Ok(opened) => opened,
        Err(error) => return tells_no_secret(&error),
    };
    assert!(opened.text.len() <= 2 * MAX_BODY, "a body grew: {opened:?}");
    match read(&opened.text) {
        Err(error) => tells_no_secret(&error),
        Ok(fields) => {
            the_last_of_a_key_counts(&opened, &fields);
            what_is_written_is_read_again(opened.version, &fields);
        }
    }
}

/// As in `serde_json` and Python, the last value of a key is kept. Bodies that `serde_json` cannot
/// read (deep nesting, numbers beyond a float) are not compared.
fn the_last_of_a_key_counts(opened: &Opened<'_>, fields: &Fields<'_>) {
    let Ok(Value::Object(map)) = serde_json::from_str::<Value>(&opened.text) else {
        return;
    };
    for (key, found) in [
        ("message_id", &fields.message_id),
        ("timestamp", &fields.timestamp),
        ("publisher_id", &fields.publisher_id),
        ("event_type", &fields.event_type),
        ("priority", &fields.priority),
        ("_unique_id", &fields.unique_id),
    ] {
        // Other values are kept as text.
        if let None | Some(Value::Null | Value::String(_)) = map.get(key) {
            assert_eq!(map.get(key).and_then(Value::as_str), found.as_deref(), "{key}");
        }
    }
    let payload: Value = serde_json::from_str(fields.payload.get()).unwrap();
    assert_eq!(map.get("payload").unwrap_or(&Value::Null), &payload);
    let context = map.keys().filter(|key| key.starts_with("_context_")).count();
    assert_eq!(context, fields.context.len());
    for (key, value) in &fields.context {
        let value: Value = serde_json::from_str(value.get()).unwrap();
        assert_eq!(map.get(&format!("_context_{key}")), Some(&value));
    }
}

fn what_is_written_is_read_again(version: EnvelopeVersion, fields: &Fields<'_>) {
    let values = fields.context.iter().map(|(key, value)| {
        Some((key.to_string(), serde_json::from_str::<Value>(value.get()).ok()?))
    });
    let priority = fields.priority.as_deref().unwrap_or_default().parse::<Priority>();
    let (Some(context), Ok(priority)) = (values.collect::<Option<Context>>(), priority) else {
        return;
    };
    let message = Message {
        message_id: fields.message_id.as_deref().unwrap_or_default(),
        publisher_id: fields.publisher_id.as_deref(),
        event_type: fields.event_type.as_deref().unwrap_or_default(),
        priority,
        payload: fields.payload,
        timestamp: fields.timestamp.as_deref().unwrap_or_default(),
        unique_id: fields.unique_id.as_deref().unwrap_or_default(),
        context: &context,
    };
    let body = encode(version, &message).unwrap();
    let plain = open(&body, Labels::default(), &Limits::default()).unwrap();
    assert_eq!(plain.version, version);
    let again = read(&plain.text).unwrap();
    assert_eq!(again.message_id.as_deref(), Some(message.message_id));
    assert_eq!(again.publisher_id.as_deref(), message.publisher_id);
    assert_eq!(again.event_type.as_deref(), Some(message.event_type));
    assert_eq!(again.priority.as_deref(), Some(priority.wire()));
    assert_eq!(again.timestamp.as_deref(), Some(message.timestamp));
    assert_eq!(again.unique_id.as_deref(), Some(message.unique_id));
    assert_eq!(again.payload.get(), message.payload.get());
    let found = again
        .context
        .iter()
        .map(|(key, value)| (key.to_string(), serde_json::from_str::<Value>(value.get()).unwrap()));
    assert_eq!(found.collect::<Context>(), context);
    let packed = Compression::Zlib.compress(&body);
    let labels = Labels { compression: Some("application/x-gzip"), content_type: None };
    assert_eq!(open(&packed, labels, &Limits::default()).unwrap(), plain);
}
