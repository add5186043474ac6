//! What keeps a notification from being sent.

use std::fmt;

use crate::envelope::EncodeError;
use crate::outcome::BoxError;
use crate::transport::error::SendError;

/// A notifier cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotifierBuildError {
    /// A topic without a name.
    #[error("a topic of the notifier is empty; expected a name such as \"notifications\"")]
    EmptyTopic,
}

/// A notification was not sent, or it is not known whether it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotifyError {
    /// It cannot be written; nothing was sent.
    #[error("the notification cannot be written: {0}")]
    Encode(#[from] EncodeError),
    /// The serializer refused it; nothing was sent.
    #[error("the serializer refused the notification: {0}")]
    Serializer(#[source] BoxError),
    /// Some topics did not confirm it; those that are not named have it.
    #[error("the notification was not confirmed: {0}")]
    Send(Unsent),
}

/// The topics that did not confirm a notification, each with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsent(pub(super) Vec<(String, SendError)>);

impl Unsent {
    /// Each topic with its reason.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &SendError)> {
        self.0.iter().map(|(topic, error)| (topic.as_str(), error))
    }
}

impl fmt::Display for Unsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (topic, error)) in self.iter().enumerate() {
            let divider = if index == 0 { "" } else { "; " };
            write!(f, "{divider}topic {topic:?}: {error}")?;
        }
        Ok(())
    }
}
