//! Checks the names of topics, pools and exchanges that a listener is built with. The rules are in
//! `target.rs`; called by `builder.rs`.

use std::collections::BTreeSet;

use crate::endpoint::Bound;
use crate::runtime::error::{EndpointLocation, Problem};
use crate::target::{NAMELESS, Role, Target, mistake, warn_of_topic};

/// Checks the names that were passed to the builder.
pub(super) fn check_listener(
    targets: &[Target],
    exchange: Option<&str>,
    pool: Option<&str>,
    problems: &mut Vec<Problem>,
) {
    let topics = targets.iter().map(|target| (role_of_topics(pool), target.topic_name()));
    let exchanges = targets.iter().filter_map(Target::exchange_name).chain(exchange);
    if pool.is_some() && exchanges.clone().any(str::is_empty) {
        problems.push(Problem::Name { endpoint: None, reason: NAMELESS.to_owned() });
    }
    let exchanges = exchanges.map(|exchange| (Role::Exchange, exchange));
    let pool = pool.map(|pool| (Role::Pool, pool));
    let names = topics.chain(exchanges).chain(pool);
    problems.extend(names.filter_map(|(role, name)| {
        mistake(role, name).map(|reason| Problem::Name { endpoint: None, reason })
    }));
    targets.iter().for_each(|target| warn_of_topic(target.topic_name()));
}

/// Checks the names in the attribute of an endpoint, or that the program gave the instance.
pub(super) fn check_endpoint(endpoint: &Bound, pool: Option<&str>, problems: &mut Vec<Problem>) {
    let definition = endpoint.definition();
    let targets = endpoint.targets();
    let topics = targets.iter().map(|target| (role_of_topics(pool), target.topic_name()));
    // That of the attribute once, and without topics as well.
    let given = targets.iter().filter_map(Target::exchange_name);
    let exchanges: BTreeSet<&str> = given.chain(definition.exchange).collect();
    let is_nameless = exchanges.contains("");
    let exchanges = exchanges.into_iter().map(|exchange| (Role::Exchange, exchange));
    problems.extend(topics.chain(exchanges).filter_map(|(role, name)| {
        let reason = mistake(role, name)?;
        Some(Problem::Name { endpoint: Some(EndpointLocation::of(definition)), reason })
    }));
    if pool.is_some() && is_nameless {
        let endpoint = Some(EndpointLocation::of(definition));
        problems.push(Problem::Name { endpoint, reason: NAMELESS.to_owned() });
    }
    targets.iter().for_each(|target| warn_of_topic(target.topic_name()));
}

/// In a pool all topics share one queue, so that they are only routing keys.
const fn role_of_topics(pool: Option<&str>) -> Role {
    if pool.is_some() { Role::Route } else { Role::Topic }
}
