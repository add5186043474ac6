//! Retries, timeout and order of an endpoint, read back from its definition.
#![deny(warnings)]

use std::time::Duration;

use listener::__private::EndpointPolicy;
use listener::{Endpoint, notification_endpoint};

#[derive(Default)]
struct All;

#[notification_endpoint(
    name = "billing",
    retry(attempts = 5, delay = "500ms", max_delay = "1m30s"),
    timeout = "30s",
    ordered_by = "payload.instance_id"
)]
impl All {
    fn info() {}
}

#[derive(Default)]
struct Some;

#[notification_endpoint(retry(max_delay = "168h",), ordered_by = "event_type")]
impl Some {
    fn info() {}
}

#[derive(Default)]
struct Once;

#[notification_endpoint(retry(attempts = 1), register = false)]
impl Once {
    fn info() {}
}

struct Plain;

#[notification_endpoint(provided)]
impl Plain {
    fn info() {}
}

fn main() {
    let all = EndpointPolicy {
        attempts: Option::Some(5),
        delay: Option::Some(Duration::from_millis(500)),
        max_delay: Option::Some(Duration::from_secs(90)),
        timeout: Option::Some(Duration::from_secs(30)),
        ordered_by: Option::Some("payload.instance_id"),
    };
    assert_eq!(All::DEFINITION.policy, all);
    assert_eq!(All::DEFINITION.stable_name, Option::Some("billing"));
    let some = EndpointPolicy {
        max_delay: Option::Some(Duration::from_secs(7 * 24 * 60 * 60)),
        ordered_by: Option::Some("event_type"),
        ..EndpointPolicy::NONE
    };
    assert_eq!(Some::DEFINITION.policy, some);
    let once = EndpointPolicy { attempts: Option::Some(1), ..EndpointPolicy::NONE };
    assert_eq!(Once::DEFINITION.policy, once);
    assert_eq!((Plain::DEFINITION.policy, Plain::DEFINITION.stable_name), (EndpointPolicy::NONE, None));
}
