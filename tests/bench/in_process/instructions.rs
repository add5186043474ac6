//! Repeats one operation, whose instructions `tests/bench/callgrind` counts: times vary too much on a
//! busy machine.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use listener::envelope::{EnvelopeVersion, Labels, Limits, Message, encode, open, read};
use listener::{Context, Listener, Priority, Transport, notification_endpoint};
use tokio::sync::mpsc;

use crate::counted::Counted;
use crate::prepared::Prepared;
use crate::sample::{BODY, ByHand, Envelope, Server};

mod counted;
#[path = "../../flow/prepared.rs"]
mod prepared;
mod sample;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_default();
    let times: u64 = arguments.next().and_then(|times| times.parse().ok()).unwrap_or_default();
    match what.as_str() {
        "decode" => decode(times),
        "decode-by-hand" => decode_by_hand(times),
        "encode" => encode_typed(times),
        "encode-by-hand" => encode_by_hand(times),
        "handle" => handle(times),
        _ => {
            eprintln!(
                "usage: instructions decode|decode-by-hand|encode|encode-by-hand|handle TIMES"
            );
            std::process::exit(2);
        }
    }
}

/// From the bytes to a typed payload.
fn decode(times: u64) {
    let labels = Labels { content_type: Some("application/json"), compression: None };
    let limits = Limits::default();
    for _ in 0..times {
        let opened = open(black_box(BODY), labels, &limits).unwrap();
        let fields = read(&opened.text).unwrap();
        let payload: Server<'_> = serde_json::from_str(fields.payload.get()).unwrap();
        black_box((fields.event_type.as_deref(), &fields.context, &payload));
    }
}

fn decode_by_hand(times: u64) {
    for _ in 0..times {
        let envelope = Envelope::read(black_box(BODY));
        let message: ByHand<'_, Server<'_>> = serde_json::from_str(&envelope.message).unwrap();
        black_box((message.event_type, message.priority, &message.payload));
    }
}

const USER: &str = "1e3ce043029547f1a61c1996d1a531a2";
const PROJECT: &str = "7c150a59fe714e6f9263774af9688f0e";
const REQUEST: &str = "req-3c2b8f0e-5d7f-4a0f-9f51-0d2c7b8f6e10";

fn encode_typed(times: u64) {
    let context = Context::new()
        .with("user_id", USER)
        .with("project_id", PROJECT)
        .with("request_id", REQUEST);
    let envelope = Envelope::read(BODY);
    let message: ByHand<'_, Server<'_>> = serde_json::from_str(&envelope.message).unwrap();
    for _ in 0..times {
        let message = Message {
            message_id: message.message_id,
            publisher_id: Some(message.publisher_id),
            event_type: message.event_type,
            priority: Priority::Info,
            payload: black_box(&message.payload),
            timestamp: message.timestamp,
            unique_id: message.unique_id,
            context: &context,
        };
        black_box(encode(EnvelopeVersion::V2, &message).unwrap());
    }
}

fn encode_by_hand(times: u64) {
    let envelope = Envelope::read(BODY);
    let message: ByHand<'_, Server<'_>> = serde_json::from_str(&envelope.message).unwrap();
    for _ in 0..times {
        let message = serde_json::to_string(black_box(&message)).unwrap();
        let envelope = Envelope { version: "2.0", message: message.into() };
        black_box(serde_json::to_vec(&envelope).unwrap());
    }
}

struct Handler;

#[notification_endpoint(register = false)]
impl Handler {
    async fn info(&self, payload: Server<'_>) {
        black_box(&payload);
    }
}

/// The whole work of a listener, from the driver's delivery to its settlement.
#[tokio::main(flavor = "current_thread")]
async fn handle(times: u64) {
    let (sender, deliveries) = mpsc::unbounded_channel();
    let transport = Transport::new(Prepared::new(deliveries), "prepared");
    let listener = Listener::builder().transport(transport).endpoint(Handler).build().unwrap();
    listener.start().await.unwrap();
    let counted = Arc::new(Counted::default());
    counted.expect(times);
    for tag in 0..times {
        sender.send(counted.delivery(tag, Bytes::from_static(BODY))).unwrap();
        tokio::task::consume_budget().await;
    }
    counted.all().await;
    drop(sender);
    listener.stop().await;
    listener.wait().await.unwrap();
}
