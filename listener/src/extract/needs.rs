//! The states that the arguments of a method need. `FromNotification::requires` adds them, and the builder
//! checks them, so that a missing state is found before anything runs.

use std::any::{TypeId, type_name};

/// A type of state that an argument needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Need {
    /// The type.
    pub(crate) id: TypeId,
    /// Its name, for the error.
    pub(crate) name: &'static str,
}

/// What the arguments of a method need. An extractor that takes others apart forwards their
/// [`requires`](crate::FromNotification::requires); one that reads a state by itself names its type:
///
/// ```
/// use listener::extract::{MissingState, Needs};
/// use listener::{FromNotification, Notification, State};
///
/// struct Limit(u32);
///
/// impl<'n> FromNotification<'n> for Limit {
///     type Error = MissingState;
///
///     fn from_notification(notification: &'n Notification<'n>) -> Result<Self, MissingState> {
///         State::<u32>::from_notification(notification).map(|limit| Limit(*limit))
///     }
///
///     fn requires(needs: &mut Needs) {
///         needs.state::<u32>();
///     }
/// }
/// ```
#[derive(Debug, Default)]
pub struct Needs(Vec<Need>);

impl Needs {
    /// Adds a state of type `T`.
    pub fn state<T: 'static>(&mut self) {
        let need = Need { id: TypeId::of::<T>(), name: type_name::<T>() };
        if !self.0.contains(&need) {
            self.0.push(need);
        }
    }

    /// All that were added.
    pub(crate) fn all(&self) -> &[Need] {
        &self.0
    }
}
