//! Any text as a transport URL: it is read or refused, and shows no password.

use listener::Transport;
use listener::driver::TransportUrl;

use super::{SECRET, tells_no_secret};

pub fn url(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    match text.parse::<TransportUrl>() {
        Ok(url) => what_is_shown_is_read_again(&url),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if !text.contains(SECRET) {
        for with_secret in with_secrets(text) {
            no_password_is_shown(&with_secret);
        }
    }
}

/// `Display` hides passwords and the values of options, and nothing else.
fn what_is_shown_is_read_again(url: &TransportUrl) {
    let shown = url.to_string();
    let again: TransportUrl = shown.parse().unwrap_or_else(|error| panic!("{shown:?}: {error}"));
    assert_eq!(again.to_string(), shown);
    assert_eq!((again.scheme(), again.virtual_host()), (url.scheme(), url.virtual_host()));
    let hosts = |url: &TransportUrl| {
        let parts = |host: &listener::driver::Host| {
            (host.name.clone(), host.port, host.username.clone(), host.password().is_some())
        };
        url.hosts().iter().map(parts).collect::<Vec<_>>()
    };
    assert_eq!(hosts(&again), hosts(url));
    let names =
        |url: &TransportUrl| url.query().iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&again), names(url));
}

/// The same text with a password inserted wherever one is possible.
fn with_secrets(text: &str) -> Vec<String> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Vec::new();
    };
    let first = format!("{scheme}://u:{SECRET}@{rest}");
    let option =
        format!("{text}{}processname={SECRET}", if rest.contains('?') { '&' } else { '?' });
    let host =
        rest.split_once(',').map(|(first, rest)| format!("{scheme}://{first},u:{SECRET}@{rest}"));
    [first, option].into_iter().chain(host).collect()
}

fn no_password_is_shown(text: &str) {
    match text.parse::<TransportUrl>() {
        Ok(url) => {
            let shown = format!("{url} {url:?} {:?}", url.hosts());
            assert!(!shown.contains(SECRET), "{shown}");
        }
        Err(error) => tells_no_secret(&error),
    }
    // An in-memory bus lives as long as the process.
    if text.starts_with("memory") {
        return;
    }
    match Transport::open(text) {
        Ok(transport) => {
            let shown = format!("{transport} {transport:?}");
            assert!(!shown.contains(SECRET), "{shown}");
        }
        Err(error) => tells_no_secret(&error),
    }
}
