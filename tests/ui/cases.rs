//! The cases of `fail` as `spans.rs` and `table.rs` look at them: what a case is about, the
//! tokens that it marks as wrong, and the errors that its `.stderr` has.
//!
//! A mark is a comment under the token: `//~` with carets. Carets that touch the `//~` mean
//! that the token begins where the comment does.

use std::fs;
use std::path::Path;

/// A mistake, marked or reported: from column `from` to `to`, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) from: usize,
    pub(crate) to: usize,
}

/// What the compiler said of one mistake.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said {
    /// The file, as it is written behind `-->`.
    pub(crate) file: String,
    pub(crate) place: Option<Place>,
    /// What was found.
    pub(crate) found: String,
    /// How to fix it.
    pub(crate) fix: Option<String>,
}

/// A file of `fail`.
pub(crate) struct Case {
    pub(crate) name: String,
    /// Its first line.
    pub(crate) about: String,
    pub(crate) marked: Vec<Place>,
    pub(crate) said: Vec<Said>,
}

/// All cases, sorted by name.
pub(crate) fn all() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fail");
    let read = |path: &Path| {
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let mut cases: Vec<Case> = fs::read_dir(&folder)
        .expect("the cases are a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| {
            let source = read(&path);
            Case {
                name: path.file_stem().expect("a name").to_string_lossy().into_owned(),
                about: about(&source),
                marked: marked(&source),
                said: said(&read(&path.with_extension("stderr"))),
            }
        })
        .collect();
    cases.sort_by(|one, other| one.name.cmp(&other.name));
    cases
}

fn about(source: &str) -> String {
    source.lines().next().unwrap_or_default().trim_start_matches("//!").trim().to_owned()
}

/// The tokens above the carets of each `//~`.
pub(crate) fn marked(source: &str) -> Vec<Place> {
    let mut places = Vec::new();
    for (above, line) in source.lines().enumerate() {
        let Some(marker) = line.find("//~").filter(|_| line.trim_start().starts_with("//~")) else {
            continue;
        };
        let touches = line[marker + 3..].starts_with('^');
        let columns = line.chars().enumerate().map(|(at, character)| {
            character == '^' || touches && (marker..marker + 3).contains(&at)
        });
        places.extend(runs(columns).map(|(from, to)| Place { line: above, from, to }));
    }
    places
}

/// The runs of columns for which it is so, counted from 1.
fn runs(columns: impl Iterator<Item = bool>) -> impl Iterator<Item = (usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (at, is_in) in columns.enumerate() {
        match runs.last_mut() {
            Some((_, to)) if is_in && *to == at => *to = at + 1,
            _ if is_in => runs.push((at + 1, at + 1)),
            _ => {}
        }
    }
    runs.into_iter()
}

/// Each error of a recording, in its order.
pub(crate) fn said(recording: &str) -> Vec<Said> {
    let mut blocks: Vec<Vec<&str>> = Vec::new();
    for line in recording.lines() {
        if line.starts_with("error") || line.starts_with("warning") {
            blocks.push(vec![line]);
        } else if let Some(block) = blocks.last_mut() {
            block.push(line);
        }
    }
    blocks.iter().filter(|block| block[0].starts_with("error")).map(|block| one(block)).collect()
}

fn one(block: &[&str]) -> Said {
    let arrow = block.iter().position(|line| line.trim_start().starts_with("--> "));
    let title: Vec<&str> = block[..arrow.unwrap_or(block.len())].to_vec();
    let mut position = arrow
        .map(|at| block[at].trim_start().trim_start_matches("--> ").rsplitn(3, ':'))
        .into_iter()
        .flatten();
    let column = position.next().and_then(|text| text.parse().ok());
    let line = position.next().and_then(|text| text.parse().ok());
    let file = position.next().unwrap_or_default().to_owned();
    let place = line.zip(column).map(|(line, from): (usize, usize)| Place {
        line,
        from,
        to: from + carets(block, line).saturating_sub(1),
    });
    let first = title[0].split_once(": ").map_or("", |(_, found)| found);
    let rest = title[1..].iter().map(|line| line.trim()).filter(|line| !line.starts_with("help:"));
    // The picture of a literal is for the eye.
    let rest = rest.filter(|line| !line.starts_with(['"', 'r', '^']));
    let found: Vec<&str> = std::iter::once(first).chain(rest).collect();
    Said { file, place, found: found.join(" "), fix: fix(block) }
}

/// How long the first underline below a source line is.
fn carets(block: &[&str], line: usize) -> usize {
    let source = format!("{line} |");
    let behind = block.iter().skip_while(|text| !text.trim_start().starts_with(&source)).skip(1);
    let underline = behind.map(|text| text.trim_start_matches(|character| character != '^')).next();
    underline.unwrap_or_default().chars().take_while(|character| *character == '^').count()
}

/// What rustc says of its own accord, and what fixes nothing.
const NO_FIX: &[&str] = &[
    "the trait",
    "the following",
    "the lint level",
    "the full ",
    "this error originates",
    "required",
    "within",
    "consider using `--verbose`",
    "for more information",
    "there is a method",
];

/// The first line that suggests a fix: `help:`, or the note of one of our traits.
fn fix(block: &[&str]) -> Option<String> {
    block.iter().find_map(|line| {
        let text = line.split_once("// help: ").map(|(_, text)| text).or_else(|| {
            let text = line.trim_start();
            let text = text.strip_prefix("= ").unwrap_or(text);
            text.strip_prefix("help: ").or_else(|| text.strip_prefix("note: "))
        })?;
        let fixes = !NO_FIX.iter().any(|beginning| text.starts_with(beginning))
            && !(line.starts_with("note: "));
        fixes.then(|| text.to_owned())
    })
}
