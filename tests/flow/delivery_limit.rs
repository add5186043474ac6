//! Messages near the delivery limit of their queue are renewed before the broker drops them, also in
//! quarantine and with any state of the journal.

use std::time::Duration;

use listener::Transport;
use listener::driver::{Route, SendError};
use listener::testing::{DeliveryLimit, Process};

use crate::evidence::{Journal, Logs, SECOND, die_of_one, hangs, model_with_one, work_and_stop};
use crate::rig::finish;
use crate::sending::sending;

/// How many copies of one notification are left after many orderly stops, in a queue with a delivery
/// limit and without a dead-letter exchange.
async fn left_after_stops(behaviour: Journal) -> usize {
    let (model, rig) = model_with_one().await;
    model.limit("notifications.info", DeliveryLimit { deliveries: 6, dead_letters: None });
    for _ in 0..12 {
        work_and_stop(&rig, model.process(), behaviour).await;
    }
    model.depths().values().sum()
}

#[tokio::test(start_paused = true)]
async fn orderly_stops_near_the_delivery_limit_lose_nothing_with_any_journal() {
    for behaviour in [Journal::Works, Journal::Refused, Journal::Away] {
        assert_eq!(left_after_stops(behaviour).await, 1, "{behaviour:?}");
    }
}

/// An existing quarantine queue keeps its own delivery limit.
#[tokio::test(start_paused = true)]
async fn a_quarantined_notification_is_renewed_before_its_queue_drops_it() {
    let (model, rig) = model_with_one().await;
    for _ in 0..2 {
        die_of_one(&model).await;
    }
    work_and_stop(&rig, model.process(), Journal::Works).await;
    let quarantined = "notifications.info.quarantine";
    assert_eq!(model.depths().get(quarantined), Some(&1), "{:?}", model.depths());
    model.limit(quarantined, DeliveryLimit { deliveries: 6, dead_letters: None });
    for _ in 0..12 {
        work_and_stop(&rig, model.process(), Journal::Works).await;
    }
    assert_eq!(model.depths().get(quarantined), Some(&1), "{:?}", model.depths());
}

/// The queue drops every redelivery; renewing first deliveries would never end.
#[tokio::test(start_paused = true)]
async fn a_first_delivery_is_not_renewed() {
    let (model, mut rig) = model_with_one().await;
    model.limit("notifications.info", DeliveryLimit { deliveries: 0, dead_letters: None });
    let listener = rig.builder().endpoint(Logs).build().unwrap();
    listener.start().await.unwrap();
    tokio::time::timeout(60 * SECOND, rig.seen()).await.expect("it is handled");
    finish(&listener).await;
    rig.assert_empty("notifications.info").await;
}

/// A suspect that cannot be quarantined stays in its queue and is renewed there.
#[tokio::test(start_paused = true)]
async fn a_suspect_that_cannot_be_quarantined_is_renewed_before_its_queue_drops_it() {
    let (model, rig) = model_with_one().await;
    for _ in 0..2 {
        die_of_one(&model).await;
    }
    model.limit("notifications.info", DeliveryLimit { deliveries: 6, dead_letters: None });
    for _ in 0..12 {
        let builder = rig.builder_on(no_quarantine(model.process()));
        let builder = builder.shutdown_timeout(Duration::ZERO).endpoint(hangs());
        let listener = builder.build().unwrap();
        listener.start().await.unwrap();
        tokio::time::sleep(20 * SECOND).await;
        finish(&listener).await;
    }
    assert_eq!(model.depths().values().sum::<usize>(), 1, "{:?}", model.depths());
}

/// A broker that refuses every message for a quarantine queue.
fn no_quarantine(process: Process) -> Transport {
    sending(&Transport::new(process, "model"), |below, outgoing| async move {
        let Route::Quarantine(queue) = outgoing.route else { return below.send(outgoing).await };
        Err(SendError::TooLarge { route: queue, size: outgoing.body.len(), limit: 1 })
    })
}
