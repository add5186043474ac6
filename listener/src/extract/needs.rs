//! What the arguments of a method need of the listener; filled by `FromNotification::requires`
//! and checked by the builder, so that a missing state is found before anything runs.

use std::any::{TypeId, type_name};

/// A type of state that some argument needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// Which type.
    pub id: TypeId,
    /// Its name, for the error.
    pub name: &'static str,
}

/// What the arguments of a method need.
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
    #[must_use]
    pub fn all(&self) -> &[Need] {
        &self.0
    }
}
