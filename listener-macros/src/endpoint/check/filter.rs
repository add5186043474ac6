//! Checks one filter: the metadata must have the keys, and each expression must be valid
//! (`regex.rs`). `unmatchable.rs` compares a method's filter with its endpoint's.

use crate::diagnostic::Diagnostics;
use crate::endpoint::ast::Filter;
use crate::endpoint::check::regex;
use crate::similar::similar;

/// The keys of the metadata.
const METADATA: &[&str] = &["message_id", "timestamp"];

/// All errors in a filter.
pub(crate) fn check(filter: &Filter, diagnostics: &mut Diagnostics) {
    for (key, _) in &filter.metadata {
        if !METADATA.contains(&key.text.as_str()) {
            let message = format_args!("unknown metadata key `{}`", key.text);
            let help = match similar(&key.text, METADATA, &[("id", "message_id")]) {
                Some(similar) => format!("did you mean `{similar}`?"),
                None => format!("the keys are {}", METADATA.join(" and ")),
            };
            diagnostics.at(key.span, message, help);
        }
    }
    for rule in filter.rules() {
        if let Err(diagnostic) = regex::check(rule.expression) {
            diagnostics.add(diagnostic.at(rule.expression.span()));
        }
    }
}
