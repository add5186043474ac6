//! Each error of a case in `fail` stands at a token that the case marks, each marked token has
//! one, and each suggests a fix. Read from the recordings, which `main.rs` holds to the compiler.

use crate::cases::{self, Case, Place, Said};

/// Mistakes that rustc alone can see, and about which nothing can be added: they stand at the
/// user's own token, and the words are its own.
const OF_RUSTC: [&str; 2] = ["init_unknown", "two_blocks"];

/// What is wrong with a case, against its recording.
fn mistakes(case: &Case) -> Vec<String> {
    let Case { name, marked, said, .. } = case;
    let file = format!("fail/{name}.rs");
    let mut mistakes = Vec::new();
    let is_many = name.starts_with("many_");
    if marked.is_empty() || (marked.len() > 1) != is_many {
        mistakes.push(format!("{file}: marks {} tokens: one mistake a file", marked.len()));
    }
    for Said { found, fix, file: at, .. } in said {
        if *at != file {
            mistakes.push(format!("{file}: is said to be at {at:?}: {found}"));
        }
        if fix.is_none() && !OF_RUSTC.contains(&name.as_str()) {
            mistakes.push(format!("{file}: suggests no fix: {found}"));
        }
    }
    let mut marked: Vec<&Place> = marked.iter().collect();
    let mut reported: Vec<&Place> = said.iter().filter_map(|said| said.place.as_ref()).collect();
    marked.sort();
    reported.sort();
    if marked != reported {
        mistakes.push(format!("{file}: marked {marked:?}, reported {reported:?}"));
    }
    mistakes
}

#[test]
fn every_error_stands_at_a_marked_token_and_suggests_a_fix() {
    let cases = cases::all();
    assert!(cases.len() >= 80, "too few cases were found: {}", cases.len());
    let mistakes: Vec<String> = cases.iter().flat_map(mistakes).collect();
    assert!(mistakes.is_empty(), "\n{}\n", mistakes.join("\n"));
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
error: an endpoint method takes `&self`
       help: take `&self`
 --> fail/receiver.rs:2:9
  |
2 | fn info(self) {}
  |         ^^^^
";

    fn check(source: &str, recording: &str, expected: &[&str]) {
        let case = Case {
            name: "receiver".to_owned(),
            about: String::new(),
            marked: cases::marked(source),
            said: cases::said(recording),
        };
        assert_eq!(mistakes(&case), expected);
    }

    #[test]
    fn an_error_at_the_mark_with_a_fix_is_right() {
        check(SOURCE, RECORDING, &[]);
    }

    #[test]
    fn an_error_beside_the_mark_is_a_mistake() {
        check(
            SOURCE,
            &RECORDING.replace("2:9", "2:4").replace("      ^^^^", " ^^^^^^^"),
            &[
                "fail/receiver.rs: marked [Place { line: 2, from: 9, to: 12 }], reported [Place { line: 2, from: 4, to: 10 }]",
            ],
        );
    }

    #[test]
    fn an_error_that_is_longer_than_the_mark_is_a_mistake() {
        check(
            SOURCE,
            &RECORDING.replace("^^^^", "^^^^^"),
            &[
                "fail/receiver.rs: marked [Place { line: 2, from: 9, to: 12 }], reported [Place { line: 2, from: 9, to: 13 }]",
            ],
        );
    }

    #[test]
    fn an_error_in_generated_code_is_a_mistake() {
        check(
            SOURCE,
            &RECORDING.replace("fail/receiver.rs", "$WORKSPACE/listener/src/endpoint.rs"),
            &[
                "fail/receiver.rs: is said to be at \"$WORKSPACE/listener/src/endpoint.rs\": an endpoint method takes `&self`",
            ],
        );
    }

    #[test]
    fn a_second_error_is_a_mistake() {
        check(
            SOURCE,
            &format!("{RECORDING}\n{RECORDING}"),
            &[
                "fail/receiver.rs: marked [Place { line: 2, from: 9, to: 12 }], reported [Place { line: 2, from: 9, to: 12 }, Place { line: 2, from: 9, to: 12 }]",
            ],
        );
    }

    #[test]
    fn an_error_without_a_fix_is_a_mistake() {
        check(
            SOURCE,
            &RECORDING.replace("       help: take `&self`\n", ""),
            &["fail/receiver.rs: suggests no fix: an endpoint method takes `&self`"],
        );
        check(
            SOURCE,
            &RECORDING.replace("help: take `&self`", "help: the trait `X` is not implemented"),
            &["fail/receiver.rs: suggests no fix: an endpoint method takes `&self`"],
        );
    }

    #[test]
    fn a_case_without_a_mark_is_a_mistake() {
        check("fn info(self) {}", "", &["fail/receiver.rs: marks 0 tokens: one mistake a file"]);
    }

    #[test]
    fn a_mark_at_the_beginning_of_a_line_counts_itself() {
        let expected = [Place { line: 1, from: 1, to: 5 }];
        assert_eq!(cases::marked("#[on]\n//~^^\n"), expected);
        let expected = [Place { line: 1, from: 5, to: 6 }, Place { line: 1, from: 8, to: 8 }];
        assert_eq!(cases::marked("a b c d e\n//~ ^^ ^\n"), expected);
    }
}
