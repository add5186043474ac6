//! Words that the project had of its own where the field has one: none of them comes back, in names
//! or in sentences.

use crate::tree;

/// Each word, in lower case, and the one that is used instead.
const DROPPED: [(&str, &str); 11] = [
    ("clerk", "task"),
    ("crew", "scheduler"),
    ("duty", "worker task"),
    ("lane", "priority queue"),
    ("lanes", "priority queues"),
    ("mend", "fix"),
    ("mended", "fixed"),
    ("mends", "fixes"),
    ("office", "publisher"),
    ("stint", "time slice"),
    ("weather", "conditions"),
];

const PAGES: [&str; 13] = [
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "listener/src/guide/endpoints.md",
    "listener/src/guide/failures.md",
    "listener/src/guide/mistakes.md",
    "listener/src/guide/operating.md",
    "listener/src/envelope/wire.md",
    "listener/src/runtime/design.md",
    "listener/src/drivers/rabbit/design.md",
    "tests/bench/README.md",
    "tests/ui/README.md",
];

/// The dropped words of a text, each with its line. Parts of names are words, as in `mend_it` and
/// `NoMend`.
fn dropped(text: &str) -> Vec<(usize, &'static str)> {
    let mut found = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let words = words(line);
        let used = DROPPED.iter().filter(|(word, _)| words.iter().any(|used| used == word));
        found.extend(used.map(|(word, _)| (number, *word)));
    }
    found
}

/// The words of a line, in lower case: split where a letter is followed by something else, and before
/// capitals.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for letter in line.chars() {
        if !letter.is_alphabetic() || (was_lower && letter.is_uppercase()) {
            words.push(String::new());
        }
        if letter.is_alphabetic() {
            words.last_mut().expect("there is one").extend(letter.to_lowercase());
        }
        was_lower = letter.is_lowercase();
    }
    words
}

#[test]
fn no_dropped_word_is_used() {
    let here = "tests/tidy/language.rs";
    let folders = ["listener", "listener-macros", "examples", "tests"];
    let mut texts: Vec<(String, String)> = Vec::new();
    for folder in folders {
        let files = tree::sources(folder).into_iter();
        texts.extend(files.map(|file| (format!("{folder}/{}", file.path), file.text)));
    }
    texts.extend(PAGES.map(|page| (page.to_owned(), tree::text(page))));
    assert!(texts.len() > 300, "too few files were found: {}", texts.len());
    let found: Vec<String> = texts
        .iter()
        // The lanes of `tests/runner` are what they are called elsewhere, too.
        .filter(|(path, _)| path != here && !path.starts_with("tests/runner/"))
        .flat_map(|(path, text)| {
            dropped(text).into_iter().map(move |(line, word)| {
                let (_, instead) = DROPPED.iter().find(|(known, _)| *known == word).expect("known");
                format!("{path}:{line}: write \"{instead}\" instead of \"{word}\"")
            })
        })
        .collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn a_dropped_word_is_found_in_names_and_sentences() {
    let text = "the mend\nfn mending()\nfn mend_it() {}\nstruct NoMend;\nrecommend, amended";
    assert_eq!(dropped(text), [(1, "mend"), (3, "mend"), (4, "mend")]);
}

/// Longer reasons have a page of their own next to the code, or in the guide.
#[test]
fn the_architecture_is_read_in_one_sitting() {
    let text = tree::text("ARCHITECTURE.md");
    let words = text.split_whitespace().count();
    assert!(words <= 2500, "ARCHITECTURE.md has {words} words");
}

#[test]
fn each_word_of_the_glossary_has_one_meaning() {
    let text = tree::text("ARCHITECTURE.md");
    let (_, rest) = text.split_once("\n## Glossary\n").expect("a glossary");
    let rows = rest.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let rows = rows.take_while(|line| line.starts_with('|'));
    let words: Vec<&str> = rows
        .flat_map(|row| row.split('|').nth(1).expect("a word").split(','))
        .map(str::trim)
        .collect();
    assert!((30..=40).contains(&words.len()), "{} words", words.len());
    let once: std::collections::BTreeSet<_> = words.iter().collect();
    assert_eq!(once.len(), words.len(), "{words:?}");
}
