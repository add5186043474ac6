//! Plain `fn`s where no thread is free for them: a call that was given up before it began is never
//! made.

use std::future::Future;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use listener::{Context, State, notification_endpoint};

use crate::rig::{Log, Rig, once};

/// Called before `Waits`, in the same task.
struct Before;

#[notification_endpoint(register = false, order = 1)]
impl Before {
    async fn info(&self, payload: u32, log: State<Log>) {
        let _ = log.send(format!("before {payload}"));
    }
}

/// Keeps its thread at the payload 0.
struct Waits(Mutex<mpsc::Receiver<()>>);

#[notification_endpoint(register = false, order = 2)]
impl Waits {
    fn info(&self, payload: u32, log: State<Log>) {
        let _ = log.send(format!("begins {payload}"));
        if payload == 0 {
            let _ = self.0.lock().unwrap().recv();
        }
    }
}

/// Runs where one plain `fn` at most has a thread.
fn with_one_thread(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().max_blocking_threads(1).build().unwrap().block_on(test);
}

/// Waits until all that waited for the thread before has had it.
async fn thread_is_free() {
    tokio::task::spawn_blocking(|| ()).await.unwrap();
}

async fn send(rig: &Rig, payload: u32) {
    rig.notifier().info(&Context::new(), "x", &payload).await.unwrap();
}

#[test]
fn a_plain_fn_that_had_no_thread_in_time_is_not_called_later() {
    with_one_thread(async {
        let mut rig = Rig::new();
        let (release, waits) = mpsc::channel();
        let builder = rig.builder().retry(once()).handler_timeout(Duration::from_millis(200));
        let listener = builder.endpoint(Waits(waits.into())).build().unwrap();
        listener.start().await.unwrap();
        send(&rig, 0).await;
        assert_eq!(rig.seen().await, "begins 0");
        send(&rig, 1).await;
        for _ in 0..2 {
            assert_eq!(rig.dead_letter().await.reason, "timeout");
        }
        release.send(()).unwrap();
        thread_is_free().await;
        assert_eq!(rig.seen_so_far(), [""; 0]);
        listener.stop().await;
        listener.wait().await.unwrap();
    });
}

#[test]
fn a_plain_fn_that_had_no_thread_before_the_deadline_of_a_stop_is_not_called_later() {
    with_one_thread(async {
        let mut rig = Rig::new();
        let (release, waits) = mpsc::channel();
        let builder = rig.builder().shutdown_timeout(Duration::from_millis(200));
        let listener = builder.endpoint(Before).endpoint(Waits(waits.into())).build().unwrap();
        listener.start().await.unwrap();
        send(&rig, 0).await;
        assert_eq!([rig.seen().await, rig.seen().await], ["before 0", "begins 0"]);
        send(&rig, 1).await;
        assert_eq!(rig.seen().await, "before 1");
        listener.stop().await;
        listener.wait().await.unwrap();
        release.send(()).unwrap();
        thread_is_free().await;
        assert_eq!(rig.seen_so_far(), [""; 0]);
    });
}
