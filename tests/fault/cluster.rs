//! A cluster of three nodes with quorum queues: followers, leaders and majorities fail and return. Rows
//! 36 and 37 of the list.

use std::time::Duration;

use listener::Priority;
use support::{RabbitNode, cluster, wait_until};
use tokio::time::sleep;

use crate::process::Worker;
use crate::program::SOON;
use crate::trial::{PREFETCH, QUEUE, Trial, WINDOW, all_sent, plain};

/// The node with the queue's leader, as an index. During an election there is none.
async fn leader(nodes: &[RabbitNode; 3], vhost: &str) -> usize {
    let mut leader = None;
    wait_until("the queue has a leader", SOON, async || {
        let list = ["list_queues", "-p", vhost, "name", "leader"];
        let queues = nodes[0].try_tool("rabbitmqctl", &list).await.unwrap_or_default();
        let of_queue = queues.lines().find_map(|line| line.strip_prefix("notifications.info\t"));
        leader = nodes.iter().position(|node| Some(node.name().as_str()) == of_queue);
        leader.is_some()
    })
    .await;
    leader.unwrap()
}

/// Repeats a command until the cluster accepts it: during an election or an earlier change it refuses.
async fn until_done(node: &RabbitNode, tool: &str, args: &[&str]) {
    wait_until(&format!("{tool} {args:?}"), SOON, async || match node.try_tool(tool, args).await {
        Ok(_) => true,
        Err(error) => {
            eprintln!("{error}");
            error.contains("already_a_member")
        }
    })
    .await;
}

/// Both nodes but the first.
const OTHERS: [usize; 2] = [1, 2];

struct Course {
    trial: Trial,
    worker: Worker,
    hosts: String,
    sent: u64,
}

impl Course {
    async fn new(row: u8, fault: &'static str, nodes: &[RabbitNode; 3]) -> Self {
        let mut trial = Trial::new(row, fault, &nodes[0]).await;
        let direct = format!("guest:guest@127.0.0.1:{}", nodes[0].port());
        let all: Vec<String> =
            nodes.iter().map(|node| format!("guest:guest@127.0.0.1:{}", node.port())).collect();
        let quorum = "rabbit_quorum_queue=true";
        let hosts = format!("{}?{quorum}", trial.url.replace(&direct, &all.join(",")));
        trial.options.url = crate::trial::quick(&hosts);
        let worker = trial.worker().await;
        Self { trial, worker, hosts, sent: 0 }
    }

    /// Sends notifications during the fault, ends it, and waits until all are handled.
    async fn through(&mut self, harm: impl AsyncFnOnce(), fix: impl AsyncFnOnce()) {
        let ids = self.sent..self.sent + 300;
        self.sent = ids.end;
        let handled = self.trial.handled().len();
        let sending = self.trial.sending_to(&self.hosts, Priority::Info, plain(ids));
        self.trial.until_handled(&mut self.worker, handled + 50).await;
        harm().await;
        sleep(Duration::from_secs(2)).await;
        fix().await;
        self.trial.attached_after(self.worker.ready(true).await);
        all_sent(sending).await;
        self.trial.until_all_handled(&mut self.worker).await;
    }

    /// Each fault may end the sessions of the worker and of the notifier; on a busy machine a silent
    /// node may end several.
    async fn finish(self, node: &RabbitNode, faults: u32) {
        let Self { trial, worker, .. } = self;
        let sessions = faults.max(worker.losses() as u32);
        trial.finish(worker, node, sessions * (2 * PREFETCH + WINDOW as u32)).await;
    }
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_cluster_whose_nodes_come_and_go_loses_nothing() {
    // The first node keeps running: the test queries it.
    let mut nodes = cluster().await;
    let fault = "cluster: follower, leader, majority, member, drain";
    let mut course = Course::new(36, fault, &nodes).await;
    let vhost = course.trial.vhost.clone();

    let at = leader(&nodes, &vhost).await;
    let follower = OTHERS.into_iter().find(|node| *node != at).unwrap();
    let node = &mut nodes[follower];
    let cell = tokio::sync::Mutex::new(node);
    course
        .through(
            async || cell.lock().await.kill().await,
            async || cell.lock().await.restart().await,
        )
        .await;

    // The leader moves to one of the others first, so that the first node keeps running.
    move_leader(&nodes, &vhost).await;
    let at = leader(&nodes, &vhost).await;
    let cell = tokio::sync::Mutex::new(&mut nodes[at]);
    course
        .through(
            async || cell.lock().await.kill().await,
            async || cell.lock().await.restart().await,
        )
        .await;

    let cell = tokio::sync::Mutex::new(&mut nodes);
    let majority_killed = async || {
        for at in OTHERS {
            cell.lock().await[at].kill().await;
        }
    };
    let majority_back = async || {
        for at in OTHERS {
            cell.lock().await[at].restart().await;
        }
    };
    course.through(majority_killed, majority_back).await;

    let third = nodes[2].name();
    let member = async |what| {
        until_done(&nodes[0], "rabbitmq-queues", &[what, "-p", &vhost, QUEUE, &third]).await;
    };
    course
        .through(async || member("delete_member").await, async || member("add_member").await)
        .await;
    let rebalance = || until_done(&nodes[0], "rabbitmq-queues", &["rebalance", "quorum"]);
    course.through(rebalance, async || {}).await;
    let drain = async |what| until_done(&nodes[1], "rabbitmq-upgrade", &[what]).await;
    course.through(async || drain("drain").await, async || drain("revive").await).await;
    course.trial.until_empty(&mut course.worker, &nodes[0]).await;
    course.finish(&nodes[0], 6).await;

    let mut course = Course::new(37, "cluster: a node suspended for 10 s", &nodes).await;
    let silent = async || {
        nodes[1].suspend().await;
        sleep(Duration::from_secs(8)).await;
    };
    course.through(silent, async || nodes[1].resume().await).await;
    course.trial.until_empty(&mut course.worker, &nodes[0]).await;
    course.finish(&nodes[0], 1).await;
}

/// Moves the leader of the queue away from the first node.
async fn move_leader(nodes: &[RabbitNode; 3], vhost: &str) {
    if leader(nodes, vhost).await != 0 {
        return;
    }
    let target = nodes[1].name();
    let script = format!(
        r#"{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"{vhost}">>, queue, <<"{QUEUE}">>)),
           rabbit_quorum_queue:transfer_leadership(Q, '{target}')"#
    );
    nodes[0].eval(&script).await;
    wait_until("the leader is elsewhere", SOON, async || leader(nodes, vhost).await != 0).await;
}
