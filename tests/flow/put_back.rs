//! Dead letters of suspects that are put back start without the crashes recorded before; headers that
//! a publisher writes do not have that effect.

use std::time::Duration;

use listener::options::Executor;
use listener::testing::Model;
use listener::{Context, Transport};

use crate::evidence::{Decisions, SECOND, die_of_one, handle, hangs, model_with_one};
use crate::rig::{Rig, finish};

/// Kills processes until the notification is a dead letter, and puts that back, behind others.
async fn put_back(model: &Model, rig: &Rig, others: usize) {
    for _ in 0..5 {
        die_of_one(model).await;
    }
    handle(rig, &Decisions::default()).await;
    let dead_letter = rig.take("notifications.info.dead").await;
    assert_eq!(dead_letter.properties.headers.get_str("listener-reason"), Some("poison"));
    for _ in 0..others {
        rig.notifier().info(&Context::new(), "x", &"other").await.unwrap();
    }
    rig.put_with("notifications.info", dead_letter.body, dead_letter.properties).await;
}

/// A process that works on one delivery at a time, and stops orderly.
async fn take_one_and_stop(model: &Model, rig: &Rig, after: Duration) {
    let process = model.process();
    let builder = rig.builder_on(Transport::new(process.clone(), "stops"));
    let builder = builder.shutdown_timeout(Duration::ZERO).executor(Executor::Concurrent(1));
    let listener = builder.endpoint(hangs()).build().unwrap();
    listener.start().await.unwrap();
    tokio::time::sleep(after).await;
    finish(&listener).await;
    process.kill();
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_put_back_is_handled_after_a_process_stopped_before_beginning_it() {
    let (model, mut rig) = model_with_one().await;
    put_back(&model, &rig, 1).await;
    take_one_and_stop(&model, &rig, 60 * SECOND).await;
    let decisions = Decisions::default();
    handle(&rig, &decisions).await;
    assert_eq!(rig.seen_so_far(), ["other", "healthy"], "{:?}", decisions.so_far());
    assert_eq!(decisions.so_far(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_put_back_is_handled_after_a_process_stopped_at_once() {
    let (model, mut rig) = model_with_one().await;
    put_back(&model, &rig, 0).await;
    take_one_and_stop(&model, &rig, SECOND / 2).await;
    let decisions = Decisions::default();
    handle(&rig, &decisions).await;
    assert_eq!(rig.seen_so_far(), ["healthy"], "{:?}", decisions.so_far());
    assert_eq!(decisions.so_far(), [""; 0]);
}

/// Deaths before that do not count, also not for the copies of the dead letter that was put back.
#[tokio::test(start_paused = true)]
async fn a_dead_letter_put_back_is_given_up_after_as_many_crashes_as_before() {
    let (model, mut rig) = model_with_one().await;
    put_back(&model, &rig, 0).await;
    for crashes in 0..5 {
        die_of_one(&model).await;
        assert_eq!(model.depths()["notifications.info.dead"], 0, "after {crashes} crashes");
    }
    let decisions = Decisions::default();
    handle(&rig, &decisions).await;
    assert_eq!(rig.seen_so_far(), [""; 0]);
    assert_eq!(decisions.so_far(), ["dead letter: poison"]);
}

/// A publisher can write the headers of a dead letter on an equal body.
#[tokio::test(start_paused = true)]
async fn headers_of_a_publisher_do_not_clear_recorded_crashes() {
    let (model, mut rig) = model_with_one().await;
    for _ in 0..5 {
        die_of_one(&model).await;
    }
    let suspect = rig.take("notifications.info.quarantine").await;
    let mut dead_letter = suspect.properties.clone();
    dead_letter.headers.insert("listener-reason", "poison".into());
    rig.put_with("notifications.info", suspect.body.clone(), dead_letter).await;
    handle(&rig, &Decisions::default()).await;
    assert_eq!(rig.seen_so_far(), ["healthy"], "the message of the publisher is handled");
    rig.put_with("notifications.info.quarantine", suspect.body, suspect.properties).await;
    let decisions = Decisions::default();
    handle(&rig, &decisions).await;
    assert_eq!(rig.seen_so_far(), [""; 0]);
    assert_eq!(decisions.so_far(), ["dead letter: poison"]);
}
