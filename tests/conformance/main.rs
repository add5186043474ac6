//! The promises of every driver (`listener/src/transport/driver.rs`, `delivery.rs`), claim by claim:
//! each is written once over a `Broker` and tested with an in-memory bus, the model of a broker that the
//! simulation uses, and a virtual host of a private RabbitMQ node. Details of one driver are tested with
//! that driver.
#![allow(clippy::unwrap_used, reason = "tests")]

/// Makes the tests of the claims in a file: each one in memory, in the model, and with classic and
/// quorum queues of RabbitMQ. Claims after `not quorum` do not hold for quorum queues.
macro_rules! claims {
    ($($claim:ident),+ $(,)? $(; not quorum: $($other:ident),+ $(,)?)?) => {
        claims! { @classic $($claim),+ $(, $($other),+)? }

        mod quorum {
            $(
                #[tokio::test]
                #[ignore = "needs rabbitmq"]
                async fn $claim() {
                    super::$claim(&crate::broker::Broker::quorum(stringify!($claim)).await).await;
                }
            )+
        }
    };
    (@classic $($claim:ident),+) => {
        mod memory {
            $(
                #[tokio::test]
                async fn $claim() {
                    super::$claim(&crate::broker::Broker::memory(stringify!($claim))).await;
                }
            )+
        }

        mod model {
            $(
                #[tokio::test]
                async fn $claim() {
                    super::$claim(&crate::broker::Broker::model()).await;
                }
            )+
        }

        mod rabbit {
            $(
                #[tokio::test]
                #[ignore = "needs rabbitmq"]
                async fn $claim() {
                    super::$claim(&crate::broker::Broker::rabbit(stringify!($claim)).await).await;
                }
            )+
        }
    };
}

mod broker;
mod closing;
mod contents;
mod holding;
mod routing;
mod settling;
mod sharing;
