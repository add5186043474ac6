//! `Versioned<T>`: OpenStack's versioned notifications. Their payload is an object with name, namespace,
//! version and data, and the data contains further such objects. The version is checked and the data
//! unwrapped before `T` is deserialized.

use std::ops::Deref;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::extract::argument::PayloadArgument;
use crate::extract::form::Unwrapped;
use crate::notification::{Notification, PartError};

/// A payload type for a versioned object.
///
/// ```
/// use listener::VersionedPayload;
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct InstanceCreate {
///     uuid: String,
///     flavor: Flavor,
/// }
///
/// #[derive(Deserialize)]
/// struct Flavor {
///     vcpus: u32,
/// }
///
/// impl VersionedPayload for InstanceCreate {
///     const NAME: &'static str = "InstanceCreatePayload";
///     const VERSION: (u32, u32) = (1, 10);
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the payload of a versioned object",
    label = "does not implement `VersionedPayload`",
    note = "implement `listener::VersionedPayload` for the type: the object's `NAME`, and the oldest `VERSION` that it supports"
)]
pub trait VersionedPayload: DeserializeOwned {
    /// The object's name, such as `InstanceCreatePayload`.
    const NAME: &'static str;
    /// The oldest version that this type supports: major and minor. A later minor version only adds fields
    /// and is accepted; another major version is not.
    const VERSION: (u32, u32);
}

/// The payload of a versioned notification: `T` is its data, with nested objects unwrapped.
///
/// The objects of any service are supported: `nova_object.name`, `watcher_object.name` and so on. An object
/// with another name, another major version or an older minor version is an error: its notification is
/// dead-lettered with the reason `version`, unless the method takes `Result<Versioned<T>, PartError>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned<T> {
    /// The namespace of the service, such as `nova`; empty if it is missing.
    pub namespace: String,
    /// The version that was sent: major and minor.
    pub version: (u32, u32),
    /// The data.
    pub data: T,
}

impl<T> Deref for Versioned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.data
    }
}

impl<'n, T: VersionedPayload> PayloadArgument<'n, Unwrapped> for Versioned<T> {
    fn take(_: Unwrapped, notification: &'n Notification<'n>) -> Result<Self, PartError> {
        read(notification.payload()?)
    }
}

/// The parts of a versioned object.
struct Object {
    name: Value,
    namespace: Value,
    version: Value,
    data: Value,
}

fn read<T: VersionedPayload>(payload: Value) -> Result<Versioned<T>, PartError> {
    let kind = kind(&payload);
    let Ok(object) = Object::of(payload) else {
        let message = format!(
            "expected a versioned object {:?} (`nova_object.name` and `nova_object.data`, or another service's), found {kind}",
            T::NAME
        );
        return Err(PartError::new("payload", message));
    };
    let name = object.name.as_str().unwrap_or_default();
    if name != T::NAME {
        let message = format!("expected the object {:?}, found {name:?}", T::NAME);
        return Err(PartError::version("payload", message));
    }
    let (major, minor) = T::VERSION;
    let Some(version) = object.version.as_str().and_then(version) else {
        let message = format!("expected version {major}.{minor} of {name}, found none");
        return Err(PartError::version("payload", message));
    };
    if version.0 != major || version.1 < minor {
        let message = format!(
            "expected version {major}.{minor} of {name}, or a later {major}.x, found {}.{}",
            version.0, version.1
        );
        return Err(PartError::version("payload", message));
    }
    let data = serde_path_to_error::deserialize(unwrapped(object.data))
        .map_err(|error| PartError::at("payload", &error))?;
    let namespace = object.namespace.as_str().unwrap_or_default().to_owned();
    Ok(Versioned { namespace, version, data })
}

impl Object {
    /// Unwraps an object; returns any other value unchanged as the error.
    fn of(value: Value) -> Result<Self, Value> {
        let Value::Object(mut map) = value else { return Err(value) };
        let prefix = map
            .keys()
            .find_map(|key| key.strip_suffix("_object.data"))
            .filter(|prefix| map.contains_key(&format!("{prefix}_object.name")))
            .map(str::to_owned);
        let Some(prefix) = prefix else { return Err(Value::Object(map)) };
        let mut part = |part| map.remove(&format!("{prefix}_object.{part}")).unwrap_or_default();
        Ok(Self {
            name: part("name"),
            namespace: part("namespace"),
            version: part("version"),
            data: part("data"),
        })
    }
}

/// Replaces every object, at any depth, by its data. The depth is limited: `serde_json` reads 128 levels at
/// most.
fn unwrapped(value: Value) -> Value {
    match Object::of(value) {
        Ok(object) => unwrapped(object.data),
        Err(Value::Object(map)) => {
            Value::Object(map.into_iter().map(|(key, value)| (key, unwrapped(value))).collect())
        }
        Err(Value::Array(items)) => Value::Array(items.into_iter().map(unwrapped).collect()),
        Err(other) => other,
    }
}

fn version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The kind of a value, without the value.
const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "another object",
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Instance {
        uuid: String,
        flavor: Flavor,
        ports: Vec<Port>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Flavor {
        vcpus: u32,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Port {
        id: u32,
    }

    impl VersionedPayload for Instance {
        const NAME: &'static str = "InstancePayload";
        const VERSION: (u32, u32) = (1, 3);
    }

    fn payload(name: &str, version: &str) -> Value {
        json!({
            "nova_object.data": {
                "uuid": "i-1",
                "flavor": {
                    "nova_object.name": "FlavorPayload",
                    "nova_object.version": "7.0",
                    "nova_object.namespace": "nova",
                    "nova_object.data": {"vcpus": 4, "more": null}
                },
                "ports": [{"nova_object.name": "Port", "nova_object.data": {"id": 1}}, {"id": 2}]
            },
            "nova_object.name": name,
            "nova_object.namespace": "nova",
            "nova_object.version": version
        })
    }

    fn check(payload: Value, expected: &str) {
        let error = read::<Instance>(payload).expect_err("it does not fit");
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn the_data_is_unwrapped_at_every_depth() {
        let instance = Instance {
            uuid: "i-1".to_owned(),
            flavor: Flavor { vcpus: 4 },
            ports: vec![Port { id: 1 }, Port { id: 2 }],
        };
        let expected = Versioned { namespace: "nova".to_owned(), version: (1, 12), data: instance };
        assert_eq!(read(payload("InstancePayload", "1.12")), Ok(expected));
    }

    #[test]
    fn the_error_for_another_version_has_both_versions() {
        check(
            payload("InstancePayload", "2.0"),
            "payload: expected version 1.3 of InstancePayload, or a later 1.x, found 2.0",
        );
        check(
            payload("InstancePayload", "1.2"),
            "payload: expected version 1.3 of InstancePayload, or a later 1.x, found 1.2",
        );
        check(
            payload("InstancePayload", "x"),
            "payload: expected version 1.3 of InstancePayload, found none",
        );
    }

    #[test]
    fn the_error_for_another_object_has_its_name() {
        check(
            payload("FlavorPayload", "1.3"),
            "payload: expected the object \"InstancePayload\", found \"FlavorPayload\"",
        );
    }

    #[test]
    fn the_error_for_another_value_has_its_kind() {
        let expected = |kind| {
            format!(
                "payload: expected a versioned object \"InstancePayload\" (`nova_object.name` and `nova_object.data`, or another service's), found {kind}"
            )
        };
        check(json!({"uuid": "secret"}), &expected("another object"));
        check(json!("secret"), &expected("a string"));
    }

    #[test]
    fn the_error_for_data_that_does_not_fit_has_its_path() {
        let mut wrong = payload("InstancePayload", "1.3");
        wrong["nova_object.data"]["flavor"]["nova_object.data"]["vcpus"] = json!("secret");
        check(wrong, "payload.flavor.vcpus: invalid type: a string, expected u32");
    }
}
