//! Mistakes in filters: keys that nothing has, and expressions that are no regular
//! expressions of the `regex` crate. The listener compiles them again when it is built; only
//! one that is too large once compiled is found there and not here.

use regex_syntax::ast::ErrorKind;
use syn::LitStr;

use crate::attr::Key;
use crate::endpoint::ast::Filter;
use crate::mistake::Mistakes;
use crate::near::nearest;

/// The parts of the metadata.
const METADATA: &[&str] = &["message_id", "timestamp"];

/// Every mistake in a filter.
pub(crate) fn check(filter: &Filter, mistakes: &mut Mistakes) {
    for (key, _) in &filter.metadata {
        if !METADATA.contains(&key.text.as_str()) {
            let found = format_args!("the metadata has no `{}`", key.text);
            let mend = match nearest(&key.text, METADATA, &[("id", "message_id")]) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("it has {}", METADATA.join(" and ")),
            };
            mistakes.at(key.span, found, mend);
        }
    }
    let by_key = |rules: &'_ [(Key, LitStr)]| -> Vec<LitStr> {
        rules.iter().map(|(_, expression)| expression.clone()).collect()
    };
    let expressions = [&filter.publisher_id, &filter.event_type]
        .into_iter()
        .flatten()
        .cloned()
        .chain(by_key(&filter.context))
        .chain(by_key(&filter.metadata))
        .chain(by_key(&filter.payload));
    for expression in expressions {
        if let Err(Flaw { found, mend }) = regular(&expression.value()) {
            mistakes.at(expression.span(), found, mend);
        }
    }
}

/// What is wrong with an expression.
#[derive(Debug, PartialEq, Eq)]
struct Flaw {
    found: String,
    mend: &'static str,
}

/// Whether the text is a regular expression, alone and where the listener puts it.
fn regular(text: &str) -> Result<(), Flaw> {
    regex_syntax::parse(text).map_err(|error| flaw(text, &error))?;
    // As in `listener::filter`, so that nothing passes here that would fail there.
    regex_syntax::parse(&format!("^(?:{text})")).map(drop).map_err(|_| Flaw {
        found: "not a regular expression: its last comment has no end".to_owned(),
        mend: "with `(?x)`, end the last comment with a line break",
    })
}

fn flaw(text: &str, error: &regex_syntax::Error) -> Flaw {
    use regex_syntax::Error;

    let (what, start, end, mend) = match error {
        Error::Parse(error) => {
            let (start, end) = (error.span().start.offset, error.span().end.offset);
            (error.kind().to_string(), start, end, mend(error.kind(), &text[start..]))
        }
        Error::Translate(error) => {
            let (start, end) = (error.span().start.offset, error.span().end.offset);
            (error.kind().to_string(), start, end, SYNTAX)
        }
        other => (other.to_string(), 0, text.len(), SYNTAX),
    };
    let offset = text[..start].chars().count();
    let place = match &text[start..end] {
        "" => format!("at offset {offset}"),
        part => format!("at offset {offset}: `{part}`"),
    };
    Flaw { found: format!("not a regular expression: {what} {place}"), mend }
}

const SYNTAX: &str = "the syntax is that of the `regex` crate: https://docs.rs/regex/#syntax";

/// The mend for what Python's `re` knows and the `regex` crate does not.
fn mend(kind: &ErrorKind, rest: &str) -> &'static str {
    match kind {
        ErrorKind::UnsupportedLookAround => {
            "Python's look-around has no counterpart here: filter by what must be there, and leave the rest to the method"
        }
        ErrorKind::UnsupportedBackreference => {
            "Python's backreferences have no counterpart here: filter more loosely, and compare in the method"
        }
        ErrorKind::EscapeUnrecognized if rest.starts_with("\\Z") => "Python's `\\Z` is `\\z` here",
        ErrorKind::RepetitionCountUnclosed
        | ErrorKind::RepetitionCountInvalid
        | ErrorKind::RepetitionCountDecimalEmpty => "a `{` that stands for itself is written `\\{`",
        _ => SYNTAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(expression: &str, expected: &str) {
        let flaw = regular(expression).expect_err("it is no regular expression");
        assert_eq!(flaw.found, format!("not a regular expression: {expected}"));
    }

    #[test]
    fn what_the_listener_compiles_passes() {
        for expression in ["", r"^compute\.", "a|b", r"(?i)é+\z", "(?P<name>a)", "(?x) a # b\n"] {
            assert_eq!(regular(expression), Ok(()), "{expression}");
        }
    }

    #[test]
    fn the_offset_counts_characters() {
        check("compute(", "unclosed group at offset 7: `(`");
        check("é[", "unclosed character class at offset 1: `[`");
        check("a)", "unopened group at offset 1: `)`");
    }

    #[test]
    fn what_only_python_knows_is_named() {
        check(
            "a(?=b)",
            "look-around, including look-ahead and look-behind, is not supported at offset 1: `(?=`",
        );
        check(r"(a)\1", r"backreferences are not supported at offset 3: `\1`");
        check(r"end\Z", r"unrecognized escape sequence at offset 3: `\Z`");
    }

    #[test]
    fn an_unknown_class_is_named() {
        check(r"\p{Foo}", r"Unicode property not found at offset 0: `\p{Foo}`");
    }

    #[test]
    fn what_fails_only_where_the_listener_puts_it_fails_here() {
        check("(?x) a # b", "its last comment has no end");
    }
}
