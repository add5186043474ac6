//! How much memory a body takes while it is decompressed and read: at most a multiple of its size, in
//! addition to the limit of decompressed bodies; and how much many bodies take together in a listener
//! (`together.rs`). A binary of its own with one test, because the allocator counts for the whole
//! process.
#![allow(clippy::unwrap_used, reason = "tests")]

use listener::envelope::{Compression, Labels, Limits, open, read};
use peak_alloc::PeakAlloc;

mod together;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The most bytes for each byte of a body. A context of very many keys takes the most, nearly eight:
/// each key is kept in a table.
const TIMES: usize = 10;

/// The bytes that the smallest body may take.
const BASE: usize = 64 << 10;

/// The bytes that a decompressor takes; that of bzip2 is the largest.
const DECOMPRESSOR: usize = 6 << 20;

const MAX_BODY: usize = 512 << 10;

fn limits() -> Limits {
    Limits::default().max_body(MAX_BODY).max_decompressed(MAX_BODY).max_depth(512)
}

/// The most bytes that were in use at once, beyond those of the body.
fn peak(body: &[u8], compression: Option<Compression>) -> usize {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let labels =
        Labels { content_type: None, compression: compression.map(Compression::content_type) };
    // This includes errors and their texts.
    match open(body, labels, &limits()) {
        Err(error) => drop(error.to_string()),
        Ok(opened) => match read(&opened.text) {
            Err(error) => drop(error.to_string()),
            Ok(fields) => drop(format!("{:?}", fields.event_type)),
        },
    }
    MEMORY.peak_usage() - before
}

fn repeated(begin: &str, item: impl Fn(usize) -> String, end: &str) -> Vec<u8> {
    let mut body = begin.to_owned();
    let mut number = 0;
    while body.len() < MAX_BODY - 64 {
        body.push_str(&item(number));
        number += 1;
    }
    body.push_str(end);
    body.into_bytes()
}

fn bodies() -> Vec<(&'static str, Vec<u8>)> {
    let nested = |open: &str, end: &str| {
        let levels = (MAX_BODY - 64) / (open.len() + end.len());
        format!("{{\"payload\": {}1{}}}", open.repeat(levels), end.repeat(levels)).into_bytes()
    };
    vec![
        ("context keys", repeated("{", |n| format!("\"_context_{n}\": 1, "), "\"x\": 1}")),
        (
            "escaped context keys",
            repeated("{", |n| format!("\"_context\\u005f{n}\":1,"), "\"x\": 1}"),
        ),
        ("keys", repeated("{", |n| format!("\"{n}\":1,"), "\"x\": 1}")),
        ("one key again and again", repeated("{", |_| "\"payload\":1,".to_owned(), "\"x\":1}")),
        ("escapes", repeated("{\"event_type\": \"", |_| "\\u00e9".to_owned(), "\"}")),
        ("halves of pairs", repeated("{\"payload\": \"", |_| "\\ud800".to_owned(), "\"}")),
        ("NaN", repeated("{\"payload\": [", |_| "NaN,".to_owned(), "1]}")),
        (
            "tags",
            repeated(
                "{\"payload\": [",
                |_| "{\"__type__\":\"date\",\"__value__\":\"\"},".to_owned(),
                "1]}",
            ),
        ),
        (
            "an envelope",
            repeated(
                "{\"oslo.version\": \"2.0\", \"oslo.message\": \"{\\\"payload\\\": [",
                |_| "\\ud800,".to_owned(),
                "1]}\"}",
            ),
        ),
        ("digits", repeated("{\"priority\": ", |_| "9".repeat(60), "}")),
        ("lists", nested("[", "]")),
        ("tables", nested("{\"a\":", "}")),
        ("tagged tables", nested("{\"__type__\":", "}")),
        ("lists without an end", vec![b'['; MAX_BODY]),
        ("a list without an end", repeated("{\"priority\": [", |_| "[".repeat(60), "")),
        ("no utf-8", vec![0xff; MAX_BODY]),
        (
            "too long a version",
            repeated("{\"oslo.message\": \"{}\", \"oslo.version\": \"", |_| "{".repeat(60), "\"}"),
        ),
    ]
}

#[test]
fn the_memory_of_a_body_is_bounded_by_a_multiple_of_its_size() {
    one_body();
    together::many_bodies();
}

fn one_body() {
    // Allocations made once for the process do not count.
    peak(b"{\"payload\": NaN}", None);
    for (name, body) in bodies() {
        let taken = peak(&body, None);
        println!("{name}: {:.1} times its {} bytes", taken as f64 / body.len() as f64, body.len());
        assert!(taken <= TIMES * body.len() + BASE, "{name}: {taken} for {}", body.len());
        for compression in [Compression::Zlib, Compression::Bzip2] {
            // Compressed it is small, so the limit bounds what it may take.
            let packed = compression.compress(&body);
            let taken = peak(&packed, Some(compression));
            assert!(
                taken <= TIMES * MAX_BODY + DECOMPRESSOR,
                "{name}, {compression}: {taken} for {}",
                packed.len()
            );
        }
    }
    for compression in [Compression::Zlib, Compression::Bzip2] {
        let bomb = compression.compress(&vec![b' '; 32 << 20]);
        let taken = peak(&bomb, Some(compression));
        println!("a bomb, {compression}: {taken} bytes for {}", bomb.len());
        assert!(taken <= 2 * MAX_BODY + DECOMPRESSOR, "{compression}: {taken} for {}", bomb.len());
    }
}
