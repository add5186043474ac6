//! The notification of the benchmark: nova's `compute.instance.update`, with 39 fields of payload, of
//! which a consumer reads 13. It is written and read as a program without this framework would: with
//! serde_json, by hand.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use serde_json::ser::{Formatter, Serializer};
use serde_json::{Value, json};

use crate::Error;

pub(crate) const EVENT_TYPE: &str = "compute.instance.update";
pub(crate) const PUBLISHER_ID: &str = "compute.compute-017.example.org";

const VERSION: &str = "2.0";
const TENANT: &str = "33a88272e06a49c1a0f653abc374b56b";
const USER: &str = "953f8394fa044302b7d42f47228e427d";
const IMAGE: &str = "e52f1321-fb9e-40fb-8057-555a850462e8";

/// The part that a consumer reads.
#[derive(Deserialize)]
#[allow(dead_code, reason = "the fields are there to be decoded")]
pub(crate) struct Instance {
    pub(crate) instance_id: String,
    pub(crate) tenant_id: String,
    pub(crate) user_id: String,
    pub(crate) display_name: String,
    pub(crate) host: Option<String>,
    pub(crate) instance_type: String,
    pub(crate) state: String,
    pub(crate) old_state: Option<String>,
    pub(crate) memory_mb: u64,
    pub(crate) disk_gb: u64,
    pub(crate) vcpus: u64,
    pub(crate) created_at: String,
    pub(crate) launched_at: String,
}

#[derive(Deserialize)]
struct EnvelopeRead<'b> {
    #[serde(rename = "oslo.version")]
    version: &'b str,
    // Its quotes are escaped, so it cannot be borrowed.
    #[serde(rename = "oslo.message")]
    message: String,
}

#[derive(Deserialize)]
struct MessageRead {
    priority: String,
    payload: Instance,
}

/// The instance in a body.
pub(crate) fn decode(body: &[u8]) -> Result<Instance, Error> {
    let envelope: EnvelopeRead = serde_json::from_slice(body)?;
    if envelope.version != VERSION {
        return Err(format!("version {:?}", envelope.version).into());
    }
    decode_message(&envelope.message)
}

/// The instance in the inner message of an envelope.
pub(crate) fn decode_message(message: &str) -> Result<Instance, Error> {
    let message: MessageRead = serde_json::from_str(message)?;
    if message.priority != "INFO" {
        return Err(format!("priority {:?}", message.priority).into());
    }
    Ok(message.payload)
}

#[derive(Serialize)]
pub(crate) struct Payload {
    tenant_id: &'static str,
    user_id: &'static str,
    instance_id: String,
    display_name: String,
    reservation_id: &'static str,
    hostname: String,
    instance_type: &'static str,
    instance_type_id: u64,
    instance_flavor_id: &'static str,
    architecture: Option<&'static str>,
    memory_mb: u64,
    disk_gb: u64,
    vcpus: u64,
    root_gb: u64,
    ephemeral_gb: u64,
    host: &'static str,
    node: &'static str,
    availability_zone: &'static str,
    cell_name: &'static str,
    created_at: &'static str,
    terminated_at: &'static str,
    deleted_at: &'static str,
    launched_at: &'static str,
    image_ref_url: &'static str,
    image_name: &'static str,
    os_type: Option<&'static str>,
    kernel_id: &'static str,
    ramdisk_id: &'static str,
    image_meta: Value,
    state: &'static str,
    state_description: &'static str,
    old_state: &'static str,
    old_task_state: Option<&'static str>,
    new_task_state: Option<&'static str>,
    progress: &'static str,
    access_ip_v4: Option<&'static str>,
    access_ip_v6: Option<&'static str>,
    metadata: Value,
    audit_period_beginning: &'static str,
}

#[derive(Serialize)]
struct EnvelopeWritten<'m> {
    #[serde(rename = "oslo.version")]
    version: &'m str,
    #[serde(rename = "oslo.message")]
    message: &'m str,
}

/// A message: the context is in `_context_*` keys next to the fields.
#[derive(Serialize)]
struct MessageWritten<'m> {
    #[serde(flatten)]
    context: &'m serde_json::Map<String, Value>,
    message_id: String,
    publisher_id: &'m str,
    event_type: &'m str,
    priority: &'m str,
    payload: &'m Payload,
    timestamp: &'m str,
    #[serde(rename = "_unique_id")]
    unique_id: String,
}

/// Writes bodies.
pub(crate) struct Writer {
    context: serde_json::Map<String, Value>,
    spaced: bool,
}

impl Writer {
    /// As serde_json writes them.
    pub(crate) fn new() -> Self {
        let context = context().into_iter().map(|(key, value)| (format!("_context_{key}"), value));
        Self { context: context.collect(), spaced: false }
    }

    /// As oslo.messaging does: Python's JSON has a space after each comma and colon.
    pub(crate) fn as_oslo() -> Self {
        Self { spaced: true, ..Self::new() }
    }

    pub(crate) fn body(&self, index: u64) -> Result<Vec<u8>, Error> {
        let message = MessageWritten {
            context: &self.context,
            message_id: uuid::Uuid::new_v4().to_string(),
            publisher_id: PUBLISHER_ID,
            event_type: EVENT_TYPE,
            priority: "INFO",
            payload: &payload(index),
            timestamp: "2026-03-21 17:54:30.227605",
            unique_id: uuid::Uuid::new_v4().simple().to_string(),
        };
        let message = String::from_utf8(self.json(&message)?)?;
        self.json(&EnvelopeWritten { version: VERSION, message: &message })
    }

    fn json(&self, value: &impl Serialize) -> Result<Vec<u8>, Error> {
        if !self.spaced {
            return Ok(serde_json::to_vec(value)?);
        }
        let mut json = Vec::new();
        value.serialize(&mut Serializer::with_formatter(&mut json, Spaced))?;
        Ok(json)
    }
}

/// JSON as Python writes it.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: Write + ?Sized>(&mut self, to: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { to.write_all(b", ") }
    }

    fn begin_object_key<W: Write + ?Sized>(&mut self, to: &mut W, first: bool) -> io::Result<()> {
        self.begin_array_value(to, first)
    }

    fn begin_object_value<W: Write + ?Sized>(&mut self, to: &mut W) -> io::Result<()> {
        to.write_all(b": ")
    }
}

/// A body of this size and a little more, with this number in its payload.
pub(crate) fn large(number: u64, bytes: usize) -> Result<Vec<u8>, Error> {
    let message = json!({
        "message_id": uuid::Uuid::new_v4().to_string(),
        "publisher_id": PUBLISHER_ID,
        "event_type": EVENT_TYPE,
        "priority": "INFO",
        "payload": {"number": number, "rest": "x".repeat(bytes)},
        "timestamp": "2026-03-21 17:54:30.227605",
    });
    let envelope = EnvelopeWritten { version: VERSION, message: &message.to_string() };
    Ok(serde_json::to_vec(&envelope)?)
}

/// The number in the message with this index, which consumers add up.
pub(crate) fn number(index: u64) -> u64 {
    1 + index % 64
}

/// The context of nova's notifications.
pub(crate) fn context() -> Vec<(&'static str, Value)> {
    vec![
        ("request_id", json!("req-5bef6a23-2e14-4b3f-9eb1-1be293b75fb7")),
        ("user_id", json!(USER)),
        ("project_id", json!(TENANT)),
        ("user_name", json!("ada")),
        ("project_name", json!("engines")),
        ("roles", json!(["member", "admin"])),
        ("is_admin", json!(true)),
        ("read_deleted", json!("no")),
        ("remote_address", json!("192.0.2.1")),
        ("timestamp", json!("2026-03-21T17:54:27.320555")),
    ]
}

pub(crate) fn payload(index: u64) -> Payload {
    Payload {
        tenant_id: TENANT,
        user_id: USER,
        instance_id: format!("3e301a55-fbbe-478d-92d0-{index:012x}"),
        display_name: format!("worker-{index}"),
        reservation_id: "r-1ekblkfw",
        hostname: format!("worker-{index}"),
        instance_type: "m1.small",
        instance_type_id: 2,
        instance_flavor_id: "2",
        architecture: None,
        memory_mb: 2048,
        disk_gb: 20,
        vcpus: number(index),
        root_gb: 20,
        ephemeral_gb: 0,
        host: "compute-017",
        node: "compute-017.example.org",
        availability_zone: "zone-2",
        cell_name: "",
        created_at: "2026-03-21T17:54:27.000000",
        terminated_at: "",
        deleted_at: "",
        launched_at: "2026-03-21T17:54:29.000000",
        image_ref_url: "http://192.0.2.98:9292/images/e52f1321-fb9e-40fb-8057-555a850462e8",
        image_name: "ubuntu-24.04",
        os_type: Some("linux"),
        kernel_id: "",
        ramdisk_id: "",
        image_meta: json!({
            "base_image_ref": IMAGE, "min_disk": "20", "min_ram": "0", "disk_format": "qcow2",
            "container_format": "bare", "os_distro": "ubuntu",
        }),
        state: "active",
        state_description: "",
        old_state: "building",
        old_task_state: Some("spawning"),
        new_task_state: None,
        progress: "",
        access_ip_v4: None,
        access_ip_v6: None,
        metadata: json!({"role": "worker", "team": "engines"}),
        audit_period_beginning: "2026-03-21T17:00:00.000000",
    }
}
