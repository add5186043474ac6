//! The dispatch table: priority → methods, in (`order`, module path, line) order. Built once
//! from the endpoints, with every filter compiled; it also says what there is to bind.

use std::collections::BTreeSet;

use crate::endpoint::{Bound, Definition, MethodSpec};
use crate::filter::Filter;
use crate::notification::Notification;
use crate::notification::delivery_info::DeliveryInfo;
use crate::notification::priority::Priority;
use crate::target::Target;

/// Priority → methods.
#[derive(Debug)]
pub struct Table {
    endpoints: Vec<Bound>,
    by_priority: [Vec<Entry>; Priority::ALL.len()],
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
    definition: &'static Definition,
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
    /// Sorts the endpoints and compiles their filters.
    ///
    /// # Errors
    /// Every filter that does not compile.
    pub fn build(mut endpoints: Vec<Bound>) -> Result<Self, Vec<FilterMistake>> {
        endpoints.sort_by_key(|bound| {
            let definition = bound.definition();
            (definition.order, definition.module, definition.line, definition.column)
        });
        let mut by_priority: [Vec<Entry>; Priority::ALL.len()] = Default::default();
        let mut mistakes = Vec::new();
        for (endpoint, bound) in endpoints.iter().enumerate() {
            let definition = bound.definition();
            for (method, spec) in bound.methods().into_iter().enumerate() {
                match filters(definition, &spec) {
                    Ok((endpoint_filter, filter)) => {
                        for priority in spec.priorities {
                            by_priority[priority.index()].push(Entry {
                                name: format!(
                                    "{}::{}::{}",
                                    definition.module, definition.name, spec.name
                                ),
                                endpoint,
                                method,
                                blocking: spec.blocking,
                                definition,
                                endpoint_filter: endpoint_filter.clone(),
                                filter: filter.clone(),
                            });
                        }
                    }
                    Err(mistake) => mistakes.push(mistake),
                }
            }
        }
        if mistakes.is_empty() { Ok(Self { endpoints, by_priority }) } else { Err(mistakes) }
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
    /// `shared` are the listener's own targets, for the endpoints that name no topic.
    #[must_use]
    pub fn targets(&self, shared: &[Target]) -> BTreeSet<(Target, Priority)> {
        let mut wanted = BTreeSet::new();
        for priority in Priority::ALL {
            for entry in self.methods(priority) {
                let targets = own_targets(entry.definition).unwrap_or_else(|| shared.to_vec());
                wanted.extend(targets.into_iter().map(|target| (target, priority)));
            }
        }
        wanted
    }
}

impl Entry {
    /// Whether the method wants this notification.
    #[must_use]
    pub fn wants(&self, notification: &Notification<'_>) -> bool {
        takes_from(self.definition, notification.delivery())
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

/// An endpoint that names topics takes what came from them; one that names none takes what
/// came in at all, as every consumer of a shared queue must.
fn takes_from(definition: &Definition, delivery: &DeliveryInfo) -> bool {
    if definition.topics.is_empty() {
        return true;
    }
    // What was put straight into a queue has no exchange of its own.
    let exchange = definition
        .exchange
        .is_none_or(|exchange| delivery.exchange.is_empty() || *exchange == *delivery.exchange);
    exchange && definition.topics.contains(&delivery.topic())
}
