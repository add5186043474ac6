//! The program that the fault tests run and harm: it does what each job asks for, and appends its calls
//! and results to a file, which survives its crash. It prints `ready` and `lost` when readiness
//! changes, and `tasks N` every second. Jobs and options are in `support/job.rs`; it ends with its
//! stdin.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use listener::MemoryInbox;
use listener::options::RetryOptions;
use listener::options::{Executor, ListenerOptions};
use listener::{Attempt, Error, Listener, Transport, notification_endpoint};
use support::{Act, Job, WorkerOptions};

struct Work {
    log: File,
    options: WorkerOptions,
    calls: AtomicU64,
    slept: Mutex<HashSet<u64>>,
}

#[derive(Clone)]
struct Worker(Arc<Work>);

#[notification_endpoint(register = false)]
impl Worker {
    #[on(info, error)]
    async fn handle(&self, payload: Job, attempt: Attempt) -> Result<(), String> {
        self.0.handle(payload, attempt.0).await
    }
}

impl Work {
    async fn handle(&self, job: Job, attempt: u32) -> Result<(), String> {
        let Job { id, act } = job;
        if act == Act::AbortAtOnce {
            std::process::abort();
        }
        self.note("call", id);
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        tokio::time::sleep(Duration::from_millis(self.options.pause_ms)).await;
        match act {
            Act::Handle => {}
            Act::Fail(times) if attempt <= times => return Err("as the job asks".to_owned()),
            Act::Panic(times) => assert!(attempt > times, "as the job asks"),
            Act::Fail(_) => {}
            Act::Sleep(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            Act::SleepOnce(ms) => {
                let is_first = self.slept.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
                tokio::time::sleep(Duration::from_millis(ms * u64::from(is_first))).await;
            }
            Act::Hang => std::future::pending().await,
            Act::Abort | Act::AbortAtOnce => std::process::abort(),
        }
        if self.options.fail_one_in.is_some_and(|number| call.is_multiple_of(number)) {
            return Err("every nth call fails".to_owned());
        }
        self.note("done", id);
        Ok(())
    }

    /// One write to the end of the file: whole lines in the order of writing, also of several workers.
    fn note(&self, word: &str, id: u64) {
        let line = format!("{word} {id}\n");
        (&self.log).write_all(line.as_bytes()).expect("the log can be written");
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Error> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(3);
    });
    let text = std::env::var("WORKER").expect("WORKER is set");
    let worker_options: WorkerOptions =
        serde_json::from_str(&text).expect("WORKER is what a test writes");
    let log = OpenOptions::new().append(true).create(true).open(&worker_options.log);
    let work = Work {
        log: log.expect("the log can be opened"),
        options: worker_options.clone(),
        calls: AtomicU64::new(0),
        slept: Mutex::default(),
    };
    let options = ListenerOptions::default()
        .executor(if worker_options.sequential {
            Executor::Sequential
        } else {
            Executor::Concurrent(64)
        })
        .prefetch(worker_options.prefetch)
        .start_timeout(Duration::from_secs(worker_options.start_timeout_s))
        .shutdown_timeout(Duration::from_secs(worker_options.shutdown_timeout_s))
        .handler_timeout(Duration::from_millis(worker_options.handler_timeout_ms))
        .send_timeout(Duration::from_millis(worker_options.send_timeout_ms))
        .retry(RetryOptions::default().delay(Duration::from_millis(worker_options.retry_delay_ms)));
    let transport = Transport::open(&worker_options.url).expect("the URL is right");
    let mut builder = Listener::builder()
        .transport(transport.clone())
        .options(options)
        .endpoint(Worker(Arc::new(work)));
    if worker_options.inbox {
        builder = builder.inbox(MemoryInbox::new(10_000));
    }
    let listener = builder.build()?;
    let watched = listener.clone();
    let watch = tokio::spawn(async move { watch(&watched).await });
    listener.run().await?;
    watch.abort();
    transport.close().await;
    Ok(())
}

async fn watch(listener: &Listener) {
    let mut ready = false;
    for round in 0_u64.. {
        if listener.is_ready() != ready {
            ready = !ready;
            println!("{}", if ready { "ready" } else { "lost" });
        }
        if round % 50 == 0 {
            println!("tasks {}", tokio::runtime::Handle::current().metrics().num_alive_tasks());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
