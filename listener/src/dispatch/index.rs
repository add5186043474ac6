//! Of the methods that a target concerns, those that the type of an event may be for. Where there
//! are many, one regular expression of all their filters is asked, once for a notification, and not
//! each of them. Whether a method wants it then is the table's to say.

use std::borrow::Cow;

use regex::RegexSet;

/// From so many filters on it pays to ask all as one.
pub(super) const MANY: usize = 4;

/// The methods of one priority that a target concerns.
#[derive(Debug, Default)]
pub(super) struct TargetMethods {
    /// Their places among those of the priority, in the order in which they run.
    all: Vec<usize>,
    by_event_type: Option<ByEventType>,
}

#[derive(Debug)]
struct ByEventType {
    filters: RegexSet,
    /// The place of the method of each filter.
    filtered: Vec<usize>,
    /// Those that take any event.
    others: Vec<usize>,
}

impl TargetMethods {
    /// `all`: the indices of the methods that the target concerns. `filters`: of every method of the
    /// priority, the regular expression that the type of an event must match, if there is one.
    pub(super) fn new(all: Vec<usize>, filters: &[Option<&str>]) -> Self {
        let by_event_type = ByEventType::new(&all, filters);
        Self { all, by_event_type }
    }

    /// All that may want a notification with this type of event, in the order in which they run.
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
    /// None if there are few filters, or if they are too large together: then each is asked.
    fn new(all: &[usize], filters: &[Option<&str>]) -> Option<Self> {
        let filter = |method: &usize| filters[*method];
        let (filtered, others): (Vec<_>, Vec<_>) =
            all.iter().partition(|method| filter(method).is_some());
        if filtered.len() < MANY {
            return None;
        }
        let filters = RegexSet::new(filtered.iter().filter_map(filter)).ok()?;
        Some(Self { filters, filtered, others })
    }
}
