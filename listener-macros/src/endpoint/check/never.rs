//! Filters that let nothing through: one that matches no text, and one of a method that its
//! endpoint's own excludes. Decided by how their matches must begin, and said only when that
//! is certain; all else is left to the program.

use regex_syntax::hir::literal::{ExtractKind, Extractor};

use crate::endpoint::ast::{Filter, Rule};
use crate::mistake::Mistakes;

/// Every rule of the endpoint's filter that matches no text.
pub(crate) fn check(endpoint: &Filter, mistakes: &mut Mistakes) {
    for rule in endpoint.rules() {
        matches_nothing(&rule, mistakes);
    }
}

/// Every rule of a method's filter that matches no text, or none that the endpoint's lets through.
pub(crate) fn check_method(endpoint: &Filter, method: &Filter, mistakes: &mut Mistakes) {
    for rule in method.rules() {
        if matches_nothing(&rule, mistakes) {
            continue;
        }
        for other in endpoint.rules() {
            if other.is_about(&rule)
                && excludes(&other.expression.value(), &rule.expression.value())
            {
                let found = format_args!(
                    "this method is never called: no `{}` begins as this filter and the endpoint's own, {}, both ask",
                    rule.shown(),
                    other.expression.token(),
                );
                let fix = "both have to match: widen the endpoint's filter, or move the method to an endpoint of its own";
                mistakes.at(rule.expression.span(), found, fix);
            }
        }
    }
}

fn matches_nothing(rule: &Rule<'_>, mistakes: &mut Mistakes) -> bool {
    let nothing = beginnings(&rule.expression.value()).is_some_and(|texts| texts.is_empty());
    if nothing {
        let fix = "leave it out, or write one that some text matches; `.*` matches every text";
        mistakes.at(rule.expression.span(), "this filter matches no text at all", fix);
    }
    nothing
}

/// Whether no text can match both from its start.
fn excludes(one: &str, other: &str) -> bool {
    let (Some(one), Some(other)) = (beginnings(one), beginnings(other)) else {
        return false;
    };
    let differ =
        |one: &Vec<u8>, other: &Vec<u8>| !one.starts_with(other) && !other.starts_with(one);
    !one.is_empty() && one.iter().all(|one| other.iter().all(|other| differ(one, other)))
}

/// The texts of which each match from the start begins with one; none if there are too many
/// to say, or if it is no regular expression.
fn beginnings(expression: &str) -> Option<Vec<Vec<u8>>> {
    let hir = regex_syntax::parse(expression).ok()?;
    let found = Extractor::new().kind(ExtractKind::Prefix).extract(&hir);
    Some(found.literals()?.iter().map(|literal| literal.as_bytes().to_vec()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(one: &str, other: &str, expected: bool) {
        assert_eq!(excludes(one, other), expected, "{one} and {other}");
        assert_eq!(excludes(other, one), expected, "{other} and {one}");
    }

    #[test]
    fn what_begins_otherwise_is_excluded() {
        check(r"^volume\.", r"^instance\.", true);
        check("volume", "instance|image", true);
        check("^(volume|image)", "^(instance|port)", true);
    }

    #[test]
    fn what_may_begin_alike_is_left_alone() {
        check(r"^instance\.", r"^instance\.create", false);
        check(r"^instance\.", r"^.*\.end$", false);
        check("volume|instance", "instance", false);
        check("", "instance", false);
        check("(?i)VOLUME", "volume", false);
        check("v?olume", "volume", false);
        check("(", "instance", false);
    }

    #[test]
    fn a_filter_that_matches_nothing_is_known() {
        assert_eq!(beginnings(r"[^\s\S]"), Some(Vec::new()));
        assert_eq!(beginnings("").map(|texts| texts.len()), Some(1));
    }
}
