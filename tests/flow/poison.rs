//! Notifications that end the process: recorded before they begin, quarantined, handled one at a time,
//! given up. A process that crashes is a listener whose runtime is dropped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use listener::driver::Route;
use listener::driver::SendError;
use listener::options::{Executor, ListenerOptions, RetryOptions, RetryStorage};
use listener::testing::{Conditions, Model, Process};
use listener::{Attempt, Context, Listener, Outcome, State, Transport, notification_endpoint};
use tokio::sync::mpsc;

use crate::rig::{Log, Rig, finish};
use crate::sending::sending;

const QUARANTINE: &str = "notifications.info.quarantine";

/// Ends its process for the payload "poison", and reports how many other calls ran then.
struct Dies {
    others: Arc<AtomicU32>,
    crash: mpsc::UnboundedSender<u32>,
}

#[notification_endpoint(register = false)]
impl Dies {
    async fn info(&self, payload: &str, log: State<Log>) {
        if payload == "poison" {
            let _ = self.crash.send(self.others.load(Ordering::SeqCst));
            std::future::pending::<()>().await;
        }
        self.others.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.others.fetch_sub(1, Ordering::SeqCst);
        let _ = log.send(payload.to_owned());
    }
}

/// Runs a process until it crashes, or for an hour. If it crashed, returns how many other calls ran then.
fn run_process(transport: &Transport, log: &Log) -> Option<u32> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    let crashed = runtime.block_on(async {
        let (crash, mut crashed) = mpsc::unbounded_channel();
        let crashes = Dies { others: Arc::default(), crash };
        let builder = Listener::builder().transport(transport.clone()).state(log.clone());
        let listener = builder.endpoint(crashes).build().unwrap();
        listener.start().await.unwrap();
        let crashed = tokio::time::timeout(Duration::from_secs(3600), crashed.recv()).await;
        if crashed.is_err() {
            listener.stop().await;
            listener.wait().await.unwrap();
        }
        crashed.ok().flatten()
    });
    // Its tasks are dropped, and the broker requeues their deliveries.
    drop(runtime);
    crashed
}

#[test]
fn poison_is_quarantined_and_given_up_and_its_neighbours_are_handled() {
    let (transport, log, mut seen) = {
        let rig = Rig::new();
        (rig.transport.clone(), rig.log(), rig.into_seen())
    };
    let send = |payload: String| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let notifier = listener::Notifier::builder(transport.clone()).build().unwrap();
        runtime.block_on(async { notifier.info(&Context::new(), "x", &payload).await.unwrap() });
    };
    for number in 0..20 {
        send(if number == 7 { "poison".to_owned() } else { number.to_string() });
    }
    let mut crashes = Vec::new();
    while let Some(others) = run_process(&transport, &log) {
        crashes.push(others);
        assert!(crashes.len() < 10, "it is never given up");
    }
    // Twice among others, before it is a suspect; three times alone.
    assert_eq!(crashes.len(), 5, "{crashes:?}");
    assert_eq!(crashes[2..], [0, 0, 0], "another call ran");
    let mut handled: Vec<u32> = Vec::new();
    while let Ok(line) = seen.try_recv() {
        handled.push(line.parse().unwrap());
    }
    handled.sort_unstable();
    handled.dedup();
    let expected: Vec<u32> = (0..20).filter(|number| *number != 7).collect();
    assert_eq!(handled, expected);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let rig = Rig::on(transport);
        let dead_letter = rig.dead_letter().await;
        assert_eq!(
            (dead_letter.reason.as_str(), dead_letter.error.as_str()),
            ("poison", "5 processes crashed while handling it")
        );
        for queue in ["notifications.info", QUARANTINE, "notifications.info.dead"] {
            rig.assert_empty(queue).await;
        }
    });
}

#[tokio::test(start_paused = true)]
async fn a_delivery_requeued_by_a_method_is_not_quarantined() {
    struct Requeues(AtomicU32);

    #[notification_endpoint(register = false)]
    impl Requeues {
        async fn info(&self, log: State<Log>) -> Outcome {
            let _ = log.send("called".to_owned());
            match self.0.fetch_add(1, Ordering::SeqCst) {
                0..10 => Outcome::Requeue,
                _ => Outcome::Handled,
            }
        }
    }

    let mut rig = Rig::new();
    let builder = rig.builder().allow_requeue(true).endpoint(Requeues(AtomicU32::new(0)));
    let listener = builder.build().unwrap();
    listener.start().await.unwrap();
    rig.notifier().info(&Context::new(), "x", &()).await.unwrap();
    finish(&listener).await;
    assert_eq!(rig.seen_so_far(), ["called"; 11]);
    rig.assert_empty(QUARANTINE).await;
}

#[tokio::test(start_paused = true)]
async fn a_suspect_quarantined_without_a_confirm_is_handled() {
    let model = Model::new(1);
    let mut rig = Rig::on(Transport::new(model.process(), "model"));
    suspect(&model, &rig).await;
    model.change(|conditions| conditions.lost_confirms = 100);
    let crashes = Dies { others: Arc::default(), crash: mpsc::unbounded_channel().0 };
    let listener = rig.builder().endpoint(crashes).build().unwrap();
    listener.start().await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    model.change(|conditions| *conditions = Conditions::default());
    // The second attempt may take four times as long as the first.
    tokio::time::sleep(Duration::from_secs(180)).await;
    finish(&listener).await;
    // Once from its queue, and at least once from quarantine.
    assert!(rig.seen_so_far().len() > 1, "{:?}", model.depths());
    let empty = ["notifications.info", QUARANTINE].map(|name| (name.to_owned(), 0));
    assert_eq!(model.depths(), BTreeMap::from(empty));
}

#[tokio::test(start_paused = true)]
async fn a_suspect_is_held_while_it_cannot_be_quarantined() {
    let model = Model::new(1);
    let mut rig = Rig::on(Transport::new(model.process(), "model"));
    suspect(&model, &rig).await;
    let crashes = Dies { others: Arc::default(), crash: mpsc::unbounded_channel().0 };
    let listener = rig.builder().endpoint(crashes).build().unwrap();
    model.change(|conditions| conditions.full = true);
    listener.start().await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(rig.seen_so_far(), [""; 0], "it was handled among others");
    assert_eq!(listener.health().paused[0].queue, QUARANTINE);
    assert!(!listener.is_ready());
    model.change(|conditions| conditions.full = false);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(listener.is_ready());
    finish(&listener).await;
    assert_eq!(rig.seen_so_far(), ["suspect"]);
}

#[tokio::test(start_paused = true)]
async fn other_notifications_begin_while_the_dead_letter_of_a_suspect_is_pending() {
    let model = Model::new(1);
    let mut rig = Rig::on(Transport::new(model.process(), "model"));
    rig.notifier().info(&Context::new(), "x", &"suspect").await.unwrap();
    for _ in 0..5 {
        die_of_one(&model).await;
    }
    model.change(|conditions| conditions.dead_letters_full = true);
    let crashes = Dies { others: Arc::default(), crash: mpsc::unbounded_channel().0 };
    let listener = rig.builder().endpoint(crashes).build().unwrap();
    listener.start().await.unwrap();
    // The grace period is over, and the first attempts have failed.
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(listener.health().paused[0].queue, "notifications.info.dead");
    rig.notifier().info(&Context::new(), "x", &"healthy").await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(rig.seen_so_far(), ["healthy"]);
    model.change(|conditions| conditions.dead_letters_full = false);
    assert_eq!(rig.dead_letter().await.reason, "poison");
    finish(&listener).await;
    assert_eq!(rig.seen_so_far(), [""; 0]);
}

/// Asks for a retry after 36 or 45 seconds.
struct Again;

#[notification_endpoint(register = false, name = "again")]
impl Again {
    async fn info(&self, payload: &str, attempt: Attempt, log: State<Log>) -> Outcome {
        let _ = log.send(format!("{payload} {}", attempt.0));
        let after = Duration::from_secs(if payload == "soon" { 36 } else { 45 });
        if attempt.0 == 1 { Outcome::retry_after(after) } else { Outcome::Handled }
    }
}

/// A process whose moves into quarantine are refused at the end of their timeout.
fn refuses_quarantine(process: Process) -> Transport {
    sending(&Transport::new(process, "model"), |below, outgoing| async move {
        let Route::Quarantine(_) = outgoing.route else { return below.send(outgoing).await };
        tokio::time::sleep(outgoing.timeout).await;
        Err(SendError::Refused { route: outgoing.route.to_string() })
    })
}

/// No method begins while a copy is being sent; after a slow attempt the next one waits as long.
#[tokio::test(start_paused = true)]
async fn methods_begin_between_attempts_to_quarantine_a_suspect() {
    let model = Model::new(1);
    let mut rig = Rig::on(Transport::new(model.process(), "model"));
    suspect(&model, &rig).await;
    let retry = RetryOptions::default().storage(RetryStorage::Process);
    let builder = rig.builder_on(refuses_quarantine(model.process())).retry(retry);
    let listener = builder.endpoint(Again).build().unwrap();
    for payload in ["soon", "healthy"] {
        rig.notifier().info(&Context::new(), "x", &payload).await.unwrap();
    }
    listener.start().await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.seen_so_far(), ["soon 1", "healthy 1"]);
    // The second attempt begins half a minute after the decision, which takes five seconds.
    tokio::time::sleep(Duration::from_secs(36)).await;
    assert_eq!(rig.seen_so_far(), [""; 0], "a method began during the second attempt");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.seen_so_far(), ["soon 2"]);
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(rig.seen_so_far(), ["healthy 2"]);
    tokio::time::sleep(Duration::from_secs(20 * 60)).await;
    assert_eq!(rig.seen_so_far(), ["suspect 1", "suspect 2"]);
    finish(&listener).await;
    for queue in ["notifications.info", QUARANTINE] {
        rig.assert_empty(queue).await;
    }
}

/// Takes three seconds.
struct Brief;

#[notification_endpoint(register = false, name = "brief")]
impl Brief {
    async fn info(&self, payload: &str, log: State<Log>) {
        let _ = log.send(payload.to_owned());
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
}

/// It was held so long that waiting for other suspects would exceed its hold.
#[tokio::test(start_paused = true)]
async fn a_suspect_that_cannot_be_quarantined_waits_for_the_only_slot() {
    let model = Model::new(1);
    let mut rig = Rig::on(Transport::new(model.process(), "model"));
    suspect(&model, &rig).await;
    let retry = RetryOptions::default().hold(Duration::from_secs(60));
    let options = ListenerOptions::default().retry(retry).send_timeout(Duration::from_secs(45));
    let builder = rig.builder_on(refuses_quarantine(model.process())).options(options);
    let builder = builder.executor(Executor::Concurrent(1));
    let listener = builder.endpoint(Brief).build().unwrap();
    listener.start().await.unwrap();
    // The decision takes five seconds, and each of two attempts 45.
    tokio::time::sleep(Duration::from_secs(94)).await;
    rig.notifier().info(&Context::new(), "x", &"other").await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(rig.seen_so_far(), ["other", "suspect"]);
    finish(&listener).await;
}

/// Sends a notification that two processes die of.
async fn suspect(model: &Model, rig: &Rig) {
    rig.notifier().info(&Context::new(), "x", &"suspect").await.unwrap();
    for _ in 0..2 {
        die_of_one(model).await;
    }
}

/// Never returns.
struct Hangs(mpsc::UnboundedSender<()>);

#[notification_endpoint(register = false)]
impl Hangs {
    async fn info(&self) {
        let _ = self.0.send(());
        std::future::pending::<()>().await;
    }
}

/// A process that crashes while it works on its first delivery.
async fn die_of_one(model: &Model) {
    let process = model.process();
    let (begins, mut begun) = mpsc::unbounded_channel();
    let transport = Transport::new(process.clone(), "crashes");
    let listener =
        Listener::builder().transport(transport).endpoint(Hangs(begins)).build().unwrap();
    listener.start().await.unwrap();
    begun.recv().await.unwrap();
    process.kill();
}

/// Runs a process that is stopped orderly while its first call runs.
fn run_and_stop(transport: &Transport, log: &Log, slow: Duration, shutdown: Duration) {
    struct Slow(Duration, mpsc::UnboundedSender<()>);

    #[notification_endpoint(register = false)]
    impl Slow {
        async fn info(&self, payload: u32, log: State<Log>) {
            let _ = self.1.send(());
            tokio::time::sleep(self.0).await;
            let _ = log.send(payload.to_string());
        }
    }

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let (begins, mut begun) = mpsc::unbounded_channel();
        let listener = Listener::builder()
            .transport(transport.clone())
            .state(log.clone())
            .executor(Executor::Concurrent(1))
            .shutdown_timeout(shutdown)
            .endpoint(Slow(slow, begins))
            .build()
            .unwrap();
        listener.start().await.unwrap();
        begun.recv().await.unwrap();
        listener.stop().await;
        listener.wait().await.unwrap();
    });
}

/// The payloads in the queue, in order.
fn left(transport: &Transport, count: usize) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let rig = Rig::on(transport.clone());
        let mut left = Vec::new();
        for _ in 0..count {
            let body = rig.take("notifications.info").await.body;
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let message = body["oslo.message"].as_str().unwrap();
            let message: serde_json::Value = serde_json::from_str(message).unwrap();
            left.push(message["payload"].to_string());
        }
        rig.assert_empty("notifications.info").await;
        rig.assert_empty(QUARANTINE).await;
        rig.assert_empty("notifications.info.dead").await;
        left
    })
}

fn send_numbers(transport: &Transport, numbers: std::ops::Range<u32>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let notifier = listener::Notifier::builder(transport.clone()).build().unwrap();
    runtime.block_on(async {
        for number in numbers {
            notifier.info(&Context::new(), "x", &number).await.unwrap();
        }
    });
}

#[test]
fn orderly_stops_quarantine_nothing_and_keep_the_order() {
    let (transport, log, mut seen) = {
        let rig = Rig::new();
        (rig.transport.clone(), rig.log(), rig.into_seen())
    };
    send_numbers(&transport, 0..50);
    for _ in 0..10 {
        run_and_stop(&transport, &log, Duration::from_secs(1), Duration::from_secs(30));
    }
    let handled: Vec<String> = std::iter::from_fn(|| seen.try_recv().ok()).collect();
    let numbers = |range: std::ops::Range<u32>| -> Vec<String> {
        range.map(|number| number.to_string()).collect()
    };
    assert_eq!(handled, numbers(0..10));
    assert_eq!(left(&transport, 40), numbers(10..50));
}

#[test]
fn a_healthy_call_that_outlasts_each_stop_is_not_a_crash() {
    let (transport, log, _seen) = {
        let rig = Rig::new();
        (rig.transport.clone(), rig.log(), rig.into_seen())
    };
    send_numbers(&transport, 0..3);
    for _ in 0..10 {
        run_and_stop(&transport, &log, Duration::from_secs(60), Duration::from_secs(1));
    }
    assert_eq!(left(&transport, 3), ["0", "1", "2"]);
}

/// Two programs on one topic that share no queue.
#[tokio::test(start_paused = true)]
async fn a_program_does_not_consume_the_quarantine_queue_of_another() {
    struct InfoOnly;
    struct ErrorOnly;

    #[notification_endpoint(register = false)]
    impl InfoOnly {
        async fn info(&self, log: State<Log>) {
            let _ = log.send("info".to_owned());
        }
    }

    #[notification_endpoint(register = false)]
    impl ErrorOnly {
        async fn error(&self, payload: u32, log: State<Log>) {
            let _ = log.send(format!("error {payload}"));
        }
    }

    struct Hangs(mpsc::UnboundedSender<()>);

    #[notification_endpoint(register = false)]
    impl Hangs {
        async fn error(&self) {
            let _ = self.0.send(());
            std::future::pending::<()>().await;
        }
    }

    let model = Model::new(1);
    let mut rig = Rig::on(Transport::new(model.process(), "model"));
    for number in 0..10_u32 {
        rig.notifier().error(&Context::new(), "x", &number).await.unwrap();
    }
    for _ in 0..2 {
        let process = model.process();
        let (begins, mut begun) = mpsc::unbounded_channel();
        let transport = Transport::new(process.clone(), "crashes");
        let builder = Listener::builder().transport(transport).endpoint(Hangs(begins));
        let listener = builder.build().unwrap();
        listener.start().await.unwrap();
        for _ in 0..10 {
            begun.recv().await.unwrap();
        }
        process.kill();
    }
    let other = rig.builder().endpoint(InfoOnly).build().unwrap();
    other.start().await.unwrap();
    let own = rig.builder().endpoint(ErrorOnly).build().unwrap();
    own.start().await.unwrap();
    tokio::time::sleep(Duration::from_secs(600)).await;
    finish(&own).await;
    finish(&other).await;
    let mut seen = rig.seen_so_far();
    seen.sort();
    let expected: Vec<String> = (0..10).map(|number| format!("error {number}")).collect();
    assert_eq!(seen, expected);
    let depths = model.depths();
    assert!(depths.contains_key("notifications.error.quarantine"), "{depths:?}");
    assert!(depths.values().all(|depth| *depth == 0), "{depths:?}");
}

/// The bug is fixed and the dead letter put back; then it is redelivered for another reason.
#[tokio::test(start_paused = true)]
async fn a_dead_letter_put_back_starts_without_recorded_crashes() {
    let model = Model::new(1);
    let mut rig = Rig::on(Transport::new(model.process(), "model"));
    rig.notifier().info(&Context::new(), "x", &"suspect").await.unwrap();
    for _ in 0..5 {
        die_of_one(&model).await;
    }
    let fixed = || Dies { others: Arc::default(), crash: mpsc::unbounded_channel().0 };
    let listener = rig.builder().endpoint(fixed()).build().unwrap();
    listener.start().await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    finish(&listener).await;
    assert_eq!(rig.seen_so_far(), [""; 0]);
    let dead_letter = rig.take("notifications.info.dead").await;
    assert_eq!(dead_letter.properties.headers.get_str("listener-reason"), Some("poison"));
    rig.put_with("notifications.info", dead_letter.body, dead_letter.properties).await;
    // Stopped in the middle of a call, long after the dead letter was delivered.
    let builder = rig.builder().shutdown_timeout(Duration::ZERO);
    let listener = builder.endpoint(Hangs(mpsc::unbounded_channel().0)).build().unwrap();
    listener.start().await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    finish(&listener).await;
    let listener = rig.builder().endpoint(fixed()).build().unwrap();
    listener.start().await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    finish(&listener).await;
    assert_eq!(rig.seen_so_far(), ["suspect"]);
    assert!(model.depths().values().all(|depth| *depth == 0), "{:?}", model.depths());
}
