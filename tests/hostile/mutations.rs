//! Every body of `tests/fuzz` over its seeds, its regressions, and mutations of both.

use std::fs;
use std::path::Path;

use fastrand::Rng;

use crate::bodies;

/// Mutations of each seed. cargo-fuzz runs millions; these find what a recent change broke.
const MUTATIONS: usize = 500;

/// Larger seeds would only slow down the mutations.
const LARGEST: usize = 4096;

/// Bytes with a meaning in one of the parsers.
const TOKENS: [&[u8]; 24] = [
    bodies::SECRET.as_bytes(),
    b"\"",
    b"\\ud800",
    b"\\u005f",
    b"{\"__type__\": \"date\", \"__value__\": \"",
    b"\"oslo.version\": \"2.0\", \"oslo.message\": \"{}\"",
    b"NaN",
    b"-Infinity",
    b"1e999999",
    b"[[[[[[[[",
    b"}",
    b"\xff",
    b"\xef\xbb\xbf",
    b"://",
    b"@",
    b"%2F",
    b"%",
    b"[",
    b",",
    b"\n\n",
    b"=",
    b"\x00\x00\x00\x05",
    b"F\x00\x00\x00\x00",
    b"\xff\xff\xff\xff",
];

#[track_caller]
fn check(target: &str, body: fn(&[u8]), more: &str) {
    let seeds = seeds(target, more);
    assert!(!seeds.is_empty(), "no seeds for {target}");
    let mut rng = Rng::with_seed(7);
    for (name, seed) in &seeds {
        run(name, body, seed);
        for number in 0..MUTATIONS {
            run(&format!("{name}, mutation {number}"), body, &mutated(seed, &mut rng));
        }
    }
}

/// Prints the input if the body panics.
fn run(name: &str, body: fn(&[u8]), data: &[u8]) {
    struct Named<'n>(&'n str, &'n [u8]);
    impl Drop for Named<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("{}: {}", self.0, self.1.escape_ascii());
            }
        }
    }
    let _named = Named(name, data);
    body(data);
}

fn mutated(seed: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut data = seed.to_vec();
    for _ in 0..rng.usize(1..5) {
        let at = rng.usize(..=data.len());
        match rng.u8(..6) {
            0 => data.truncate(at),
            1 if at < data.len() => data[at] ^= 1 << rng.u8(..8),
            2 if at < data.len() => drop(data.drain(at..data.len().min(at + rng.usize(1..9)))),
            3 => {
                let copied = data[at..data.len().min(at + rng.usize(1..65))].to_vec();
                let to = rng.usize(..=data.len());
                data.splice(to..to, copied);
            }
            4 => data.insert(at, rng.u8(..)),
            _ => {
                let token = TOKENS[rng.usize(..TOKENS.len())];
                data.splice(at..at, token.iter().copied());
            }
        }
    }
    data
}

/// The seeds of a target, its regressions, and the files of another folder.
fn seeds(target: &str, more: &str) -> Vec<(String, Vec<u8>)> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders =
        [format!("fuzz/seeds/{target}"), format!("fuzz/regressions/{target}"), more.to_owned()];
    let mut seeds = vec![("nothing".to_owned(), Vec::new())];
    for folder in folders.iter().filter(|folder| !folder.is_empty()) {
        let Ok(files) = fs::read_dir(tests.join(folder)) else {
            continue;
        };
        for file in files {
            let path = file.unwrap().path();
            let data = fs::read(&path).unwrap();
            if data.len() <= LARGEST {
                seeds.push((path.file_name().unwrap().to_string_lossy().into_owned(), data));
            }
        }
    }
    seeds.sort();
    seeds
}

#[test]
fn any_body_is_read_or_refused_with_a_short_error() {
    check("envelope", bodies::envelope, "../listener/src/envelope/golden");
}

#[test]
fn any_notification_is_decoded_as_it_was_encoded() {
    check("round_trip", bodies::round_trip, "../listener/src/envelope/golden");
}

#[test]
fn any_url_is_read_or_refused_and_shows_no_password() {
    check("url", bodies::url, "");
}

#[test]
fn any_configuration_is_read_or_refused_and_shows_no_secret() {
    check("config", bodies::config, "");
}

#[test]
fn any_headers_are_read_as_they_were_sent() {
    check("headers", bodies::headers, "");
}

#[test]
fn any_delivery_is_settled_and_no_stage_panics() {
    check("delivery", bodies::delivery, "../listener/src/envelope/golden");
}
