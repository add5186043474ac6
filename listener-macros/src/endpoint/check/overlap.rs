//! Methods that come in each other's way: two of one name, and two that take the same
//! notifications with the same filter. A mistake if they take all the same ones; a warning at
//! each priority that two share when they differ otherwise, for that may be meant.

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;

use crate::endpoint::ast::{Endpoint, Filter, Method};
use crate::mistake::{Mistakes, warning};

/// Every two methods of one name, and every two that take all the same notifications.
pub(crate) fn check(endpoint: &Endpoint, mistakes: &mut Mistakes) {
    for (at, second) in endpoint.methods.iter().enumerate() {
        let earlier = &endpoint.methods[..at];
        if let Some(first) = earlier.iter().find(|first| are_namesakes(first, second)) {
            let name = first.name();
            let fix = format!(
                "rename this one, and write `#[on({})]` above it with a filter of its own; or make one method of the two",
                second.priorities().join(", ")
            );
            let found = format!("two methods are named `{name}`");
            mistakes.at(second.signature.ident.span(), found, fix);
            continue;
        }
        for first in earlier.iter().filter(|first| take_alike(endpoint, first, second)) {
            let (one, other) = (first.priorities(), second.priorities());
            if !one.is_empty() && same(&one, &other) {
                let found = format!(
                    "methods `{}` and `{}` would both take the same notifications",
                    first.name(),
                    second.name()
                );
                let fix = "make one method of the two, or give each a filter of its own with `#[on(.., event_type = \"..\")]`";
                mistakes.at(second.signature.ident.span(), found, fix);
            }
        }
    }
}

/// The names of methods that stand there twice: only the first of them can be emitted.
pub(crate) fn namesakes(endpoint: &Endpoint) -> Vec<String> {
    let methods = &endpoint.methods;
    let twice = |(at, second): (usize, &Method)| {
        methods[..at].iter().any(|first| are_namesakes(first, second)).then(|| second.name())
    };
    methods.iter().enumerate().filter_map(twice).collect()
}

/// A warning at each priority that two methods share, with the same filter, beside others.
pub(crate) fn warnings(endpoint: &Endpoint) -> TokenStream {
    let mut warnings = TokenStream::new();
    for (at, second) in endpoint.methods.iter().enumerate() {
        let alike = |first: &&Method| take_alike(endpoint, first, second);
        for first in endpoint.methods[..at].iter().filter(alike) {
            for (span, priority, listed, other) in shared(first, second) {
                let found = format!(
                    "method `{other}` takes `{priority}` too, with the same filter: `{listed}` and `{other}` are both called"
                );
                let fix = format!(
                    "leave `{priority}` out of the list, or give one of the two a filter of its own; if both are meant, write `#[allow(deprecated)]` above the block"
                );
                warnings.extend(warning(span, &endpoint.allowed, found, fix));
            }
        }
    }
    warnings
}

/// The priorities that two methods share: where they are listed, and which method lists them.
fn shared(first: &Method, second: &Method) -> Vec<(Span, String, String, String)> {
    // In the list of several, for the other one is there for this priority alone.
    let (listing, other) =
        if second.priorities().len() > 1 { (second, first) } else { (first, second) };
    let others = other.priorities();
    let keys = listing.on.iter().flat_map(|on| &on.priorities);
    keys.filter(|key| others.contains(&key.text))
        .map(|key| (key.span, key.text.clone(), listing.name(), other.name()))
        .collect()
}

fn are_namesakes(first: &Method, second: &Method) -> bool {
    first.cfg.is_empty() && second.cfg.is_empty() && first.name() == second.name()
}

/// Whether two methods ask the same of a notification, and can both be there.
fn take_alike(endpoint: &Endpoint, first: &Method, second: &Method) -> bool {
    let cfg = |method: &Method| {
        method.cfg.iter().map(|cfg| cfg.to_token_stream().to_string()).collect::<Vec<_>>()
    };
    let effective = |method: &Method| {
        let own = method.on.first().map(|on| &on.filter);
        effective(&endpoint.options.filter, own)
    };
    first.name() != second.name()
        && cfg(first) == cfg(second)
        && effective(first) == effective(second)
}

/// What an endpoint's filter and a method's ask together, each once, in one order.
fn effective(endpoint: &Filter, method: Option<&Filter>) -> Vec<(&'static str, String, String)> {
    let filters = [Some(endpoint), method].into_iter().flatten();
    let rules = filters.flat_map(Filter::rules);
    let mut all: Vec<_> = rules
        .map(|rule| (rule.part, rule.key.unwrap_or_default().to_owned(), rule.expression.value()))
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn same(one: &[String], other: &[String]) -> bool {
    one.iter().all(|priority| other.contains(priority))
        && other.iter().all(|priority| one.contains(priority))
}
