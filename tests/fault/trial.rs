//! One fault with its oracle: a virtual host, a worker process, the notifications sent to it, and at the
//! end the account: nothing lost, nothing unexpected, no more duplicates than the test allows. The
//! outcome is recorded for the table of results.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use listener::{Context, Notifier, Priority, Transport};
use support::amqp::oslo_properties;
use support::{Account, Act, Amqp, Job, RabbitNode, Record, WorkerOptions, wait_until};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::process::Worker;
use crate::program::SOON;

/// The queue of all jobs.
pub(crate) const QUEUE: &str = "notifications.info";
/// How many notifications may be unconfirmed at once.
pub(crate) const WINDOW: usize = 50;
/// How many deliveries one session of the worker holds unsettled.
pub(crate) const PREFETCH: u32 = 50;

pub(crate) struct Trial {
    row: u8,
    fault: &'static str,
    pub(crate) vhost: String,
    /// The URL of the node itself.
    pub(crate) url: String,
    /// The options of workers; the URL may be changed to a proxy's.
    pub(crate) options: WorkerOptions,
    account: Arc<Mutex<Account>>,
    /// How many notifications may be unconfirmed at once; 1 keeps their order.
    pub(crate) window: usize,
    attached: Option<Duration>,
    cpu: Duration,
    ran: Duration,
}

impl Trial {
    /// A trial of this row, in a virtual host of its own.
    pub(crate) async fn new(row: u8, fault: &'static str, node: &RabbitNode) -> Self {
        let vhost = format!("{row} {fault}");
        let url = node.vhost(&vhost).await;
        let log = new_log(&vhost);
        // Short delays between attempts, because each test waits for some.
        let options = WorkerOptions::new(quick(&url), log);
        Self {
            row,
            fault,
            vhost,
            url,
            options,
            account: Arc::default(),
            window: WINDOW,
            attached: None,
            cpu: Duration::ZERO,
            ran: Duration::ZERO,
        }
    }

    /// Connects the worker through this port.
    pub(crate) fn through(mut self, node: &RabbitNode, port: u16) -> Self {
        let direct = format!("127.0.0.1:{}", node.port());
        self.options.url = self.options.url.replace(&direct, &format!("127.0.0.1:{port}"));
        self
    }

    /// Starts a worker, and waits until it is ready.
    pub(crate) async fn worker(&self) -> Worker {
        let mut worker = Worker::start(&self.options);
        worker.ready(true).await;
        worker
    }

    /// Sends in the background, in order, several at once; ends when the last is confirmed.
    pub(crate) fn sending(&self, jobs: impl IntoIterator<Item = Job>) -> JoinHandle<()> {
        self.sending_to(&self.url, Priority::Info, jobs)
    }

    /// Like `sending`, with the priority `error`.
    pub(crate) fn sending_errors(&self, jobs: impl IntoIterator<Item = Job>) -> JoinHandle<()> {
        self.sending_to(&self.url, Priority::Error, jobs)
    }

    /// Like `sending`, over this URL.
    pub(crate) fn sending_to(
        &self,
        url: &str,
        priority: Priority,
        jobs: impl IntoIterator<Item = Job>,
    ) -> JoinHandle<()> {
        let notifier = Notifier::builder(Transport::open(&quick(url)).unwrap()).build().unwrap();
        let (jobs, account) = (jobs.into_iter().collect::<Vec<_>>(), Arc::clone(&self.account));
        let window = self.window;
        account.lock().unwrap().sent.extend(jobs.iter().map(|job| job.id));
        tokio::spawn(async move {
            let context = Context::new();
            let send = async |job: Job| {
                let sent = match priority {
                    Priority::Error => notifier.error(&context, "x", &job).await,
                    _ => notifier.info(&context, "x", &job).await,
                };
                if sent.is_ok() {
                    account.lock().unwrap().confirmed.insert(job.id);
                }
            };
            futures_util::stream::iter(jobs).map(send).buffer_unordered(window).count().await;
            notifier.close().await;
        })
    }

    /// Sends a job after each `delay`, with ids from 0, until `ended` is resolved.
    pub(crate) fn sending_until(
        &self,
        ended: oneshot::Receiver<()>,
        delay: Duration,
        job: fn(u64) -> Job,
    ) -> JoinHandle<()> {
        let transport = Transport::open(&quick(&self.url)).unwrap();
        let notifier = Notifier::builder(transport).build().unwrap();
        let account = Arc::clone(&self.account);
        tokio::spawn(async move {
            let context = Context::new();
            let ticks = futures_util::stream::unfold(0, move |id| async move {
                tokio::time::sleep(delay).await;
                Some((id, id + 1))
            });
            let send = async |id: u64| {
                account.lock().unwrap().sent.insert(id);
                if notifier.info(&context, "x", &job(id)).await.is_ok() {
                    account.lock().unwrap().confirmed.insert(id);
                }
            };
            let sends = ticks.take_until(ended).map(send).buffer_unordered(WINDOW);
            sends.count().await;
            notifier.close().await;
        })
    }

    /// Sends, and waits until all are confirmed.
    pub(crate) async fn send(&self, jobs: impl IntoIterator<Item = Job>) {
        let jobs: Vec<Job> = jobs.into_iter().collect();
        all_sent(self.sending(jobs.clone())).await;
        let account = self.account.lock().unwrap();
        let is_confirmed = |job: &Job| account.confirmed.contains(&job.id);
        assert!(jobs.iter().all(is_confirmed), "not all were confirmed: {account}");
    }

    /// Records jobs that something else has sent, with confirms.
    pub(crate) fn sent_elsewhere(&self, ids: impl IntoIterator<Item = u64>) {
        let ids: Vec<u64> = ids.into_iter().collect();
        let mut account = self.account.lock().unwrap();
        account.sent.extend(&ids);
        account.confirmed.extend(&ids);
    }

    /// Removes jobs from the account, because their messages were removed on purpose.
    pub(crate) fn forget(&self, ids: &BTreeSet<u64>) {
        let mut account = self.account.lock().unwrap();
        account.confirmed.retain(|id| !ids.contains(id));
    }

    /// The ids handled until now.
    pub(crate) fn handled(&self) -> BTreeSet<u64> {
        self.read_log(|account| account.handled.keys().copied().collect())
    }

    /// The number of calls until now.
    pub(crate) fn calls(&self) -> u32 {
        self.read_log(|account| account.calls.values().sum())
    }

    fn read_log<T>(&self, ask: impl FnOnce(&Account) -> T) -> T {
        let mut account = self.account.lock().unwrap();
        account.read_log(&self.options.log);
        ask(&account)
    }

    /// Waits until this many are handled.
    pub(crate) async fn until_handled(&self, worker: &mut Worker, count: usize) {
        let what = format!("{count} are handled");
        worker.until(&what, async |_| self.handled().len() >= count).await;
    }

    /// Waits until every confirmed job is handled.
    pub(crate) async fn until_all_handled(&self, worker: &mut Worker) {
        let is_done =
            |account: &Account| account.confirmed.iter().all(|id| account.handled.contains_key(id));
        worker.until("all is handled", async |_| self.read_log(is_done)).await;
    }

    /// Like `until_all_handled`, except for these.
    pub(crate) async fn until_all_handled_but(
        &self,
        worker: &mut Worker,
        others: std::ops::Range<u64>,
    ) {
        let is_done = |account: &Account| {
            let mut asked = account.confirmed.iter().filter(|id| !others.contains(id));
            asked.all(|id| account.handled.contains_key(id))
        };
        worker.until("the others are handled", async |_| self.read_log(is_done)).await;
    }

    /// The ids in the order in which they were handled for the first time.
    pub(crate) fn order_of_handling(&self) -> Vec<u64> {
        let log = std::fs::read_to_string(&self.options.log).unwrap();
        let mut seen = BTreeSet::new();
        let ids = log.lines().filter_map(|line| line.strip_prefix("done ")?.parse().ok());
        ids.filter(|id| seen.insert(*id)).collect()
    }

    /// Waits until the queue has this depth, unacknowledged messages included.
    pub(crate) async fn until_depth(&self, node: &RabbitNode, queue: &str, depth: u64) {
        wait_until(&format!("{depth} in {queue}"), SOON, async || {
            node.queue_depth(&self.vhost, queue).await == Some(depth)
        })
        .await;
    }

    /// Waits until every job is handled and acknowledged: a session that ended before would leave
    /// handled messages behind.
    pub(crate) async fn until_all_settled(&self, worker: &mut Worker, node: &RabbitNode) {
        self.until_all_handled(worker).await;
        self.until_empty(worker, node).await;
    }

    /// Waits until no message is queued or in work: only dead letters are left.
    pub(crate) async fn until_empty(&self, worker: &mut Worker, node: &RabbitNode) {
        worker.until("all queues are empty", async |_| self.waiting(node).await == 0).await;
    }

    /// How many messages are not dead letters.
    pub(crate) async fn waiting(&self, node: &RabbitNode) -> u64 {
        // The queues are queried one after the other, so a message that is moved meanwhile may be
        // missed. A second query finds it.
        match self.seen_waiting(node).await {
            0 => self.seen_waiting(node).await,
            some => some,
        }
    }

    async fn seen_waiting(&self, node: &RabbitNode) -> u64 {
        let depths = node.queue_depths(&self.vhost).await.into_iter();
        // A journal keeps its records. A queue that is not running may hold messages.
        depths
            .filter(|(name, _)| !name.ends_with(".dead") && !name.ends_with(".journal"))
            .map(|(_, depth)| depth.unwrap_or(1))
            .sum()
    }

    /// Records how long readiness took after the end of the fault; the longest is kept.
    pub(crate) fn attached_after(&mut self, took: Duration) {
        self.attached = self.attached.max(Some(took));
    }

    /// Counts the CPU time of a worker that ends soon.
    pub(crate) fn worked(&mut self, worker: &Worker) {
        self.cpu += worker.cpu();
        self.ran += worker.ran();
    }

    /// Stops the worker, which must exit with success, and checks the account.
    pub(crate) async fn finish(mut self, worker: Worker, node: &RabbitNode, bound: u32) -> Account {
        self.worked(&worker);
        worker.signal("-TERM");
        let (status, log) = worker.ended().await;
        assert_eq!(status.code(), Some(0), "{log}");
        self.settle(node, bound).await
    }

    /// Checks the account, after all workers have ended.
    pub(crate) async fn settle(self, node: &RabbitNode, bound: u32) -> Account {
        let mut account = self.account.lock().unwrap().clone();
        account.read_log(&self.options.log);
        account.drain(node, &self.vhost, &self.url).await;
        eprintln!("row {}, {}: {account}; bound {bound}", self.row, self.fault);
        let record = Record {
            broker: node.version().await,
            row: self.row,
            fault: self.fault.to_owned(),
            sent: account.sent.len(),
            confirmed: account.confirmed.len(),
            handled: account.handled.len(),
            dead: account.dead.len(),
            queued: account.queued.len(),
            lost: account.lost().len(),
            duplicates: account.duplicates(),
            bound,
            calls: account.most_calls(),
            attached_ms: self.attached.map(|took| took.as_millis() as u64),
            cpu_ms: self.cpu.as_millis() as u64,
            ran_ms: self.ran.as_millis() as u64,
        };
        record.keep();
        assert_eq!(account.lost(), BTreeSet::new(), "lost: {account}");
        assert_eq!(account.unexpected(), BTreeSet::new(), "unexpected: {account}");
        assert!(account.duplicates() <= bound, "more duplicates than {bound}: {account}");
        let _ = std::fs::remove_file(&self.options.log);
        account
    }
}

/// Bodies that no listener can read, each with its id.
pub(crate) async fn send_unreadable(trial: &Trial, ids: std::ops::Range<u64>) {
    let amqp = Amqp::connect(&trial.url).await;
    for id in ids.clone() {
        let body = format!("unreadable {id}");
        amqp.publish("", QUEUE, body, oslo_properties(&[])).await;
    }
    amqp.close().await;
    trial.sent_elsewhere(ids);
}

/// Jobs that are handled at once.
pub(crate) fn plain(ids: std::ops::Range<u64>) -> impl Iterator<Item = Job> {
    ids.map(|id| Job { id, act: Act::Handle })
}

pub(crate) async fn all_sent(sending: JoinHandle<()>) {
    tokio::time::timeout(SOON, sending).await.expect("all is sent in time").unwrap();
}

/// The URL with a heartbeat every second and delays of at most half a second.
pub(crate) fn quick(url: &str) -> String {
    let mark = if url.contains('?') { '&' } else { '?' };
    format!(
        "{url}{mark}heartbeat_timeout_threshold=2&kombu_reconnect_delay=0\
         &rabbit_retry_interval=0.2&rabbit_retry_backoff=0.1&rabbit_interval_max=0.5"
    )
}

/// The file in which a worker records its calls; one of an earlier run is removed.
fn new_log(vhost: &str) -> PathBuf {
    let vhost = vhost.replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
    let name = format!("listener-fault-{}-{vhost}.log", std::process::id());
    let path = std::env::temp_dir().join(name);
    let _ = std::fs::remove_file(&path);
    path
}

/// How long a future takes.
pub(crate) async fn timed(work: impl Future<Output = ()>) -> Duration {
    let start = Instant::now();
    work.await;
    start.elapsed()
}
