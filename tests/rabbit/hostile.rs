//! Messages whose properties lapin cannot read: they neither end the process nor the session, and
//! are delivered once, without them.

use super::*;
use listener::transport::delivery::{HeaderValue, Headers};
use support::raw::{long, publish_raw};

/// The third flag of the properties stands for headers.
const HEADERS: [u8; 2] = [0x20, 0];

/// A table with one header.
fn table(value: &[u8]) -> Vec<u8> {
    [&HEADERS[..], &long(&[b"\x01k", value].concat())].concat()
}

/// Lists or tables (`kind` says which, and what stands before each) in each other. Written from
/// the inside out: the lengths before them are known only then.
fn nested(kind: &[u8], levels: usize) -> Vec<u8> {
    let mut backwards: Vec<u8> = Vec::new();
    for _ in 0..levels {
        let size = u32::try_from(backwards.len()).unwrap();
        backwards.extend(size.to_le_bytes());
        backwards.extend(kind.iter().rev());
    }
    backwards.reverse();
    backwards
}

async fn check(name: &str, properties: &[u8], expected: Headers) {
    let node = support::shared().await;
    let rabbit = rabbit(&node.vhost(name).await);
    let mut subscribed = subscribe(&rabbit).await;
    publish_raw(node.port(), name, QUEUE, properties, b"hostile").await;
    send(&rabbit, "usual").await;
    for (body, expected) in [("hostile", expected), ("usual", Headers::default())] {
        let delivery = next(&mut subscribed).await;
        let headers = &delivery.properties.headers;
        assert_eq!((&delivery.body[..], delivery.info.redelivered), (body.as_bytes(), false));
        assert!(*headers == expected, "{headers:?}: {:?}", headers.text("listener-headers"));
        delivery.settle(Settle::Ack).unwrap();
    }
    subscribed.consumer.close().await;
    assert_eq!(depth(node, name).await, Some(0));
    rabbit.close().await;
}

fn unreadable() -> Headers {
    [("listener-headers".to_owned(), HeaderValue::from("not readable"))].into_iter().collect()
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn headers_of_twenty_thousand_lists_in_each_other_do_no_harm() {
    check("lists", &table(&nested(b"A", 20_000)), unreadable()).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn headers_of_twenty_thousand_tables_in_each_other_do_no_harm() {
    // Each but the outermost has an empty name before it, which belongs to the table around it.
    let tables = nested(b"\x00F", 20_000);
    check("tables", &table(&tables[1..]), unreadable()).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn texts_that_are_not_utf_8_do_not_end_the_session() {
    check("type", b"\x80\x00\x01\xff", unreadable()).await;
    check("name", &[&HEADERS[..], &long(b"\x01\xffV")].concat(), unreadable()).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn headers_of_a_hundred_kilobytes_are_kept() {
    let text = "x".repeat(100_000);
    let expected = [("k".to_owned(), HeaderValue::Text(text.clone()))].into_iter().collect();
    check("large", &table(&[b"S", &long(text.as_bytes())[..]].concat()), expected).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_thousand_headers_are_kept() {
    let one = |n: usize| (format!("{n:03}"), HeaderValue::Null);
    let bytes: Vec<u8> = (0..1000).flat_map(|n| format!("\x03{n:03}V").into_bytes()).collect();
    let properties = [&HEADERS[..], &long(&bytes)].concat();
    check("many", &properties, (0..1000).map(one).collect()).await;
}
