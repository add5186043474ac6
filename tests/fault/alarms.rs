//! The broker raises an alarm for memory or disk, and accepts no messages. Rows 10 and 11 of the list.

use std::time::Duration;

use support::{Act, Job, RabbitNode, harmed, wait_until};

use crate::process::Worker;
use crate::program::SOON;
use crate::trial::{QUEUE, Trial, plain, send_unreadable};

/// Sends 150 that are handled at once, 20 that fail once, and 10 unreadable ones. The latter two need a
/// copy, which the broker does not accept during the alarm.
async fn an_alarm(row: u8, fault: &'static str, node: &RabbitNode, harm: &[&str], fix: &[&str]) {
    let mut trial = Trial::new(row, fault, node).await;
    // The oracle has to see that one fails.
    trial.options.send_timeout_ms = 3000;
    trial.send((0..20).map(|id| Job { id, act: Act::Fail(1) })).await;
    send_unreadable(&trial, 20..30).await;
    trial.send(plain(30..180)).await;
    node.ctl(harm).await;
    wait_until("the alarm is raised", SOON, async || {
        node.eval("rabbit_alarm:get_alarms()").await.contains("resource_limit")
    })
    .await;
    let mut worker = Worker::start(&trial.options);
    trial.until_handled(&mut worker, 150).await;
    // Deliveries that need a copy are kept unacknowledged, and the worker is not ready.
    worker
        .until("readiness says so", async |worker| !worker.is_ready() && worker.losses() > 0)
        .await;
    worker.is_calm(Duration::from_secs(3)).await;
    assert_eq!(node.queue_depth(&trial.vhost, QUEUE).await, Some(30));
    assert!(trial.calls() <= 150 + 20, "no method is called again meanwhile: {}", trial.calls());
    node.ctl(fix).await;
    trial.attached_after(worker.ready(true).await);
    trial.until_all_handled_but(&mut worker, 20..30).await;
    trial.until_empty(&mut worker, node).await;
    // A copy may have been sent before the broker reported the alarm: that one arrives, too.
    let account = trial.finish(worker, node, 30).await;
    assert_eq!(account.dead.keys().copied().collect::<Vec<_>>(), (20..30).collect::<Vec<_>>());
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_memory_alarm_is_waited_for_with_deliveries_unacknowledged() {
    let node = harmed().await;
    let harm = ["set_vm_memory_high_watermark", "0.00001"];
    let fix = ["set_vm_memory_high_watermark", "absolute", "6GB"];
    an_alarm(10, "memory alarm", &node, &harm, &fix).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_disk_alarm_is_waited_for_with_deliveries_unacknowledged() {
    let node = harmed().await;
    let harm = ["set_disk_free_limit", "mem_relative", "1000.0"];
    let fix = ["set_disk_free_limit", "50MB"];
    an_alarm(11, "disk alarm", &node, &harm, &fix).await;
}
