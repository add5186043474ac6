//! Plain `fn`s while no thread is free: a call that timed out before it began is never made. Compressed
//! bodies are decompressed even so.

use std::future::Future;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use bytes::Bytes;
use listener::ListenerBuilder;
use listener::driver::Properties;
use listener::envelope::Compression;
use listener::{Context, OrderKey, State, notification_endpoint};

use crate::rig::{Log, Rig, once};

/// Called before `Blocks`, in the same task.
struct Before;

#[notification_endpoint(register = false, order = 1)]
impl Before {
    async fn info(&self, payload: u32, log: State<Log>) {
        let _ = log.send(format!("before {payload}"));
    }
}

/// Blocks its thread for the payload 0.
struct Blocks(Mutex<mpsc::Receiver<()>>);

#[notification_endpoint(register = false, order = 2)]
impl Blocks {
    fn info(&self, payload: u32, log: State<Log>) {
        let _ = log.send(format!("begins {payload}"));
        if payload == 0 {
            let _ = self.0.lock().unwrap().recv();
        }
    }
}

/// Runs a test on a runtime that has one thread for plain `fn`s.
fn with_one_thread(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().max_blocking_threads(1).build().unwrap().block_on(test);
}

/// Waits until everything queued for the thread has run.
async fn thread_is_free() {
    tokio::task::spawn_blocking(|| ()).await.unwrap();
}

async fn send(rig: &Rig, payload: u32) {
    rig.notifier().info(&Context::new(), "x", &payload).await.unwrap();
}

#[test]
fn a_plain_fn_that_timed_out_waiting_for_a_thread_is_never_called() {
    with_one_thread(async {
        let mut rig = Rig::new();
        let (release, waits) = mpsc::channel();
        let builder = rig.builder().retry(once()).handler_timeout(Duration::from_millis(200));
        let listener = builder.endpoint(Blocks(waits.into())).build().unwrap();
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
fn a_plain_fn_without_a_thread_at_the_shutdown_timeout_is_never_called() {
    with_one_thread(async {
        let mut rig = Rig::new();
        let (release, waits) = mpsc::channel();
        let builder = rig.builder().shutdown_timeout(Duration::from_millis(200));
        let listener = builder.endpoint(Before).endpoint(Blocks(waits.into())).build().unwrap();
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

/// Needs no thread.
struct Quick;

#[notification_endpoint(register = false)]
impl Quick {
    async fn warn(&self, event_type: &str, log: State<Log>) {
        let _ = log.send(event_type.to_owned());
    }
}

/// Sends a compressed body; the padding decides how long it takes to decompress.
async fn send_quick(rig: &Rig, event_type: &str, padding: usize) {
    let padding = " ".repeat(padding);
    let body = format!(
        r#"{{"priority": "WARN", "event_type": "{event_type}", "payload": {{"key": 1{padding}}}}}"#
    );
    let mut properties = Properties::default();
    properties.headers.insert("compression", Compression::Zlib.content_type().into());
    let body = Compression::Zlib.compress(body.as_bytes());
    rig.send_with(Bytes::from(body), properties).await;
}

fn is_decompressed_without_a_thread(set: impl FnOnce(ListenerBuilder) -> ListenerBuilder) {
    with_one_thread(async {
        let mut rig = Rig::new();
        let (release, waits) = mpsc::channel();
        let builder = set(rig.builder()).endpoint(Blocks(waits.into())).endpoint(Quick);
        let listener = builder.build().unwrap();
        listener.start().await.unwrap();
        send(&rig, 0).await;
        assert_eq!(rig.seen().await, "begins 0");
        for event_type in ["large 1", "large 2"] {
            send_quick(&rig, event_type, 1 << 20).await;
            send_quick(&rig, "small", 0).await;
            let mut seen = Vec::new();
            for _ in 0..2 {
                let line = tokio::time::timeout(Duration::from_secs(20), rig.next_line()).await;
                seen.push(line.expect("it is decompressed"));
            }
            seen.sort();
            assert_eq!(seen, [event_type, "small"]);
        }
        release.send(()).unwrap();
        listener.stop().await;
        listener.wait().await.unwrap();
    });
}

#[test]
fn a_body_is_decompressed_while_plain_fns_occupy_every_thread() {
    is_decompressed_without_a_thread(|builder| builder);
}

#[test]
fn an_ordered_body_is_decompressed_while_plain_fns_occupy_every_thread() {
    is_decompressed_without_a_thread(|builder| {
        builder.ordered_by(OrderKey::Payload("key".to_owned()))
    });
}
