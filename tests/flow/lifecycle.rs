//! Start, stop and wait: what runs concurrently, what a stop lets finish, and what it releases.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use listener::options::{Executor, RetryOptions, RetryStorage};
use listener::{Context, Error, Listener, Outcome, State, notification_endpoint};
use tokio::sync::Semaphore;

use crate::logging::Buffer;
use crate::rig::{Log, Rig, finish};

/// Waits for a permit in each call, and records how many calls run at once.
#[derive(Clone)]
struct Gate {
    open: Arc<Semaphore>,
    inside: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Gate {
    fn closed() -> Self {
        Self { open: Arc::new(Semaphore::new(0)), inside: Arc::default(), most: Arc::default() }
    }
}

#[notification_endpoint(register = false)]
impl Gate {
    async fn info(&self, payload: u32, log: State<Log>) {
        let inside = self.inside.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(inside, Ordering::SeqCst);
        let _ = log.send(format!("begins {payload}"));
        self.open.acquire().await.unwrap().forget();
        self.inside.fetch_sub(1, Ordering::SeqCst);
        let _ = log.send(format!("ends {payload}"));
    }
}

async fn send(rig: &Rig, numbers: std::ops::Range<u32>) {
    let notifier = rig.notifier();
    for number in numbers {
        notifier.info(&Context::new(), "x", &number).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_sequential_listener_keeps_the_order() {
    let mut rig = Rig::new();
    let gate = Gate::closed();
    let builder = rig.builder().executor(Executor::Sequential);
    let listener = builder.endpoint(gate.clone()).build().unwrap();
    listener.start().await.unwrap();
    send(&rig, 0..3).await;
    gate.open.add_permits(3);
    let mut seen = Vec::new();
    for _ in 0..6 {
        seen.push(rig.seen().await);
    }
    assert_eq!(seen, ["begins 0", "ends 0", "begins 1", "ends 1", "begins 2", "ends 2"]);
    finish(&listener).await;
}

#[tokio::test(start_paused = true)]
async fn a_concurrent_listener_handles_up_to_its_limit_at_once() {
    let mut rig = Rig::new();
    let gate = Gate::closed();
    let builder = rig.builder().executor(Executor::Concurrent(3));
    let listener = builder.endpoint(gate.clone()).build().unwrap();
    listener.start().await.unwrap();
    send(&rig, 0..10).await;
    for _ in 0..10 {
        gate.open.add_permits(1);
        while !rig.seen().await.starts_with("ends") {}
    }
    assert_eq!(gate.most.load(Ordering::SeqCst), 3);
    finish(&listener).await;
    rig.assert_empty("notifications.info").await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_finishes_running_calls_and_releases_the_rest() {
    let mut rig = Rig::new();
    let gate = Gate::closed();
    let builder = rig.builder().executor(Executor::Concurrent(2));
    let listener = builder.endpoint(gate.clone()).build().unwrap();
    listener.start().await.unwrap();
    send(&rig, 0..5).await;
    assert_eq!([rig.seen().await, rig.seen().await], ["begins 0", "begins 1"]);
    listener.stop().await;
    gate.open.add_permits(2);
    listener.wait().await.unwrap();
    let mut ended = rig.seen_so_far();
    ended.sort();
    assert_eq!(ended, ["ends 0", "ends 1"]);
    for number in 2..5 {
        let body = rig.take("notifications.info").await.body;
        let text = String::from_utf8_lossy(&body).into_owned();
        assert!(text.contains(&format!(r#"\"payload\": {number}"#)), "{text}");
    }
    rig.assert_empty("notifications.info").await;
}

#[tokio::test(start_paused = true)]
async fn run_until_stops_the_listener_when_its_future_is_ready() {
    let mut rig = Rig::new();
    let gate = Gate::closed();
    let listener = rig.builder().endpoint(gate.clone()).build().unwrap();
    // The future is ready before the listener attaches: nothing is consumed.
    listener.run_until(std::future::ready(())).await.unwrap();
    assert_eq!(listener.connection_state(), None);
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn({
        let listener = listener.clone();
        async move { listener.run_until(async { drop(ended.await) }).await }
    });
    send(&rig, 0..1).await;
    assert_eq!(rig.seen().await, "begins 0");
    end.send(()).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!running.is_finished(), "a method runs");
    gate.open.add_permits(1);
    running.await.unwrap().unwrap();
    assert_eq!(rig.seen_so_far(), ["ends 0"]);
    rig.assert_empty("notifications.info").await;
}

#[tokio::test(start_paused = true)]
async fn run_until_stops_a_listener_that_was_started_before() {
    let mut rig = Rig::new();
    let gate = Gate::closed();
    let listener = rig.builder().endpoint(gate.clone()).build().unwrap();
    listener.start().await.unwrap();
    send(&rig, 0..1).await;
    assert_eq!(rig.seen().await, "begins 0");
    let open = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        gate.open.add_permits(1);
    };
    let (run, ()) = tokio::join!(listener.run_until(std::future::ready(())), open);
    run.unwrap();
    assert_eq!(rig.seen_so_far(), ["ends 0"]);
    rig.assert_empty("notifications.info").await;
}

/// Stops a listener with this future, which is not polled in between, as on a busy runtime, while another run
/// begins: it waits for the run that it stopped.
async fn check_run_that_is_waited_for(stop: impl AsyncFnOnce(&Listener) -> Result<(), Error>) {
    let rig = Rig::new();
    let listener = rig.builder().endpoint(Gate::closed()).build().unwrap();
    listener.start().await.unwrap();
    let mut stopping = std::pin::pin!(stop(&listener));
    assert!(futures_util::poll!(&mut stopping).is_pending(), "it records the stop");
    listener.wait().await.unwrap();
    listener.start().await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(60), stopping).await;
    ended.expect("the first run has ended").unwrap();
    assert!(listener.is_ready(), "the second one goes on");
    finish(&listener).await;
}

#[tokio::test(start_paused = true)]
async fn run_until_waits_for_the_run_that_it_stopped_and_not_for_the_next() {
    check_run_that_is_waited_for(async |listener: &Listener| {
        listener.run_until(std::future::ready(())).await
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_the_run_that_it_stopped_and_not_for_the_next() {
    check_run_that_is_waited_for(async |listener: &Listener| listener.shutdown().await).await;
}

#[tokio::test(start_paused = true)]
async fn run_until_returns_when_the_program_stops_the_listener() {
    let rig = Rig::new();
    let listener = rig.builder().endpoint(Gate::closed()).build().unwrap();
    let running = listener.run_until(std::future::pending());
    let stop = async {
        while !listener.is_ready() {
            tokio::task::yield_now().await;
        }
        listener.stop().await;
    };
    let (run, ()) = tokio::join!(running, stop);
    run.unwrap();
}

/// Handles the same notifications as `Gate`, after it.
struct Second;

#[notification_endpoint(register = false, order = 1)]
impl Second {
    async fn info(&self, payload: u32, log: State<Log>) {
        let _ = log.send(format!("second {payload}"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_calls_the_remaining_methods_of_a_begun_delivery() {
    let mut rig = Rig::new();
    let gate = Gate::closed();
    let listener = rig.builder().endpoint(gate.clone()).endpoint(Second).build().unwrap();
    listener.start().await.unwrap();
    send(&rig, 0..1).await;
    assert_eq!(rig.seen().await, "begins 0");
    listener.stop().await;
    gate.open.add_permits(2);
    listener.wait().await.unwrap();
    listener.start().await.unwrap();
    finish(&listener).await;
    assert_eq!(rig.seen_so_far(), ["ends 0", "second 0"]);
    rig.assert_empty("notifications.info").await;
}

#[tokio::test(start_paused = true)]
async fn a_delivery_still_in_work_at_the_shutdown_timeout_is_released() {
    let mut rig = Rig::new();
    let gate = Gate::closed();
    let builder = rig.builder().shutdown_timeout(Duration::from_secs(5));
    let listener = builder.endpoint(gate.clone()).build().unwrap();
    listener.start().await.unwrap();
    send(&rig, 0..1).await;
    assert_eq!(rig.seen().await, "begins 0");
    let began = tokio::time::Instant::now();
    listener.stop().await;
    listener.wait().await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_secs(5));
    let _ = rig.take("notifications.info").await;
    rig.assert_empty("notifications.info").await;
}

#[tokio::test(start_paused = true)]
async fn a_listener_can_be_started_again_after_a_stop() {
    let mut rig = Rig::new();
    let gate = Gate::closed();
    gate.open.add_permits(2);
    let listener = rig.builder().endpoint(gate).build().unwrap();
    for number in 0..2 {
        assert!(!listener.is_ready());
        listener.start().await.unwrap();
        listener.start().await.unwrap();
        assert!(listener.is_ready());
        send(&rig, number..number + 1).await;
        finish(&listener).await;
    }
    assert_eq!(rig.seen_so_far(), ["begins 0", "ends 0", "begins 1", "ends 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_start_right_after_a_stop_is_attached_when_it_returns() {
    let mut rig = Rig::new();
    let gate = Gate::closed();
    gate.open.add_permits(1);
    let listener = rig.builder().endpoint(gate).build().unwrap();
    listener.start().await.unwrap();
    listener.stop().await;
    listener.start().await.unwrap();
    assert!(listener.is_ready());
    send(&rig, 0..1).await;
    assert_eq!([rig.seen().await, rig.seen().await], ["begins 0", "ends 0"]);
    finish(&listener).await;
}

#[tokio::test(start_paused = true)]
async fn a_listener_stops_when_its_last_handle_is_dropped() {
    let rig = Rig::new();
    let listener = rig.builder().endpoint(Gate::closed()).build().unwrap();
    listener.start().await.unwrap();
    drop(listener);
    tokio::time::sleep(Duration::from_secs(60)).await;
    send(&rig, 0..1).await;
    let _ = rig.take("notifications.info").await;
}

#[tokio::test(start_paused = true)]
async fn timeouts_can_be_unlimited() {
    let mut rig = Rig::new();
    let gate = Gate::closed();
    let options = listener::options::ListenerOptions::default()
        .start_timeout(Duration::MAX)
        .shutdown_timeout(Duration::MAX)
        .send_timeout(Duration::MAX);
    let listener = rig.builder().options(options).endpoint(gate.clone()).build().unwrap();
    listener.start().await.unwrap();
    let builder = listener::Notifier::builder(rig.transport.clone()).timeout(Duration::MAX);
    builder.build().unwrap().info(&Context::new(), "x", &1).await.unwrap();
    assert_eq!(rig.seen().await, "begins 1");
    gate.open.add_permits(1);
    finish(&listener).await;
    assert_eq!(rig.seen_so_far(), ["ends 1"]);
}

#[tokio::test(start_paused = true)]
async fn stop_and_wait_can_be_called_repeatedly_in_any_order() {
    let rig = Rig::new();
    let listener = rig.builder().endpoint(Gate::closed()).build().unwrap();
    listener.stop().await;
    listener.wait().await.unwrap();
    listener.start().await.unwrap();
    let waiting = tokio::spawn({
        let listener = listener.clone();
        async move { listener.wait().await }
    });
    tokio::task::yield_now().await;
    listener.stop().await;
    listener.stop().await;
    waiting.await.unwrap().unwrap();
    listener.wait().await.unwrap();
}

struct Blocks(std::sync::Mutex<std::sync::mpsc::Receiver<()>>);

#[notification_endpoint(register = false)]
impl Blocks {
    #[on(info, event_type = "block")]
    fn blocks(&self, log: State<Log>) {
        self.0.lock().unwrap().recv().unwrap();
        let _ = log.send("blocked".to_owned());
    }

    #[on(info, event_type = "free")]
    async fn free(&self, log: State<Log>) {
        let _ = log.send("free".to_owned());
    }
}

async fn a_blocking_plain_fn_does_not_stall_others() {
    let mut rig = Rig::new();
    let (release, blocked) = std::sync::mpsc::channel();
    let listener = rig.builder().endpoint(Blocks(blocked.into())).build().unwrap();
    listener.start().await.unwrap();
    let notifier = rig.notifier();
    notifier.info(&Context::new(), "block", &()).await.unwrap();
    notifier.info(&Context::new(), "free", &()).await.unwrap();
    assert_eq!(rig.seen().await, "free");
    release.send(()).unwrap();
    assert_eq!(rig.seen().await, "blocked");
    finish(&listener).await;
    rig.assert_empty("notifications.info").await;
}

#[tokio::test]
async fn a_blocking_plain_fn_does_not_stall_others_on_one_thread() {
    a_blocking_plain_fn_does_not_stall_others().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_blocking_plain_fn_does_not_stall_others_on_worker_threads() {
    a_blocking_plain_fn_does_not_stall_others().await;
}

/// Blocks its thread although it is an `async fn`; or waits, and then asks for a retry.
struct BlocksThread {
    thread: std::sync::Mutex<std::sync::mpsc::Receiver<()>>,
    fails: Arc<Semaphore>,
}

#[notification_endpoint(register = false)]
impl BlocksThread {
    #[on(info, event_type = "blocks")]
    async fn blocks(&self, log: State<Log>) {
        let _ = log.send("blocks its thread".to_owned());
        let _ = self.thread.lock().unwrap().recv();
    }

    #[on(info, event_type = "wait")]
    async fn waits(&self, log: State<Log>) -> Outcome {
        let _ = log.send("waits".to_owned());
        self.fails.acquire().await.unwrap().forget();
        Outcome::retry_after(Duration::from_secs(600))
    }

    #[on(info, event_type = "free")]
    async fn free(&self, log: State<Log>) {
        let _ = log.send("free".to_owned());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_slot_freed_by_a_pause_is_used_while_a_method_blocks_its_thread() {
    let mut rig = Rig::new();
    let (release, thread) = std::sync::mpsc::channel();
    let fails = Arc::new(Semaphore::new(0));
    let retry = RetryOptions::default().storage(RetryStorage::Process);
    let builder = rig.builder().retry(retry).executor(Executor::Concurrent(2));
    let listener = builder
        .endpoint(BlocksThread { thread: thread.into(), fails: Arc::clone(&fails) })
        .build()
        .unwrap();
    listener.start().await.unwrap();
    let notifier = rig.notifier();
    notifier.info(&Context::new(), "blocks", &()).await.unwrap();
    assert_eq!(rig.seen().await, "blocks its thread");
    notifier.info(&Context::new(), "wait", &()).await.unwrap();
    assert_eq!(rig.seen().await, "waits");
    notifier.info(&Context::new(), "free", &()).await.unwrap();
    while listener.health().queues[0].in_flight < 3 {
        tokio::task::yield_now().await;
    }
    fails.add_permits(1);
    // Well below the interval at which the scheduler looks at all deliveries again.
    let seen = tokio::time::timeout(Duration::from_secs(10), rig.seen()).await;
    release.send(()).unwrap();
    assert_eq!(seen.as_deref(), Ok("free"));
    finish(&listener).await;
}

/// What is logged when a listener is dropped, stopped before or not.
async fn logged_at_drop(stopped: bool) -> String {
    let rig = Rig::new();
    let buffer = Buffer::default();
    let guard = buffer.set();
    let listener = rig.builder().endpoint(Gate::closed()).build().unwrap();
    listener.start().await.unwrap();
    if stopped {
        finish(&listener).await;
    }
    drop(listener);
    drop(guard);
    buffer.text()
}

#[tokio::test(start_paused = true)]
async fn dropping_a_running_listener_logs_why_it_stops() {
    let reason = "the listener stops: its last handle was dropped";
    let text = logged_at_drop(false).await;
    assert!(text.lines().any(|line| line.contains("WARN") && line.contains(reason)), "{text}");
    let text = logged_at_drop(true).await;
    assert!(!text.contains("WARN"), "{text}");
}
