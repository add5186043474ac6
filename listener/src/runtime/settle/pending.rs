//! Which methods a notification is still pending for: those that want it and have not handled it. A
//! copy carries them in its headers (`copy_headers.rs`).

/// The methods that a notification is pending for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Pending {
    /// Every method that wants it.
    #[default]
    All,
    /// Of those, only the ones with these names.
    Only(Names),
}

/// Names of methods; never empty, because only `Pending::of` makes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names(Vec<String>);

impl Pending {
    /// The methods with these names; without names, all.
    pub(crate) fn of(names: Vec<String>) -> Self {
        if names.is_empty() { Self::All } else { Self::Only(Names(names)) }
    }

    pub(crate) fn includes(&self, method: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(Names(names)) => names.iter().any(|name| name == method),
        }
    }

    /// The names; none if it is pending for all.
    pub(crate) fn names(&self) -> &[String] {
        match self {
            Self::All => &[],
            Self::Only(Names(names)) => names,
        }
    }

    /// The methods of all of these, each once and sorted.
    pub(crate) fn union<'p>(all: impl IntoIterator<Item = &'p Self>) -> Self {
        let mut union = Vec::new();
        for pending in all {
            match pending {
                Self::All => return Self::All,
                Self::Only(Names(names)) => union.extend(names.iter().cloned()),
            }
        }
        union.sort_unstable();
        union.dedup();
        Self::of(union)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(names: &[&str]) -> Pending {
        Pending::of(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn without_names_it_is_pending_for_all() {
        assert_eq!(Pending::of(Vec::new()), Pending::All);
        assert!(Pending::All.includes("any"));
        assert!(only(&["a"]).includes("a"));
        assert!(!only(&["a"]).includes("b"));
    }

    #[test]
    fn a_union_has_each_method_once_unless_one_part_is_for_all() {
        assert_eq!(Pending::union([&only(&["b", "a"]), &only(&["a"])]), only(&["a", "b"]));
        assert_eq!(Pending::union([&only(&["a"]), &Pending::All]), Pending::All);
        assert_eq!(Pending::union([]), Pending::All);
    }
}
