//! Whether a literal is a regular expression of the `regex` crate, and if not, where and how
//! to fix it. The listener compiles it again when it is built; only one that is too large
//! once compiled is found there and not here. Called by `filter.rs`.

use regex_syntax::ast::ErrorKind;
use syn::LitStr;

/// What is wrong with an expression.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Flaw {
    pub(crate) found: String,
    pub(crate) fix: &'static str,
}

/// Whether the literal is a regular expression, alone and where the listener puts it.
pub(crate) fn regular(literal: &LitStr) -> Result<(), Flaw> {
    let text = literal.value();
    regex_syntax::parse(&text).map_err(|error| flaw(literal, &text, &error))?;
    // As in `listener::filter`, so that nothing passes here that would fail there.
    regex_syntax::parse(&format!("^(?:{text})")).map(drop).map_err(|_| Flaw {
        found: "not a regular expression: its last comment has no end".to_owned(),
        fix: "with `(?x)`, end the last comment with a line break",
    })
}

fn flaw(literal: &LitStr, text: &str, error: &regex_syntax::Error) -> Flaw {
    use regex_syntax::Error;

    let (what, start, end, fix) = match error {
        Error::Parse(error) => {
            let (start, end) = (error.span().start.offset, error.span().end.offset);
            (
                error.kind().to_string(),
                start,
                end,
                fix(error.kind(), &text[..start], &text[start..]),
            )
        }
        Error::Translate(error) => {
            let (start, end) = (error.span().start.offset, error.span().end.offset);
            (error.kind().to_string(), start, end, SYNTAX)
        }
        other => (other.to_string(), 0, text.len(), SYNTAX),
    };
    let (from, to) = (text[..start].chars().count(), text[..end].chars().count());
    let picture = picture(&literal.token().to_string(), from, to).unwrap_or_default();
    Flaw { found: format!("not a regular expression: {what} at offset {from}{picture}"), fix }
}

/// The literal as it was written, and carets under the characters of its value from `from` to
/// `to`: on stable, an error can stand at a whole literal only. None for several lines.
fn picture(written: &str, from: usize, to: usize) -> Option<String> {
    let columns = columns(written)?;
    let (start, end) = (*columns.get(from)?, *columns.get(to)?);
    let (before, carets) = (" ".repeat(start), "^".repeat(end.saturating_sub(start).max(1)));
    Some(format!("\n  {written}\n  {before}{carets}"))
}

/// For each character of the value, and for its end, the column in the literal.
fn columns(written: &str) -> Option<Vec<usize>> {
    let is_raw = written.starts_with('r');
    let open = written.find('"')?;
    let close = written.rfind('"').filter(|close| *close > open)?;
    let inside: Vec<char> = written[open + 1..close].chars().collect();
    if inside.contains(&'\n') {
        return None;
    }
    let (mut columns, mut at) = (Vec::new(), 0);
    while at < inside.len() {
        columns.push(open + 1 + at);
        at += match (inside[at], inside.get(at + 1)) {
            ('\\', Some('x')) if !is_raw => 4,
            ('\\', Some('u')) if !is_raw => {
                inside[at..].iter().position(|character| *character == '}')? + 1
            }
            ('\\', Some(_)) if !is_raw => 2,
            _ => 1,
        };
    }
    columns.push(open + 1 + at);
    Some(columns)
}

const SYNTAX: &str = "the syntax is that of the `regex` crate: https://docs.rs/regex/#syntax";

/// The fix, which names what Python's `re` knows and the `regex` crate does not.
fn fix(kind: &ErrorKind, before: &str, rest: &str) -> &'static str {
    let is_group = before.ends_with("(?");
    match kind {
        ErrorKind::UnsupportedLookAround => {
            "Python's look-around has no counterpart here: filter by what must be there, and leave the rest to the method"
        }
        ErrorKind::UnsupportedBackreference => BACKREFERENCE,
        ErrorKind::FlagUnrecognized if is_group && rest.starts_with("P=") => BACKREFERENCE,
        ErrorKind::FlagUnrecognized if is_group && rest.starts_with('>') => {
            "Python's atomic groups have no counterpart here, nor a need: matching is linear in time; write `(?:..)`"
        }
        ErrorKind::FlagUnrecognized if is_group && rest.starts_with('#') => {
            "Python's `(?#..)` comments have no counterpart here: write a comment of Rust beside the filter"
        }
        ErrorKind::FlagUnrecognized if is_group && rest.starts_with('(') => {
            "Python's conditional groups have no counterpart here: write both cases with `|`"
        }
        ErrorKind::FlagUnrecognized if is_group && rest.starts_with(['a', 'L']) => {
            "Python's flags `a` and `L` have no counterpart here: `(?-u)` makes classes ASCII"
        }
        ErrorKind::EscapeUnrecognized if rest.starts_with("\\Z") => "Python's `\\Z` is `\\z` here",
        ErrorKind::EscapeUnrecognized if rest.starts_with("\\N") => {
            "Python's `\\N{..}` has no counterpart here: write the character, or `\\u{..}`"
        }
        ErrorKind::RepetitionCountDecimalEmpty
            if rest.starts_with(',') || before.ends_with('{') =>
        {
            "Python's `{,n}` is `{0,n}` here; a `{` that stands for itself is written `\\{`"
        }
        ErrorKind::RepetitionCountUnclosed
        | ErrorKind::RepetitionCountInvalid
        | ErrorKind::RepetitionCountDecimalEmpty => "a `{` that stands for itself is written `\\{`",
        ErrorKind::GroupUnclosed => {
            "close it with `)`; a `(` that stands for itself is written `\\(`"
        }
        ErrorKind::GroupUnopened => {
            "open it with `(`; a `)` that stands for itself is written `\\)`"
        }
        ErrorKind::ClassUnclosed => {
            "close it with `]`; a `[` that stands for itself is written `\\[`"
        }
        ErrorKind::RepetitionMissing => {
            "write before it what is repeated: `.*` is any text; what stands for itself is written with a `\\`, as in `\\*`"
        }
        _ => SYNTAX,
    }
}

const BACKREFERENCE: &str = "Python's backreferences have no counterpart here: filter more loosely, and compare in the method";

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(literal: &str, expected: &str) {
        let literal: LitStr = syn::parse_str(literal).expect("a literal");
        let flaw = regular(&literal).expect_err("it is no regular expression");
        assert_eq!(flaw.found, format!("not a regular expression: {expected}"));
    }

    #[track_caller]
    fn check_fix(expression: &str, expected: &str) {
        let literal = LitStr::new(expression, proc_macro2::Span::call_site());
        let flaw = regular(&literal).expect_err("it is no regular expression");
        assert!(flaw.fix.contains(expected), "{}", flaw.fix);
    }

    #[test]
    fn what_the_listener_compiles_passes() {
        for expression in ["", r"^compute\.", "a|b", r"(?i)é+\z", "(?P<name>a)", "(?x) a # b\n"] {
            let literal = LitStr::new(expression, proc_macro2::Span::call_site());
            assert_eq!(regular(&literal), Ok(()), "{expression}");
        }
    }

    #[test]
    fn carets_stand_under_the_mistake_however_the_literal_is_written() {
        check(r##"r#"compute("#"##, "unclosed group at offset 7\n  r#\"compute(\"#\n            ^");
        check(
            r#""\u{e9}\x41\\d[""#,
            "unclosed character class at offset 4\n  \"\\u{e9}\\x41\\\\d[\"\n                ^",
        );
        check("\"a\nb)\"", "unopened group at offset 3");
        check(
            r#"r"a(?=b)""#,
            "look-around, including look-ahead and look-behind, is not supported at offset 1\n  r\"a(?=b)\"\n     ^^^",
        );
    }

    #[test]
    fn what_only_python_knows_is_named() {
        check_fix("a(?!b)", "look-around");
        check_fix(r"(a)\1", "backreferences");
        check_fix("(?P<a>b)(?P=a)", "backreferences");
        check_fix(r"end\Z", r"`\z`");
        check_fix("(?>a)", "atomic groups");
        check_fix("(?#a)", "comments");
        check_fix("(a)?(?(1)b|c)", "conditional");
        check_fix("(?L)a", "flags");
        check_fix(r"\N{BULLET}", "N{..}");
        check_fix("a{,3}", "{0,n}");
    }

    #[test]
    fn what_fails_only_where_the_listener_puts_it_fails_here() {
        check(r#""(?x) a # b""#, "its last comment has no end");
    }
}
