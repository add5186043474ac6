//! The management API over a plain TCP stream: one request and its response, for `rabbit_node.rs`. Not a
//! general HTTP client: it reads only what RabbitMQ's server sends.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long a response may take: a busy node, or one that waits for another, is slow.
const ANSWER: Duration = Duration::from_secs(120);

/// Panics unless the status is 2xx. A response without a body is `null`.
pub(crate) async fn request(port: u16, method: &str, path: &str, body: Option<Value>) -> Value {
    let exchange = exchange(port, method, path, body);
    let answer = tokio::time::timeout(ANSWER, exchange)
        .await
        .unwrap_or_else(|_| panic!("{method} {path}: no answer within {ANSWER:?}"))
        .unwrap_or_else(|error| panic!("{method} {path}: {error}"));
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("{method} {path}: the answer has no header"));
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let chunked = head.contains("transfer-encoding: chunked");
    let body = &answer[end + 4..];
    let body = if chunked { join_chunks(body) } else { body.to_vec() };
    let ok = head.split(' ').nth(1).is_some_and(|status| status.starts_with('2'));
    assert!(ok, "{method} {path}: {head}\n{}", String::from_utf8_lossy(&body));
    if body.is_empty() {
        return Value::Null;
    }
    serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
}

/// A name as one segment of a path or URL.
pub(crate) fn encode(name: &str) -> String {
    name.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

async fn exchange(
    port: u16,
    method: &str,
    path: &str,
    body: Option<Value>,
) -> std::io::Result<Vec<u8>> {
    let body = body.map(|value| value.to_string()).unwrap_or_default();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\
         Authorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}

fn join_chunks(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(line) = rest.windows(2).position(|bytes| bytes == b"\r\n") {
        let size = std::str::from_utf8(&rest[..line]).unwrap();
        let size = usize::from_str_radix(size.split(';').next().unwrap().trim(), 16).unwrap();
        if size == 0 {
            break;
        }
        let start = line + 2;
        body.extend_from_slice(&rest[start..start + size]);
        rest = &rest[start + size + 2..];
    }
    body
}
