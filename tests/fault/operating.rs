//! The permissions and commands in the guide for operators: sufficient for a pool, and correct.

use support::amqp::{Amqp, oslo_properties};
use support::rabbit_node::shared;
use support::{RabbitNode, wait_until};

use crate::program::{Program, SOON};

const GUIDE: &str = include_str!("../../listener/src/guide/operating.md");

/// The three patterns of `set_permissions` in the guide.
fn patterns() -> [&'static str; 3] {
    let (_, rest) = GUIDE.split_once("rabbitmqctl set_permissions -p / billing ").unwrap();
    let quoted: Vec<_> = rest.lines().next().unwrap().split('\'').skip(1).step_by(2).collect();
    quoted.try_into().unwrap()
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn the_account_of_the_guide_is_sufficient_for_a_pool() {
    let node = shared().await;
    let admin = Amqp::connect(&node.vhost("least").await).await;
    admin.declare_exchange("nova", true).await;
    let [configure, write, read] = patterns();
    node.ctl(&["add_user", "billing", "hunter2"]).await;
    node.ctl(&["set_permissions", "-p", "least", "billing", configure, write, read]).await;
    let url = format!("amqp://billing:hunter2@127.0.0.1:{}/least", node.port());
    let mut program = Program::start(&[
        ("LISTENER_TRANSPORT_URL", &url),
        ("LISTENER_POOL", "billing"),
        ("LISTENER_TOPICS", "nova/notifications"),
    ]);
    program.logs("attached").await;
    let send = async |payload: &str| {
        let body = format!(r#"{{"priority": "INFO", "event_type": "x", "payload": {payload}}}"#);
        admin.publish("nova", "notifications.info", body, oslo_properties(&[])).await;
    };
    send("1").await;
    assert_eq!(program.line().await, "begins 1");
    assert_eq!(program.line().await, "ends 1");
    send("\"no number\"").await;
    program.logs("outcome=\"dead-lettered\"").await;
    program.signal("-TERM");
    let ended = program.ended().await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert_eq!(admin.drain("billing.dead").await.len(), 1);
    // The account itself declared and bound the queue and its side queues.
    let refused = ended.stderr.lines().find(|line| line.contains("may not"));
    assert_eq!(refused, None);
    admin.close().await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn the_commands_of_the_guide_work_verbatim() {
    let node = RabbitNode::start().await;
    node.ctl(&["add_user", "billing", "hunter2"]).await;
    let admin = Amqp::connect(&node.url()).await;
    for queue in ["notifications.info", "notifications.info.dead"] {
        admin.declare_queue(queue, true, &[]).await;
    }
    admin.publish("", "notifications.info.dead", "{}".to_owned(), oslo_properties(&[])).await;
    let blocks: Vec<_> =
        GUIDE.split("```sh\n").skip(1).map(|rest| rest.split_once("```").unwrap().0).collect();
    assert_eq!(blocks.len(), 3, "each one is run and checked below");
    for block in blocks {
        node.shell(block).await;
    }
    let permissions = node.ctl(&["list_user_permissions", "billing"]).await;
    assert!(permissions.contains("nova"), "{permissions}");
    let policies = node.ctl(&["list_policies"]).await;
    assert!(policies.contains("reject-publish"), "{policies}");
    let depth = async || node.queue_depth("/", "notifications.info").await;
    wait_until("the dead letter is put back", SOON, async || depth().await == Some(1)).await;
    admin.close().await;
}
