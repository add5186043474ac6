//! README.md and the front page of the documentation list the same guarantees.

use crate::tree;

/// The guarantees under the heading, each in one line, without the folders of its tests.
fn guarantees(page: &str) -> Vec<String> {
    let mut guarantees: Vec<String> = Vec::new();
    let is_heading = |line: &str| line.trim_start_matches('#') == " Guarantees";
    let section = page.lines().skip_while(|line| !is_heading(line)).skip(1);
    for line in section.take_while(|line| !line.starts_with('#')) {
        match line.strip_prefix("- ") {
            Some(first) => guarantees.push(first.to_owned()),
            None if line.starts_with("  ") => {
                let guarantee = guarantees.last_mut().expect("a guarantee begins with a dash");
                guarantee.push(' ');
                guarantee.push_str(line.trim());
            }
            None => {}
        }
    }
    guarantees.iter().map(|guarantee| without_folders(guarantee)).collect()
}

/// The text without `(..)` with folders of tests.
fn without_folders(guarantee: &str) -> String {
    let mut text = String::new();
    let mut rest = guarantee;
    while let Some((before, behind)) = rest.split_once(" (`tests/") {
        text.push_str(before);
        rest = behind.split_once(')').expect("a parenthesis ends").1;
    }
    text + rest
}

/// The documentation of a file as a page.
fn documentation(source: &str) -> String {
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_readme_and_the_front_page_of_the_documentation_list_the_same_guarantees() {
    let readme = guarantees(&tree::text("README.md"));
    let front = guarantees(&documentation(&tree::text("listener/src/lib.rs")));
    assert!(readme.len() >= 8, "{readme:#?}");
    assert_eq!(front, readme);
}

#[test]
fn a_guarantee_is_read_without_its_folders() {
    let page = "## Guarantees\n\nEach.\n\n- **One.** It is\n  so. (`tests/a`, `tests/b`)\n- Two.\n\nEnd.\n\n## More\n- Three.\n";
    assert_eq!(guarantees(page), ["**One.** It is so.", "Two."]);
}
