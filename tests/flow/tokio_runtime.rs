//! Calls outside of a tokio runtime, or on one without timers or I/O, return an error that names the
//! fix; they do not panic.

use std::future::Future;
use std::pin::pin;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

use listener::{Context, Listener, Notifier, Transport, notification_endpoint};

struct Plain;

#[notification_endpoint(register = false)]
impl Plain {
    async fn info(&self) {}
}

fn listener() -> Listener {
    let transport = Transport::open("memory://executor").unwrap();
    Listener::builder().transport(transport).endpoint(Plain).build().unwrap()
}

async fn notify() -> Result<(), listener::NotifyError> {
    let transport = Transport::open("memory://executor").unwrap();
    let notifier = Notifier::builder(transport).build().unwrap();
    notifier.info(&Context::new(), "x", &()).await.map(drop)
}

/// The error that a future returns when it is polled once.
fn error<T, E: std::fmt::Debug>(future: impl Future<Output = Result<T, E>>) -> String {
    match pin!(future).poll(&mut TaskContext::from_waker(Waker::noop())) {
        Poll::Ready(Err(error)) => format!("{error:?}"),
        Poll::Ready(Ok(_)) => "it succeeds".to_owned(),
        Poll::Pending => "it waits".to_owned(),
    }
}

const OUTSIDE: &str = "there is no tokio runtime here; run it within one, as in `#[tokio::main]`";

#[test]
fn start_run_and_send_outside_of_tokio_are_errors() {
    let listener = listener();
    for text in [error(listener.start()), error(listener.run())] {
        assert!(text.starts_with(&format!("the listener cannot run: {OUTSIDE}")), "{text}");
    }
    let text = error(notify());
    assert!(text.starts_with(&format!("the notifier cannot send: {OUTSIDE}")), "{text}");
}

#[test]
fn a_runtime_without_timers_is_an_error() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let listener = listener();
    let _entered = runtime.enter();
    let lacks = "the tokio runtime has no timers; call `enable_all`";
    for text in [error(listener.start()), error(listener.run()), error(notify())] {
        assert!(text.contains(lacks), "{text}");
    }
}

#[test]
fn a_runtime_without_io_is_an_error_for_run_and_not_for_start() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let listener = listener();
    let error = runtime.block_on(async { listener.run().await }).unwrap_err();
    let text = format!("{error:?}");
    assert!(text.contains("the tokio runtime has no I/O; call `enable_all`"), "{text}");
    runtime.block_on(async {
        listener.start().await.unwrap();
        listener.stop().await;
        listener.wait().await.unwrap();
    });
}

/// The task of the run was never polled.
#[test]
fn a_stop_returns_after_the_runtime_of_the_start_was_dropped() {
    let current_thread =
        || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (listener, runtime) = (listener(), current_thread());
    runtime.block_on(listener.start()).unwrap();
    drop(runtime);
    let stopped = current_thread()
        .block_on(async { tokio::time::timeout(Duration::from_secs(10), listener.stop()).await });
    assert!(stopped.is_ok(), "it hangs");
}
