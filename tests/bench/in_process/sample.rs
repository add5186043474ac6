//! Shared by the benchmarks of this folder: one body as the notifier of oslo.messaging writes it, and
//! the types of a program that reads a third of its payload, borrowed.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// Version 2: 39 fields of payload, 6 of context.
pub(crate) const BODY: &[u8] = include_bytes!("body.json");

/// 13 fields of the 39.
#[derive(Deserialize, Serialize)]
pub(crate) struct Server<'n> {
    pub(crate) tenant_id: &'n str,
    pub(crate) user_id: &'n str,
    pub(crate) instance_id: &'n str,
    #[serde(borrow)]
    pub(crate) display_name: Cow<'n, str>,
    pub(crate) hostname: &'n str,
    pub(crate) instance_type: &'n str,
    pub(crate) memory_mb: u64,
    pub(crate) disk_gb: u64,
    pub(crate) vcpus: u32,
    pub(crate) host: &'n str,
    pub(crate) availability_zone: &'n str,
    pub(crate) created_at: &'n str,
    pub(crate) state: &'n str,
}

/// The envelope, written by hand.
#[derive(Deserialize, Serialize)]
pub(crate) struct Envelope<'b> {
    #[serde(rename = "oslo.version")]
    pub(crate) version: &'b str,
    #[serde(borrow, rename = "oslo.message")]
    pub(crate) message: Cow<'b, str>,
}

/// A notification whose payload is read directly into a type, written by hand.
#[derive(Deserialize, Serialize)]
pub(crate) struct ByHand<'n, P> {
    pub(crate) message_id: &'n str,
    pub(crate) publisher_id: &'n str,
    pub(crate) event_type: &'n str,
    pub(crate) priority: &'n str,
    pub(crate) payload: P,
    pub(crate) timestamp: &'n str,
    #[serde(rename = "_unique_id")]
    pub(crate) unique_id: &'n str,
    #[serde(rename = "_context_user_id")]
    pub(crate) user_id: &'n str,
    #[serde(rename = "_context_project_id")]
    pub(crate) project_id: &'n str,
    #[serde(rename = "_context_request_id")]
    pub(crate) request_id: &'n str,
}

impl<'b> Envelope<'b> {
    pub(crate) fn read(body: &'b [u8]) -> Self {
        let envelope: Self = serde_json::from_slice(body).expect("the body is an envelope");
        assert_eq!(envelope.version, "2.0");
        envelope
    }
}
