//! `State<T>`: a state of the listener as an argument. `notification/states.rs` has all states;
//! `runtime/builder.rs` checks that none is missing.

use std::any::type_name;
use std::ops::Deref;
use std::sync::Arc;

use crate::extract::FromNotification;
use crate::extract::Needs;
use crate::extract::shared::Shared;
use crate::notification::Notification;
use crate::notification::states::States;

/// A state: a value that was added with `Listener::builder().state(value)`.
///
/// It is shared, not copied: `T` needs neither `Clone` nor an `Arc` around it. It derefs to the value; the
/// pattern `State(database): State<Database>` gives the `Arc<Database>`, for example to move it into a
/// task. Building a listener fails if its endpoints need a state that was not added.
#[derive(Debug)]
pub struct State<T>(pub Arc<T>);

impl<T> State<T> {
    /// A state for a test that calls a method directly.
    ///
    /// ```
    /// use listener::{State, notification_endpoint};
    ///
    /// struct Billing;
    ///
    /// #[notification_endpoint(register = false)]
    /// impl Billing {
    ///     async fn info(&self, payload: u32, State(limit): State<u32>) -> Result<(), String> {
    ///         if payload > *limit { Err("too much".to_owned()) } else { Ok(()) }
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// assert!(Billing.info(7, State::new(5)).await.is_err());
    /// # }
    /// ```
    #[must_use]
    pub fn new(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<T> Clone for State<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for State<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// The listener has no state of this type.
///
/// Only an extractor that does not forward `requires` can get this error: the builder checks all others.
#[derive(thiserror::Error)]
#[error(
    "the listener has no state of type `{0}`; give it one with `Listener::builder().state(..)`"
)]
pub struct MissingState(&'static str);

impl<T: Shared> State<T> {
    /// Gets the state from all states.
    pub(crate) fn from_given(states: &States) -> Result<Self, MissingState> {
        states.get().map(State).ok_or(MissingState(type_name::<T>()))
    }
}

impl<'n, T: Shared> FromNotification<'n> for State<T> {
    type Error = MissingState;

    fn from_notification(notification: &'n Notification<'n>) -> Result<Self, MissingState> {
        Self::from_given(notification.states())
    }

    fn requires(needs: &mut Needs) {
        needs.state::<T>();
    }
}

debug_is_the_message!(MissingState);
