//! Options in the wrong attribute: `topic` in `#[on(..)]`, a priority in
//! `#[notification_endpoint(..)]`, `timeout` in `retry(..)`; routing keys, which are a topic and a
//! priority; and what is not an option at all: `Priority::Warn`, `*`, `retry(5)`. Called by `parse.rs`,
//! `attr` and `check/method.rs` for each key that they do not know.

use crate::attr::Found;
use crate::diagnostic::Diagnostic;
use crate::endpoint::ast::PRIORITIES;
use crate::similar::{PRIORITY_SYNONYMS, similar};

/// The options of an endpoint that its methods do not have.
const ENDPOINT_OPTIONS: &[&str] = &[
    "topic",
    "topics",
    "exchange",
    "group",
    "order",
    "name",
    "retry",
    "timeout",
    "ordered_by",
    "provided",
    "init",
    "instances",
    "register",
    "crate",
];

/// The options in `retry(..)`.
const RETRY_OPTIONS: &[&str] = &["attempts", "delay", "max_delay"];

/// The options that only `batch(..)` has.
const BATCH_OPTIONS: &[&str] = &["size", "bytes"];

/// The error for an option of `batch(..)` outside of it.
fn outside_batch(key: &str) -> Option<Diagnostic> {
    BATCH_OPTIONS.contains(&key).then(|| {
        let message = format!("`{key}` is an option of `batch(..)`");
        Diagnostic::new(message, format!("write `batch({key} = ..)`"))
    })
}

fn routing_key(key: &str) -> Option<Diagnostic> {
    ["routing_key", "binding_key", "routing"].contains(&key).then(|| {
        let help = "a routing key is `topic.priority`: write `topic = \"..\"` in `#[notification_endpoint(..)]`, and name the method after the priority or list it in `#[on(..)]`";
        Diagnostic::new(format!("unknown option `{key}`"), help)
    })
}

/// The error for a key in `#[on(..)]` that is an option of the endpoint.
pub(crate) fn in_on(key: &str) -> Option<Diagnostic> {
    let message = format!("`{key}` is an option of the endpoint, not of a method");
    if RETRY_OPTIONS.contains(&key) {
        let help = format!(
            "move it to `#[notification_endpoint(retry({key} = ..))]`; if it is for some methods only, write a separate endpoint for them"
        );
        return Some(Diagnostic::new(message, help));
    }
    let endpoint_option = ENDPOINT_OPTIONS.contains(&key).then(|| {
        let help = match key {
            "order" => "move it to `#[notification_endpoint(order = ..)]`: the methods of an endpoint run in source order".to_owned(),
            _ => format!("move it to `#[notification_endpoint({key} ..)]`; if it is for some methods only, write a separate endpoint for them"),
        };
        Diagnostic::new(message, help)
    });
    endpoint_option.or_else(|| outside_batch(key)).or_else(|| routing_key(key))
}

/// The same for a key with a value, which may also be a priority.
pub(crate) fn in_on_with_value(key: &str) -> Option<Diagnostic> {
    let with_value = PRIORITIES.contains(&key).then(|| {
        let help =
            format!("write `#[on({key})]`; a filter is written after it: `event_type = \"..\"`");
        Diagnostic::new(format!("the priority `{key}` does not take a value"), help)
    });
    with_value.or_else(|| in_on(key))
}

/// The error for a key in `#[notification_endpoint(..)]` that belongs in `#[on(..)]` or in
/// `retry(..)`.
pub(crate) fn in_endpoint(key: &str) -> Option<Diagnostic> {
    if RETRY_OPTIONS.contains(&key) {
        let message = format!("`{key}` is an option of `retry(..)`");
        return Some(Diagnostic::new(message, format!("write `retry({key} = ..)`")));
    }
    let priority = PRIORITIES.contains(&key).then(|| {
        let help = format!("name the method `{key}`, or write `#[on({key})]` above it");
        Diagnostic::new(format!("`{key}` is a priority, not an option of the endpoint"), help)
    });
    priority.or_else(|| outside_batch(key)).or_else(|| routing_key(key))
}

/// The error for a key in `retry(..)` that is an option of the endpoint.
pub(crate) fn in_retry(key: &str) -> Option<Diagnostic> {
    ENDPOINT_OPTIONS.contains(&key).then(|| {
        let help = format!("move it out: `#[notification_endpoint(retry(..), {key} ..)]`");
        Diagnostic::new(format!("`{key}` is an option of the endpoint, not of `retry(..)`"), help)
    })
}

/// The error for a key in `batch(..)` that is an option of the endpoint, of `retry(..)`, or a priority.
pub(crate) fn in_batch(key: &str) -> Option<Diagnostic> {
    let is_of = |what: &str, help: String| {
        Some(Diagnostic::new(format!("`{key}` is {what}, not of `batch(..)`"), help))
    };
    if RETRY_OPTIONS.contains(&key) {
        let help = format!(
            "write `timeout = ..` for how long a notification waits for others, or `#[notification_endpoint(retry({key} = ..))]`"
        );
        return is_of("an option of `retry(..)`", help);
    }
    if PRIORITIES.contains(&key) {
        return is_of("a priority", format!("move it out: `#[on({key}, batch(..))]`"));
    }
    ENDPOINT_OPTIONS.contains(&key).then_some(())?;
    is_of("an option of the endpoint", format!("move it to `#[notification_endpoint({key} ..)]`"))
}

/// The error for what is not an option in `batch(..)`.
pub(crate) fn not_of_batch(found: &Found) -> Option<Diagnostic> {
    let (found, help) = match found {
        Found::Text(text) => ("a string literal", format!("write `timeout = {text:?}`")),
        Found::Other(number) if number.parse::<u64>().is_ok() => {
            ("a number", format!("write `size = {number}`"))
        }
        Found::Other(_) | Found::Path(_) => return None,
    };
    Some(Diagnostic::new(format!("expected an option of `batch(..)`, found {found}"), help))
}

/// The error for what is neither a priority nor a filter in `#[on(..)]`.
pub(crate) fn not_a_priority(found: &Found) -> Option<Diagnostic> {
    let list = || format!("list them: `#[on({})]`", PRIORITIES.join(", "));
    match found {
        Found::Path(path) => {
            let last = path.rsplit("::").next().unwrap_or_default();
            let help = match similar(last, PRIORITIES, PRIORITY_SYNONYMS) {
                Some(priority) => format!("write `{priority}`"),
                None => format!("the priorities are {}", PRIORITIES.join(", ")),
            };
            Some(Diagnostic::new(format!("expected a priority, found the path `{path}`"), help))
        }
        Found::Other(token) => {
            let help = match token.as_str() {
                "*" | "_" | "." => list(),
                "[..]" | "(..)" | "{..}" => {
                    "write the priorities without brackets: `#[on(info, warn)]`".to_owned()
                }
                _ => format!("the priorities are {}", PRIORITIES.join(", ")),
            };
            Some(Diagnostic::new(format!("expected a priority, found `{token}`"), help))
        }
        Found::Text(_) => None,
    }
}

/// The error for what is not an option in `#[notification_endpoint(..)]`.
pub(crate) fn not_an_option(found: &Found) -> Option<Diagnostic> {
    let Found::Text(text) = found else { return None };
    let help = format!("write `topic = {text:?}`, or the option that it is the value of");
    Some(Diagnostic::new("expected an option, found a string literal", help))
}

/// The error for what is not an option in `retry(..)`.
pub(crate) fn not_of_retry(found: &Found) -> Option<Diagnostic> {
    let (found, help) = match found {
        Found::Text(text) => ("a string literal", format!("write `delay = {text:?}`")),
        Found::Other(number) if number.parse::<u64>().is_ok() => {
            ("a number", format!("write `attempts = {number}`"))
        }
        Found::Other(_) | Found::Path(_) => return None,
    };
    Some(Diagnostic::new(format!("expected an option of `retry(..)`, found {found}"), help))
}
