//! The sizes of batches that the tests of oslo.messaging verify (`listener/src/guide/oslo.md`).

use listener::{Batch, Context, State, notification_endpoint};

use crate::rig::{Log, Rig, finish};

/// The lengths of the batches of an endpoint for this number of notifications.
async fn lengths(endpoint: impl listener::Endpoint, sent: u32) -> Vec<String> {
    let mut rig = Rig::new();
    let listener = rig.builder().endpoint(endpoint).build().unwrap();
    listener.start().await.unwrap();
    let notifier = rig.notifier();
    for number in 0..sent {
        notifier.info(&Context::new(), "x", &number).await.unwrap();
    }
    // Longer than the time of a batch, shorter than that of one without a time limit.
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    let seen = rig.seen_so_far();
    finish(&listener).await;
    assert_eq!(rig.seen_so_far(), [""; 0]);
    seen
}

macro_rules! batches {
    ($name:ident, $size:literal, $timeout:literal) => {
        struct $name;

        #[notification_endpoint(register = false)]
        impl $name {
            #[on(info, batch(size = $size, timeout = $timeout))]
            async fn all(&self, batch: Batch<'_, u32>, log: State<Log>) {
                let _ = log.send(batch.len().to_string());
            }
        }
    };
}

batches!(FivesInASecond, 5, "1s");
batches!(FivesAtAnyTime, 5, "1h");
batches!(Hundreds, 100, "2s");

#[tokio::test(start_paused = true)]
async fn twelve_notifications_are_batches_of_5_5_and_2() {
    assert_eq!(lengths(FivesInASecond, 12).await, ["5", "5", "2"]);
}

#[tokio::test(start_paused = true)]
async fn ten_notifications_are_two_complete_batches_before_any_timeout() {
    assert_eq!(lengths(FivesAtAnyTime, 10).await, ["5", "5"]);
}

#[tokio::test(start_paused = true)]
async fn two_hundred_and_five_notifications_are_batches_of_100_100_and_5() {
    assert_eq!(lengths(Hundreds, 205).await, ["100", "100", "5"]);
}
