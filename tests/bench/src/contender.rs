//! The contenders: their names, their share of the work, and how one is started in its own process
//! (`start`) and runs there (`run`). Their code is in `consume/`, `publish/` and, for Python, in
//! `python/`.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use support::oslo_url;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::broker::Broker;
use crate::{Error, consume, publish};

/// A contender that hangs ends the benchmark.
const DEADLINE: Duration = Duration::from_secs(600);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Half {
    Consume,
    Publish,
}

pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) half: Half,
    /// Its share of the messages: one in this many, so that all contenders run for seconds.
    pub(crate) part: u64,
    /// The script, if it is one in Python.
    script: Option<&'static str>,
}

pub(crate) const CONSUMERS: [Contender; 12] = [
    consumer("listener", 1),
    consumer("listener-batch", 1),
    consumer("lapin-batch", 1),
    consumer("listener-tls", 1),
    consumer("lapin-tls", 1),
    consumer("lapin-plain", 1),
    consumer("lapin-tuned", 1),
    consumer("amqprs", 1),
    consumer("ruststream", 1),
    consumer("ruststream-64", 1),
    Contender { script: Some("consume.py"), ..consumer("oslo", 10) },
    Contender { script: Some("consume.py"), ..consumer("oslo-batch", 5) },
];

/// Only its memory is measured, by `memory.rs`.
pub(crate) const OURS_SLOW: Contender = consumer("listener-slow", 1);

pub(crate) const PUBLISHERS: [Contender; 5] = [
    publisher("listener-1000", 2),
    publisher("listener-tasks", 2),
    publisher("lapin-1", 15),
    publisher("lapin-1000", 2),
    Contender { script: Some("publish.py"), ..publisher("oslo-notifier", 30) },
];

const fn consumer(name: &'static str, part: u64) -> Contender {
    Contender { name, half: Half::Consume, part, script: None }
}

const fn publisher(name: &'static str, part: u64) -> Contender {
    Contender { name, half: Half::Publish, part, script: None }
}

impl Half {
    pub(crate) fn contenders(self) -> &'static [Contender] {
        match self {
            Half::Consume => &CONSUMERS,
            Half::Publish => &PUBLISHERS,
        }
    }

    /// The contender to which ratios refer.
    pub(crate) fn baseline(self) -> &'static str {
        match self {
            Half::Consume => "lapin-tuned",
            Half::Publish => "lapin-1000",
        }
    }
}

/// The result of a contender: the one line that it prints.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) messages: u64,
    pub(crate) seconds: f64,
    pub(crate) cpu_user_s: f64,
    pub(crate) cpu_sys_s: f64,
    pub(crate) peak_rss_kb: u64,
    /// The sum of a number in each decoded message; 0 for publishers.
    pub(crate) sum: u64,
    /// When it had handled its first message, in seconds since 1970.
    pub(crate) first_at: f64,
}

/// A running contender.
pub(crate) struct Started {
    name: &'static str,
    child: Child,
    /// In seconds since 1970.
    pub(crate) at: f64,
}

pub(crate) fn start(
    contender: &Contender,
    broker: &Broker,
    messages: u64,
) -> Result<Started, Error> {
    let (mut command, url) = match contender.script {
        None => {
            let mut command = Command::new(std::env::current_exe()?);
            command.arg("contender");
            let is_tls = contender.name.ends_with("-tls");
            (command, if is_tls { broker.tls_url() } else { broker.url() })
        }
        Some(script) => {
            let bench = Path::new(env!("CARGO_MANIFEST_DIR"));
            let mut command = Command::new(bench.join("../../target/python/bin/python"));
            // Without -B it would write byte code next to the sources.
            command.arg("-B").arg(bench.join("python").join(script));
            // oslo.service warns of eventlet, which nothing here uses.
            command.env("PYTHONWARNINGS", "ignore");
            (command, oslo_url(&broker.url()))
        }
    };
    command
        .arg(contender.name)
        .arg(url)
        .arg(if broker.is_quorum() { "quorum" } else { "classic" })
        .arg(messages.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let at = now();
    let child = command.spawn().map_err(|error| format!("{}: {error}", contender.name))?;
    Ok(Started { name: contender.name, child, at })
}

impl Started {
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    pub(crate) async fn measured(self) -> Result<Measured, Error> {
        let name = self.name;
        let output = timeout(DEADLINE, self.child.wait_with_output())
            .await
            .map_err(|_| format!("{name} did not end within {DEADLINE:?}"))??;
        if !output.status.success() {
            return Err(format!("{name} ended with {}", output.status).into());
        }
        let printed = String::from_utf8(output.stdout)?;
        serde_json::from_str(&printed)
            .map_err(|error| format!("{name} printed {printed:?}: {error}").into())
    }
}

/// One contender, in this process.
pub(crate) async fn run(arguments: &[String]) -> Result<(), Error> {
    let [name, url, queue, messages] = arguments else {
        return Err("a contender is started by the driver".into());
    };
    let messages = messages.parse()?;
    let measured = match name.as_str() {
        "listener" | "listener-tls" => consume::ours::run(url, queue, messages).await?,
        "listener-batch" => consume::ours::run_batch(url, messages).await?,
        "listener-slow" => consume::ours::run_slow(url, messages).await?,
        "lapin-plain" => consume::lapin_plain::run(url, messages).await?,
        "lapin-tuned" | "lapin-tls" => consume::lapin_tuned::run(url, messages).await?,
        "lapin-batch" => consume::lapin_batch::run(url, messages).await?,
        "amqprs" => consume::amqprs::run(url, messages).await?,
        "ruststream" => consume::ruststream::run(url, messages).await?,
        "ruststream-64" => consume::ruststream::run_64(url, messages).await?,
        "listener-1000" => publish::ours::run(url, messages).await?,
        "listener-tasks" => publish::ours::run_tasks(url, messages).await?,
        "lapin-1" => publish::lapin::run(url, messages, 1).await?,
        "lapin-1000" => publish::lapin::run(url, messages, 1000).await?,
        _ => return Err(format!("no contender {name:?} in Rust").into()),
    };
    println!("{}", serde_json::to_string(&measured)?);
    Ok(())
}

/// In seconds since 1970.
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
