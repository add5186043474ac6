//! Copies for some methods: only those that a copy names run, by names that survive a restart. A dead
//! letter that is put back starts over for its pending methods.

use std::time::Duration;

use listener::driver::{HeaderValue, Headers, Properties};
use listener::{Attempt, Listener, State, notification_endpoint};

use crate::rig::{Log, Rig, finish, once};

struct Billing;

#[notification_endpoint(register = false, name = "billing", order = 1)]
impl Billing {
    async fn info(&self, attempt: Attempt, payload: u32, log: State<Log>) -> Result<(), String> {
        let _ = log.send(format!("billing {}", attempt.0));
        if payload == 0 { Ok(()) } else { Err("no price".to_owned()) }
    }
}

struct Audit;

#[notification_endpoint(register = false, order = 2)]
impl Audit {
    async fn info(&self, log: State<Log>) {
        let _ = log.send("audit".to_owned());
    }
}

fn listener(rig: &Rig) -> Listener {
    rig.builder().retry(once()).endpoint(Billing).endpoint(Audit).build().unwrap()
}

fn pending_for(names: &[&str]) -> Headers {
    let mut headers = Headers::default();
    let names = names.iter().map(|name| (*name).into()).collect();
    headers.insert("listener-methods", HeaderValue::Array(names));
    headers
}

async fn send(rig: &Rig, payload: u32, headers: Headers) {
    let body = format!(r#"{{"priority": "INFO", "payload": {payload}}}"#);
    rig.send_with(body, Properties::default().headers(headers)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn only_the_methods_named_by_a_copy_run() {
    let mut rig = Rig::new();
    let listener = listener(&rig);
    listener.start().await.unwrap();
    send(&rig, 0, Headers::default()).await;
    assert_eq!(rig.seen_so_far(), ["billing 1", "audit"]);
    send(&rig, 0, pending_for(&["billing::info"])).await;
    assert_eq!(rig.seen_so_far(), ["billing 1"]);
    let mut later = pending_for(&["flow::pending::Audit::info", "billing::info"]);
    later.insert("listener-attempts", HeaderValue::Int64(2));
    send(&rig, 0, later).await;
    assert_eq!(rig.seen_so_far(), ["billing 3", "audit"]);
    finish(&listener).await;
    rig.assert_empty("notifications.info.dead").await;
}

#[tokio::test(start_paused = true)]
async fn a_copy_for_an_unknown_method_is_a_dead_letter_that_names_it() {
    let mut rig = Rig::new();
    let listener = listener(&rig);
    listener.start().await.unwrap();
    send(&rig, 0, pending_for(&["old::Billing::info", "flow::pending::Audit::info"])).await;
    let dead_letter = rig.dead_letter().await;
    finish(&listener).await;
    assert_eq!(rig.seen_so_far(), ["audit"]);
    assert_eq!(
        (dead_letter.reason.as_str(), dead_letter.methods.as_str(), dead_letter.error.as_str()),
        (
            "unknown-method",
            "old::Billing::info",
            "old::Billing::info: no method has this name; if it was renamed, give the endpoint its old `name`"
        )
    );
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_put_back_starts_over_for_its_pending_methods() {
    let mut rig = Rig::new();
    let listener = listener(&rig);
    listener.start().await.unwrap();
    send(&rig, 1, Headers::default()).await;
    assert_eq!(rig.seen_so_far(), ["billing 1", "audit"]);
    let dead_letter = rig.take("notifications.info.dead").await;
    rig.put_with("notifications.info", dead_letter.body.clone(), dead_letter.properties).await;
    let again = rig.take("notifications.info.dead").await;
    finish(&listener).await;
    assert_eq!(rig.seen_so_far(), ["billing 1"]);
    assert_eq!(again.body, dead_letter.body);
}

#[tokio::test(start_paused = true)]
async fn two_endpoints_with_one_name_do_not_build() {
    struct Other;

    #[notification_endpoint(register = false, name = "billing")]
    impl Other {
        async fn info(&self) {}
    }

    let rig = Rig::new();
    let error = rig.builder().endpoint(Billing).endpoint(Other).build().unwrap_err();
    let expected = "another method has the name \"billing::info\"";
    assert!(error.to_string().contains(expected), "{error}");
}
