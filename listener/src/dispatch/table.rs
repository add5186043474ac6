//! The dispatch table: priority → methods, in (`order`, module path, line) order. Built once
//! from the endpoints, with every filter compiled; it also says what there is to bind.

use std::collections::BTreeSet;

use crate::dispatch::scope::{Origin, Scope};
use crate::endpoint::policy::Policy;
use crate::endpoint::{Bound, Definition, MethodSpec};
use crate::filter::Filter;
use crate::notification::Notification;
use crate::notification::priority::Priority;
use crate::order::{OrderKey, UnknownOrderKey};
use crate::target::Target;

/// Priority → methods.
#[derive(Debug)]
pub struct Table {
    endpoints: Vec<Bound>,
    by_priority: [Vec<Entry>; Priority::ALL.len()],
    /// Those of each priority that concern a target, by its place in the scope.
    by_target: [Vec<Vec<usize>>; Priority::ALL.len()],
    scope: Scope,
    names: BTreeSet<String>,
}

/// One method under one priority.
#[derive(Debug)]
pub struct Entry {
    /// What logs and copies call it: the endpoint's stable name, or its module and type, and
    /// the method's name.
    pub name: String,
    /// Which endpoint of the table.
    pub endpoint: usize,
    /// Which of its methods.
    pub method: usize,
    /// Whether it is a plain `fn`.
    pub blocking: bool,
    /// What its endpoint says of its calls.
    pub policy: Policy,
    /// What its notifications have in common that are worked on in sequence.
    pub order: Option<OrderKey>,
    /// Its places in the scope.
    targets: BTreeSet<usize>,
    endpoint_filter: Filter,
    filter: Filter,
}

/// Something in an endpoint's definition that the table cannot be built with.
#[derive(Debug)]
pub struct TableMistake {
    /// The endpoint, with its place in the source.
    pub endpoint: &'static Definition,
    /// The method, or `None` for what the endpoint says itself.
    pub method: Option<&'static str>,
    /// What is wrong.
    pub cause: Cause,
}

/// What is wrong with a definition.
#[derive(Debug)]
pub enum Cause {
    /// A filter does not compile.
    Filter(regex::Error),
    /// `ordered_by` names no part of a notification.
    Order(UnknownOrderKey),
    /// Another method goes by this name: copies could not tell whose they are.
    Name(String),
}

impl Table {
    /// Sorts the endpoints and compiles their filters. `shared` are the listener's own targets,
    /// for the endpoints that name no topic; a target without an exchange is on `exchange`.
    /// Where `macro_rules` puts several endpoints in one place, their names decide.
    ///
    /// # Errors
    /// Every mistake in the definitions.
    pub fn build(
        mut endpoints: Vec<Bound>,
        shared: &[Target],
        exchange: &str,
    ) -> Result<Self, Vec<TableMistake>> {
        endpoints.sort_by_cached_key(|bound| {
            let definition = bound.definition();
            let place = (definition.module, definition.line, definition.column);
            (definition.order, place, bound.name().to_owned())
        });
        let mut by_priority: [Vec<Entry>; Priority::ALL.len()] = Default::default();
        let mut mistakes = Vec::new();
        let mut names = BTreeSet::new();
        let mut scope = Scope::default();
        for (endpoint, bound) in endpoints.iter().enumerate() {
            let definition = bound.definition();
            // Two of them may be one, once their exchanges are known.
            let targets: BTreeSet<usize> = own_targets(definition)
                .unwrap_or_else(|| shared.to_vec())
                .into_iter()
                .map(|target| scope.place(target.or_exchange(exchange)))
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
                    by_priority[priority.index()].push(Entry {
                        name: name.clone(),
                        endpoint,
                        method,
                        blocking: spec.blocking,
                        policy: definition.policy,
                        order: order.clone(),
                        targets: targets.clone(),
                        endpoint_filter: endpoint_filter.clone(),
                        filter: filter.clone(),
                    });
                }
            }
        }
        if mistakes.is_empty() {
            let by_target = by_priority.each_ref().map(|entries| {
                let mut by_target = vec![Vec::new(); scope.targets().len()];
                for (index, entry) in entries.iter().enumerate() {
                    entry.targets.iter().for_each(|place| by_target[*place].push(index));
                }
                by_target
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

    /// What there is to bind: each target with each priority that some method handles there.
    /// Every target names its exchange.
    #[must_use]
    pub fn targets(&self) -> BTreeSet<(Target, Priority)> {
        let mut wanted = BTreeSet::new();
        for priority in Priority::ALL {
            let places = self.methods(priority).iter().flat_map(|entry| &entry.targets);
            let targets = places.map(|place| self.scope.targets()[*place].clone());
            wanted.extend(targets.map(|target| (target, priority)));
        }
        wanted
    }

    /// Whether a method goes by this name, at whatever priority.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Whether any endpoint keeps an order among its notifications.
    #[must_use]
    pub fn keeps_order(&self) -> bool {
        self.by_priority.iter().flatten().any(|entry| entry.order.is_some())
    }

    /// The methods that want this notification, in the order in which they run.
    pub fn wanting<'t>(
        &'t self,
        notification: &'t Notification<'_>,
    ) -> impl Iterator<Item = &'t Entry> {
        let origin = self.scope.origin(notification.delivery());
        let entries = self.methods(notification.priority());
        let of_target: &[usize] = match origin {
            Origin::Target(place) => &self.by_target[notification.priority().index()][place],
            Origin::Topic(_) | Origin::Unknown => &[],
        };
        // What came from elsewhere is looked for among all.
        let others = if matches!(origin, Origin::Target(_)) { &[] } else { entries };
        let of_target = of_target.iter().map(|index| &entries[*index]);
        let others = others.iter().filter(move |entry| self.scope.concerns(origin, &entry.targets));
        of_target.chain(others).filter(move |entry| entry.wants(notification))
    }
}

impl Entry {
    fn wants(&self, notification: &Notification<'_>) -> bool {
        self.endpoint_filter.matches(notification) && self.filter.matches(notification)
    }
}

fn filters(
    definition: &'static Definition,
    spec: &MethodSpec,
) -> Result<(Filter, Filter), TableMistake> {
    let compile = |rule, method| {
        Filter::compile(rule).map_err(|error| TableMistake {
            endpoint: definition,
            method,
            cause: Cause::Filter(error),
        })
    };
    Ok((compile(&definition.filter, None)?, compile(&spec.filter, Some(spec.name))?))
}

fn order(definition: &'static Definition) -> Result<Option<OrderKey>, TableMistake> {
    let parsed = definition.policy.ordered_by.map(str::parse).transpose();
    parsed.map_err(|error| TableMistake {
        endpoint: definition,
        method: None,
        cause: Cause::Order(error),
    })
}

/// The targets that an endpoint names itself.
fn own_targets(definition: &Definition) -> Option<Vec<Target>> {
    let target = |topic: &&'static str| match definition.exchange {
        Some(exchange) => Target::topic(*topic).exchange(exchange),
        None => Target::topic(*topic),
    };
    (!definition.topics.is_empty()).then(|| definition.topics.iter().map(target).collect())
}
