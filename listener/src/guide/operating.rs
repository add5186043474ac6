//! For operators: the account, policies, dead letters, Kubernetes, versions of RabbitMQ, existing queues,
//! order.

#![doc = include_str!("operating.md")]
