//! Filters that can match nothing: one that matches no text, and one of a method that excludes its
//! endpoint's. Compares the literal prefixes of the expressions, and reports only what is certain.

use regex_syntax::hir::literal::{ExtractKind, Extractor};

use crate::diagnostic::Diagnostics;
use crate::endpoint::ast::{Filter, Rule};

/// Reports each rule of the endpoint's filter that matches no text.
pub(crate) fn check(endpoint: &Filter, diagnostics: &mut Diagnostics) {
    for rule in endpoint.rules() {
        matches_no_text(&rule, diagnostics);
    }
}

/// Reports each rule of a method's filter that matches no text, or no text that the endpoint's matches.
pub(crate) fn check_method(endpoint: &Filter, method: &Filter, diagnostics: &mut Diagnostics) {
    for rule in method.rules() {
        if matches_no_text(&rule, diagnostics) {
            continue;
        }
        for other in endpoint.rules() {
            if other.has_subject_of(&rule)
                && excludes(&other.expression.value(), &rule.expression.value())
            {
                let message = format_args!(
                    "this method is never called: no `{}` can match both this filter and the endpoint's, {}",
                    rule.subject(),
                    other.expression.token(),
                );
                let help = "both filters must match: widen the endpoint's, or move the method to a separate endpoint";
                diagnostics.at(rule.expression.span(), message, help);
            }
        }
    }
}

fn matches_no_text(rule: &Rule<'_>, diagnostics: &mut Diagnostics) -> bool {
    let is_empty = prefixes(&rule.expression.value()).is_some_and(|prefixes| prefixes.is_empty());
    if is_empty {
        let help = "omit it, or write one that can match; `.*` matches every text";
        diagnostics.at(rule.expression.span(), "this filter matches no text", help);
    }
    is_empty
}

/// Whether no text can match both expressions from its start.
fn excludes(one: &str, other: &str) -> bool {
    let (Some(one), Some(other)) = (prefixes(one), prefixes(other)) else {
        return false;
    };
    let differ =
        |one: &Vec<u8>, other: &Vec<u8>| !one.starts_with(other) && !other.starts_with(one);
    !one.is_empty() && one.iter().all(|one| other.iter().all(|other| differ(one, other)))
}

/// The literal prefixes of all matches; `None` if there are too many, or if the expression is invalid.
fn prefixes(expression: &str) -> Option<Vec<Vec<u8>>> {
    let hir = regex_syntax::parse(expression).ok()?;
    let sequence = Extractor::new().kind(ExtractKind::Prefix).extract(&hir);
    Some(sequence.literals()?.iter().map(|literal| literal.as_bytes().to_vec()).collect())
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
    fn different_prefixes_exclude_each_other() {
        check(r"^volume\.", r"^instance\.", true);
        check("volume", "instance|image", true);
        check("^(volume|image)", "^(instance|port)", true);
    }

    #[test]
    fn expressions_with_a_common_prefix_do_not() {
        check(r"^instance\.", r"^instance\.create", false);
        check(r"^instance\.", r"^.*\.end$", false);
        check("volume|instance", "instance", false);
        check("", "instance", false);
        check("(?i)VOLUME", "volume", false);
        check("v?olume", "volume", false);
        check("(", "instance", false);
    }

    #[test]
    fn an_expression_that_matches_nothing_has_no_prefixes() {
        assert_eq!(prefixes(r"[^\s\S]"), Some(Vec::new()));
        assert_eq!(prefixes("").map(|texts| texts.len()), Some(1));
    }
}
