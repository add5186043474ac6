//! The Python listener receives notifications of our notifier unchanged.

use listener::{Compression, Context, EnvelopeVersion, Notifier, Transport};
use serde_json::Value;
use support::python_peer::{ListenerOptions, PythonListener};
use support::rabbit_node::{oslo_url, shared};

use crate::collect::{SOON, from_python};
use crate::samples;

async fn check(
    vhost: &str,
    version: EnvelopeVersion,
    compression: Option<Compression>,
    durable: bool,
) {
    let url = oslo_url(&shared().await.vhost(vhost).await);
    let options = ListenerOptions { durable, ..ListenerOptions::default() };
    let mut python = PythonListener::start(&url, &options).await;
    // Some samples have the token of their user.
    let builder = Notifier::builder(Transport::open(&url).unwrap()).whole_context();
    let mut builder = builder.version(version);
    if let Some(compression) = compression {
        builder = builder.compression(compression);
    }
    let notifier = builder.build().unwrap();
    let mut left_out = Vec::new();
    for sample in samples::all() {
        // Rust cannot express JSON that only Python accepts, or a null event type.
        let expected = serde_json::from_str::<Value>(&sample.text)
            .ok()
            .filter(|expected| expected["event_type"].is_string());
        let Some(expected) = expected else {
            left_out.push(sample.name);
            continue;
        };
        let context: Context = serde_json::from_value(expected["ctxt"].clone()).unwrap();
        let notifier = match expected["publisher_id"].as_str() {
            Some(publisher_id) => notifier.with_publisher_id(publisher_id),
            None => notifier.clone(),
        };
        let event_type = expected["event_type"].as_str().unwrap();
        let priority = expected["priority"].as_str().unwrap().parse().unwrap();
        notifier.notify(priority, &context, event_type, &expected["payload"]).await.unwrap();
        let mut found = from_python(&python.next(SOON).await);
        let metadata = found.as_object_mut().unwrap().remove("metadata").unwrap();
        assert!(found == expected, "{}: {found} is not {expected}", sample.name);
        assert_eq!(metadata["message_id"].as_str().unwrap().len(), 36, "{metadata}");
    }
    assert_eq!(left_out, ["not-finite", "half-pairs", "nulls"]);
    notifier.close().await;
    python.stop().await;
}

#[tokio::test]
#[ignore = "needs rabbitmq and oslo.messaging"]
async fn python_receives_version_1_as_it_was_sent() {
    check("to-python-v1", EnvelopeVersion::V1, None, false).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq and oslo.messaging"]
async fn python_receives_version_2_as_it_was_sent() {
    check("to-python-v2", EnvelopeVersion::V2, None, true).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq and oslo.messaging"]
async fn python_receives_compressed_bodies() {
    check("to-python-zlib", EnvelopeVersion::V2, Some(Compression::Zlib), true).await;
    check("to-python-bzip2", EnvelopeVersion::V1, Some(Compression::Bzip2), true).await;
}
