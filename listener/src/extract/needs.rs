//! What the arguments of a method need of the listener; filled by `FromNotification::requires`
//! and checked by the builder, so that a missing state is found before anything runs.

use std::any::{TypeId, type_name};

/// A type of state that some argument needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Need {
    /// Which type.
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
    /// A state of type `T` must have been given to the listener.
    pub fn state<T: 'static>(&mut self) {
        let need = Need { id: TypeId::of::<T>(), name: type_name::<T>() };
        if !self.0.contains(&need) {
            self.0.push(need);
        }
    }

    /// All that was asked for.
    pub(crate) fn all(&self) -> &[Need] {
        &self.0
    }
}
