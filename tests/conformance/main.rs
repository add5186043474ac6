//! What every driver promises (`listener/src/transport/driver.rs`, `delivery.rs`), claim by
//! claim: each is written once over a `Broker` and held against a bus in memory, the model of
//! a broker that simulations let fail, and a vhost of a private RabbitMQ node. What is particular
//! to one driver is tested beside it.
#![allow(clippy::unwrap_used, reason = "tests")]

/// Makes the tests of the claims in a file: of each one in memory, one in the model, and two with
/// RabbitMQ, whose queues are classic or quorum queues. The claims behind `not quorum` do not hold
/// there.
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
mod contents;
mod ending;
mod holding;
mod routing;
mod settling;
mod sharing;
