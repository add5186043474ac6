//! For whoever runs a listener: the account, policies, dead letters, Kubernetes, versions of RabbitMQ,
//! order.

#![doc = include_str!("operating.md")]
