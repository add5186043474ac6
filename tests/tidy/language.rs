//! Words and idioms of the project's own for which the field has a term: none of them is used again, in
//! names or in sentences. Also the length of ARCHITECTURE.md and its glossary.

use regex::{Regex, RegexBuilder};

use crate::tree;

/// Idioms, and what is written instead. In a source `_` counts as a space, and a sentence may continue in
/// the next line. What the last pattern matches, if there is one, is allowed.
const IDIOMS: [(&str, &str, Option<&str>); 19] = [
    (r"so many", "this many, as many", None),
    (r"(is|are|was|were|be|been|being) told", "is reported", None),
    (r"(tells?|told) of", "reports", None),
    (r"beside", "next to", None),
    (r"as it is([.,;:)]| (and|or|but))", "unchanged", None),
    (r"as (it|they) came", "unchanged", None),
    (r"(come|comes|came|coming) again", "is redelivered", None),
    (r"(set|sets|setting) (it |them )?aside", "quarantine", None),
    (r"(give|gives|gave|given|giving) (it |them |all )?back", "release", None),
    (r"in hand", "in flight", None),
    (r"in sum", "in total", None),
    (
        r"(there )?(is|are|was|were|be) no [a-z]+",
        "is not a",
        Some(
            r"^there|no (longer|more|less|fewer|larger|smaller|later|earlier|shorter|greater|better|worse|different|matter|reason|need|other|evidence|use|sign)$",
        ),
    ),
    (r"(stand|stands|stood)( for|-)?", "is, exists, has", Some(r" for$|-$")),
    (r"says? (its|their)", "names its", None),
    (r"for to", "because to", None),
    (r"(stop|stops|stopped|stopping|end|ends|ended) in order", "in an orderly way", None),
    (r"anew", "again", None),
    (r"(the|each|every|this|that|one) letters?", "the message", None),
    (r"there (is|are) not", "that does not exist", None),
];

/// Each word, in lower case, and the one that is used instead.
const DROPPED: [(&str, &str); 14] = [
    ("clerk", "task"),
    ("crew", "scheduler"),
    ("duty", "worker task"),
    ("lane", "priority queue"),
    ("lanes", "priority queues"),
    ("mend", "fix"),
    ("mended", "fixed"),
    ("mends", "fixes"),
    ("office", "publisher"),
    ("owe", "is pending for"),
    ("owed", "pending"),
    ("owes", "is pending for"),
    ("stint", "time slice"),
    ("weather", "conditions"),
];

const PAGES: [&str; 17] = [
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "listener/src/guide/endpoints.md",
    "listener/src/guide/failures.md",
    "listener/src/guide/mistakes.md",
    "listener/src/guide/operating.md",
    "listener/src/guide/oslo.md",
    "listener/src/guide/sending.md",
    "listener/src/envelope/wire.md",
    "listener/src/runtime/design.md",
    "listener/src/drivers/rabbit/design.md",
    "tests/README.md",
    "tests/bench/README.md",
    "tests/fuzz/README.md",
    "tests/ui/README.md",
];

/// The idioms of a text, each with its line and what is written instead.
fn idioms(text: &str, is_source: bool, patterns: &[Pattern]) -> Vec<(usize, String)> {
    let (mut joined, mut starts) = (String::new(), Vec::new());
    for line in text.lines() {
        starts.push(joined.len());
        joined.push_str(line.trim_start().trim_start_matches(['/', '!']).trim());
        joined.push(' ');
    }
    if is_source {
        joined = joined.replace('_', " ");
    }
    let mut found = Vec::new();
    for Pattern { idiom, allowed, instead } in patterns {
        for idiom in idiom.find_iter(&joined) {
            let is_allowed = |allowed: &Regex| allowed.is_match(idiom.as_str());
            if !allowed.as_ref().is_some_and(is_allowed) {
                let line = starts.partition_point(|start| *start <= idiom.start());
                found
                    .push((line, format!("write \"{instead}\" instead of \"{}\"", idiom.as_str())));
            }
        }
    }
    found.sort();
    found
}

struct Pattern {
    idiom: Regex,
    allowed: Option<Regex>,
    instead: &'static str,
}

fn patterns() -> Vec<Pattern> {
    let regex = |pattern: &str| {
        let regex = RegexBuilder::new(pattern).case_insensitive(true).build();
        regex.expect("a pattern is valid")
    };
    let pattern = |(idiom, instead, allowed): &(&str, &'static str, Option<&str>)| Pattern {
        idiom: regex(&format!(r"\b(?:{idiom})(?:\b|$|[^\w])")),
        allowed: allowed.map(regex),
        instead,
    };
    IDIOMS.iter().map(pattern).collect()
}

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

/// All sources and pages, except for this file.
fn texts() -> Vec<(String, String)> {
    let here = "tests/tidy/language.rs";
    let mut texts: Vec<(String, String)> = Vec::new();
    for folder in ["listener", "listener-macros", "examples", "tests"] {
        let files = tree::sources(folder).into_iter();
        texts.extend(files.map(|file| (format!("{folder}/{}", file.path), file.text)));
    }
    texts.extend(PAGES.map(|page| (page.to_owned(), tree::text(page))));
    assert!(texts.len() > 300, "too few files were found: {}", texts.len());
    texts.retain(|(path, _)| path != here);
    texts
}

#[test]
fn no_dropped_word_is_used() {
    let texts = texts();
    let found: Vec<String> = texts
        .iter()
        // The lanes of `tests/runner` are what they are called elsewhere, too.
        .filter(|(path, _)| !path.starts_with("tests/runner/"))
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
fn no_idiom_is_used() {
    let patterns = patterns();
    let texts = texts();
    let found: Vec<String> = texts
        .iter()
        .flat_map(|(path, text)| {
            let idioms = idioms(text, path.ends_with(".rs"), &patterns).into_iter();
            idioms.map(move |(line, idiom)| format!("{path}:{line}: {idiom}"))
        })
        .collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn an_idiom_is_found_in_names_and_across_lines() {
    let check = |text: &str, expected: &[usize]| {
        let found = idioms(text, true, &patterns());
        let lines: Vec<usize> = found.into_iter().map(|(line, _)| line).collect();
        assert_eq!(lines, expected, "{text}");
    };
    check("/// It stands.\n/// What is given\n/// back, as it is.", &[1, 2, 3]);
    check("fn a_thing_beside_another() {}\nlet in_hand = 1;", &[1, 2]);
    check("/// This is no\n/// queue. There is no queue.", &[1]);
    check("/// It stands for a value, is no longer there, and besides: as it is declared.", &[]);
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
    assert!(words <= 3000, "ARCHITECTURE.md has {words} words");
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
    assert!((30..=45).contains(&words.len()), "{} words", words.len());
    let once: std::collections::BTreeSet<_> = words.iter().collect();
    assert_eq!(once.len(), words.len(), "{words:?}");
}
