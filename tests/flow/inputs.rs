//! Bodies as other programs write them, each with its result: the call, or the dead letter with its
//! reason.

use listener::{Context, Priority, State, Target, notification_endpoint};
use serde_json::value::RawValue;

use crate::rig::{Log, Rig, finish};

/// Logs the arguments of each call.
struct All;

#[notification_endpoint(register = false)]
impl All {
    #[on(audit, debug, info, warn, error, critical, sample)]
    async fn any(
        &self,
        ctxt: &Context,
        publisher_id: &str,
        event_type: &str,
        payload: &RawValue,
        priority: Priority,
        log: State<Log>,
    ) {
        let user = ctxt.get_str("user_id").unwrap_or("nobody");
        let _ = log.send(format!("{priority} {event_type} {publisher_id} {user} {payload}"));
    }
}

/// The result of a body with this routing key.
async fn result(routing_key: &str, body: &str) -> String {
    let mut rig = Rig::new();
    let (topic, _) = routing_key.rsplit_once('.').unwrap();
    let builder = rig.builder().target(Target::topic(topic)).endpoint(All);
    let listener = builder.build().unwrap();
    listener.start().await.unwrap();
    rig.send_by(routing_key, body.to_owned()).await;
    finish(&listener).await;
    match rig.seen_so_far().as_slice() {
        [call] => call.clone(),
        [] => {
            let dead_letter = rig.take(&format!("{routing_key}.dead")).await;
            assert_eq!(dead_letter.body, body);
            let header = |name| dead_letter.properties.headers.get_str(name).unwrap_or("missing");
            format!("{}: {}", header("listener-reason"), header("listener-error"))
        }
        calls => panic!("{calls:?}"),
    }
}

/// Routing key, body and result.
const INPUTS: [[&str; 3]; 12] = [
    // Ceilometer's samples: the payload is a list.
    [
        "metering.sample",
        r#"{"oslo.version": "2.0", "oslo.message": "{\"event_type\": \"metering\", \"priority\": \"SAMPLE\", \"publisher_id\": null, \"payload\": [{\"counter_name\": \"cpu\", \"counter_volume\": 1.5}]}"}"#,
        r#"sample metering  nobody [{"counter_name": "cpu", "counter_volume": 1.5}]"#,
    ],
    // The keys in another order, a number beyond 64 bits, and a priority in the routing key only.
    [
        "notifications.audit",
        r#"{"payload": {"tally": 123456789012345678901234567890}, "_context_user_id": "u1", "event_type": "tally", "publisher_id": "p"}"#,
        r#"audit tally p u1 {"tally": 123456789012345678901234567890}"#,
    ],
    // Strings with escapes within the escaped string of version 2.
    [
        "notifications.error",
        r#"{"oslo.version": "2.0", "oslo.message": "{\"event_type\": \"fault\", \"priority\": \"ERROR\", \"payload\": {\"message\": \"no \\\"host\\\"\\n\\u00e9\"}}"}"#,
        r#"error fault  nobody {"message": "no \"host\"\n\u00e9"}"#,
    ],
    // Spaces and line breaks, as written for human readers.
    [
        "notifications.info",
        "{\n  \"event_type\": \"e\",\n  \"priority\": \"INFO\",\n  \"payload\": [ 1,\n    2 ]\n}\n",
        "info e  nobody [ 1,\n    2 ]",
    ],
    // Kombu's tagged values.
    [
        "notifications.info",
        r#"{"event_type": "e", "priority": "INFO", "payload": {"at": {"__type__": "datetime", "__value__": "2026-05-09T01:02:03"}}}"#,
        r#"info e  nobody {"at": "2026-05-09T01:02:03"}"#,
    ],
    [
        "notifications.info",
        r#"{"request": {"event_type": "e", "priority": "WARN", "payload": NaN}, "context": {"user_id": "u1"}, "timeout": null}"#,
        "warn e  u1 null",
    ],
    // One brace too many.
    [
        "notifications.info",
        r#"{"event_type": "e", "priority": "INFO", "payload": {}}}"#,
        "undecodable: notification is not valid json near byte 54: trailing characters at line 1 column 55",
    ],
    [
        "notifications.info",
        r#"{"oslo.version": "2.0", "oslo.message": "{\"priority\": \"INFO\"}"}}"#,
        "undecodable: body is not valid json near byte 67: trailing characters at line 1 column 68",
    ],
    // The inner string of version 2, encoded twice.
    [
        "notifications.info",
        r#"{"oslo.version": "2.0", "oslo.message": "{\\\"priority\\\": \\\"INFO\\\"}"}"#,
        "undecodable: notification is not valid json near byte 1: key must be a string at line 1 column 2",
    ],
    [
        "notifications.info",
        r#"{"oslo.version": "2.0", "oslo.message": "\"{}\""}"#,
        "undecodable: field \"oslo.message\" is a string (expected an object)",
    ],
    // A CADF event without the notification around it.
    [
        "notifications.info",
        r#"{"typeURI": "http://schemas.dmtf.org/cloud/audit/1.0/event", "id": "e1", "eventTime": "2026-05-09T01:02:03.000004+0000", "eventType": "activity", "action": "authenticate", "outcome": "success", "observer": {"typeURI": "service/security", "id": "o1"}, "initiator": {"typeURI": "service/security/account/user", "id": "i1", "host": {"address": "192.0.2.1"}}, "target": {"typeURI": "service/security/account/user", "id": "t1"}}"#,
        "unknown-priority: the body is not a notification: it has no known `priority`, no `event_type`, no `payload` and no `oslo.message`",
    ],
    // The same within a notification.
    [
        "notifications.info",
        r#"{"event_type": "identity.authenticate", "priority": "INFO", "payload": {"typeURI": "http://schemas.dmtf.org/cloud/audit/1.0/event", "id": "e1"}}"#,
        r#"info identity.authenticate  nobody {"typeURI": "http://schemas.dmtf.org/cloud/audit/1.0/event", "id": "e1"}"#,
    ],
];

#[tokio::test(start_paused = true)]
async fn each_body_is_handled_or_dead_lettered_with_its_reason() {
    for [routing_key, body, expected] in INPUTS {
        assert_eq!(result(routing_key, body).await, expected, "{body}");
    }
}
