//! The notifications that are sent in both directions: our own, and each file in the folder
//! LISTENER_SAMPLES, with a whole or a part of a notification.

use std::path::Path;

use serde_json::{Map, Value, json};

/// A notification as the Python notifier accepts it: one JSON object with `ctxt`, `publisher_id`,
/// `event_type`, `priority` and `payload`. It is text because it may contain JSON that only Python
/// accepts.
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) text: String,
}

pub(crate) fn all() -> Vec<Sample> {
    let mut samples = ours();
    if let Some(folder) = std::env::var_os("LISTENER_SAMPLES") {
        let before = samples.len();
        samples.extend(of_folder(Path::new(&folder)));
        assert!(samples.len() > before, "no sample in the folder that LISTENER_SAMPLES names");
    }
    samples
}

fn ours() -> Vec<Sample> {
    let with_payload = |name: &str, payload: &str| Sample {
        name: name.to_owned(),
        text: format!(
            r#"{{"ctxt": {{"request_id": "req-1", "roles": ["admin"], "is_admin": true}}, "publisher_id": "compute.host1", "event_type": "test.{name}", "priority": "info", "payload": {payload}}}"#
        ),
    };
    let mut samples = vec![
        with_payload("plain", r#"{"id": "i-1", "n": 1}"#),
        with_payload(
            "non-ascii",
            r#"{"é": "Grüße, 世界 🦀", "escaped": "\u00e9\ud83e\udd80", "control": "\u0000\u001f\u007f\u2028"}"#,
        ),
        with_payload(
            "not-finite",
            r#"{"nan": NaN, "list": [Infinity, -Infinity, 1.5], "text": "NaN Infinity"}"#,
        ),
        with_payload(
            "half-pairs",
            r#"{"high": "a\ud800b", "low": "\udc00", "swapped": "\udc00\ud800", "pair": "\ud83e\udd80"}"#,
        ),
        with_payload(
            "numbers",
            r#"{"big": 123456789012345678901234567890, "u64": 18446744073709551615, "i64": -9223372036854775808, "float": 0.1, "long": 3.0000000000000004, "tiny": 5e-324, "exponent": 1e+16, "zero": -0.0}"#,
        ),
        with_payload("null", "null"),
        with_payload("text", r#""only text""#),
        with_payload("list", r#"[1, "two", [3], {"four": 4}]"#),
        with_payload("empty", "{}"),
        with_payload("nested", &format!("{}1{}", r#"{"a": ["#.repeat(30), "]}".repeat(30))),
        with_payload("large", &format!(r#"{{"body": "{}"}}"#, "x\\n\u{e9}".repeat(1 << 18))),
        with_payload("tag", r#"{"__type__": "ours", "kind": "no kombu tag: it has no value"}"#),
    ];
    samples.push(Sample {
        name: "nulls".to_owned(),
        text: r#"{"ctxt": {}, "publisher_id": null, "event_type": null, "priority": "info", "payload": null}"#.to_owned(),
    });
    for priority in ["audit", "debug", "warn", "error", "critical", "sample"] {
        samples.push(Sample {
            name: priority.to_owned(),
            text: format!(
                r#"{{"ctxt": {{}}, "publisher_id": "p", "event_type": "x", "priority": "{priority}", "payload": 1}}"#
            ),
        });
    }
    samples
}

fn of_folder(folder: &Path) -> Vec<Sample> {
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            Sample {
                name: path.file_stem().unwrap().to_string_lossy().into_owned(),
                text: to_send(serde_json::from_str(&text).unwrap()).to_string(),
            }
        })
        .collect()
}

/// A wire body of either version, a notification without ids, or the arguments of a method.
fn to_send(mut file: Value) -> Value {
    if let Some(inner) = file.get("oslo.message") {
        file = serde_json::from_str(inner.as_str().unwrap()).unwrap();
    }
    let fields = file.as_object_mut().unwrap();
    let context = fields.remove("ctxt").unwrap_or_else(|| {
        let prefixed = fields.iter().filter_map(|(key, value)| {
            Some((key.strip_prefix("_context_")?.to_owned(), value.clone()))
        });
        Value::Object(prefixed.collect::<Map<_, _>>())
    });
    let priority = fields.get("priority").and_then(Value::as_str).unwrap_or("INFO");
    json!({
        "ctxt": context,
        "publisher_id": fields["publisher_id"],
        "event_type": fields["event_type"],
        "priority": priority.to_lowercase(),
        "payload": fields["payload"],
    })
}
