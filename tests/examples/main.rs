//! Runs the examples as a user would, and checks their output. `tap` and `notify` need a broker between
//! them; all are built once, with Cargo.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod ports;

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use support::rabbit_node::shared;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

/// Builds the examples, and returns their folder in the target directory of this test. With the features
/// of the whole workspace, as `tests/run` has built them already.
static EXAMPLES: LazyLock<PathBuf> = LazyLock::new(|| {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--workspace", "--examples"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap();
    assert!(built.success(), "the examples do not build");
    let deps = std::env::current_exe().unwrap();
    deps.parent().unwrap().parent().unwrap().join("examples")
});

fn run(example: &str, arguments: &[&str]) -> Output {
    Command::new(EXAMPLES.join(example)).args(arguments).output().unwrap()
}

fn lines(bytes: &[u8]) -> Vec<String> {
    let mut lines: Vec<_> = String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn quickstart_prints_three_handled_notifications_and_exits() {
    let output = run("quickstart", &[]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        lines(&output.stdout),
        [
            "error  i-2: no valid host: \"disk full\" (req-1)",
            "info   instance.create.end: i-1 has 4 vcpus",
            "warn   compute.host1: host1 is 93.5% full",
        ]
    );
    assert_eq!(lines(&output.stderr), [""; 0]);
}

#[test]
fn billing_bills_what_it_can_and_dead_letters_the_rest() {
    let output = run("billing", &[]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        lines(&output.stdout),
        [
            "compute.instance.delete.error was dead-lettered",
            "i-1 costs 42 cents",
            "i-2 is not billed"
        ]
    );
}

#[test]
fn the_examples_print_their_usage() {
    let tap = run("tap", &[]);
    assert_eq!(
        (tap.status.code(), lines(&tap.stderr)),
        (Some(2), vec!["usage: tap URL [TOPIC..]".to_owned()])
    );
    let notify = run("notify", &["memory://", "info"]);
    assert_eq!(
        (notify.status.code(), lines(&notify.stderr)),
        (Some(2), vec!["usage: notify URL PRIORITY EVENT_TYPE PAYLOAD [TOPIC]".to_owned()])
    );
    let wrong = run("notify", &["memory://", "info", "x", "{no json"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(lines(&wrong.stderr)[0].starts_with("PAYLOAD is not JSON: "), "{wrong:?}");
}

/// The server's response to a request for this path.
async fn answer(address: &str, path: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn server_answers_probes_and_exits_with_its_listener_at_one_signal() {
    for signal in ["-TERM", "-INT"] {
        let mut server = tokio::process::Command::new(EXAMPLES.join("server"))
            .env("LISTENER_TRANSPORT_URL", "memory://")
            .env("SERVER_ADDRESS", "127.0.0.1:0")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut printed = BufReader::new(server.stdout.take().unwrap()).lines();
        let line = printed.next_line().await.unwrap().unwrap();
        let address = line.strip_prefix("listening on http://").unwrap();
        let ready = async {
            while !answer(address, "/ready").await.starts_with("HTTP/1.1 200 ") {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), ready).await.unwrap();
        assert!(answer(address, "/live").await.starts_with("HTTP/1.1 200 "));
        assert!(answer(address, "/other").await.starts_with("HTTP/1.1 404 "));

        let pid = server.id().unwrap().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        let ended = tokio::time::timeout(Duration::from_secs(60), server.wait_with_output()).await;
        let ended = ended.unwrap().unwrap();
        let log = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(0), "{log}");
        assert!(log.contains("stopped") && !log.contains("WARN"), "{log}");
    }
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn tap_prints_what_notify_sends_without_consuming_it_from_others() {
    let node = shared().await;
    let url = node.vhost("examples").await;
    tap_and_notify(&url, &[]).await;
    assert_eq!(node.queue_depth("examples", "notifications.warn").await, Some(1));
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn tap_and_notify_accept_a_topic_on_another_exchange() {
    let url = shared().await.vhost("examples-exchange").await;
    tap_and_notify(&url, &["nova/versioned_notifications"]).await;
}

/// Runs a tap, sends one notification, and waits until it is printed.
async fn tap_and_notify(url: &str, topic: &[&str]) {
    let mut tap = tokio::process::Command::new(EXAMPLES.join("tap"))
        .arg(url)
        .args(topic)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut log = BufReader::new(tap.stderr.take().unwrap()).lines();
    let attached = async {
        while let Some(line) = log.next_line().await.unwrap() {
            if line.contains("attached") {
                return;
            }
        }
        panic!("the tap ended");
    };
    tokio::time::timeout(Duration::from_secs(60), attached).await.unwrap();

    let sent = [&[url, "warn", "host.full", r#"{"percent": 93.5}"#], topic].concat();
    let sent = run("notify", &sent);
    assert_eq!(lines(&sent.stdout), ["confirmed"], "{sent:?}");

    let mut printed = BufReader::new(tap.stdout.take().unwrap()).lines();
    let line = tokio::time::timeout(Duration::from_secs(60), printed.next_line()).await.unwrap();
    let line = line.unwrap().unwrap();
    assert!(
        line.contains("warn     listener-notify.")
            && line.ends_with(r#"host.full {"percent": 93.5}"#),
        "{line}"
    );

    let pid = tap.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let ended = tokio::time::timeout(Duration::from_secs(60), tap.wait()).await.unwrap().unwrap();
    assert_eq!(ended.code(), Some(0));
}
