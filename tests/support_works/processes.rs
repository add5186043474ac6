//! No process and no file is left behind, whether a node is dropped or its process is killed.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use support::{RabbitNode, wait_until};

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_dropped_node_leaves_no_process_and_no_file() {
    let mut node = RabbitNode::start().await;
    // The pid changes with a restart; the new process has to end, too.
    node.kill().await;
    node.restart().await;
    let vm = node.vm_pid().unwrap();
    let epmd = node.host().epmd_pid();
    let folder = folder_of(std::process::id(), vm);
    assert!(runs(vm) && runs(epmd) && Path::new(&folder).exists());

    drop(node);
    assert!(!runs(vm), "the VM still runs");
    assert!(!runs(epmd), "epmd still runs");
    assert!(!Path::new(&folder).exists(), "{folder} is still there");
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_killed_process_ends_its_suspended_node() {
    let mut holder = Command::new(env!("CARGO_BIN_EXE_hold_node"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pids = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut pids).unwrap();
    let pids: Vec<u32> = pids.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    let [vm, epmd] = pids[..] else { panic!("two pids, not {pids:?}") };
    let folder = folder_of(holder.id(), vm);
    Command::new("kill").args(["-s", "STOP", &vm.to_string()]).status().unwrap();
    assert!(runs(vm) && runs(epmd));

    holder.kill().unwrap();
    holder.wait().unwrap();
    wait_until("the node ends with its process", Duration::from_secs(20), async || {
        let gone = format!("{folder}.gone");
        !runs(vm) && !runs(epmd) && !Path::new(&folder).exists() && !Path::new(&gone).exists()
    })
    .await;
}

/// Whether a process with this pid runs; one that waits to be reaped does not.
fn runs(pid: u32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in parentheses may contain anything; the state follows it.
    state.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// The host's folder, read from the environment of the VM: its home.
fn folder_of(owner: u32, vm: u32) -> String {
    let environment = std::fs::read(format!("/proc/{vm}/environ")).unwrap();
    let mut variables = environment.split(|byte| *byte == 0);
    let home = variables.find_map(|variable| variable.strip_prefix(b"HOME=")).unwrap();
    let host = String::from_utf8(home.to_vec()).unwrap();
    assert!(host.contains(&format!("listener-rabbit-{owner}-")), "{host}");
    host
}
