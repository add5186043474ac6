//! The files of oslo.config: sections, and the values of their keys, line by line as oslo.config's own parser
//! reads them. What a value means is not known here; `substitute.rs` replaces references in it.

use crate::redact::redacted;

/// The section that is searched if a reference names none.
pub(super) const DEFAULT: &str = "DEFAULT";

/// One assignment of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The section, in lower case unless it is `DEFAULT`: oslo.config compares them like that.
    pub(super) section: String,
    pub(super) key: String,
    /// With the lines that continue it, joined by line breaks.
    pub(super) value: String,
    /// The line of the key, from 1.
    pub(super) line: usize,
}

/// A line that is not part of such a file. The line itself is not shown, as it may contain a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) line: usize,
    pub(super) reason: String,
}

/// The name of a section as it is compared.
pub(super) fn normalized(section: &str) -> String {
    if section == DEFAULT { section.to_owned() } else { section.to_lowercase() }
}

/// The assignments of a file, in their order.
pub(super) fn parse(text: &str) -> Result<Vec<Entry>, Mistake> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut section: Option<String> = None;
    // Whether the next line can continue the last entry.
    let mut is_open = false;
    // oslo.config opens files with universal line ends.
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    for (index, line) in text.split('\n').enumerate() {
        let number = index + 1;
        let mistake = |reason: &str| Mistake { line: number, reason: reason.to_owned() };
        let line = line.trim_end_matches(is_space);
        if line.is_empty() {
            is_open = false;
        } else if line.starts_with([' ', '\t']) {
            let Some(last) = entries.last_mut().filter(|_| is_open) else {
                return Err(mistake(
                    "a line that begins with white space, and no value before it that it could \
                     continue; remove the white space",
                ));
            };
            last.value.push('\n');
            last.value.push_str(line.trim_start_matches(is_space));
        } else if let Some(rest) = line.strip_prefix('[') {
            is_open = false;
            section = Some(section_name(rest).map_err(mistake)?);
        } else if line.starts_with(['#', ';']) {
            is_open = false;
        } else {
            let Some((key, value)) = line.split_once(['=', ':']) else {
                return Err(mistake("expected `key = value`, and found no `=` or `:`"));
            };
            let key = key.trim_matches(is_space);
            if key.is_empty() {
                return Err(mistake("expected `key = value`, and found no key"));
            }
            let Some(section) = &section else {
                return Err(mistake(&format!(
                    "{:?} is in no section; write `[{DEFAULT}]` before it",
                    redacted(key)
                )));
            };
            let value = unquoted(value.trim_matches(is_space)).to_owned();
            let (section, key) = (section.clone(), key.to_owned());
            entries.push(Entry { section, key, value, line: number });
            is_open = true;
        }
    }
    Ok(entries)
}

/// What Python's `str.strip` removes.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

fn section_name(rest: &str) -> Result<String, &'static str> {
    match rest.strip_suffix(']') {
        None => Err("expected `[section]`, and found no `]` at the end of the line"),
        Some("") => Err("expected `[section]`, and found no name between the brackets"),
        Some(name) => Ok(normalized(name)),
    }
}

/// The value without the quotes around it. oslo.config takes both from a single quotation mark as well.
fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(rest) = value.strip_prefix(quote) {
            if rest.is_empty() {
                return rest;
            }
            return rest.strip_suffix(quote).unwrap_or(value);
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<String>, String> {
        let shown = |entry: Entry| {
            let Entry { section, key, value, line } = entry;
            format!("{line} [{section}] {key}={value}")
        };
        parse(text)
            .map(|entries| entries.into_iter().map(shown).collect())
            .map_err(|mistake| format!("line {}: {}", mistake.line, mistake.reason))
    }

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let expected = expected.iter().map(|entry| (*entry).to_owned()).collect();
        assert_eq!(read(text), Ok(expected), "{text}");
    }

    #[test]
    fn the_first_of_both_separators_ends_the_key() {
        check(
            "[DEFAULT]\na = 1\nb:2\nc = x:y\nd: x=y\ne =\n",
            &[
                "2 [DEFAULT] a=1",
                "3 [DEFAULT] b=2",
                "4 [DEFAULT] c=x:y",
                "5 [DEFAULT] d=x=y",
                "6 [DEFAULT] e=",
            ],
        );
    }

    #[test]
    fn a_line_that_begins_with_white_space_continues_the_value() {
        check("[a]\nx = 1,\n  2,\n\t# 3\n\ny=4", &["2 [a] x=1,\n2,\n# 3", "6 [a] y=4"]);
        for text in ["[a]\n  x = 1", "[a]\nx = 1\n\n  2", "[a]\nx = 1\n# note\n  2", "  x = 1"] {
            let error = read(text).expect_err(text);
            assert!(error.contains("begins with white space"), "{error}");
        }
    }

    #[test]
    fn comments_are_whole_lines_only() {
        check("# a\n; b\n[a]\nx = 1 # 2\n#y = 3\nz = 1 ; 2", &["4 [a] x=1 # 2", "6 [a] z=1 ; 2"]);
    }

    #[test]
    fn quotes_are_removed_if_both_ends_have_them() {
        check(
            "[a]\nb = \" x \"\nc = 'x'\nd = \"x'\ne = x\"\nf = \"\ng = \"\"\nh = \"'x'\"",
            &[
                "2 [a] b= x ",
                "3 [a] c=x",
                "4 [a] d=\"x'",
                "5 [a] e=x\"",
                "6 [a] f=",
                "7 [a] g=",
                "8 [a] h='x'",
            ],
        );
    }

    #[test]
    fn sections_have_no_case_except_default() {
        check(
            "[Oslo_Messaging_Rabbit]\na=1\n[default]\nb=2\n[DEFAULT]\nc=3\n[ x ]\nd=4",
            &["2 [oslo_messaging_rabbit] a=1", "4 [default] b=2", "6 [DEFAULT] c=3", "8 [ x ] d=4"],
        );
    }

    #[test]
    fn line_ends_of_all_systems_are_read() {
        check("[a]\r\nx = 1\r\ny = 2\rz = 3", &["2 [a] x=1", "3 [a] y=2", "4 [a] z=3"]);
    }

    #[test]
    fn a_wrong_line_is_named_and_not_shown() {
        for (text, expected) in [
            ("[a]\nhunter2", "line 2: expected `key = value`, and found no `=` or `:`"),
            ("[a]\n= hunter2", "line 2: expected `key = value`, and found no key"),
            (
                "[a\nx = hunter2",
                "line 1: expected `[section]`, and found no `]` at the end of the line",
            ),
            ("\n[]", "line 2: expected `[section]`, and found no name between the brackets"),
            ("x = hunter2", "line 1: \"x\" is in no section; write `[DEFAULT]` before it"),
        ] {
            assert_eq!(read(text), Err(expected.to_owned()));
        }
    }
}
