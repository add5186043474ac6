//! `State<T>`: a value that the program gave to its listener. The values themselves are kept
//! in `notification/states.rs`; that none is missing is checked by `runtime/builder.rs`.

use std::any::type_name;
use std::ops::Deref;
use std::sync::Arc;

use crate::extract::FromNotification;
use crate::extract::Needs;
use crate::extract::shared::Shared;
use crate::notification::Notification;
use crate::notification::states::States;

/// A value that the program gave to its listener with `Listener::builder().state(value)`.
///
/// It is shared, not copied: `T` needs no `Clone`, and no `Arc` around it. It derefs to the value;
/// the argument `State(database): State<Database>` takes it apart into the `Arc<Database>`, to be
/// moved into a task for example. A listener whose endpoints ask for a state that was not given
/// does not build.
#[derive(Debug)]
pub struct State<T>(pub Arc<T>);

impl<T> State<T> {
    /// A state as a method is given it, for a test that calls the method by hand.
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

/// The listener was not given a state of this type.
///
/// Only an extractor that does not forward `requires` can meet it: the builder has checked
/// all others.
#[derive(thiserror::Error)]
#[error(
    "the listener has no state of type `{0}`; give it one with `Listener::builder().state(..)`"
)]
pub struct MissingState(&'static str);

impl<T: Shared> State<T> {
    /// The state out of all that were given.
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
