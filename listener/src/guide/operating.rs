//! For operators: the user and its permissions, policies, dead letters, Kubernetes, versions of RabbitMQ,
//! existing queues, order.

#![doc = include_str!("operating.md")]
