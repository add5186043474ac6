//! Checks that a literal is a valid regular expression of the `regex` crate, and not too large for it; if
//! not, shows the position of the error and how to fix it. The listener compiles it again when it is built.
//! Called by `filter.rs`.

use regex::Regex;
use regex_syntax::ast::ErrorKind;
use regex_syntax::hir::{Class, Hir, HirKind};
use syn::LitStr;

use crate::diagnostic::Diagnostic;

/// Whether the literal is valid, alone and as the listener embeds it.
pub(crate) fn check(literal: &LitStr) -> Result<(), Diagnostic> {
    let text = literal.value();
    regex_syntax::parse(&text).map_err(|error| diagnostic(literal, &text, &error))?;
    // As in `listener::filter`, so that nothing passes here and fails there.
    let embedded = format!("^(?:{text})");
    let parsed = regex_syntax::parse(&embedded).map_err(|error| match error {
        regex_syntax::Error::Parse(error)
            if matches!(error.kind(), ErrorKind::NestLimitExceeded(_)) =>
        {
            Diagnostic::new(format!("{INVALID}: groups are nested too deeply"), SYNTAX)
        }
        _ => {
            let help = "with `(?x)`, end the last comment with a newline";
            Diagnostic::new(format!("{INVALID}: unterminated comment"), help)
        }
    })?;
    if size(&parsed) > SURELY_COMPILES
        && let Err(regex::Error::CompiledTooBig(limit)) = Regex::new(&embedded)
    {
        let help = "use smaller counts, or classes without Unicode, such as `[0-9]` for `\\d` and `(?-u:\\w)` for `\\w`";
        let message =
            format!("regular expression too large: it compiles to more than {limit} bytes");
        return Err(Diagnostic::new(message, help));
    }
    Ok(())
}

/// The size up to which an expression is not compiled to check it: the limit of the `regex` crate is 10 MiB,
/// and each unit of [`size`] compiles to less than 4 KiB (a range of all Unicode characters to about 1 KiB).
const SURELY_COMPILES: u64 = 10 * 1024 * 1024 / 4096;

/// The size of an expression: the bytes of literals, and the ranges of classes, as often as they are repeated.
fn size(expression: &Hir) -> u64 {
    match expression.kind() {
        HirKind::Empty | HirKind::Look(_) => 1,
        HirKind::Literal(literal) => literal.0.len() as u64,
        HirKind::Class(Class::Unicode(class)) => class.ranges().len() as u64,
        HirKind::Class(Class::Bytes(_)) => 1,
        HirKind::Repetition(repetition) => {
            let times = repetition.max.unwrap_or(repetition.min).max(1);
            size(&repetition.sub).saturating_add(1).saturating_mul(times.into())
        }
        HirKind::Capture(capture) => size(&capture.sub).saturating_add(1),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().fold(1, |sum, part| sum.saturating_add(size(part)))
        }
    }
}

const INVALID: &str = "invalid regular expression";

fn diagnostic(literal: &LitStr, text: &str, error: &regex_syntax::Error) -> Diagnostic {
    use regex_syntax::Error;

    let (what, start, end, help) = match error {
        Error::Parse(error) => {
            let (start, end) = (error.span().start.offset, error.span().end.offset);
            (
                error.kind().to_string(),
                start,
                end,
                help(error.kind(), &text[..start], &text[start..]),
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
    Diagnostic::new(format!("{INVALID}: {what} at offset {from}{picture}"), help)
}

/// The source of the literal, with carets under the characters `from..to` of its value: on stable, the
/// span of an error cannot be a part of a literal. `None` for a literal of several lines.
fn picture(source: &str, from: usize, to: usize) -> Option<String> {
    let columns = columns(source)?;
    let (start, end) = (*columns.get(from)?, *columns.get(to)?);
    let (before, carets) = (" ".repeat(start), "^".repeat(end.saturating_sub(start).max(1)));
    Some(format!("\n  {source}\n  {before}{carets}"))
}

/// For each character of the value, and for its end, the column in the literal.
fn columns(source: &str) -> Option<Vec<usize>> {
    let is_raw = source.starts_with('r');
    let open = source.find('"')?;
    let close = source.rfind('"').filter(|close| *close > open)?;
    let inside: Vec<char> = source[open + 1..close].chars().collect();
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

const SYNTAX: &str = "see the syntax of the `regex` crate: https://docs.rs/regex/#syntax";

/// The help, which covers what Python's `re` supports and the `regex` crate does not.
fn help(kind: &ErrorKind, before: &str, rest: &str) -> &'static str {
    let is_group = before.ends_with("(?");
    match kind {
        ErrorKind::UnsupportedLookAround => {
            "Python's look-around is not supported: match what must be present, and check the rest in the method"
        }
        ErrorKind::UnsupportedBackreference => BACKREFERENCE,
        ErrorKind::FlagUnrecognized if is_group && rest.starts_with("P=") => BACKREFERENCE,
        ErrorKind::FlagUnrecognized if is_group && rest.starts_with('>') => {
            "Python's atomic groups are not supported, and not needed because matching takes linear time: write `(?:..)`"
        }
        ErrorKind::FlagUnrecognized if is_group && rest.starts_with('#') => {
            "Python's `(?#..)` comments are not supported: write a Rust comment next to the filter"
        }
        ErrorKind::FlagUnrecognized if is_group && rest.starts_with('(') => {
            "Python's conditional groups are not supported: write both cases with `|`"
        }
        ErrorKind::FlagUnrecognized if is_group && rest.starts_with(['a', 'L']) => {
            "Python's flags `a` and `L` are not supported: `(?-u)` makes classes ASCII-only"
        }
        ErrorKind::EscapeUnrecognized if rest.starts_with("\\Z") => {
            "write `\\z` for Python's `\\Z`"
        }
        ErrorKind::EscapeUnrecognized if rest.starts_with("\\N") => {
            "Python's `\\N{..}` is not supported: write the character, or `\\u{..}`"
        }
        ErrorKind::RepetitionCountDecimalEmpty
            if rest.starts_with(',') || before.ends_with('{') =>
        {
            "write `{0,n}` for Python's `{,n}`; escape a literal `{` as `\\{`"
        }
        ErrorKind::RepetitionCountUnclosed
        | ErrorKind::RepetitionCountInvalid
        | ErrorKind::RepetitionCountDecimalEmpty => "escape a literal `{` as `\\{`",
        ErrorKind::GroupUnclosed => "close it with `)`, or escape a literal `(` as `\\(`",
        ErrorKind::GroupUnopened => "open it with `(`, or escape a literal `)` as `\\)`",
        ErrorKind::ClassUnclosed => "close it with `]`, or escape a literal `[` as `\\[`",
        ErrorKind::RepetitionMissing => {
            "write an expression before it, such as `.*` for any text; escape a literal character, such as `\\*`"
        }
        _ => SYNTAX,
    }
}

const BACKREFERENCE: &str = "Python's backreferences are not supported: use a less strict filter, and compare in the method";

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_message(literal: &str, expected: &str) {
        let literal: LitStr = syn::parse_str(literal).expect("a literal");
        let diagnostic = check(&literal).expect_err("it is invalid");
        assert_eq!(diagnostic.message(), format!("{INVALID}: {expected}"));
    }

    #[track_caller]
    fn check_help(expression: &str, expected: &str) {
        let literal = LitStr::new(expression, proc_macro2::Span::call_site());
        let diagnostic = check(&literal).expect_err("it is invalid");
        assert!(diagnostic.help().contains(expected), "{}", diagnostic.help());
    }

    #[test]
    fn expressions_that_the_listener_compiles_are_valid() {
        for expression in ["", r"^compute\.", "a|b", r"(?i)é+\z", "(?P<name>a)", "(?x) a # b\n"] {
            let literal = LitStr::new(expression, proc_macro2::Span::call_site());
            assert_eq!(check(&literal), Ok(()), "{expression}");
        }
    }

    #[test]
    fn carets_are_under_the_error_in_every_kind_of_literal() {
        check_message(
            r##"r#"compute("#"##,
            "unclosed group at offset 7\n  r#\"compute(\"#\n            ^",
        );
        check_message(
            r#""\u{e9}\x41\\d[""#,
            "unclosed character class at offset 4\n  \"\\u{e9}\\x41\\\\d[\"\n                ^",
        );
        check_message("\"a\nb)\"", "unopened group at offset 3");
        check_message(
            r#"r"a(?=b)""#,
            "look-around, including look-ahead and look-behind, is not supported at offset 1\n  r\"a(?=b)\"\n     ^^^",
        );
    }

    #[test]
    fn help_names_syntax_that_only_python_supports() {
        check_help("a(?!b)", "look-around");
        check_help(r"(a)\1", "backreferences");
        check_help("(?P<a>b)(?P=a)", "backreferences");
        check_help(r"end\Z", r"`\z`");
        check_help("(?>a)", "atomic groups");
        check_help("(?#a)", "comments");
        check_help("(a)?(?(1)b|c)", "conditional");
        check_help("(?L)a", "flags");
        check_help(r"\N{BULLET}", "N{..}");
        check_help("a{,3}", "{0,n}");
    }

    #[test]
    fn what_is_accepted_without_compiling_it_compiles() {
        for expression in [
            r"[\x{81}-\x{10FFFE}]{1200}",
            r"(?:[\x{81}-\x{10FFFE}][\x{82}-\x{10FFFD}]){800}",
            r"\w{3}",
            r"(?i)(?:k|s){900}",
            r"(?:a|b|[c-z]{10}){200}",
            r"\p{L}{3}",
            ".{1000}",
        ] {
            let parsed = regex_syntax::parse(&format!("^(?:{expression})")).expect("it is valid");
            let compiles = Regex::new(&format!("^(?:{expression})")).is_ok();
            assert!(compiles || size(&parsed) > SURELY_COMPILES, "{expression}: {}", size(&parsed));
        }
    }

    #[test]
    fn an_expression_that_is_too_large_is_reported() {
        for expression in [r"\w{5000}", "(?:a{1000}){1000}", "(?:[\\x{81}-\\x{10FFFE}]{100}){1700}"]
        {
            let literal = LitStr::new(expression, proc_macro2::Span::call_site());
            let diagnostic = check(&literal).expect_err("it is too large");
            assert!(diagnostic.message().contains("too large"), "{}", diagnostic.message());
        }
    }

    #[test]
    fn an_expression_that_is_invalid_only_when_embedded_is_reported() {
        check_message(r#""(?x) a # b""#, "unterminated comment");
    }
}
