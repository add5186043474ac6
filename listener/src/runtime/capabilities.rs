//! Checks that the driver of a transport can do what the options need. Called by `builder.rs` for each transport;
//! `transport/driver.rs` describes the capabilities.

use crate::options::listener::{ListenerOptions, OnFailure};
use crate::runtime::error::Problem;
use crate::transport::Transport;

/// Checks one transport.
pub(super) fn check(transport: &Transport, options: &ListenerOptions, problems: &mut Vec<Problem>) {
    let can = transport.capabilities();
    let mut unsupported = |missing, needed_by, fix| {
        let transport = transport.to_string();
        problems.push(Problem::Unsupported { transport, missing, needed_by, fix });
    };
    let requeue = "requeue a delivery";
    if !can.requeue && options.allow_requeue {
        let fix = "remove it, and return `Outcome::Retry` instead of `Outcome::Requeue`";
        unsupported(requeue, "`allow_requeue`", fix);
    }
    if !can.requeue && options.on_failure == OnFailure::Requeue {
        let fix = "use `OnFailure::Retry`, which makes copies, or another transport";
        unsupported(requeue, "`OnFailure::Requeue`", fix);
    }
    if !can.dead_letter {
        let fix = "use a driver that can send to a queue: what a listener gives up would be lost";
        unsupported("keep dead letters", "every listener", fix);
    }
}
