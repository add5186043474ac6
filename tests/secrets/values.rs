//! `Display` and `Debug` of values with a secret that no run of a listener prints.

use std::error::Error;

use bytes::Bytes;
use listener::driver::Rabbit;
use listener::driver::TransportUrl;
use listener::driver::{Outgoing, Route};
use listener::envelope::{Labels, Limits, open, read};
use listener::{Config, Context, Transport};
use support::SECRET;

use crate::log::Log;
use crate::{LONG, body, properties};

/// `Display` and `Debug` of an error and its causes.
pub(crate) fn shown(error: &(dyn Error + 'static)) -> String {
    let mut shown = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        shown.push_str(&format!("{error} {error:?}: "));
        next = error.source();
    }
    shown
}

pub(crate) fn every_value_that_may_hold_one(log: &Log) {
    let url: TransportUrl = url("h").parse().unwrap();
    log.note(&format!("{url} {url:?} {:?} {:?}", url.hosts(), Rabbit::new(&url).unwrap()));
    for text in [
        url_text("h:x"),
        url_text("[::1"),
        url_text("h/%zz"),
        url_text("h/?a@b=c"),
        url_text("h/?rabbit_quorum_queue=maybe"),
        format!("rabbit://h/?heartbeat_timeout_threshold={SECRET}"),
        format!("rabbit://h/?{SECRET}=1"),
        format!("rabbit://u:{SECRET}"),
        format!("{SECRET}://h"),
        format!("http://u:{SECRET}@h"),
        SECRET.to_owned(),
    ] {
        let error = Transport::open(&text).expect_err(&text);
        log.note(&shown(&error));
    }

    let outgoing =
        Outgoing::new(Route::Queue("q".to_owned()), Bytes::from_static(SECRET.as_bytes()), LONG)
            .properties(properties());
    log.note(&format!("{outgoing:?} {:?}", outgoing.properties));
    for (_, value) in outgoing.properties.headers.iter() {
        log.note(&format!("{value:?}"));
    }
    log.note(&format!("{:?}", Context::new().with("auth_token", SECRET)));
    let text = body("e", &SECRET.into());
    let opened = open(text.as_bytes(), Labels::default(), &Limits::default()).unwrap();
    log.note(&format!("{opened:?} {:?}", read(&opened.text).unwrap()));
    configurations(log);
}

fn url(host: &str) -> String {
    format!("{}?processname={SECRET}", url_text(host))
}

fn url_text(host: &str) -> String {
    format!("rabbit://u:{SECRET}@{host}")
}

/// Valid and invalid variables and files.
fn configurations(log: &Log) {
    let read = |name: &str, value: &str| {
        let variables = [(format!("LISTENER_{name}"), value.to_owned())];
        log.note(&match Config::from_variables(variables) {
            Ok(config) => format!("{config:?}"),
            Err(error) => shown(&error),
        });
    };
    for name in ["TRANSPORT_URL", "TRANSPORT_URI", "PREFETCH", "EXECUTOR", "ALLOW_REQUEUE", "TOPIC"]
    {
        read(name, SECRET);
        read(name, &url("h"));
    }
    let path = std::env::temp_dir().join(format!("secrets-{}.toml", std::process::id()));
    for file in [
        format!("transport_url = \"{}\"", url("h")),
        format!("transport_url = {}", url("h")),
        format!("transport_url = \"{}", url("h")),
        format!("transport_uri = \"{}\"", url("h")),
        format!("transport_url = [\"{}\"]", url("h")),
        format!("prefetch = \"{SECRET}\""),
        format!("executor = \"{SECRET}\""),
        format!("{SECRET} = 1"),
        format!("\"{SECRET}\" = 1"),
        format!("prefetch = {SECRET}"),
    ] {
        std::fs::write(&path, file).unwrap();
        read("CONFIG", path.to_str().unwrap());
    }
    // Names such as those of topics are shown.
    for name in ["TRANSPORT_URL_FILE", "PREFETCH_FILE", "EXECUTOR_FILE"] {
        for value in [SECRET.to_owned(), url("h"), format!("amq.{SECRET}")] {
            std::fs::write(&path, value).unwrap();
            read(name, path.to_str().unwrap());
        }
    }
    std::fs::remove_file(&path).unwrap();
}
