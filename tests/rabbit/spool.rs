//! A notifier with a spool whose broker is killed: every accepted notification arrives, in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::*;
use listener::options::SpoolOptions;
use listener::{Context, Notifier, Transport};

/// How many are sent after the broker was killed.
const SENT_AFTER: u32 = 1500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs rabbitmq"]
async fn everything_sent_while_the_broker_is_killed_arrives_in_order() {
    let mut node = RabbitNode::start().await;
    let directory = std::env::temp_dir().join(format!("listener-rabbit-{}", std::process::id()));
    let notifier = Notifier::builder(Transport::open(&node.url()).unwrap())
        .spool(SpoolOptions::new(&directory).confirm_timeout(Duration::from_secs(1)))
        .build()
        .unwrap();
    let (sent, killed) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    let sending = tokio::spawn({
        let (notifier, sent, killed) = (notifier.clone(), Arc::clone(&sent), Arc::clone(&killed));
        async move {
            let mut left = SENT_AFTER;
            while left > 0 {
                let number = sent.load(Ordering::SeqCst);
                notifier.info(&Context::new(), "x", &number).await.unwrap();
                sent.store(number + 1, Ordering::SeqCst);
                left -= u32::from(killed.load(Ordering::SeqCst));
            }
        }
    });
    wait_until("a part is sent", SOON, async || sent.load(Ordering::SeqCst) >= 200).await;
    node.kill().await;
    killed.store(true, Ordering::SeqCst);
    wait_until("some are spooled", SOON, async || notifier.spooled().waiting > 200).await;
    node.restart().await;
    sending.await.unwrap();
    let count = sent.load(Ordering::SeqCst);
    let most = notifier.spooled().waiting;
    let began = std::time::Instant::now();
    wait_until("the spool is empty", 4 * SOON, async || notifier.spooled().waiting == 0).await;
    println!("{most} waited when the last was sent, and were gone after {:?}", began.elapsed());
    notifier.close().await;

    let messages = Amqp::connect(&node.url()).await.drain(QUEUE).await;
    let mut arrived: Vec<u32> = messages.iter().map(|message| payload(&message.data)).collect();
    let twice = arrived.len() - count as usize;
    println!("{twice} arrived twice");
    // A notification whose confirm was lost with the broker arrives twice.
    arrived.dedup();
    assert_eq!(arrived, (0..count).collect::<Vec<_>>());
    std::fs::remove_dir_all(directory).unwrap();
}

fn payload(body: &[u8]) -> u32 {
    let outer: serde_json::Value = serde_json::from_slice(body).unwrap();
    let inner = outer["oslo.message"].as_str().unwrap();
    serde_json::from_str::<serde_json::Value>(inner).unwrap()["payload"].as_u64().unwrap() as u32
}
