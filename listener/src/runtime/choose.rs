//! Which endpoints a listener runs: the instances that were added, the registered ones that are selected, and
//! of those what is enabled. Called by `builder.rs`.

use std::any::TypeId;
use std::collections::{BTreeSet, HashMap, HashSet};

use crate::endpoint::configured::IntoEndpoint;
use crate::endpoint::setup::mistake_in_name;
use crate::endpoint::{Bound, Endpoint, EndpointDefinition, Registration, Source};
use crate::filter::Filter;
use crate::options::nearest::nearest;
use crate::runtime::error::{EndpointLocation, Problem};

/// The selection of endpoints, as the program and the configuration made it.
#[derive(Debug, Default)]
pub(super) struct Choice {
    given: Vec<Bound>,
    /// Endpoints whose condition was false: registered ones of these types do not run either.
    absent: Vec<(TypeId, &'static EndpointDefinition)>,
    pub(super) registered: bool,
    pub(super) groups: Vec<String>,
    pub(super) enabled: Vec<String>,
    pub(super) disabled: Vec<String>,
    filters: Vec<TypeFilter>,
}

/// A filter for every instance of a type.
#[derive(Debug)]
struct TypeFilter {
    id: TypeId,
    definition: &'static EndpointDefinition,
    filter: Filter,
}

/// An endpoint that runs, unless it is disabled.
enum Candidate {
    Bound(Bound),
    /// It is `provided`, and no instance was given.
    Missing(&'static EndpointDefinition),
}

impl Choice {
    pub(super) fn give(&mut self, endpoint: impl IntoEndpoint) {
        self.given.push(endpoint.bind());
    }

    pub(super) fn leave_out<E: IntoEndpoint>(&mut self) {
        self.absent.push((E::id(), E::definition()));
    }

    pub(super) fn filter<E: Endpoint>(&mut self, filter: Filter) {
        let (id, definition) = (TypeId::of::<E>(), &E::DEFINITION);
        self.filters.push(TypeFilter { id, definition, filter });
    }

    /// The endpoints to run.
    pub(super) fn endpoints(mut self, problems: &mut Vec<Problem>) -> Vec<Bound> {
        let registrations: Vec<_> = inventory::iter::<Registration>().collect();
        let mut candidates = self.candidates(&registrations, problems);
        let has_any = !candidates.is_empty() || !self.absent.is_empty();
        self.check_names(&candidates, &registrations, problems);
        candidates.retain(|candidate| self.is_enabled(&candidate.names()));
        let mut endpoints = Vec::new();
        for candidate in candidates {
            match candidate {
                Candidate::Bound(bound) => endpoints.push(bound),
                Candidate::Missing(definition) => problems
                    .push(Problem::NotProvided { endpoint: EndpointLocation::of(definition) }),
            }
        }
        if endpoints.is_empty() && problems.is_empty() {
            problems.push(if has_any { Problem::AllDisabled } else { Problem::NoEndpoint });
        }
        endpoints
    }

    /// The added instances and the selected registered endpoints, with their filters.
    fn candidates(
        &mut self,
        registrations: &[&Registration],
        problems: &mut Vec<Problem>,
    ) -> Vec<Candidate> {
        let mut given = std::mem::take(&mut self.given);
        keep_distinct(&mut given, problems);
        let absent = self.absent.iter().map(|(id, _)| *id);
        let known: HashSet<TypeId> = given.iter().map(Bound::id).chain(absent).collect();
        let mut candidates: Vec<_> = given.into_iter().map(Candidate::Bound).collect();
        if known.is_empty() || self.registered || !self.groups.is_empty() {
            self.check_groups(registrations, problems);
            let selected = registrations.iter().filter(|registration| {
                self.selects(registration) && !known.contains(&(registration.id)())
            });
            candidates.extend(selected.map(|registration| match registration.source {
                Source::Made(bound) => Candidate::Bound(bound()),
                Source::Provided => Candidate::Missing(registration.definition),
            }));
        }
        for TypeFilter { id, definition, filter } in std::mem::take(&mut self.filters) {
            let of_type = candidates.iter_mut().filter_map(|candidate| match candidate {
                Candidate::Bound(bound) if bound.id() == id => Some(bound),
                _ => None,
            });
            let filtered = of_type.map(|bound| bound.add_filter(filter.clone())).count();
            if filtered == 0 && self.absent.iter().all(|(absent, _)| *absent != id) {
                let endpoint = EndpointLocation::of(definition);
                problems.push(Problem::NothingToFilter { endpoint });
            }
        }
        candidates
    }

    fn selects(&self, registration: &Registration) -> bool {
        let in_group = |group: &str| self.groups.iter().any(|selected| selected == group);
        self.groups.is_empty() || registration.definition.group.is_some_and(in_group)
    }

    fn check_groups(&self, registrations: &[&Registration], problems: &mut Vec<Problem>) {
        let known: BTreeSet<&str> =
            registrations.iter().filter_map(|registration| registration.definition.group).collect();
        for group in self.groups.iter().filter(|group| !known.contains(group.as_str())) {
            problems.push(Problem::UnknownGroup {
                group: group.clone(),
                known: known.iter().map(|&group| group.to_owned()).collect(),
            });
        }
    }

    fn is_enabled(&self, names: &[String]) -> bool {
        let has = |list: &[String]| list.iter().any(|listed| names.contains(listed));
        (self.enabled.is_empty() || has(&self.enabled)) && !has(&self.disabled)
    }

    /// Checks that each enabled or disabled name is one of an endpoint of this program.
    fn check_names(
        &self,
        candidates: &[Candidate],
        registrations: &[&Registration],
        problems: &mut Vec<Problem>,
    ) {
        let registered = registrations.iter().map(|registration| registration.definition);
        let absent = self.absent.iter().map(|(_, definition)| *definition);
        let known: BTreeSet<String> = candidates
            .iter()
            .flat_map(Candidate::names)
            .chain(registered.chain(absent).flat_map(names_of))
            .collect();
        let listed = [("enabled_endpoints", &self.enabled), ("disabled_endpoints", &self.disabled)];
        for (option, names) in listed {
            for name in names.iter().filter(|name| !known.contains(*name)) {
                problems.push(Problem::UnknownEndpoint {
                    option: option.to_owned(),
                    name: name.clone(),
                    near: nearest(name, known.iter().map(String::as_str)).map(str::to_owned),
                    known: known.iter().cloned().collect(),
                });
            }
        }
    }
}

impl Candidate {
    /// The names by which it can be enabled and disabled.
    fn names(&self) -> Vec<String> {
        let bound = match self {
            Self::Bound(bound) => bound,
            Self::Missing(definition) => return names_of(definition),
        };
        let mut names = names_of(bound.definition());
        names.push(bound.name().to_owned());
        if let Some(instance) = bound.instance_name() {
            names.push(instance.to_owned());
            names.push(format!("{}[{instance}]", bound.definition().name));
        }
        names
    }
}

/// The names of every instance of an endpoint: its type, with and without the module, its stable name, and its
/// group.
fn names_of(definition: &EndpointDefinition) -> Vec<String> {
    let EndpointDefinition { name, module, stable_name, group, .. } = definition;
    let type_names = [(*name).to_owned(), format!("{module}::{name}")];
    type_names
        .into_iter()
        .chain([stable_name, group].into_iter().flatten().map(|&name| name.to_owned()))
        .collect()
}

/// Checks the names of the given instances, and keeps one instance of each name of a type.
fn keep_distinct(given: &mut Vec<Bound>, problems: &mut Vec<Problem>) {
    let mut names: HashMap<TypeId, HashSet<Option<String>>> = HashMap::new();
    given.retain(|bound| {
        let endpoint = EndpointLocation::of(bound.definition());
        let name = bound.instance_name().map(str::to_owned);
        if let Some((name, mistake)) =
            name.as_ref().and_then(|name| Some((name.clone(), mistake_in_name(name)?)))
        {
            problems.push(Problem::InstanceName { endpoint: endpoint.clone(), name, mistake });
        }
        let is_first = names.entry(bound.id()).or_default().insert(name.clone());
        if !is_first {
            problems.push(match name {
                None => Problem::Duplicate { endpoint },
                Some(name) => Problem::DuplicateInstance { endpoint, name },
            });
        }
        is_first
    });
}
