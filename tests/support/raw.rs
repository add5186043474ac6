//! A publisher of raw AMQP bytes, for messages that no client library would write. It logs in, publishes
//! one message and checks that the broker accepted it; everything else is in `amqp.rs`.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Methods, by class and number.
const CONNECTION_CLOSE: (u16, u16) = (10, 50);
const CHANNEL_CLOSE: (u16, u16) = (20, 40);

/// Publishes to a queue through the default exchange. `properties` are the bytes of the flags and the
/// values. Panics if the broker refuses the message.
pub async fn publish_raw(port: u16, vhost: &str, queue: &str, properties: &[u8], body: &[u8]) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(b"AMQP\0\0\x09\x01").await.unwrap();
    expect(&mut stream, (10, 10)).await;
    let login = [&[0, 0, 0, 0][..], &short("PLAIN"), &long(b"\0guest\0guest"), &short("en_US")];
    method(&mut stream, 0, (10, 11), &login.concat()).await;
    let tune = expect(&mut stream, (10, 30)).await;
    // The broker's own limits, and no heartbeats.
    method(&mut stream, 0, (10, 31), &[&tune[..6], &[0, 0]].concat()).await;
    method(&mut stream, 0, (10, 40), &[&short(vhost)[..], &[0, 0]].concat()).await;
    expect(&mut stream, (10, 41)).await;
    method(&mut stream, 1, (20, 10), &[0]).await;
    expect(&mut stream, (20, 11)).await;

    let route = [&[0, 0][..], &short(""), &short(queue), &[0]].concat();
    method(&mut stream, 1, (60, 40), &route).await;
    let size = u64::try_from(body.len()).unwrap().to_be_bytes();
    frame(&mut stream, 2, 1, &[&[0, 60, 0, 0][..], &size, properties].concat()).await;
    frame(&mut stream, 3, 1, body).await;
    // The broker answers this after it has processed everything before it.
    let close = [&[0, 200][..], &short("OK"), &[0, 0, 0, 0]].concat();
    method(&mut stream, 1, CHANNEL_CLOSE, &close).await;
    expect(&mut stream, (20, 41)).await;
}

/// A short string with its length.
fn short(text: &str) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}

/// Bytes with their length.
pub fn long(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

async fn method(stream: &mut TcpStream, channel: u8, (class, id): (u16, u16), arguments: &[u8]) {
    let payload = [&class.to_be_bytes()[..], &id.to_be_bytes(), arguments].concat();
    frame(stream, 1, channel, &payload).await;
}

async fn frame(stream: &mut TcpStream, kind: u8, channel: u8, payload: &[u8]) {
    let bytes = [&[kind, 0, channel][..], &long(payload), &[0xce]].concat();
    stream.write_all(&bytes).await.unwrap();
}

/// The arguments of the method that comes next, which must be this one.
async fn expect(stream: &mut TcpStream, expected: (u16, u16)) -> Vec<u8> {
    let payload = next(stream).await.unwrap();
    let number = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
    let found = (number(0), number(2));
    let said = || String::from_utf8_lossy(&payload).into_owned();
    assert!(found != CONNECTION_CLOSE && found != CHANNEL_CLOSE, "refused: {}", said());
    assert_eq!(found, expected);
    payload[4..].to_vec()
}

async fn next(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = [0; 7];
    stream.read_exact(&mut head).await?;
    let [_, _, _, size @ ..] = head;
    let mut payload = vec![0; u32::from_be_bytes(size) as usize + 1];
    stream.read_exact(&mut payload).await?;
    payload.pop();
    Ok(payload)
}
