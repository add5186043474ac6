//! Removes secrets from a context before it leaves the process.
//! Called by `send.rs` and `fan_out.rs`.

use std::borrow::Cow;

use crate::notification::context::Context;

/// The keys that are not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Redaction(Vec<String>);

impl Default for Redaction {
    /// The secrets that `redacted_copy` of oslo.context leaves out.
    fn default() -> Self {
        Self::of(["auth_token", "service_catalog"])
    }
}

impl Redaction {
    pub(super) fn of<K: Into<String>>(keys: impl IntoIterator<Item = K>) -> Self {
        Self(keys.into_iter().map(Into::into).collect())
    }

    /// The context without these keys; the same one if it has none of them.
    pub(super) fn apply<'c>(&self, context: &'c Context) -> Cow<'c, Context> {
        if self.0.iter().all(|key| context.get(key).is_none()) {
            return Cow::Borrowed(context);
        }
        let kept = context.iter().filter(|(key, _)| !self.0.iter().any(|secret| secret == key));
        Cow::Owned(kept.map(|(key, value)| (key, value.clone())).collect())
    }
}
