//! Options that stand in the wrong place, or that there are two of: `topic` in `#[on(..)]`, a priority in
//! `#[notification_endpoint(..)]`, `timeout` in `retry(..)`. Asked by `parse.rs` and
//! `check/method.rs` for each key that they do not know.

use crate::attr::Elsewhere;
use crate::endpoint::check::PRIORITIES;

/// The options that only the endpoint has; its filters are the methods' too.
const OF_ENDPOINT: &[&str] = &[
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

/// The options within `retry(..)`.
const OF_RETRY: &[&str] = &["attempts", "pause", "max_pause"];

/// What to say of a routing key, which is a topic and a priority.
fn routing_key(key: &str) -> Option<Elsewhere> {
    ["routing_key", "binding_key", "routing"].contains(&key).then(|| Elsewhere {
        found: format!("unknown option `{key}`"),
        fix: "a routing key is `topic.priority`: write `topic = \"..\"` in `#[notification_endpoint(..)]`, and name the method after the priority or list it in `#[on(..)]`".to_owned(),
    })
}

/// What to say of a key in `#[on(..)]` that is an option of the endpoint.
pub(crate) fn in_on(key: &str) -> Option<Elsewhere> {
    if OF_RETRY.contains(&key) {
        return Some(Elsewhere {
            found: format!("`{key}` is an option of the whole endpoint"),
            fix: format!(
                "move it up into `#[notification_endpoint(retry({key} = ..))]`; for some methods only, write an endpoint of their own"
            ),
        });
    }
    let of_endpoint = OF_ENDPOINT.contains(&key).then(|| Elsewhere {
        found: format!("`{key}` is an option of the whole endpoint"),
        fix: match key {
            "order" => "move it up into `#[notification_endpoint(order = ..)]`: the methods of an endpoint run in the order in which they are written".to_owned(),
            _ => format!("move it up into `#[notification_endpoint({key} ..)]`; for some methods only, write an endpoint of their own"),
        },
    });
    of_endpoint.or_else(|| routing_key(key))
}

/// What to say of a key in `#[notification_endpoint(..)]` that is one of `#[on(..)]`, or of
/// `retry(..)`.
pub(crate) fn in_endpoint(key: &str) -> Option<Elsewhere> {
    if OF_RETRY.contains(&key) {
        return Some(Elsewhere {
            found: format!("`{key}` stands outside of `retry(..)`"),
            fix: format!("write `retry({key} = ..)`"),
        });
    }
    let priority = PRIORITIES.contains(&key).then(|| Elsewhere {
        found: format!("`{key}` is a priority, and stands at a method"),
        fix: format!("name the method `{key}`, or write `#[on({key})]` above it"),
    });
    priority.or_else(|| routing_key(key))
}

/// What to say of a key in `retry(..)` that is an option of the endpoint itself.
pub(crate) fn in_retry(key: &str) -> Option<Elsewhere> {
    OF_ENDPOINT.contains(&key).then(|| Elsewhere {
        found: format!("`{key}` is an option beside `retry(..)`, not in it"),
        fix: format!("move it out: `#[notification_endpoint(retry(..), {key} ..)]`"),
    })
}
