//! The methods for a target, indexed by their filters for the event type. If there are many, one regular
//! expression for all filters is matched once for each notification, instead of each filter. `table.rs`
//! then applies the complete filters of the candidates.

use std::borrow::Cow;

use regex::RegexSet;

/// From this number of filters on, a combined expression is faster.
pub(super) const MANY: usize = 4;

/// The methods of one priority for one target.
#[derive(Debug, Default)]
pub(super) struct TargetMethods {
    /// Their indices among the methods of the priority, in the order in which they run.
    all: Vec<usize>,
    by_event_type: Option<ByEventType>,
}

#[derive(Debug)]
struct ByEventType {
    filters: RegexSet,
    /// The method of each filter.
    filtered: Vec<usize>,
    /// The methods without a filter for the event type.
    others: Vec<usize>,
}

impl TargetMethods {
    /// `all`: the indices of the methods for the target. `filters`: for every method of the priority, the
    /// regular expression for the event type, if there is one.
    pub(super) fn new(all: Vec<usize>, filters: &[Option<Cow<'_, str>>]) -> Self {
        let by_event_type = ByEventType::new(&all, filters);
        Self { all, by_event_type }
    }

    /// The methods that may want a notification with this event type, in the order in which they run.
    pub(super) fn candidates(&self, event_type: Option<&str>) -> Cow<'_, [usize]> {
        let Some(index) = &self.by_event_type else { return Cow::Borrowed(&self.all) };
        let Some(event_type) = event_type else { return Cow::Borrowed(&index.others) };
        let matched = index.filters.matches(event_type);
        let matched = matched.iter().map(|filter| index.filtered[filter]);
        let mut candidates: Vec<usize> = matched.chain(index.others.iter().copied()).collect();
        candidates.sort_unstable();
        Cow::Owned(candidates)
    }
}

impl ByEventType {
    /// `None` if there are few filters, or if they are too large together: then each is matched on its own.
    fn new(all: &[usize], filters: &[Option<Cow<'_, str>>]) -> Option<Self> {
        let filter = |method: &usize| filters[*method].as_deref();
        let (filtered, others): (Vec<_>, Vec<_>) =
            all.iter().partition(|method| filter(method).is_some());
        if filtered.len() < MANY {
            return None;
        }
        let filters = RegexSet::new(filtered.iter().filter_map(filter)).ok()?;
        Some(Self { filters, filtered, others })
    }
}
