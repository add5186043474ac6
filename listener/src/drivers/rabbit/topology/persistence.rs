//! Waits until new queues survive a crash of the broker; `broker_state.rs` knows for how long. Called after
//! declarations, by `subscription.rs` and `destination.rs`.

use tokio::time::sleep;

use super::channel::{TopologyChannel, short};
use super::properties::QueueProperties;
use crate::drivers::rabbit::connection::failure::Failure;

/// Waits for a queue that any process may have declared a moment ago.
pub(super) async fn persisted(topology: &TopologyChannel<'_>, queue: &str) {
    sleep(topology.broker.until_persisted(queue)).await;
}

/// As `persisted`, but waits only if this process has declared the queue. Transient queues are lost with the
/// broker anyway.
pub(super) async fn persisted_own(topology: &TopologyChannel<'_>, queue: &str) {
    let durable = topology.broker.queue(queue).and_then(QueueProperties::durable);
    if durable != Some(false) {
        sleep(topology.broker.until_own_persisted(queue)).await;
    }
}

/// Waits before messages are routed to a quorum queue: even confirmed ones may be lost with a new queue.
/// A queue that another process has just declared has neither messages nor consumers.
pub(super) async fn persisted_quorum(
    topology: &mut TopologyChannel<'_>,
    queue: &str,
) -> Result<(), Failure> {
    let is_quorum = topology.broker.queue(queue).and_then(QueueProperties::is_quorum) == Some(true);
    let left = topology.broker.until_persisted(queue);
    if !is_quorum || left.is_zero() {
        return Ok(());
    }
    sleep(topology.broker.until_own_persisted(queue)).await;
    let name = short("the queue's name", queue)?;
    let found = topology.declare_passively(&name).await;
    if found.is_ok_and(|found| found.message_count() == 0 && found.consumer_count() == 0) {
        // Half as long as after a declaration, which was some time ago.
        sleep(topology.broker.until_persisted(queue).saturating_sub(left / 2)).await;
    }
    Ok(())
}
