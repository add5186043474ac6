//! The host of private nodes: one data folder, one cookie, one epmd, and a watcher that ends and removes
//! everything as soon as this process is gone, however it ended. Nodes of one cluster share a host;
//! `rabbit_node.rs` uses it. The commands are the scripts of the distribution, without the wrapper in
//! `sbin`, which changes user and folder.

use std::collections::BTreeSet;
use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::wait::wait_until;

const FIX: &str = "run tests/run, which installs it (Debian, Ubuntu: apt-get install \
                    rabbitmq-server; elsewhere install RabbitMQ 3.10 or later with Erlang)";

/// The variable with the folder of the commands of another RabbitMQ than the installed one.
const CHOICE: &str = "LISTENER_RABBITMQ";

/// The commands that are used.
const SCRIPTS: [&str; 4] =
    ["rabbitmq-server", "rabbitmqctl", "rabbitmq-queues", "rabbitmq-upgrade"];

/// The number of nodes that two processors can run; more slow each other down, so that tests time out.
static PLACES: Semaphore = Semaphore::const_new(5);

/// A folder, a cookie and an epmd of its own, for private nodes.
pub struct RabbitHost {
    base: PathBuf,
    scripts: PathBuf,
    epmd_port: u16,
    epmd: Child,
    watcher: Child,
    _place: SemaphorePermit<'static>,
}

impl RabbitHost {
    /// Waits while too many hosts are alive in this process: a test holds one host, not two.
    /// Panics with what to install if RabbitMQ is missing.
    pub async fn start() -> Arc<Self> {
        let scripts = scripts();
        let place = PLACES.acquire().await.expect("the semaphore is never closed");
        let base = new_folder();
        // The watcher starts before the first process that it has to end.
        let watcher = watch(&base);
        let epmd_port = free_port();
        let mut epmd = launch(&base.join("epmd.pid"), Path::new("epmd"));
        epmd.args(["-address", "127.0.0.1", "-port"])
            .arg(epmd_port.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let epmd = epmd.spawn().expect("`sh` starts");
        let host = Self { base, scripts, epmd_port, epmd, watcher, _place: place };
        wait_until("epmd accepts connections", Duration::from_secs(20), async || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, epmd_port)).await.is_ok()
        })
        .await;
        Arc::new(host)
    }

    /// The folder of the node `name`; the watcher looks for its pid in `vm.pid` there.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.base.join(name)
    }

    /// One of RabbitMQ's scripts, to be run as a process whose pid is written to `pid_file`.
    pub(crate) fn launch(&self, pid_file: &Path, script: &str) -> Command {
        let mut command = launch(pid_file, &self.scripts.join(script));
        self.environment(&mut command);
        command
    }

    /// One of RabbitMQ's scripts, to be run to its end.
    pub(crate) fn command(&self, script: &str) -> Command {
        let mut command = Command::new(self.scripts.join(script));
        self.environment(&mut command);
        command
    }

    /// A shell with RabbitMQ's tools in its PATH, for the node of this name.
    pub(crate) fn shell(&self, node: &str) -> Command {
        let mut command = Command::new("sh");
        self.environment(&mut command);
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", self.scripts.display()));
        command.env("RABBITMQ_NODENAME", node);
        command
    }

    /// The program of Erlang that calls functions in a node.
    pub(crate) fn erl_call(&self) -> Command {
        let mut command = Command::new("erl_call");
        self.environment(&mut command);
        command
    }

    /// Only the PATH of the caller's environment is kept: RabbitMQ's variables or a cookie in the home
    /// folder would lead to another node.
    fn environment(&self, command: &mut Command) {
        let local_only = "-kernel inet_dist_use_interface {127,0,0,1}";
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("LANG", "C.UTF-8")
            .env("HOME", &self.base)
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
            // Every `erl` would start a missing epmd as a daemon that outlives the tests.
            .env("ERL_FLAGS", "-start_epmd false")
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", local_only)
            .env("RABBITMQ_CTL_ERL_ARGS", local_only)
            // The tool opens a port, too; by default that may be one that a node is about to bind.
            .env("RABBITMQ_CTL_DIST_PORT_MIN", "0")
            .env("RABBITMQ_CTL_DIST_PORT_MAX", "0");
    }

    /// The pid of the epmd that all nodes of this host share.
    pub fn epmd_pid(&self) -> u32 {
        self.epmd.id()
    }
}

impl Drop for RabbitHost {
    fn drop(&mut self) {
        // Its end of the pipe closes, and the watcher acts as if this process had crashed.
        drop(self.watcher.stdin.take());
        let _ = self.watcher.wait();
        let _ = self.epmd.wait();
    }
}

/// A free TCP port, returned once in this process. It is below the ephemeral range of the kernel: while
/// a node is down, a client's socket must not get the node's port.
pub(crate) fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let start = RandomState::new().build_hasher().finish();
    let mut given = GIVEN.lock().unwrap();
    let port = (0..12_000)
        .map(|step| 20_000 + (start.wrapping_add(step * 7) % 12_000) as u16)
        .find(|port| {
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
            free && given.insert(*port)
        });
    port.expect("a port between 20000 and 32000 is free")
}

/// `program` as a child process, whose pid is written to `pid_file` before it runs. In its own process
/// group: Ctrl-C ends the test, and the watcher the rest.
fn launch(pid_file: &Path, program: &Path) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", r#"echo $$ >"$0" && exec "$@""#])
        .arg(pid_file)
        .arg(program)
        .stdin(Stdio::null())
        .process_group(0);
    command
}

/// Waits on a pipe that only this process holds open. The folder is renamed first: a process launched
/// after that cannot write its pid and does not run.
fn watch(base: &Path) -> Child {
    const SCRIPT: &str = r#"
        cat >/dev/null
        mv "$0" "$0.gone"
        for file in "$0.gone"/epmd.pid "$0.gone"/*/vm.pid; do
            if [ -f "$file" ]; then kill -KILL "$(cat "$file")"; fi
        done
        for attempt in 1 2 3 4 5 6 7 8 9 10; do
            if rm -rf "$0.gone"; then break; fi
            sleep 0.2
        done
    "#;
    Command::new("sh")
        .args(["-c", SCRIPT])
        .arg(base)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("`sh` starts")
}

fn new_folder() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("listener-rabbit-{}-{number}", std::process::id());
    let base = std::env::temp_dir().join(name);
    // An earlier process with our pid may have crashed together with its watcher, for example in a power
    // failure.
    let _ = fs::remove_dir_all(&base);
    fs::create_dir(&base).expect("the temporary folder is writable");
    let cookie = base.join(".erlang.cookie");
    fs::write(&cookie, format!("{:020}", RandomState::new().build_hasher().finish())).unwrap();
    // Erlang refuses a cookie that others may read.
    fs::set_permissions(&cookie, fs::Permissions::from_mode(0o400)).unwrap();
    base
}

/// The folder of RabbitMQ's scripts: that in `LISTENER_RABBITMQ`, or the installed one.
fn scripts() -> PathBuf {
    if let Some(chosen) = std::env::var_os(CHOICE).filter(|chosen| !chosen.is_empty()) {
        return chosen_scripts(PathBuf::from(chosen)).unwrap_or_else(|reason| panic!("{reason}"));
    }
    let debian = PathBuf::from("/usr/lib/rabbitmq/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::iter::once(debian)
        .chain(std::env::split_paths(&path))
        .find(|folder| folder.join("rabbitmq-server").is_file())
        .unwrap_or_else(|| panic!("rabbitmq-server was not found: {FIX}"))
}

/// Another broker than the requested one is never used instead.
fn chosen_scripts(folder: PathBuf) -> Result<PathBuf, String> {
    let missing = SCRIPTS.iter().find(|script| !folder.join(script).is_file());
    match missing {
        _ if !folder.is_absolute() => Err(format!(
            "{CHOICE}={} is not an absolute path: tests run in several folders",
            folder.display()
        )),
        Some(script) => Err(format!(
            "{CHOICE}={} is to be the folder of RabbitMQ's commands, and has no {script}; \
             `tests/run --broker 4.3` makes such a folder and sets it",
            folder.display()
        )),
        None => Ok(folder),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chosen_folder_without_the_commands_is_an_error_that_names_them() {
        let folder = std::env::temp_dir().join(format!("listener-scripts-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let error = chosen_scripts(folder.clone()).unwrap_err();
        assert!(error.contains(&*folder.to_string_lossy()), "{error}");
        assert!(error.contains("has no rabbitmq-server"), "{error}");

        for script in SCRIPTS {
            fs::write(folder.join(script), "").unwrap();
        }
        assert_eq!(chosen_scripts(folder.clone()), Ok(folder.clone()));
        fs::remove_dir_all(folder).unwrap();

        let error = chosen_scripts(PathBuf::from("target/rabbitmq-4.3/bin")).unwrap_err();
        assert!(error.contains("is not an absolute path"), "{error}");
    }
}
