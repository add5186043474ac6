//! The body is `fuzz::url`, which the tests run too.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::url(data));
