//! A private RabbitMQ node with its own ports and data, which a test can kill, suspend and restart.
//! Tests start their own, or use `shared()`, one per test binary, with a virtual host each. It is not
//! bound to a runtime. Its folder, cookie and epmd are in `rabbit_host.rs`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, MutexGuard, OnceCell, Semaphore};
use tokio::time::{Instant, sleep, timeout};

use crate::certificates::Identity;
use crate::management::{self, encode};
use crate::rabbit_host::{RabbitHost, free_port};

/// A node boots in 5 to 10 s; several at once on two slow cores take a multiple of that.
const BOOT: Duration = Duration::from_secs(120);

/// A quorum queue counts its messages every 0.2 s, see `advanced.config`.
const COUNTED: Duration = Duration::from_millis(300);

/// A tool takes half a second of CPU time, because it starts its own virtual machine.
const TOOL: Duration = Duration::from_secs(120);

/// More tools at once would slow down the nodes that they query.
static TOOLS: Semaphore = Semaphore::const_new(2);

/// The node that the tests of one binary share. It is never killed: use one `vhost` for each test, and
/// another node to harm it.
pub async fn shared() -> &'static RabbitNode {
    static NODE: OnceCell<RabbitNode> = OnceCell::const_new();
    NODE.get_or_init(RabbitNode::start).await
}

/// Three nodes that form a cluster.
pub async fn cluster() -> [RabbitNode; 3] {
    let host = RabbitHost::start().await;
    let nodes = tokio::join!(
        RabbitNode::start_on(Arc::clone(&host), "node1"),
        RabbitNode::start_on(Arc::clone(&host), "node2"),
        RabbitNode::start_on(host, "node3"),
    );
    let nodes = [nodes.0, nodes.1, nodes.2];
    for node in &nodes[1..] {
        node.ctl(&["stop_app"]).await;
        node.ctl(&["reset"]).await;
        node.ctl(&["join_cluster", &nodes[0].name()]).await;
        node.ctl(&["start_app"]).await;
    }
    nodes
}

/// The node that the tests of one binary may kill, suspend or starve, one test at a time: it runs when
/// this returns, and each test resets its changes. Use one `vhost` for each test.
pub async fn harmed() -> MutexGuard<'static, RabbitNode> {
    static NODE: OnceCell<Mutex<RabbitNode>> = OnceCell::const_new();
    let node = NODE.get_or_init(async || Mutex::new(RabbitNode::start().await)).await;
    let mut node = node.lock().await;
    // A failed test may have left it killed or suspended.
    if node.vm_pid().is_none() {
        node.restart().await;
    }
    node.resume().await;
    node.ctl(&["start_app"]).await;
    node
}

/// A node. When it is dropped, and also when this process is killed, no process and no file of it
/// remain.
pub struct RabbitNode {
    name: String,
    ports: Ports,
    vm: Option<Child>,
    // Dropped after `vm`: the last node of a host ends the host.
    host: Arc<RabbitHost>,
}

struct Ports {
    amqp: u16,
    tls: u16,
    distribution: u16,
    management: u16,
}

impl RabbitNode {
    /// A node on its own host, ready for clients.
    pub async fn start() -> Self {
        Self::start_with("").await
    }

    /// Like `start`, with these lines in its `rabbitmq.conf`.
    pub async fn start_with(lines: &str) -> Self {
        let mut node = Self::new_on(RabbitHost::start().await, "node1");
        node.configure(lines);
        node.boot().await;
        node
    }

    /// A node that also accepts TLS, with this certificate. `requires`: whether clients must present one that
    /// this authority issued. Users with one can log in with `EXTERNAL`, by its common name.
    pub async fn start_with_tls(authority: &Path, identity: &Identity, requires: bool) -> Self {
        let mut node = Self::new_on(RabbitHost::start().await, "node1");
        let tls = node.ports.tls;
        let (authority, certificate) = (authority.display(), identity.certificate.display());
        let key = identity.key.display();
        let verify = if requires { "verify_peer" } else { "verify_none" };
        node.configure(&format!(
            "listeners.ssl.1 = 127.0.0.1:{tls}\n\
             ssl_options.cacertfile = {authority}\n\
             ssl_options.certfile = {certificate}\n\
             ssl_options.keyfile = {key}\n\
             ssl_options.verify = {verify}\n\
             ssl_options.fail_if_no_peer_cert = {requires}\n\
             ssl_cert_login_from = common_name\n\
             auth_mechanisms.1 = PLAIN\n\
             auth_mechanisms.2 = AMQPLAIN\n\
             auth_mechanisms.3 = EXTERNAL"
        ));
        let plugins = "[rabbitmq_management, rabbitmq_auth_mechanism_ssl].\n";
        fs::write(node.folder().join("enabled_plugins"), plugins).unwrap();
        node.boot().await;
        node
    }

    /// The port for TLS of a node that was started with it.
    pub fn tls_port(&self) -> u16 {
        self.ports.tls
    }

    /// A node on `host`, ready for clients. Nodes that are to form a cluster share a host and
    /// differ in `name`.
    pub async fn start_on(host: Arc<RabbitHost>, name: &str) -> Self {
        let mut node = Self::new_on(host, name);
        node.configure("");
        node.boot().await;
        node
    }

    fn new_on(host: Arc<RabbitHost>, name: &str) -> Self {
        let ports = Ports {
            amqp: free_port(),
            tls: free_port(),
            distribution: free_port(),
            management: free_port(),
        };
        Self { name: name.to_owned(), ports, vm: None, host }
    }

    /// Adds these lines to its `rabbitmq.conf`, from the next start on.
    pub fn configure(&self, lines: &str) {
        let folder = self.folder();
        for part in ["mnesia", "log", "schema"] {
            fs::create_dir_all(folder.join(part)).unwrap();
        }
        let configuration = self.configuration(lines);
        fs::write(folder.join("rabbitmq.conf"), configuration).unwrap();
        // Retries at-least-once dead-lettering every second instead of every three minutes, for example
        // after a restart when the target queue is not up yet.
        let advanced = "[{rabbit, [{quorum_tick_interval, 200}, \
                        {dead_letter_worker_publisher_confirm_timeout, 1000}]}].\n";
        fs::write(folder.join("advanced.config"), advanced).unwrap();
        fs::write(folder.join("enabled_plugins"), "[rabbitmq_management].\n").unwrap();
        // An empty file, so that /etc/rabbitmq of the machine is not used.
        fs::write(folder.join("rabbitmq-env.conf"), "").unwrap();
    }

    /// Major and minor number of the broker's version.
    pub async fn version(&self) -> (u32, u32) {
        let printed = self.eval("rabbit_misc:version()").await;
        let version = printed.trim_matches('"');
        let mut numbers = version.split('.').map(|number| number.parse().expect("a number"));
        (numbers.next().unwrap(), numbers.next().unwrap())
    }

    /// The URL of the default virtual host.
    pub fn url(&self) -> String {
        self.url_of("%2F")
    }

    pub fn port(&self) -> u16 {
        self.ports.amqp
    }

    /// The node name for `rabbitmqctl -n` and the cluster commands.
    pub fn name(&self) -> String {
        format!("{}@localhost", self.name)
    }

    /// The pid of the VM, unless it is down.
    pub fn vm_pid(&self) -> Option<u32> {
        self.vm.as_ref().map(Child::id)
    }

    pub fn host(&self) -> &Arc<RabbitHost> {
        &self.host
    }

    /// SIGKILL. Returns when the VM is gone.
    pub async fn kill(&mut self) {
        self.vm.as_mut().expect("the node runs").kill().expect("the VM is a child of ours");
        self.reaped(Duration::from_secs(30)).await;
    }

    /// SIGTERM: a clean stop, which takes RabbitMQ some seconds. Returns when the VM is gone.
    pub async fn stop(&mut self) {
        self.signal("TERM");
        self.reaped(Duration::from_secs(60)).await;
    }

    /// Starts the node again, on the same ports and data, and waits until it is ready for clients.
    /// Stops it first if it runs.
    pub async fn restart(&mut self) {
        if self.vm.is_some() {
            self.stop().await;
        }
        self.boot().await;
    }

    /// SIGSTOP: ports and connections stay open, and nothing answers.
    pub async fn suspend(&self) {
        self.signal("STOP");
    }

    /// SIGCONT.
    pub async fn resume(&self) {
        self.signal("CONT");
    }

    /// Runs `rabbitmqctl` with these arguments, and returns its output. Takes half a second.
    pub async fn ctl(&self, args: &[&str]) -> String {
        self.tool("rabbitmqctl", args).await
    }

    /// Like `ctl`, for another tool: `rabbitmq-queues`, `rabbitmq-upgrade`.
    pub async fn tool(&self, tool: &str, args: &[&str]) -> String {
        self.try_tool(tool, args).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Like `tool`, with an error if the node refuses, as a cluster in the middle of a change does.
    pub async fn try_tool(&self, tool: &str, args: &[&str]) -> Result<String, String> {
        let _place = TOOLS.acquire().await.expect("the semaphore is never closed");
        let mut command = self.host.command(tool);
        command.args(["-q", "-n", &self.name()]).args(args);
        let output = tokio::process::Command::from(command).kill_on_drop(true).output();
        let output = timeout(TOOL, output)
            .await
            .unwrap_or_else(|_| panic!("{tool} {args:?} did not end within {TOOL:?}"))
            .expect("the tool starts");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            return Ok(printed);
        }
        Err(format!("{tool} {args:?} failed:\n{printed}{errors}"))
    }

    /// Runs commands of RabbitMQ's tools for this node in a shell, and returns their output.
    pub async fn shell(&self, commands: &str) -> String {
        let mut shell = tokio::process::Command::from(self.host.shell(&self.name()));
        shell.env("RABBITMQ_ENABLED_PLUGINS_FILE", self.folder().join("enabled_plugins"));
        // The tools of RabbitMQ 4.0 in Debian do not find it by themselves.
        let plugins = "{ok, Folder} = application:get_env(rabbit, plugins_dir), Folder";
        shell.env("RABBITMQ_PLUGINS_DIR", self.eval_as("~ts", plugins).await);
        let output = shell.args(["-ec", commands]).kill_on_drop(true).output();
        let output = timeout(TOOL, output).await.expect("it ends").expect("a shell starts");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{commands} failed:\n{printed}{errors}");
        printed
    }

    /// The value of an Erlang expression in the node, as Erlang prints it. Takes some milliseconds,
    /// because no virtual machine is started.
    pub async fn eval(&self, expression: &str) -> String {
        self.eval_as("~tp", expression).await
    }

    /// Like `eval`, printed with this control sequence of `io:format`.
    async fn eval_as(&self, format: &str, expression: &str) -> String {
        // A node refuses a second client with the same name; `-r` would choose equal names.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let client = format!("c{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut command = tokio::process::Command::from(self.host.erl_call());
        command.args(["-h", &client, "-name", &self.name(), "-timeout", "60"]);
        command.args(["-fetch_stdout", "-no_result_term", "-e"]).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("`erl_call` starts: it comes with Erlang");
        let mut stdin = child.stdin.take().expect("it is piped");
        let form = format!("io:format(\"value: {format}\", [begin {expression} end]).\n");
        let output = timeout(TOOL, async {
            stdin.write_all(form.as_bytes()).await?;
            drop(stdin);
            child.wait_with_output().await
        });
        let output = output
            .await
            .unwrap_or_else(|_| panic!("{expression} was not evaluated within {TOOL:?}"))
            .expect("`erl_call` reads and writes");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        let value = printed.strip_prefix("value: ").filter(|_| output.status.success());
        let value = value.unwrap_or_else(|| panic!("{expression} failed: {printed}{errors}"));
        value.to_owned()
    }

    /// Calls the management API: `path` begins with `/api/`. Its statistics lag up to 5 s behind. Panics
    /// unless the status is 2xx.
    pub async fn api(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        management::request(self.ports.management, method, path, body).await
    }

    /// Creates a virtual host in which guest has all permissions. Returns its `amqp://` URL, with which
    /// the library declares durable queues on every version of RabbitMQ. [`oslo_url`] turns it into one
    /// for oslo.messaging.
    pub async fn vhost(&self, name: &str) -> String {
        let all = json!({"configure": ".*", "write": ".*", "read": ".*"});
        let name = encode(name);
        self.api("PUT", &format!("/api/vhosts/{name}"), None).await;
        self.api("PUT", &format!("/api/permissions/{name}/guest"), Some(all)).await;
        self.url_of(&name)
    }

    /// The names of all queues of the vhost.
    pub async fn queues(&self, vhost: &str) -> Vec<String> {
        // Not over HTTP, because the management API waits for nodes that do not answer.
        self.queue_depths(vhost).await.into_keys().collect()
    }

    /// The ready and unacknowledged messages of the queue; `None` if it does not exist or is not up. The
    /// count is taken after the call began: everything sent to the broker before, such as an
    /// acknowledgement, is included.
    pub async fn queue_depth(&self, vhost: &str, queue: &str) -> Option<u64> {
        self.queue_depths(vhost).await.remove(queue).flatten()
    }

    /// Like `queue_depth`, for all queues of the virtual host; `None` for one that is not up.
    pub async fn queue_depths(&self, vhost: &str) -> BTreeMap<String, Option<u64>> {
        sleep(COUNTED).await;
        let vhost: Vec<String> = vhost.bytes().map(|byte| byte.to_string()).collect();
        let expression = format!(
            "Depth = fun(Queue) ->
                 try rabbit_amqqueue:info(Queue, [messages]) of
                     [{{messages, Count}}] when is_integer(Count) -> Count;
                     _ -> null
                 catch
                     _:_ -> null
                 end
             end,
             rabbit_json:encode(maps:from_list(
                 [{{element(4, amqqueue:get_name(Queue)), Depth(Queue)}}
                     || Queue <- rabbit_amqqueue:list(<<{}>>)]))",
            vhost.join(",")
        );
        serde_json::from_str(&self.eval_as("~ts", &expression).await).unwrap()
    }

    fn url_of(&self, vhost: &str) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/{vhost}", self.ports.amqp)
    }

    fn folder(&self) -> PathBuf {
        self.host.folder(&self.name)
    }

    fn configuration(&self, lines: &str) -> String {
        let Ports { amqp, management, .. } = self.ports;
        // The same for all versions: the default of RabbitMQ 4 is 16 MiB, and it is read once.
        let size =
            if lines.contains("max_message_size") { "" } else { "max_message_size = 134217728" };
        format!(
            "listeners.tcp.1 = 127.0.0.1:{amqp}\n\
             log.console = false\n\
             log.file.level = info\n\
             vm_memory_high_watermark.absolute = 6GB\n\
             disk_free_limit.absolute = 50MB\n\
             loopback_users = none\n\
             management.tcp.ip = 127.0.0.1\n\
             management.tcp.port = {management}\n\
             {size}\n\
             {lines}\n"
        )
    }

    async fn boot(&mut self) {
        let folder = self.folder();
        let printed = File::create(folder.join("stdout.log")).unwrap();
        let mut command = self.host.launch(&folder.join("vm.pid"), "rabbitmq-server");
        command
            .current_dir(&folder)
            .stdout(printed.try_clone().unwrap())
            .stderr(printed)
            // The start script becomes the VM, so that the pid of the child is that of the VM.
            .env("detached", "1")
            .env("RABBITMQ_NODENAME", self.name())
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", self.ports.amqp.to_string())
            .env("RABBITMQ_DIST_PORT", self.ports.distribution.to_string());
        for (variable, file) in [
            ("RABBITMQ_CONF_ENV_FILE", "rabbitmq-env.conf"),
            ("RABBITMQ_CONFIG_FILE", "rabbitmq.conf"),
            ("RABBITMQ_ADVANCED_CONFIG_FILE", "advanced.config"),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", "enabled_plugins"),
            ("RABBITMQ_MNESIA_BASE", "mnesia"),
            ("RABBITMQ_LOG_BASE", "log"),
            ("RABBITMQ_SCHEMA_DIR", "schema"),
            ("RABBITMQ_GENERATED_CONFIG_DIR", "schema"),
            ("RABBITMQ_PID_FILE", "rabbit.pid"),
        ] {
            command.env(variable, folder.join(file));
        }
        self.vm = Some(command.spawn().expect("`sh` starts"));
        self.wait_until_ready().await;
    }

    /// An open port is not enough, because plugins still start: the node has to answer.
    async fn wait_until_ready(&mut self) {
        let end = Instant::now() + BOOT;
        let management =
            async || TcpStream::connect((Ipv4Addr::LOCALHOST, self.ports.management)).await.is_ok();
        while timeout(Duration::from_secs(2), greet(self.ports.amqp)).await != Ok(true)
            || !management().await
        {
            let vm = self.vm.as_mut().expect("just started");
            let ended = vm.try_wait().expect("the VM is a child of ours");
            let (name, words) = (&self.name, || self.last_words());
            assert!(ended.is_none(), "the node {name} ended while it started:\n{}", words());
            assert!(Instant::now() < end, "the node {name} is not up in {BOOT:?}:\n{}", words());
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// The end of its output and log.
    pub fn last_words(&self) -> String {
        let log = format!("log/{}.log", self.name());
        let text: String = ["stdout.log", log.as_str()]
            .iter()
            .map(|file| fs::read_to_string(self.folder().join(file)).unwrap_or_default())
            .collect();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    fn signal(&self, name: &str) {
        let pid = self.vm_pid().expect("the node runs").to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(status.expect("`kill` starts").success(), "kill -s {name} {pid} failed");
    }

    async fn reaped(&mut self, deadline: Duration) {
        let end = Instant::now() + deadline;
        let vm = self.vm.as_mut().expect("the node runs");
        while vm.try_wait().expect("the VM is a child of ours").is_none() {
            assert!(Instant::now() < end, "the VM did not end within {deadline:?}");
            sleep(Duration::from_millis(10)).await;
        }
        self.forget_vm();
    }

    /// The pid may be reused soon: the watcher must not find it.
    fn forget_vm(&mut self) {
        self.vm = None;
        let _ = fs::remove_file(self.folder().join("vm.pid"));
    }
}

impl Drop for RabbitNode {
    fn drop(&mut self) {
        let Some(vm) = &mut self.vm else { return };
        let _ = vm.kill();
        let _ = vm.wait();
        self.forget_vm();
    }
}

/// The `rabbit://` URL of oslo.messaging for the URL of a node or a virtual host: no path means the
/// virtual host `/`.
pub fn oslo_url(url: &str) -> String {
    let url = url.replacen("amqp://", "rabbit://", 1);
    url.strip_suffix("%2F").unwrap_or(&url).to_owned()
}

/// Whether the node answers to the protocol header of AMQP 0-9-1.
async fn greet(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else {
        return false;
    };
    stream.write_all(b"AMQP\0\0\x09\x01").await.is_ok() && stream.read_u8().await.is_ok()
}
