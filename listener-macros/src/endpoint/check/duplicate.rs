//! Methods that duplicate each other: two of one name, and two with the same filter for the same
//! priorities. If only some of the priorities are the same, it may be intended: a warning at each.

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;

use crate::diagnostic::{Diagnostics, warning};
use crate::endpoint::ast::{Endpoint, Filter, Method};

/// Reports methods of one name, and methods that handle exactly the same notifications.
pub(crate) fn check(endpoint: &Endpoint, diagnostics: &mut Diagnostics) {
    let selections = selections(endpoint);
    for (at, second) in endpoint.methods.iter().enumerate() {
        let earlier = &endpoint.methods[..at];
        if let Some(first) = earlier.iter().find(|first| have_same_name(first, second)) {
            let name = first.name();
            let help = format!(
                "rename this one, and write `#[on({})]` above it with a different filter; or merge the two",
                second.priorities().join(", ")
            );
            let message = format!("duplicate method `{name}`");
            diagnostics.at(second.signature.ident.span(), message, help);
            continue;
        }
        for (first, selection) in earlier.iter().zip(&selections) {
            let is_complete = [first, second].iter().all(|method| method.is_complete());
            if *selection != selections[at] || first.name() == second.name() || !is_complete {
                continue;
            }
            let (one, other) = (first.priorities(), second.priorities());
            if !one.is_empty() && same(&one, &other) {
                let message = format!(
                    "methods `{}` and `{}` handle the same notifications",
                    first.name(),
                    second.name()
                );
                let help = "merge the two, or give each a different filter with `#[on(.., event_type = \"..\")]`";
                diagnostics.at(second.signature.ident.span(), message, help);
            }
        }
    }
}

/// The names that several methods have: only the first of each can be emitted under it.
pub(crate) fn duplicate_names(endpoint: &Endpoint) -> Vec<String> {
    let methods = &endpoint.methods;
    let twice = |(at, second): (usize, &Method)| {
        methods[..at].iter().any(|first| have_same_name(first, second)).then(|| second.name())
    };
    methods.iter().enumerate().filter_map(twice).collect()
}

/// A warning at each priority that two methods with the same filter share, among others.
pub(crate) fn warnings(endpoint: &Endpoint) -> TokenStream {
    let mut warnings = TokenStream::new();
    let selections = selections(endpoint);
    for (at, second) in endpoint.methods.iter().enumerate() {
        let earlier = endpoint.methods[..at].iter().zip(&selections);
        for (first, _) in earlier.filter(|(_, selection)| **selection == selections[at]) {
            if first.name() == second.name() {
                continue;
            }
            for (span, priority, listing, other) in shared(first, second) {
                let message = format!(
                    "`{priority}` is also handled by method `{other}` with the same filter: both `{listing}` and `{other}` are called"
                );
                let help = format!(
                    "remove `{priority}` from the list, or give one method a different filter; if this is intended, write `#[allow(deprecated)]` above the block"
                );
                warnings.extend(warning(span, &endpoint.allowed, message, help));
            }
        }
    }
    warnings
}

/// The priorities that two methods share: where they are listed, and which method lists them.
fn shared(first: &Method, second: &Method) -> Vec<(Span, String, String, String)> {
    // Report it in the list of several: the other method may exist for this priority alone.
    let (listing, other) =
        if second.priorities().len() > 1 { (second, first) } else { (first, second) };
    let others = other.priorities();
    let keys = listing.on.iter().flat_map(|on| &on.priorities);
    keys.filter(|key| others.contains(&key.text))
        .map(|key| (key.span, key.text.clone(), listing.name(), other.name()))
        .collect()
}

fn have_same_name(first: &Method, second: &Method) -> bool {
    first.cfg.is_empty() && second.cfg.is_empty() && first.name() == second.name()
}

/// When a method is compiled, and which notifications its filter selects.
type Selection = (String, Vec<(&'static str, String, String)>);

/// The selection of each method.
fn selections(endpoint: &Endpoint) -> Vec<Selection> {
    let selection = |method: &Method| {
        let cfg: TokenStream = method.cfg.iter().map(ToTokens::to_token_stream).collect();
        let own = method.on.first().map(|on| &on.filter);
        (cfg.to_string(), effective(&endpoint.options.filter, own))
    };
    endpoint.methods.iter().map(selection).collect()
}

/// The rules of an endpoint's filter and a method's, sorted, without duplicates.
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
