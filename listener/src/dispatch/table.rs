//! The dispatch table: priority → methods, in (`order`, module path, line) order. Built once
//! from the endpoints, with every filter compiled; it also says what there is to bind.

use std::collections::BTreeSet;

use crate::dispatch::scope::{Origin, Scope};
use crate::endpoint::{Bound, Definition, MethodSpec};
use crate::filter::Filter;
use crate::notification::Notification;
use crate::notification::priority::Priority;
use crate::target::Target;

/// Priority → methods.
#[derive(Debug)]
pub struct Table {
    endpoints: Vec<Bound>,
    by_priority: [Vec<Entry>; Priority::ALL.len()],
    scope: Scope,
}

/// One method under one priority.
#[derive(Debug)]
pub struct Entry {
    /// `module::Type::method`: what logs and dead letters call it.
    pub name: String,
    /// Which endpoint of the table.
    pub endpoint: usize,
    /// Which of its methods.
    pub method: usize,
    /// Whether it is a plain `fn`.
    pub blocking: bool,
    /// Its places in the scope.
    targets: Vec<usize>,
    endpoint_filter: Filter,
    filter: Filter,
}

/// A filter that does not compile.
#[derive(Debug)]
pub struct FilterMistake {
    /// The endpoint, with its place in the source.
    pub endpoint: &'static Definition,
    /// The method, or `None` for the endpoint's own filter.
    pub method: Option<&'static str>,
    /// What is wrong with it.
    pub source: regex::Error,
}

impl Table {
    /// Sorts the endpoints and compiles their filters. `shared` are the listener's own targets,
    /// for the endpoints that name no topic; a target without an exchange is on `exchange`. Where `macro_rules` puts several in one
    /// place, their names decide.
    ///
    /// # Errors
    /// Every filter that does not compile.
    pub fn build(
        mut endpoints: Vec<Bound>,
        shared: &[Target],
        exchange: &str,
    ) -> Result<Self, Vec<FilterMistake>> {
        endpoints.sort_by_cached_key(|bound| {
            let definition = bound.definition();
            let place = (definition.module, definition.line, definition.column);
            (definition.order, place, bound.name().to_owned())
        });
        let mut by_priority: [Vec<Entry>; Priority::ALL.len()] = Default::default();
        let mut mistakes = Vec::new();
        let mut scope = Scope::default();
        for (endpoint, bound) in endpoints.iter().enumerate() {
            let definition = bound.definition();
            let targets: Vec<usize> = own_targets(definition)
                .unwrap_or_else(|| shared.to_vec())
                .into_iter()
                .map(|target| scope.place(target.or_exchange(exchange)))
                .collect();
            for (method, spec) in bound.methods().into_iter().enumerate() {
                match filters(definition, &spec) {
                    Ok((endpoint_filter, filter)) => {
                        for priority in spec.priorities {
                            by_priority[priority.index()].push(Entry {
                                name: format!("{}::{}", bound.name(), spec.name),
                                endpoint,
                                method,
                                blocking: spec.blocking,
                                targets: targets.clone(),
                                endpoint_filter: endpoint_filter.clone(),
                                filter: filter.clone(),
                            });
                        }
                    }
                    Err(mistake) => mistakes.push(mistake),
                }
            }
        }
        if mistakes.is_empty() { Ok(Self { endpoints, by_priority, scope }) } else { Err(mistakes) }
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

    /// The methods that want this notification, in the order in which they run.
    pub fn wanting<'t>(
        &'t self,
        notification: &'t Notification<'_>,
    ) -> impl Iterator<Item = &'t Entry> {
        let origin = self.scope.origin(notification.delivery());
        self.methods(notification.priority())
            .iter()
            .filter(move |entry| entry.wants(notification, origin, &self.scope))
    }
}

impl Entry {
    fn wants(&self, notification: &Notification<'_>, origin: Origin<'_>, scope: &Scope) -> bool {
        scope.concerns(origin, &self.targets)
            && self.endpoint_filter.matches(notification)
            && self.filter.matches(notification)
    }
}

fn filters(
    definition: &'static Definition,
    spec: &MethodSpec,
) -> Result<(Filter, Filter), FilterMistake> {
    let compile = |rule, method| {
        Filter::compile(rule).map_err(|source| FilterMistake {
            endpoint: definition,
            method,
            source,
        })
    };
    Ok((compile(&definition.filter, None)?, compile(&spec.filter, Some(spec.name))?))
}

/// The targets that an endpoint names itself.
fn own_targets(definition: &Definition) -> Option<Vec<Target>> {
    let target = |topic: &&'static str| match definition.exchange {
        Some(exchange) => Target::topic(*topic).exchange(exchange),
        None => Target::topic(*topic),
    };
    (!definition.topics.is_empty()).then(|| definition.topics.iter().map(target).collect())
}
