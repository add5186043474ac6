//! The broker starts to deny transient queues, as RabbitMQ 4 can be configured to. Row 41 of the list.

use support::{Amqp, RabbitNode, oslo_url};
use tokio::time::Duration;

use crate::trial::{PREFETCH, QUEUE, Trial, plain, quick};

const ERRORS: &str = "notifications.error";
const DENY: &str = "deprecated_features.permit.transient_nonexcl_queues = false";

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_broker_that_denies_transient_queues_is_reported_and_waited_for() {
    let mut node = RabbitNode::start().await;
    let can_deny = node.version().await >= (4, 0);
    let fault = if can_deny { "transient queues denied" } else { "transient queues: never denied" };
    let mut trial = Trial::new(41, fault, &node).await;
    trial.options.url = quick(&oslo_url(&trial.url));
    let mut worker = trial.worker().await;
    trial.send(plain(0..100)).await;
    trial.until_all_handled(&mut worker).await;

    // The broker does not start while it has such queues, so they must not be declared again meanwhile.
    node.ctl(&["clear_permissions", "-p", &trial.vhost, "guest"]).await;
    node.ctl(&["close_all_connections", "--vhost", &trial.vhost, "a test"]).await;
    worker.ready(false).await;
    for queue in [QUEUE, ERRORS] {
        node.ctl(&["delete_queue", "-p", &trial.vhost, queue]).await;
    }
    if can_deny {
        node.configure(DENY);
    }
    node.restart().await;
    node.ctl(&["set_permissions", "-p", &trial.vhost, "guest", ".*", ".*", ".*"]).await;
    if can_deny {
        worker.logs("set amqp_durable_queues=true").await;
        assert!(!worker.is_ready(), "{}", worker.log());
        worker.is_calm(Duration::from_secs(3)).await;
        // The other services were reconfigured.
        let amqp = Amqp::connect(&trial.url).await;
        for queue in [QUEUE, ERRORS] {
            amqp.declare_queue(queue, true, &[]).await;
        }
        amqp.close().await;
    }
    trial.attached_after(worker.ready(true).await);
    trial.send(plain(100..200)).await;
    trial.until_all_handled(&mut worker).await;
    trial.finish(worker, &node, PREFETCH).await;
}
