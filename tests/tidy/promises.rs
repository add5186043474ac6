//! README.md and the front page of the documentation have the same list of promises.

use crate::tree;

/// The promises under the heading, each in one line, without the folders of its tests.
fn promises(page: &str) -> Vec<String> {
    let mut promises: Vec<String> = Vec::new();
    let is_heading = |line: &str| line.trim_start_matches('#') == " What it promises";
    let section = page.lines().skip_while(|line| !is_heading(line)).skip(1);
    for line in section.take_while(|line| !line.starts_with('#')) {
        match line.strip_prefix("- ") {
            Some(first) => promises.push(first.to_owned()),
            None if line.starts_with("  ") => {
                let promise = promises.last_mut().expect("a promise begins with a dash");
                promise.push(' ');
                promise.push_str(line.trim());
            }
            None => {}
        }
    }
    promises.iter().map(|promise| without_folders(promise)).collect()
}

/// The text without `(..)` with folders of tests.
fn without_folders(promise: &str) -> String {
    let mut text = String::new();
    let mut rest = promise;
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
fn the_readme_and_the_front_page_of_the_documentation_promise_the_same() {
    let readme = promises(&tree::text("README.md"));
    let front = promises(&documentation(&tree::text("listener/src/lib.rs")));
    assert!(readme.len() >= 8, "{readme:#?}");
    assert_eq!(front, readme);
}

#[test]
fn a_promise_is_read_without_its_folders() {
    let page = "## What it promises\n\nEach.\n\n- **One.** It is\n  so. (`tests/a`, `tests/b`)\n- Two.\n\nEnd.\n\n## More\n- Three.\n";
    assert_eq!(promises(page), ["**One.** It is so.", "Two."]);
}
