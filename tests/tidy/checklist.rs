//! The checklist of oslo.messaging (`listener/src/guide/oslo.md`): each test that it names exists, each row
//! has a status and what that needs, and the numbers on the page are those of its rows.

use std::collections::BTreeSet;

use crate::tree::{self, File};

const PAGE: &str = "listener/src/guide/oslo.md";

/// A row of the page: `held`, `differs` or `not yet`, and the tests that it names.
#[derive(Debug, PartialEq, Eq)]
struct Row<'a> {
    number: Option<usize>,
    here: &'a str,
    tests: Vec<&'a str>,
}

/// The rows of all tables, without their headings.
fn rows(page: &str) -> Vec<Row<'_>> {
    let lines = page.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix('|'));
    let cells = lines.map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    let rows = cells.filter_map(|cells| match *cells {
        [number, _, here, tests] => {
            (number != "#").then(|| Row::new(Some(number.parse().expect(number)), here, tests))
        }
        [_, _, "example"] => None,
        [_, _, example] if example.starts_with("`examples/") => None,
        [_, here, tests] => (tests != "tests").then(|| Row::new(None, here, tests)),
        _ => panic!("{cells:?} are neither 3 nor 4 cells"),
    });
    rows.collect()
}

impl<'a> Row<'a> {
    fn new(number: Option<usize>, here: &'a str, tests: &'a str) -> Self {
        let tests = tests.split_whitespace().map(|test| test.trim_matches('`')).collect();
        Self { number, here, tests }
    }

    /// What is wrong with the row, given all tests.
    fn mistakes(&self, known: &BTreeSet<String>) -> Vec<String> {
        let mut mistakes = Vec::new();
        let named = self.tests.iter().filter(|test| **test != "–");
        for test in named.clone() {
            if !known.contains(*test) {
                mistakes.push(format!("{test} does not exist"));
            }
        }
        let named = named.count();
        match self.status() {
            Some("held") if named == 0 => mistakes.push("a held row needs a test".to_owned()),
            Some("not yet") if named > 0 || self.here != "not yet" => {
                mistakes.push("`not yet` has no text and no test".to_owned());
            }
            Some("differs") if self.here.len() < "differs: why".len() || self.tests.is_empty() => {
                mistakes.push("`differs` needs its reason, and a test or `–`".to_owned());
            }
            None => mistakes.push("expected `held`, `differs` or `not yet`".to_owned()),
            Some(_) => {}
        }
        mistakes
            .iter()
            .map(|mistake| format!("{:?} {:?}: {mistake}", self.number, self.here))
            .collect()
    }

    fn status(&self) -> Option<&'static str> {
        ["held", "differs", "not yet"].into_iter().find(|status| self.here.starts_with(status))
    }
}

/// The tests of a source: functions with a test attribute, and the claims that a macro makes into tests.
fn tests_in(source: &str) -> Vec<String> {
    let (mut found, mut is_test, mut in_claims) = (Vec::new(), false, false);
    for line in source.lines().map(str::trim) {
        if line == "claims! {" {
            in_claims = true;
        } else if in_claims && line == "}" {
            in_claims = false;
        } else if in_claims && !line.starts_with("//") {
            let names = line.split([',', ';']).map(str::trim);
            found.extend(names.filter(|name| is_name(name)).map(str::to_owned));
        } else if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some((_, name)) = line.split_once("fn ").filter(|_| is_test) {
            is_test = false;
            found.extend(name.split('(').next().map(str::to_owned));
        }
    }
    found
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit())
}

/// All tests as `suite::name`.
fn known() -> BTreeSet<String> {
    let named = |suite: &str, files: Vec<File>| {
        let names = files.iter().flat_map(|file| tests_in(&file.text)).collect::<Vec<_>>();
        names.into_iter().map(|name| format!("{suite}::{name}")).collect::<Vec<_>>()
    };
    let folders = tree::entries("tests").into_iter();
    let suites =
        folders.filter(|folder| tree::root().join(format!("tests/{folder}/main.rs")).exists());
    let mut known: BTreeSet<String> =
        named("unit", tree::sources("listener/src")).into_iter().collect();
    known.extend(suites.flat_map(|suite| named(&suite, tree::sources(&format!("tests/{suite}")))));
    known
}

#[test]
fn every_test_of_the_checklist_exists_and_every_row_has_what_its_status_needs() {
    let (page, known) = (tree::text(PAGE), known());
    let mistakes: Vec<_> = rows(&page).iter().flat_map(|row| row.mistakes(&known)).collect();
    assert_eq!(mistakes, [""; 0]);
}

#[test]
fn the_numbers_of_the_checklist_are_those_of_its_rows() {
    let page = tree::text(PAGE);
    let numbers: Vec<_> = rows(&page).iter().filter_map(|row| row.number).collect();
    assert_eq!(numbers, (1..=123).collect::<Vec<_>>());
    for (is_numbered, what) in [(true, "behaviours"), (false, "features")] {
        let mut rows = rows(&page);
        rows.retain(|row| row.number.is_some() == is_numbered);
        let of = |status| rows.iter().filter(|row| row.status() == Some(status)).count();
        let counts = [of("held"), of("differs"), of("not yet")];
        let [held, differ, not_yet] = counts;
        let expected =
            format!("{} {what}: {held} held, {differ} differ, {not_yet} not yet.", rows.len());
        assert!(page.contains(&expected), "the page should say: {expected}");
    }
}

#[test]
fn a_row_without_its_test_is_reported() {
    let page = "| # | a | here | tests |\n|---|---|---|---|\n| 1 | A | held | `flow::a` `flow::b` |\n\
                | 2 | B | held |  |\n| 3 | C | not yet | |\n| 4 | D | differs | – |\n| 5 | E | same | |\n";
    let known = BTreeSet::from(["flow::a".to_owned()]);
    let mistakes: Vec<_> = rows(page).iter().flat_map(|row| row.mistakes(&known)).collect();
    assert_eq!(
        mistakes,
        [
            "Some(1) \"held\": flow::b does not exist",
            "Some(2) \"held\": a held row needs a test",
            "Some(4) \"differs\": `differs` needs its reason, and a test or `–`",
            "Some(5) \"same\": expected `held`, `differs` or `not yet`",
        ]
    );
}

#[test]
fn tests_and_claims_are_found() {
    let source = "claims! {\n    // One.\n    one, two;\n    not quorum:\n    three,\n}\n#[test]\n\
                  #[ignore = \"x\"]\nfn four() {}\nfn five() {}\n#[tokio::test(a = 1)]\nasync fn six() {}\n";
    assert_eq!(tests_in(source), ["one", "two", "three", "four", "six"]);
}
