//! The body is `fuzz::round_trip`, which the tests run too.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::round_trip(data));
