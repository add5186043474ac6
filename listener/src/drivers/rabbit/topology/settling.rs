//! Waits until new queues survive a crash of the broker; `known.rs` has the time. Called after
//! declarations, by `subscription.rs` and `destination.rs`.

use tokio::time::sleep;

use super::channel::{TopologyChannel, short};
use super::properties::QueueProperties;
use crate::drivers::rabbit::connection::failure::Failure;

/// Waits for a queue that any process may have declared a moment ago.
pub(super) async fn settle(topology: &TopologyChannel<'_>, queue: &str) {
    sleep(topology.known.settling(queue)).await;
}

/// As `settle`, if this process has declared the queue. Transient queues are lost with the broker
/// anyway.
pub(super) async fn settle_own(topology: &TopologyChannel<'_>, queue: &str) {
    let durable = topology.known.queue(queue).and_then(QueueProperties::durable);
    if durable != Some(false) {
        sleep(topology.known.settling_own(queue)).await;
    }
}

/// Waits before messages are routed to a quorum queue: even confirmed ones may be lost with a new queue.
/// A queue that another process has just declared has neither messages nor consumers.
pub(super) async fn settle_quorum(
    topology: &mut TopologyChannel<'_>,
    queue: &str,
) -> Result<(), Failure> {
    let is_quorum = topology.known.queue(queue).and_then(|seen| seen.quorum) == Some(true);
    let left = topology.known.settling(queue);
    if !is_quorum || left.is_zero() {
        return Ok(());
    }
    sleep(topology.known.settling_own(queue)).await;
    let name = short("the queue's name", queue)?;
    let found = topology.declare_passively(&name).await;
    if found.is_ok_and(|found| found.message_count() == 0 && found.consumer_count() == 0) {
        // Half as long as after a declaration, which was some time ago.
        sleep(topology.known.settling(queue).saturating_sub(left / 2)).await;
    }
    Ok(())
}
