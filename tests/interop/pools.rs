//! Pools of Python and Rust listeners: each pool receives every notification, and members of one pool, in
//! whichever language, handle each of them exactly once.

use std::collections::BTreeMap;

use listener::{Context, EnvelopeVersion, Notifier, Transport};
use serde_json::{Value, json};
use support::python_peer::{ListenerOptions, NotifierOptions, PythonListener, PythonNotifier};
use support::rabbit_node::{oslo_url, shared};

use crate::collect::{Collector, SOON, from_python};

const VHOST: &str = "shared pool";

const SENT: usize = 60;

/// The members of the shared pool: two of Python, two of ours.
struct Members {
    python: [PythonListener; 2],
    ours: [Collector; 2],
}

impl Members {
    async fn start(url: &str) -> Self {
        let options =
            || ListenerOptions { pool: Some("shared".to_owned()), ..ListenerOptions::default() };
        let ours = [Collector::start(url, "shared").await, Collector::start(url, "shared").await];
        let (one, other) = (options(), options());
        let python =
            tokio::join!(PythonListener::start(url, &one), PythonListener::start(url, &other));
        Self { python: python.into(), ours }
    }

    /// The next notification of any member, and which one that is.
    async fn next(&mut self) -> (usize, Value) {
        let [python, other_python] = &mut self.python;
        let [ours, other_ours] = &mut self.ours;
        tokio::select! {
            line = python.next(SOON) => (0, from_python(&line)),
            line = other_python.next(SOON) => (1, from_python(&line)),
            seen = ours.next() => (2, seen),
            seen = other_ours.next() => (3, seen),
        }
    }

    async fn stop(self) {
        for python in self.python {
            python.stop().await;
        }
        for ours in self.ours {
            ours.stop().await;
        }
    }
}

#[tokio::test]
#[ignore = "needs rabbitmq and oslo.messaging"]
async fn members_of_both_languages_handle_both_versions_exactly_once() {
    let node = shared().await;
    let url = oslo_url(&node.vhost(VHOST).await);
    let mut members = Members::start(&url).await;
    let mut alone = Collector::start(&url, "alone").await;

    let options = NotifierOptions::default();
    let (v1, v2) = tokio::join!(
        PythonNotifier::start(&url, "messaging", &options),
        PythonNotifier::start(&url, "messagingv2", &options)
    );
    let ours = |version| {
        let builder = Notifier::builder(Transport::open(&url).unwrap()).version(version);
        builder.build().unwrap()
    };
    let mut notifiers = [(v1, ours(EnvelopeVersion::V1)), (v2, ours(EnvelopeVersion::V2))];
    for n in (0..SENT).step_by(2) {
        let (python, ours) = &mut notifiers[n / 2 % 2];
        let priority = ["info", "error", "sample"][n % 3];
        python
            .send(&json!({"ctxt": {}, "publisher_id": "p", "event_type": "x", "priority": priority, "payload": n}))
            .await;
        ours.notify(priority.parse().unwrap(), &Context::new(), "x", &(n + 1)).await.unwrap();
    }

    let mut handled: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut of_member = [0; 4];
    for _ in 0..SENT {
        let (member, seen) = members.next().await;
        of_member[member] += 1;
        handled.entry("shared".to_owned()).or_default().push(seen["payload"].as_u64().unwrap());
        let payload = alone.next().await["payload"].as_u64().unwrap();
        handled.entry("alone".to_owned()).or_default().push(payload);
    }
    let all: Vec<u64> = (0..SENT as u64).collect();
    for (pool, mut payloads) in handled {
        payloads.sort_unstable();
        assert_eq!(payloads, all, "{pool}");
    }
    assert!(of_member.iter().all(|count| *count > 0), "a member received nothing: {of_member:?}");

    for (_, ours) in notifiers {
        ours.close().await;
    }
    members.stop().await;
    alone.stop().await;
    // Nothing was left for a second time, and every pool is empty.
    for pool in ["shared", "alone"] {
        assert_eq!(node.queue_depth(VHOST, pool).await, Some(0), "{pool}");
    }
}
