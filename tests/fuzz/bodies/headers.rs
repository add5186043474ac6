//! Any AMQP table as headers, any headers as an AMQP table, and any stream of frames.

use listener::__private::for_tests::{filter_all, headers_from_table, table_from_headers};
use listener::driver::Headers;

use super::SECRET;
use super::source::Source;

pub fn headers(data: &[u8]) {
    if let Some(headers) = headers_from_table(data) {
        what_is_sent_is_read_again(&headers);
    }
    what_is_sent_is_read_again(&Source::new(data).headers(6));
    it_does_not_matter_how_a_stream_is_cut(data);
    it_does_not_matter_how_a_stream_is_cut(&frame(data));
}

/// A frame with these bytes as properties; the headers are the third property.
fn frame(properties: &[u8]) -> Vec<u8> {
    let size = u32::try_from(14 + properties.len()).unwrap().to_be_bytes();
    let fixed = [0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0x20, 0];
    [&[2, 0, 1][..], &size, &fixed, properties, &[0xce]].concat()
}

fn it_does_not_matter_how_a_stream_is_cut(stream: &[u8]) {
    let whole = filter_all([stream]);
    assert_eq!(filter_all(stream.chunks(1)), whole);
    let (begin, end) = stream.split_at(stream.len() / 2);
    assert_eq!(filter_all([begin, end]), whole);
    // A replacement passes the screen itself.
    assert_eq!(filter_all([&whole[..]]), whole);
}

/// Compared as bytes: not every float is equal to itself, and AMQP keeps tables sorted.
fn what_is_sent_is_read_again(headers: &Headers) {
    if !headers.iter().any(|(name, _)| name.contains(SECRET)) {
        let told = format!("{headers:?}");
        assert!(!told.contains(SECRET), "{told}");
    }
    for (_, value) in headers.iter() {
        assert!(format!("{value:?}").len() < 64, "{value:?}");
    }
    let Some(table) = table_from_headers(headers) else {
        return;
    };
    assert!(table.len() <= headers.size(), "{} bytes for {}", table.len(), headers.size());
    let again = headers_from_table(&table).expect("what we send can be read");
    assert_eq!(table_from_headers(&again), Some(table));
}
