//! Each error of a case in `fail` is at a token that the case marks, and each marked token has one error, with
//! every compiler. Each recorded error suggests a fix.

use std::path::Path;

use crate::cases::{self, Case, Diagnostic, Span};
use crate::outside::{Compiler, Source};

/// Errors of rustc itself, to which nothing can be added, each with the fix for the guide. They are at the
/// user's token.
pub(crate) const BY_RUSTC: &[(&str, &str)] = &[
    ("attribute_unknown", "import it, or write its path"),
    ("init_unknown", "define the function, or correct the path"),
    ("lifetime_of_parameter", "leave `'static` out, or own the value"),
    ("lifetime_undeclared", "write `'_`, or declare the lifetime"),
    ("lifetime_undeclared_in_error", "own the values in the error"),
    ("lifetime_undeclared_in_reference", "leave the lifetime out"),
    ("regex_not_raw", "write a raw string: `r\"^compute\\.\"`"),
    ("two_blocks", "put all endpoint methods of a type into one block"),
    ("type_placeholder", "write the type"),
    ("type_unknown", "import the type, or correct its name"),
    ("type_unknown_in_error", "import the type, or correct its name"),
    ("type_unknown_in_option", "import the type, or correct its name"),
    ("type_unknown_of_extractor", "import the type, or correct its name"),
];

/// The differences between the marks of a case and the places of these errors.
fn misplaced(case: &Case, errors: &[Diagnostic]) -> Vec<String> {
    let Case { name, marked, .. } = case;
    let file = format!("fail/{name}.rs");
    let mut differences = Vec::new();
    let is_many = name.starts_with("many_");
    if marked.is_empty() || (marked.len() > 1) != is_many {
        differences.push(format!("{file}: marks {} tokens, expected one", marked.len()));
    }
    for Diagnostic { message, file: at, .. } in errors {
        if *at != file {
            differences.push(format!("{file}: reported at {at:?}: {message}"));
        }
    }
    let mut marked: Vec<&Span> = marked.iter().collect();
    let mut reported: Vec<&Span> =
        errors.iter().filter_map(|diagnostic| diagnostic.span.as_ref()).collect();
    marked.sort();
    reported.sort();
    if marked != reported {
        differences.push(format!("{file}: marked {marked:?}, reported {reported:?}"));
    }
    differences
}

/// The recorded errors that do not suggest a fix.
fn helpless(case: &Case) -> Vec<String> {
    let Case { name, diagnostics, .. } = case;
    let by_rustc = BY_RUSTC.iter().any(|(by_rustc, _)| by_rustc == name);
    diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.help.is_none() && !by_rustc)
        .map(|diagnostic| format!("fail/{name}.rs: has no help: {}", diagnostic.message))
        .collect()
}

#[test]
fn every_error_is_at_a_marked_token() {
    let cases = cases::all();
    let source = |case: &Case| Source {
        name: case.name.clone(),
        file: Path::new("fail").join(format!("{}.rs", case.name)),
    };
    let sources: Vec<Source> = cases.iter().map(source).collect();
    let compiled = Compiler::new("places").compile(&sources);
    let differences: Vec<String> =
        cases.iter().zip(&compiled).flat_map(|(case, errors)| misplaced(case, errors)).collect();
    assert!(differences.is_empty(), "\n{}\n", differences.join("\n"));
}

#[test]
fn every_error_suggests_a_fix() {
    let differences: Vec<String> = cases::all().iter().flat_map(helpless).collect();
    assert!(differences.is_empty(), "\n{}\n", differences.join("\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "\
//! A receiver by value.
fn info(self) {}
//~     ^^^^
";

    const RECORDING: &str = "\
error: an endpoint method must take `&self`
       help: take `&self`
 --> fail/receiver.rs:2:9
  |
2 | fn info(self) {}
  |         ^^^^
";

    fn check(source: &str, recording: &str, expected: &[&str]) {
        let case = Case {
            name: "receiver".to_owned(),
            title: String::new(),
            marked: cases::marked(source),
            diagnostics: cases::diagnostics(recording),
        };
        let differences = [misplaced(&case, &case.diagnostics), helpless(&case)].concat();
        assert_eq!(differences, expected);
    }

    #[test]
    fn an_error_at_the_mark_with_help_is_accepted() {
        check(SOURCE, RECORDING, &[]);
    }

    #[test]
    fn an_error_at_another_token_is_rejected() {
        check(
            SOURCE,
            &RECORDING.replace("2:9", "2:4").replace("      ^^^^", " ^^^^^^^"),
            &[
                "fail/receiver.rs: marked [Span { line: 2, from: 9, to: 12 }], reported [Span { line: 2, from: 4, to: 10 }]",
            ],
        );
    }

    #[test]
    fn an_error_that_is_longer_than_the_mark_is_rejected() {
        check(
            SOURCE,
            &RECORDING.replace("^^^^", "^^^^^"),
            &[
                "fail/receiver.rs: marked [Span { line: 2, from: 9, to: 12 }], reported [Span { line: 2, from: 9, to: 13 }]",
            ],
        );
    }

    #[test]
    fn an_error_in_generated_code_is_rejected() {
        check(
            SOURCE,
            &RECORDING.replace("fail/receiver.rs", "$WORKSPACE/listener/src/endpoint.rs"),
            &[
                "fail/receiver.rs: reported at \"$WORKSPACE/listener/src/endpoint.rs\": an endpoint method must take `&self`",
            ],
        );
    }

    #[test]
    fn a_second_error_is_rejected() {
        check(
            SOURCE,
            &format!("{RECORDING}\n{RECORDING}"),
            &[
                "fail/receiver.rs: marked [Span { line: 2, from: 9, to: 12 }], reported [Span { line: 2, from: 9, to: 12 }, Span { line: 2, from: 9, to: 12 }]",
            ],
        );
    }

    #[test]
    fn an_error_without_help_is_rejected() {
        check(
            SOURCE,
            &RECORDING.replace("       help: take `&self`\n", ""),
            &["fail/receiver.rs: has no help: an endpoint method must take `&self`"],
        );
        check(
            SOURCE,
            &RECORDING.replace("help: take `&self`", "help: the trait `X` is not implemented"),
            &["fail/receiver.rs: has no help: an endpoint method must take `&self`"],
        );
    }

    #[test]
    fn a_case_without_a_mark_is_rejected() {
        check("fn info(self) {}", "", &["fail/receiver.rs: marks 0 tokens, expected one"]);
    }

    #[test]
    fn a_mark_at_the_start_of_a_line_includes_the_comment() {
        let expected = [Span { line: 1, from: 1, to: 5 }];
        assert_eq!(cases::marked("#[on]\n//~^^\n"), expected);
        let expected = [Span { line: 1, from: 5, to: 6 }, Span { line: 1, from: 8, to: 8 }];
        assert_eq!(cases::marked("a b c d e\n//~ ^^ ^\n"), expected);
    }
}
