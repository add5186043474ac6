//! Mistakes in one filter: keys that nothing has, and expressions that are none, which
//! `regular.rs` explains. That a method's filter contradicts its endpoint's is said in
//! `never.rs`.

use crate::endpoint::ast::Filter;
use crate::endpoint::check::regular::{Flaw, regular};
use crate::mistake::Mistakes;
use crate::near::nearest;

/// The parts of the metadata.
const METADATA: &[&str] = &["message_id", "timestamp"];

/// Every mistake in a filter.
pub(crate) fn check(filter: &Filter, mistakes: &mut Mistakes) {
    for (key, _) in &filter.metadata {
        if !METADATA.contains(&key.text.as_str()) {
            let found = format_args!("the metadata has no `{}`", key.text);
            let fix = match nearest(&key.text, METADATA, &[("id", "message_id")]) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("it has {}", METADATA.join(" and ")),
            };
            mistakes.at(key.span, found, fix);
        }
    }
    for rule in filter.rules() {
        if let Err(Flaw { found, fix }) = regular(rule.expression) {
            mistakes.at(rule.expression.span(), found, fix);
        }
    }
}
