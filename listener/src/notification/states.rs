//! The states of a listener: values of the program (`Listener::builder().state(db)`), one of each type.
//! `extract/state.rs` makes them arguments of endpoint methods.

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// The states of a listener, one value of each type. `Listener::builder().state(..)` adds them; a program
/// needs `States` only to test an extractor with [`Notification::new`](crate::Notification::new).
#[derive(Clone, Default)]
pub struct States(Arc<HashMap<TypeId, Value>>);

type Value = (&'static str, Arc<dyn Any + Send + Sync>);

impl States {
    /// Adds `value`. Returns the former value of the same type, if there was one.
    pub fn insert<T: Send + Sync + 'static>(&mut self, value: T) -> Option<Arc<T>> {
        let value: Value = (type_name::<T>(), Arc::new(value));
        let (_, former) = Arc::make_mut(&mut self.0).insert(TypeId::of::<T>(), value)?;
        former.downcast().ok()
    }

    /// The value of type `T`, if there is one.
    #[must_use]
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let (_, value) = self.0.get(&TypeId::of::<T>())?;
        Arc::clone(value).downcast().ok()
    }

    /// The names of the types, sorted.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        let mut names: Vec<_> = self.0.values().map(|(name, _)| *name).collect();
        names.sort_unstable();
        names.into_iter()
    }

    /// Whether a value of this type was given.
    pub(crate) fn has(&self, id: TypeId) -> bool {
        self.0.contains_key(&id)
    }
}

/// Shows the types, never the values.
impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.values().map(|(name, _)| name)).finish()
    }
}
