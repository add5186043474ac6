//! The table of mistakes in the guide, made from the cases of `fail`: it has a row for each,
//! with what the compiler says of it. `GUIDE=overwrite` writes it anew.

use std::fs;
use std::path::Path;

use crate::cases::{self, Case, Said};

const FILE: &str = "../../listener/src/guide/mistakes.md";

const HEAD: &str = "\
All mistakes of form in a block are reported at once, each at the token that is wrong; those of types
follow once there is none.

| mistake | what the compiler says | the fix |
|---|---|---|
";

fn table(cases: &[Case]) -> String {
    let rows = cases.iter().filter_map(|case| match case.said.as_slice() {
        [said] => Some(row(&case.about, said)),
        _ => None,
    });
    HEAD.to_owned() + &rows.collect::<String>()
}

fn row(about: &str, Said { found, fix, .. }: &Said) -> String {
    // A warning is the use of something deprecated; what is said of it stands behind its name.
    let found = match found.strip_prefix("use of deprecated constant ") {
        Some(rest) => rest.split_once(": ").map_or(rest, |(_, found)| found),
        None => found,
    };
    let fix = fix.as_deref().unwrap_or("as the words of rustc say");
    format!("| {} | {} | {} |\n", cell(about), cell(found), cell(fix))
}

/// The text as it stands in a cell: a link where there is one, and no end of the cell.
fn cell(text: &str) -> String {
    let words = text.trim_end_matches('.').split(' ').map(|word| {
        if word.starts_with("https://") { format!("<{word}>") } else { word.to_owned() }
    });
    words.collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

#[test]
fn the_guide_has_every_mistake_as_the_compiler_says_it() {
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
        "{FILE} differs from the cases: write it anew with `GUIDE=overwrite`; it lacks\n{}",
        missing.join("\n")
    );
}

#[test]
fn a_row_is_what_the_case_is_about_what_was_said_and_the_fix() {
    let said = Said {
        file: String::new(),
        place: None,
        found: "`a|b` is wrong".to_owned(),
        fix: Some("see https://docs.rs".to_owned()),
    };
    assert_eq!(
        row("A mistake.", &said),
        "| A mistake | `a\\|b` is wrong | see <https://docs.rs> |\n"
    );
}
