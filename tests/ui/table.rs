//! The table of errors in the guide, generated from the cases of `fail`: one row for each, with the message.
//! `GUIDE=overwrite` writes it again.

use std::fs;
use std::path::Path;

use crate::cases::{self, Case, Diagnostic};
use crate::spans::BY_RUSTC;

const FILE: &str = "../../listener/src/guide/mistakes.md";

const HEAD: &str = "\
All errors that the attribute finds are reported at once, each at the token that is wrong; type errors are
reported once there are none. While the block has a syntax error of Rust, only rustc reports.

| mistake | message | help |
|---|---|---|
";

fn table(cases: &[Case]) -> String {
    let rows = cases.iter().filter_map(|case| match case.diagnostics.as_slice() {
        [diagnostic] => Some(row(case, diagnostic)),
        _ => None,
    });
    HEAD.to_owned() + &rows.collect::<String>()
}

fn row(case: &Case, Diagnostic { message, help, .. }: &Diagnostic) -> String {
    let Case { title, name, .. } = case;
    // A warning is the use of a deprecated constant, followed by its name and the message.
    let message = match message.strip_prefix("use of deprecated constant ") {
        Some(rest) => rest.split_once(": ").map_or(rest, |(_, message)| message),
        None => message,
    };
    let by_rustc = || BY_RUSTC.iter().find(|(by_rustc, _)| by_rustc == name).map(|(_, fix)| *fix);
    let help = help.as_deref().or_else(by_rustc).unwrap_or("see the message");
    format!("| {} | {} | {} |\n", cell(title), cell(message), cell(help))
}

/// The text of a cell, with links, and with `|` escaped.
fn cell(text: &str) -> String {
    let words = text.trim_end_matches('.').split(' ').map(|word| {
        if word.starts_with("https://") { format!("<{word}>") } else { word.to_owned() }
    });
    words.collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

#[test]
fn the_guide_has_every_error_with_its_message() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let expected = table(&cases::all());
    if std::env::var("GUIDE").is_ok_and(|asked| asked == "overwrite") {
        fs::write(&path, &expected).expect("the guide can be written");
    }
    let text = fs::read_to_string(&path).unwrap_or_default();
    let missing: Vec<&str> =
        expected.lines().filter(|row| !text.lines().any(|line| line == *row)).collect();
    assert!(
        text == expected,
        "{FILE} differs from the cases: write it again with `GUIDE=overwrite`; it lacks\n{}",
        missing.join("\n")
    );
}

#[test]
fn a_row_is_the_title_the_message_and_the_help() {
    let diagnostic = Diagnostic {
        file: String::new(),
        span: None,
        message: "`a|b` is wrong".to_owned(),
        help: Some("see https://docs.rs".to_owned()),
    };
    let case = Case {
        name: String::new(),
        title: "A mistake.".to_owned(),
        marked: Vec::new(),
        diagnostics: Vec::new(),
    };
    assert_eq!(
        row(&case, &diagnostic),
        "| A mistake | `a\\|b` is wrong | see <https://docs.rs> |\n"
    );
}
