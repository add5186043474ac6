//! Faults of the network between program and broker. Rows 18 to 23 of the list.

use std::time::{Duration, Instant};

use listener::Priority;
use support::amqp::oslo_properties;
use support::{Amqp, Impostor, Proxy, Toxics, shared};
use tokio::time::sleep;

use crate::process::Worker;
use crate::trial::{PREFETCH, Trial, WINDOW, all_sent, plain, timed};

const DEAF: Toxics = Toxics { deaf: true, ..NONE };
const LOST: Toxics = Toxics { deaf: true, mute: true, ..NONE };
const NONE: Toxics = Toxics {
    latency: Duration::ZERO,
    jitter: Duration::ZERO,
    rate: None,
    slice: None,
    deaf: false,
    mute: false,
};

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn notifications_whose_confirms_never_arrive_are_sent_again() {
    let node = shared().await;
    let proxy = Proxy::start(node.port()).await;
    let mut trial = Trial::new(18, "confirmations lost: notifier", node).await;
    let mut worker = trial.worker().await;
    let through = trial.url.replace(&node.port().to_string(), &proxy.port().to_string());
    let sending = trial.sending_to(&through, Priority::Info, plain(0..1000));
    trial.until_handled(&mut worker, 300).await;
    proxy.toxics(DEAF);
    sleep(Duration::from_secs(1)).await;
    proxy.toxics(NONE);
    let healed = timed(all_sent(sending)).await;
    trial.attached_after(healed);
    trial.until_all_handled(&mut worker).await;
    let account = trial.finish(worker, node, WINDOW as u32).await;
    assert_eq!(account.confirmed.len(), 1000, "every send was confirmed in the end");
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn dead_letters_whose_confirms_never_arrive_are_sent_again() {
    let node = shared().await;
    let proxy = Proxy::start(node.port()).await;
    let trial = Trial::new(18, "confirmations lost: dead letters", node).await;
    let mut trial = trial.through(node, proxy.port());
    let mut worker = trial.worker().await;
    trial.send(plain(1000..1010)).await;
    let amqp = Amqp::connect(&trial.url).await;
    for id in 0..100 {
        if id == 50 {
            proxy.toxics(DEAF);
        }
        amqp.publish("", "notifications.info", format!("unreadable {id}"), oslo_properties(&[]))
            .await;
    }
    amqp.close().await;
    trial.sent_elsewhere(0..100);
    worker.ready(false).await;
    proxy.toxics(NONE);
    trial.attached_after(worker.ready(true).await);
    trial.until_depth(node, "notifications.info", 0).await;
    trial.finish(worker, node, 2 * PREFETCH).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_black_hole_is_given_up_after_two_heartbeats() {
    let node = shared().await;
    let proxy = Proxy::start(node.port()).await;
    let trial = Trial::new(19, "black hole in both directions", node).await;
    let mut trial = trial.through(node, proxy.port());
    let mut worker = trial.worker().await;
    let sending = trial.sending(plain(0..1000));
    trial.until_handled(&mut worker, 100).await;
    proxy.toxics(LOST);
    worker.ready(false).await;
    worker.logs("no heartbeat").await;
    worker.is_calm(Duration::from_secs(2)).await;
    // Existing links stay black holes; new ones work.
    proxy.toxics(NONE);
    trial.attached_after(worker.ready(true).await);
    all_sent(sending).await;
    trial.until_all_handled(&mut worker).await;
    trial.finish(worker, node, PREFETCH).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_link_reset_after_any_number_of_bytes_is_reconnected() {
    const STEP: usize = 11;
    const HELD: u32 = 10;
    let node = shared().await;
    let proxy = Proxy::start(node.port()).await;
    let trial = Trial::new(20, "reset after 1, 12, 23, .. bytes", node).await;
    let mut trial = trial.through(node, proxy.port());
    trial.options.url = trial
        .options
        .url
        .replace("retry_interval=0.2", "retry_interval=0.05")
        .replace("retry_backoff=0.1", "retry_backoff=0");
    // A reset loses what the program has not read yet: few deliveries at once, so that some arrive.
    trial.options.prefetch = HELD as u16;
    proxy.limit(Some((1, STEP)));
    // It does not become ready until the limit lets a whole attachment through.
    let mut worker = Worker::start(&trial.options);
    worker.ready(true).await;
    assert!(proxy.accepted() > 40, "{} links were cut while it attached", proxy.accepted());
    // From here on resets fall into deliveries.
    proxy.limit(Some((2000, 509)));
    proxy.cut();
    for round in 0..3 {
        trial.send(plain(round * 100..(round + 1) * 100)).await;
        trial.until_handled(&mut worker, 100 * (round as usize + 1)).await;
    }
    proxy.limit(None);
    proxy.cut();
    worker.ready(false).await;
    trial.attached_after(worker.ready(true).await);
    trial.until_all_handled(&mut worker).await;
    // Deliveries of each lost session are redelivered; a copy may exist twice.
    let lost = worker.log().matches("lost RabbitMQ").count() as u32;
    trial.finish(worker, node, 2 * HELD * lost).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn slow_links_only_slow_down_delivery() {
    let node = shared().await;
    for (fault, toxics, count) in [
        ("pieces of 1 byte", Toxics { slice: Some(1), ..NONE }, 300),
        (
            "latency of 1 s, give or take 0.5 s",
            Toxics { latency: Duration::from_secs(1), jitter: Duration::from_millis(500), ..NONE },
            100,
        ),
        ("8 kB/s", Toxics { rate: Some(8000), ..NONE }, 100),
    ] {
        let proxy = Proxy::start(node.port()).await;
        let trial = Trial::new(21, fault, node).await.through(node, proxy.port());
        let mut worker = trial.worker().await;
        proxy.toxics(toxics);
        trial.send(plain(0..count)).await;
        trial.until_all_handled(&mut worker).await;
        // For several heartbeats.
        sleep(Duration::from_secs(3)).await;
        assert_eq!(worker.losses(), 0, "{}", worker.log());
        proxy.toxics(NONE);
        trial.finish(worker, node, 0).await;
    }
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn hosts_that_are_not_brokers_are_skipped() {
    let node = shared().await;
    let mut trial = Trial::new(22, "silence, TLS, HTTP, wrong header", node).await;
    let impostors = [
        Impostor::start(""),
        Impostor::start(b"\x15\x03\x03\x00\x02\x02\x46".as_slice()),
        Impostor::start("HTTP/1.1 400 Bad Request\r\n\r\n"),
        Impostor::start(b"AMQP\x00\x01\x00\x00".as_slice()),
    ];
    let others: String =
        impostors.iter().map(|other| format!("guest:guest@127.0.0.1:{},", other.port())).collect();
    trial.options.url = trial.options.url.replace("amqp://", &format!("amqp://{others}"));
    let start = Instant::now();
    let mut worker = trial.worker().await;
    trial.attached_after(start.elapsed());
    trial.send(plain(0..100)).await;
    trial.until_all_settled(&mut worker, node).await;
    // The order of the hosts is random: once more, with all of them before the right one.
    for _ in 0..3 {
        let tried: usize = impostors.iter().map(Impostor::accepted).sum();
        let losses = worker.losses();
        node.ctl(&["close_all_connections", "--vhost", &trial.vhost, "a test"]).await;
        worker.until("it is lost", async |worker| worker.losses() > losses).await;
        trial.attached_after(worker.ready(true).await);
        let now: usize = impostors.iter().map(Impostor::accepted).sum();
        assert!(now >= tried + 4, "the next hosts are tried first");
    }
    trial.send(plain(100..200)).await;
    trial.until_all_handled(&mut worker).await;
    trial.finish(worker, node, 0).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_program_started_before_its_brokers_waits_for_the_first_of_them() {
    let node = shared().await;
    let proxies = [Proxy::start(node.port()).await, Proxy::start(node.port()).await];
    let mut trial = Trial::new(23, "all hosts down at the start, one for ever", node).await;
    let hosts = format!(
        "amqp://nowhere.invalid,guest:guest@127.0.0.1:{},guest:guest@127.0.0.1:{}",
        proxies[0].port(),
        proxies[1].port()
    );
    let direct = format!("amqp://guest:guest@127.0.0.1:{}", node.port());
    trial.options.url = trial.options.url.replace(&direct, &hosts);
    proxies.iter().for_each(|proxy| proxy.refuse(true));
    let mut worker = Worker::start(&trial.options);
    trial.send(plain(0..200)).await;
    worker.logs("cannot attach to RabbitMQ yet").await;
    worker.is_calm(Duration::from_secs(5)).await;
    assert!(!worker.is_ready());
    proxies[1].refuse(false);
    trial.attached_after(worker.ready(true).await);
    trial.until_all_handled(&mut worker).await;
    // The first comes back, the other goes away.
    proxies[0].refuse(false);
    proxies[1].refuse(true);
    proxies[1].cut();
    trial.send(plain(200..400)).await;
    worker
        .until("the other host is in use", async |worker| {
            worker.is_ready() && proxies[0].connections() > 0
        })
        .await;
    trial.until_all_handled(&mut worker).await;
    trial.finish(worker, node, PREFETCH).await;
}
