//! The Python peers: the scripts of `interop/peer`, which run the real oslo.messaging in the virtual
//! environment `target/python`. A peer ends when it is dropped, and when this process crashes, because its
//! stdin closes then.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, sleep, timeout};

use crate::rabbit_node::oslo_url;

/// Python starts in a second; a busy machine gets more.
const START: Duration = Duration::from_secs(60);
const SEND: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(30);

/// The options of the notifier, with the defaults of oslo.messaging.
#[derive(Debug, Clone, Default)]
pub struct NotifierOptions {
    /// None means `notifications`.
    pub topics: Vec<String>,
    /// `control_exchange`; oslo's default is `openstack`.
    pub exchange: Option<String>,
    /// `amqp_durable_queues`.
    pub durable: bool,
    /// Options of `[oslo_messaging_rabbit]`, such as `("kombu_compression", "gzip")`.
    pub rabbit: Vec<(String, String)>,
}

/// The options of the listener, with the defaults of oslo.messaging.
#[derive(Debug, Clone, Default)]
pub struct ListenerOptions {
    /// None means `notifications`.
    pub topics: Vec<String>,
    /// `control_exchange`; oslo's default is `openstack`.
    pub exchange: Option<String>,
    pub pool: Option<String>,
    /// Prints NaN, infinities and half surrogate pairs as `listener` maps them.
    pub mapped: bool,
    /// `amqp_durable_queues`.
    pub durable: bool,
    /// Options of `[oslo_messaging_rabbit]`, such as `("rabbit_quorum_queue", "true")`.
    pub rabbit: Vec<(String, String)>,
    /// With it a requeue is one; otherwise it acknowledges.
    pub allow_requeue: bool,
    /// The size of batches and their time in seconds. Each line is a list then.
    pub batch: Option<(u32, f64)>,
}

/// The `Notifier` of oslo.messaging in its own process.
pub struct PythonNotifier(Peer);

impl PythonNotifier {
    /// `driver` is `messaging` or `messagingv2`. Returns when it can send.
    pub async fn start(url: &str, driver: &str, options: &NotifierOptions) -> Self {
        let NotifierOptions { topics, exchange, durable, rabbit } = options;
        let mut arguments = arguments(url, topics, exchange.as_deref(), *durable, rabbit);
        arguments.extend(["--driver".into(), driver.into()]);
        let mut peer = Peer::start("notify.py", &arguments);
        peer.expect("ready", START).await;
        Self(peer)
    }

    /// Sends one JSON object, as a `serde_json::Value` or as text, which may contain JSON that only
    /// Python accepts: `{"ctxt": {}, "publisher_id": "", "event_type": "", "priority": "", "payload":
    /// 0}`. Returns once the broker has confirmed it; panics with the log of oslo.messaging otherwise.
    pub async fn send(&mut self, notification: &(impl ToString + ?Sized)) {
        let line = notification.to_string();
        assert!(!line.contains('\n'), "a notification is one line");
        self.0.write(&line);
        self.0.expect("sent", SEND).await;
    }

    /// Like `send`, for notifications that oslo.messaging may refuse. Returns whether the broker has
    /// confirmed it; otherwise the peer has ended.
    pub async fn try_send(&mut self, notification: &(impl ToString + ?Sized)) -> bool {
        self.0.write(&notification.to_string());
        let line = timeout(SEND, self.0.lines.recv()).await;
        line.expect("the peer answers or ends").as_deref() == Some("sent")
    }

    pub fn pid(&self) -> u32 {
        self.0.child.id()
    }
}

/// The notification listener of oslo.messaging, with an endpoint for every priority, in its own process.
pub struct PythonListener(Peer);

impl PythonListener {
    /// Returns when its queues exist and it consumes from all of them.
    pub async fn start(url: &str, options: &ListenerOptions) -> Self {
        let ListenerOptions { topics, exchange, pool, mapped, durable, rabbit, .. } = options;
        let mut arguments = arguments(url, topics, exchange.as_deref(), *durable, rabbit);
        if let Some(pool) = pool {
            arguments.extend(["--pool".into(), pool.clone()]);
        }
        if *mapped {
            arguments.push("--mapped".into());
        }
        if options.allow_requeue {
            arguments.push("--allow-requeue".into());
        }
        if let Some((size, timeout)) = options.batch {
            arguments.extend(["--batch-size".into(), size.to_string()]);
            arguments.extend(["--batch-timeout".into(), timeout.to_string()]);
        }
        let mut peer = Peer::start("listen.py", &arguments);
        peer.expect("ready", START).await;
        Self(peer)
    }

    /// The next notification as the line of JSON that Python wrote: it may contain `NaN`, so it is not
    /// parsed. Panics if none arrives within `deadline`.
    pub async fn next(&mut self, deadline: Duration) -> String {
        self.0.line("a notification", deadline).await
    }

    /// Like `next`, but `None` if nothing arrives within `deadline`.
    pub async fn try_next(&mut self, deadline: Duration) -> Option<String> {
        timeout(deadline, self.next(deadline * 2)).await.ok()
    }

    /// Stops it cleanly: when this returns, all printed notifications are acknowledged.
    pub async fn stop(mut self) {
        self.0.stop().await;
    }

    pub fn pid(&self) -> u32 {
        self.0.child.id()
    }
}

/// The filters of oslo.messaging in their own process.
pub struct PythonFilter(Peer);

impl PythonFilter {
    pub async fn start() -> Self {
        let mut peer = Peer::start("filter.py", &[]);
        peer.expect("ready", START).await;
        Self(peer)
    }

    /// Whether the rule in the object matches its other parts; panics if oslo.messaging raises.
    pub async fn matches(&mut self, question: &serde_json::Value) -> bool {
        self.0.write(&question.to_string());
        match self.0.line("a result", SEND).await.as_str() {
            "true" => true,
            "false" => false,
            raised => panic!("{question} raises {raised}"),
        }
    }
}

/// The parser of transport URLs of oslo.messaging in its own process.
pub struct PythonUrls(Peer);

impl PythonUrls {
    pub async fn start() -> Self {
        let mut peer = Peer::start("url.py", &[]);
        peer.expect("ready", START).await;
        Self(peer)
    }

    /// The parts of a URL as an object, or null if oslo.messaging refuses it.
    pub async fn parse(&mut self, url: &str) -> serde_json::Value {
        self.0.write(url);
        serde_json::from_str(&self.0.line("the parts of a URL", SEND).await).unwrap()
    }
}

fn arguments(
    url: &str,
    topics: &[String],
    exchange: Option<&str>,
    durable: bool,
    rabbit: &[(String, String)],
) -> Vec<String> {
    let mut arguments = vec!["--url".to_owned(), oslo_url(url)];
    for topic in topics {
        arguments.extend(["--topic".into(), topic.clone()]);
    }
    if let Some(exchange) = exchange {
        arguments.extend(["--exchange".into(), exchange.into()]);
    }
    if durable {
        arguments.push("--durable".into());
    }
    for (option, value) in rabbit {
        arguments.extend(["--rabbit".into(), format!("{option}={value}")]);
    }
    arguments
}

/// A script, and threads that read its output, so that it runs without a runtime.
struct Peer {
    script: &'static str,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: UnboundedReceiver<String>,
    errors: Arc<Mutex<String>>,
    error_reader: Option<JoinHandle<()>>,
}

impl Peer {
    fn start(script: &'static str, arguments: &[String]) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/peer");
        let mut child = Command::new(python())
            // Without -B it would write byte code next to the sources.
            .arg("-B")
            .arg(folder.join(script))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("Python starts");
        let (sender, lines) = unbounded_channel();
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        std::thread::spawn(move || {
            // The receiver is gone once the peer is dropped.
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let errors = Arc::new(Mutex::new(String::new()));
        let written = Arc::clone(&errors);
        let mut stderr = child.stderr.take().expect("it is piped");
        let error_reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stderr.read(&mut buffer) {
                written.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        });
        let stdin = child.stdin.take();
        Self { script, child, stdin, lines, errors, error_reader: Some(error_reader) }
    }

    fn write(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("the peer was not stopped");
        // A peer that has ended is reported with its last output by the next read.
        let _ = stdin.write_all(line.as_bytes());
        let _ = stdin.write_all(b"\n");
        let _ = stdin.flush();
    }

    async fn expect(&mut self, word: &str, deadline: Duration) {
        let line = self.line(word, deadline).await;
        assert_eq!(line, word, "{} printed something else", self.script);
    }

    async fn line(&mut self, awaited: &str, deadline: Duration) -> String {
        let script = self.script;
        match timeout(deadline, self.lines.recv()).await {
            Ok(Some(line)) => line,
            Ok(None) => {
                // The process has ended, so the reader ends, too.
                let _ = self.error_reader.take().map(JoinHandle::join);
                panic!("{script} ended instead of printing `{awaited}`:\n{}", self.errors());
            }
            Err(_) => {
                panic!("{script} did not print `{awaited}` within {deadline:?}:\n{}", self.errors())
            }
        }
    }

    async fn stop(&mut self) {
        drop(self.stdin.take());
        let end = Instant::now() + STOP;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it is a child of ours") {
                break status;
            }
            let script = self.script;
            assert!(Instant::now() < end, "{script} did not end in {STOP:?}:\n{}", self.errors());
            sleep(Duration::from_millis(20)).await;
        };
        assert!(status.success(), "{} ended with {status}:\n{}", self.script, self.errors());
    }

    fn errors(&self) -> String {
        self.errors.lock().unwrap().clone()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The interpreter of the virtual environment, or the one named by `LISTENER_PYTHON`.
fn python() -> PathBuf {
    if let Some(python) = std::env::var_os("LISTENER_PYTHON") {
        return python.into();
    }
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/python/bin/python");
    let python_is_there = python.is_file();
    assert!(
        python_is_there,
        "oslo.messaging is not installed in target/python: run tests/run, which installs it \
         (or set LISTENER_PYTHON to a Python that has it)"
    );
    python
}
