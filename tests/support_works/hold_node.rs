//! Starts a node, prints the pids of its VM and its epmd, and holds it forever. A test runs and kills
//! this process, to check that nothing of the node survives.

use std::convert::Infallible;
use std::future::pending;

use support::RabbitNode;

#[tokio::main]
async fn main() {
    let node = RabbitNode::start().await;
    let vm = node.vm_pid().expect("the node runs");
    println!("{vm} {}", node.host().epmd_pid());
    pending::<Infallible>().await;
}
