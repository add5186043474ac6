//! Reads the cases of `fail` for `spans.rs` and `table.rs`: the title of a case, the tokens that it marks, and
//! the errors in its `.stderr`.
//!
//! A mark is a comment under the token: `//~` with carets. If the carets follow the `//~` directly, the token
//! begins where the comment does.

use std::fs;
use std::path::Path;

/// The span of a mark or an error: columns `from` to `to`, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    pub(crate) line: usize,
    pub(crate) from: usize,
    pub(crate) to: usize,
}

/// One error of the compiler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Diagnostic {
    /// The file after `-->`.
    pub(crate) file: String,
    pub(crate) span: Option<Span>,
    /// The message.
    pub(crate) message: String,
    /// The help.
    pub(crate) help: Option<String>,
}

/// A file of `fail`.
pub(crate) struct Case {
    pub(crate) name: String,
    /// Its first line.
    pub(crate) title: String,
    pub(crate) marked: Vec<Span>,
    pub(crate) diagnostics: Vec<Diagnostic>,
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
                title: title(&source),
                marked: marked(&source),
                diagnostics: diagnostics(&read(&path.with_extension("stderr"))),
            }
        })
        .collect();
    cases.sort_by(|one, other| one.name.cmp(&other.name));
    cases
}

fn title(source: &str) -> String {
    source.lines().next().unwrap_or_default().trim_start_matches("//!").trim().to_owned()
}

/// The tokens above the carets of each `//~`.
pub(crate) fn marked(source: &str) -> Vec<Span> {
    let mut spans = Vec::new();
    for (above, line) in source.lines().enumerate() {
        let Some(marker) = line.find("//~").filter(|_| line.trim_start().starts_with("//~")) else {
            continue;
        };
        let touches = line[marker + 3..].starts_with('^');
        let columns = line.chars().enumerate().map(|(at, character)| {
            character == '^' || touches && (marker..marker + 3).contains(&at)
        });
        spans.extend(runs(columns).map(|(from, to)| Span { line: above, from, to }));
    }
    spans
}

/// The runs of marked columns, counted from 1.
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

/// The errors of a recording, in order.
pub(crate) fn diagnostics(recording: &str) -> Vec<Diagnostic> {
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

fn one(block: &[&str]) -> Diagnostic {
    let arrow = block.iter().position(|line| line.trim_start().starts_with("--> "));
    let message: Vec<&str> = block[..arrow.unwrap_or(block.len())].to_vec();
    let mut position = arrow
        .map(|at| block[at].trim_start().trim_start_matches("--> ").rsplitn(3, ':'))
        .into_iter()
        .flatten();
    let column = position.next().and_then(|text| text.parse().ok());
    let line = position.next().and_then(|text| text.parse().ok());
    let file = position.next().unwrap_or_default().to_owned();
    let span = line.zip(column).map(|(line, from): (usize, usize)| Span {
        line,
        from,
        to: from + carets(block, line).saturating_sub(1),
    });
    let first = message[0].split_once(": ").map_or("", |(_, message)| message);
    let rest =
        message[1..].iter().map(|line| line.trim()).filter(|line| !line.starts_with("help:"));
    // The picture of a literal is not part of the message.
    let rest = rest.filter(|line| !line.starts_with(['"', 'r', '^']));
    let message: Vec<&str> = std::iter::once(first).chain(rest).collect();
    Diagnostic { file, span, message: message.join(" "), help: help(block) }
}

/// How long the first underline below a source line is.
fn carets(block: &[&str], line: usize) -> usize {
    let source = format!("{line} |");
    let behind = block.iter().skip_while(|text| !text.trim_start().starts_with(&source)).skip(1);
    let underline = behind.map(|text| text.trim_start_matches(|character| character != '^')).next();
    underline.unwrap_or_default().chars().take_while(|character| *character == '^').count()
}

/// Notes of rustc that do not suggest a fix.
const NOT_HELP: &[&str] = &[
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

/// The first line that suggests a help: `help:`, or the note of one of our traits.
fn help(block: &[&str]) -> Option<String> {
    block.iter().find_map(|line| {
        let text = line.split_once("// help: ").map(|(_, text)| text).or_else(|| {
            let text = line.trim_start();
            let text = text.strip_prefix("= ").unwrap_or(text);
            text.strip_prefix("help: ").or_else(|| text.strip_prefix("note: "))
        })?;
        let is_help = !NOT_HELP.iter().any(|beginning| text.starts_with(beginning))
            && !(line.starts_with("note: "));
        is_help.then(|| text.to_owned())
    })
}
