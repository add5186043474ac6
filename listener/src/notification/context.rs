//! The context of a notification: the sender's description of the request that caused it, such as user,
//! project and request id. `envelope` handles the prefix `_context_` that the keys have on the wire.
//! Filters match on it, and endpoint methods receive it.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The context: keys without their wire prefix, each with any JSON value.
///
/// Contexts carry tokens, so `Debug` shows the keys and never a value.
///
/// ```
/// use listener::Context;
///
/// let context = Context::new().with("user_id", "u1").with("is_admin", true);
/// assert_eq!(context.get_str("user_id"), Some("u1"));
/// assert_eq!(format!("{context:?}"), r#"Context["is_admin", "user_id"]"#);
/// ```
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Context(Map<String, Value>);

impl Context {
    /// An empty context.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// The value of a key if it is a string.
    #[must_use]
    pub fn get_str(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }

    /// Sets a key and returns its former value.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<Value>) -> Option<Value> {
        self.0.insert(key.into(), value.into())
    }

    /// The same context with one key set, to build one in an expression.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.insert(key, value);
        self
    }

    /// Keys and values, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.into_iter()
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no key at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Context")?;
        f.debug_list().entries(self.0.keys()).finish()
    }
}

impl From<Map<String, Value>> for Context {
    fn from(map: Map<String, Value>) -> Self {
        Self(map)
    }
}

impl<K: Into<String>, V: Into<Value>> FromIterator<(K, V)> for Context {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(items: I) -> Self {
        Self(items.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}

impl IntoIterator for Context {
    type Item = (String, Value);
    type IntoIter = serde_json::map::IntoIter;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'c> IntoIterator for &'c Context {
    type Item = (&'c str, &'c Value);
    type IntoIter = std::iter::Map<
        serde_json::map::Iter<'c>,
        fn((&'c String, &'c Value)) -> (&'c str, &'c Value),
    >;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample() -> Context {
        Context::new()
            .with("user_id", "u1")
            .with("auth_token", "secret")
            .with("roles", json!(["a"]))
    }

    #[test]
    fn a_key_gives_its_value() {
        assert_eq!(sample().get("roles"), Some(&json!(["a"])));
    }

    #[test]
    fn a_missing_key_gives_nothing() {
        assert_eq!(sample().get("project_id"), None);
    }

    #[test]
    fn only_a_string_is_given_as_a_string() {
        let context = sample();
        assert_eq!((context.get_str("user_id"), context.get_str("roles")), (Some("u1"), None));
    }

    #[test]
    fn insert_returns_the_former_value() {
        let mut context = sample();
        assert_eq!(context.insert("user_id", "u2"), Some(json!("u1")));
        assert_eq!(context, sample().with("user_id", "u2"));
    }

    #[test]
    fn debug_shows_keys_and_no_values() {
        assert_eq!(format!("{:?}", sample()), r#"Context["auth_token", "roles", "user_id"]"#);
    }

    #[test]
    fn serde_reads_and_writes_a_context_as_an_object() {
        let text = serde_json::to_string(&sample()).unwrap();
        assert_eq!(text, r#"{"auth_token":"secret","roles":["a"],"user_id":"u1"}"#);
        assert_eq!(serde_json::from_str::<Context>(&text).unwrap(), sample());
    }

    #[test]
    fn a_context_is_collected_from_pairs() {
        assert_eq!(
            Context::from_iter([("user_id", "u1"), ("project_id", "p1")]),
            Context::new().with("user_id", "u1").with("project_id", "p1")
        );
    }

    #[test]
    fn a_context_is_iterated_as_pairs() {
        let context = Context::new().with("a", 1).with("b", 2);
        assert_eq!(context.iter().collect::<Vec<_>>(), [("a", &json!(1)), ("b", &json!(2))]);
        assert_eq!((&context).into_iter().count(), context.len());
        assert_eq!(
            context.into_iter().collect::<Vec<_>>(),
            [("a".to_owned(), json!(1)), ("b".to_owned(), json!(2))]
        );
    }

    #[test]
    fn a_context_is_made_from_a_map() {
        let map = Map::from_iter([("user_id".to_owned(), json!("u1"))]);
        assert_eq!(Context::from(map), Context::new().with("user_id", "u1"));
    }

    #[test]
    fn a_new_context_is_empty() {
        assert_eq!((Context::new().is_empty(), Context::new().len()), (true, 0));
    }
}
