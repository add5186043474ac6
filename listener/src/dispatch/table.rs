//! The dispatch table: priority → methods, in (`order`, module path, line) order. It is built once from the
//! endpoints, with all filters compiled, and also has the targets to bind.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::batch::BatchRule;
use crate::dispatch::index::TargetMethods;
use crate::dispatch::scope::{Origin, Scope};
use crate::endpoint::policy::EndpointPolicy;
use crate::endpoint::{Bound, EndpointDefinition, MethodSpec};
use crate::filter::Filter;
use crate::filter::rule::CompiledRule;
use crate::notification::Notification;
use crate::notification::priority::Priority;
use crate::order::{OrderKey, UnknownOrderKey};
use crate::target::Target;

/// Priority → methods.
#[derive(Debug)]
pub struct Table {
    endpoints: Vec<Bound>,
    by_priority: [Vec<Entry>; Priority::ALL.len()],
    /// The methods of each priority for each target, by the index of the target in the scope.
    by_target: [Vec<TargetMethods>; Priority::ALL.len()],
    scope: Scope,
    names: BTreeSet<String>,
}

/// A method for one priority.
#[derive(Debug)]
pub struct Entry {
    /// The name in logs and copies: the endpoint's stable name, or its module and type, and the name of the
    /// method.
    pub name: String,
    /// The index of its endpoint in the table.
    pub endpoint: usize,
    /// Its index among the methods of the endpoint.
    pub method: usize,
    /// Whether it is a plain `fn`.
    pub blocking: bool,
    /// If it takes a batch.
    pub batch: Option<BatchEntry>,
    /// The options of its endpoint for calls.
    pub policy: EndpointPolicy,
    /// The order key of its endpoint.
    pub order: Option<OrderKey>,
    /// The indices of its targets in the scope.
    targets: BTreeSet<usize>,
    endpoint_filter: CompiledRule,
    filter: CompiledRule,
    /// The filter of the instance.
    instance_filter: Option<Filter>,
}

/// A method that wants a notification, or whose filter panicked: with the message.
pub(crate) type Wanting<'t> = (&'t Entry, Result<(), String>);

/// A method that takes a batch, for one priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchEntry {
    /// Its index among those of the table.
    pub index: usize,
    /// When it is called, as the attribute says.
    pub rule: BatchRule,
}

/// When a method is called with a batch of this priority, as its attribute says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableBatch {
    /// The priority.
    pub priority: Priority,
    /// The rule.
    pub rule: BatchRule,
}

/// A mistake in the definition of an endpoint.
#[derive(Debug)]
pub struct TableMistake {
    /// The endpoint, with its source location.
    pub endpoint: &'static EndpointDefinition,
    /// The method; `None` for an option of the endpoint itself.
    pub method: Option<&'static str>,
    /// What is wrong.
    pub cause: Cause,
}

/// What is wrong with a definition.
#[derive(Debug)]
pub enum Cause {
    /// A filter does not compile.
    Filter(regex::Error),
    /// `ordered_by` is not a part of a notification.
    Order(UnknownOrderKey),
    /// Another method has this name: copies could not identify their method.
    Name(String),
}

impl Table {
    /// Sorts the endpoints and compiles their filters. `shared` are the targets of the listener, for
    /// endpoints without a topic; a target without an exchange is on `exchange`. Endpoints with the same
    /// source location, from a `macro_rules`, are sorted by name.
    ///
    /// # Errors
    /// All mistakes in the definitions.
    pub fn build(
        mut endpoints: Vec<Bound>,
        shared: &[Target],
        exchange: &str,
    ) -> Result<Self, Vec<TableMistake>> {
        endpoints.sort_by_cached_key(|bound| {
            let definition = bound.definition();
            let location = (definition.module, definition.line, definition.column);
            (definition.order, location, bound.name().to_owned())
        });
        let mut by_priority: [Vec<Entry>; Priority::ALL.len()] = Default::default();
        let mut mistakes = Vec::new();
        let mut names = BTreeSet::new();
        let mut scope = Scope::default();
        let mut batches = 0;
        for (endpoint, bound) in endpoints.iter().enumerate() {
            let definition = bound.definition();
            // With their exchanges, two of them may be equal.
            let own = bound.targets();
            let targets = if own.is_empty() { shared.to_vec() } else { own };
            let targets: BTreeSet<usize> = targets
                .into_iter()
                .map(|target| scope.index(target.or_exchange(exchange)))
                .collect();
            for (method, spec) in bound.methods().into_iter().enumerate() {
                let name = format!("{}::{}", bound.name(), spec.name);
                if !names.insert(name.clone()) {
                    let method = Some(spec.name);
                    mistakes.push(TableMistake {
                        endpoint: definition,
                        method,
                        cause: Cause::Name(name),
                    });
                    continue;
                }
                let compiled = filters(definition, &spec)
                    .and_then(|filters| Ok((filters, order(definition)?)));
                let ((endpoint_filter, filter), order) = match compiled {
                    Ok(compiled) => compiled,
                    Err(mistake) => {
                        mistakes.push(mistake);
                        continue;
                    }
                };
                for priority in spec.priorities {
                    let batch = spec.batch.map(|rule| BatchEntry { index: batches, rule });
                    batches += usize::from(batch.is_some());
                    by_priority[priority.index()].push(Entry {
                        name: name.clone(),
                        endpoint,
                        method,
                        blocking: spec.blocking,
                        batch,
                        policy: definition.policy,
                        order: order.clone(),
                        targets: targets.clone(),
                        endpoint_filter: endpoint_filter.clone(),
                        filter: filter.clone(),
                        instance_filter: bound.filter().cloned(),
                    });
                }
            }
        }
        if mistakes.is_empty() {
            let by_target = by_priority.each_ref().map(|entries| {
                let mut by_target = vec![Vec::new(); scope.targets().len()];
                for (index, entry) in entries.iter().enumerate() {
                    entry.targets.iter().for_each(|target| by_target[*target].push(index));
                }
                let filters = event_types(entries);
                by_target.into_iter().map(|all| TargetMethods::new(all, &filters)).collect()
            });
            Ok(Self { endpoints, by_priority, by_target, scope, names })
        } else {
            Err(mistakes)
        }
    }

    /// The methods for a priority, in the order in which they run.
    #[must_use]
    pub fn methods(&self, priority: Priority) -> &[Entry] {
        &self.by_priority[priority.index()]
    }

    /// The endpoints, in the order in which they run.
    #[must_use]
    pub fn endpoints(&self) -> &[Bound] {
        &self.endpoints
    }

    /// The targets to bind, each with every priority that some method handles there. All targets have an
    /// exchange.
    #[must_use]
    pub fn targets(&self) -> BTreeSet<(Target, Priority)> {
        let mut wanted = BTreeSet::new();
        for priority in Priority::ALL {
            let indices = self.methods(priority).iter().flat_map(|entry| &entry.targets);
            let targets = indices.map(|index| self.scope.targets()[*index].clone());
            wanted.extend(targets.map(|target| (target, priority)));
        }
        wanted
    }

    /// Whether there is a method of this name, for any priority.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// The methods that take a batch, in the order of their indices.
    #[must_use]
    pub fn batches(&self) -> Vec<TableBatch> {
        let of = |priority: Priority| {
            let entries = self.methods(priority).iter().filter_map(|entry| entry.batch);
            entries.map(move |BatchEntry { index, rule }| (index, TableBatch { priority, rule }))
        };
        let mut batches: Vec<_> = Priority::ALL.into_iter().flat_map(of).collect();
        batches.sort_by_key(|(index, _)| *index);
        batches.into_iter().map(|(_, batch)| batch).collect()
    }

    /// Whether any endpoint has an order key.
    #[must_use]
    pub fn keeps_order(&self) -> bool {
        self.by_priority.iter().flatten().any(|entry| entry.order.is_some())
    }

    /// The methods that want this notification, in the order in which they run: those for which
    /// `is_pending`, and whose filters match.
    pub fn wanting<'t>(
        &'t self,
        notification: &'t Notification<'_>,
        is_pending: impl Fn(&Entry) -> bool + 't,
    ) -> impl Iterator<Item = Wanting<'t>> {
        let origin = self.scope.origin(notification.delivery());
        let entries = self.methods(notification.priority());
        let of_target = match origin {
            Origin::Target(target) => self.by_target[notification.priority().index()][target]
                .candidates(notification.event_type()),
            Origin::Topic(_) | Origin::Unknown => Cow::Borrowed(&[][..]),
        };
        // For other origins all methods are examined.
        let others = if matches!(origin, Origin::Target(_)) { &[] } else { entries };
        let of_target = (0..of_target.len()).map(move |at| &entries[of_target[at]]);
        let others = others.iter().filter(move |entry| self.scope.includes(origin, &entry.targets));
        let pending = of_target.chain(others).filter(move |entry| is_pending(entry));
        pending.filter_map(move |entry| match entry.wants(notification) {
            Ok(false) => None,
            Ok(true) => Some((entry, Ok(()))),
            Err(panic) => Some((entry, Err(panic))),
        })
    }
}

impl Entry {
    /// A filter for the event type, if it has one.
    fn event_type(&self) -> Option<Cow<'_, str>> {
        let of_attribute = self.endpoint_filter.event_type().or_else(|| self.filter.event_type());
        let of_instance = || self.instance_filter.as_ref()?.required_event_type();
        of_attribute.map(Cow::Borrowed).or_else(of_instance)
    }

    /// Whether its filters match; the message of a predicate that panicked.
    fn wants(&self, notification: &Notification<'_>) -> Result<bool, String> {
        if !self.endpoint_filter.matches(notification) || !self.filter.matches(notification) {
            return Ok(false);
        }
        self.instance_filter.as_ref().map_or(Ok(true), |filter| filter.try_matches(notification))
    }
}

fn event_types(entries: &[Entry]) -> Vec<Option<Cow<'_, str>>> {
    entries.iter().map(Entry::event_type).collect()
}

fn filters(
    definition: &'static EndpointDefinition,
    spec: &MethodSpec,
) -> Result<(CompiledRule, CompiledRule), TableMistake> {
    let compile = |rule, method| {
        CompiledRule::compile(rule).map_err(|error| TableMistake {
            endpoint: definition,
            method,
            cause: Cause::Filter(error),
        })
    };
    Ok((compile(&definition.filter, None)?, compile(&spec.filter, Some(spec.name))?))
}

fn order(definition: &'static EndpointDefinition) -> Result<Option<OrderKey>, TableMistake> {
    let parsed = definition.policy.ordered_by.map(str::parse).transpose();
    parsed.map_err(|error| TableMistake {
        endpoint: definition,
        method: None,
        cause: Cause::Order(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::index::MANY;
    use crate::filter::rule::FilterRule;
    use crate::notification::delivery_info::DeliveryInfo;
    use crate::notification::fields::Fields;
    use crate::notification::states::States;

    const EVENTS: [&str; 6] = [
        "compute.instance.update",
        "compute.instance.create.end",
        "volume.create",
        "",
        "É",
        "a\nb",
    ];

    const FILTERS: [&str; 10] = [
        "compute",
        r"^compute\.instance\.update$",
        "volume|compute.instance.create",
        "(?i)VOLUME",
        ".",
        "",
        "$",
        "nothing",
        "É",
        r"(?s)a.b\z",
    ];

    fn entry(
        endpoint: Option<&'static str>,
        method: Option<&'static str>,
        instance: Option<&'static str>,
    ) -> Entry {
        let filter = |event_type| {
            CompiledRule::compile(&FilterRule { event_type, ..FilterRule::ALL }).expect("a filter")
        };
        Entry {
            name: String::new(),
            endpoint: 0,
            method: 0,
            blocking: false,
            batch: None,
            policy: EndpointPolicy::NONE,
            order: None,
            targets: BTreeSet::new(),
            endpoint_filter: filter(endpoint),
            filter: filter(method),
            instance_filter: instance.map(|text| Filter::event_type(text).expect("a filter")),
        }
    }

    fn notification<'n>(
        event_type: Option<&'static str>,
        delivery: &'n DeliveryInfo,
        states: &'n States,
    ) -> Notification<'n> {
        let fields = Fields {
            message_id: None,
            timestamp: None,
            publisher_id: None,
            event_type: event_type.map(Into::into),
            priority: None,
            unique_id: None,
            payload: serde_json::from_str("1").expect("JSON"),
            context: Vec::new(),
        };
        Notification::new(fields, Priority::Info, delivery, states)
    }

    #[test]
    fn the_combined_filters_match_as_each_filter_does() {
        let (delivery, states) = (DeliveryInfo::new("q", "", "t.info"), States::default());
        let events = EVENTS.map(Some).into_iter().chain([None]);
        let notifications: Vec<_> =
            events.map(|event| notification(event, &delivery, &states)).collect();
        let mut random = fastrand::Rng::with_seed(7);
        for round in 0..50 {
            let count = random.usize(0..3 * MANY);
            let mut filter = || FILTERS.get(random.usize(..FILTERS.len() * 3 / 2)).copied();
            let entries: Vec<Entry> =
                (0..count).map(|_| entry(filter(), filter(), filter())).collect();
            // Every second method is for another target.
            let all: Vec<usize> = (round % 2..count).step_by(1 + round % 2).collect();
            let methods = TargetMethods::new(all.clone(), &event_types(&entries));
            for notification in &notifications {
                let wanting = |methods: &[usize]| -> Vec<usize> {
                    let wants = |method: &usize| entries[*method].wants(notification) == Ok(true);
                    methods.iter().copied().filter(wants).collect()
                };
                let candidates = methods.candidates(notification.event_type());
                assert_eq!(wanting(&candidates), wanting(&all), "{:?}", notification.event_type());
            }
        }
    }

    #[test]
    fn the_filter_of_an_instance_is_indexed_as_well() {
        let entries: Vec<Entry> = (0..MANY).map(|_| entry(None, None, Some("volume"))).collect();
        let methods = TargetMethods::new((0..MANY).collect(), &event_types(&entries));
        assert_eq!(methods.candidates(Some("volume.create")).len(), MANY);
        assert_eq!(methods.candidates(Some("compute.instance.update")).len(), 0);
    }

    #[test]
    fn methods_for_other_event_types_are_not_candidates() {
        let entries: Vec<Entry> = (0..MANY).map(|_| entry(Some("volume"), None, None)).collect();
        let methods = TargetMethods::new((0..MANY).collect(), &event_types(&entries));
        assert_eq!(methods.candidates(Some("volume.create")).len(), MANY);
        assert_eq!(methods.candidates(Some("compute.instance.update")).len(), 0);
        assert_eq!(methods.candidates(None).len(), 0);
        let few = TargetMethods::new((1..MANY).collect(), &event_types(&entries));
        assert_eq!(few.candidates(Some("compute.instance.update")).len(), MANY - 1);
    }
}
