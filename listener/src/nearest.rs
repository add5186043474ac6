//! The known name that somebody most likely meant, for the errors of options. Asked where
//! names are read: `config.rs`, and drivers whose URLs have options.

/// What is longer, in bytes, is no misspelt name.
const LONGEST: usize = 64;

/// The known name nearest to `found`, if one is near enough to have been meant.
pub(crate) fn nearest<'a>(
    found: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // The work grows with the length, and no name is that long.
    if found.len() > LONGEST {
        return None;
    }
    let (distance, name) =
        known.into_iter().map(|name| (distance(found, name), name)).min_by_key(|(far, _)| *far)?;
    // One mistake in four letters is a slip; more is another word.
    (distance <= (found.len().max(name.len()) / 4).max(1)).then_some(name)
}

/// Levenshtein's distance: insertions, deletions and replacements.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (above, a) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = above + 1;
        for (left, b) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[left + 1];
            row[left + 1] = replaced.min(diagonal + 1).min(row[left] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(found: &str, expected: Option<&str>) {
        assert_eq!(nearest(found, ["topics", "pool", "prefetch", "transport_url"]), expected);
    }

    #[test]
    fn a_slip_names_what_was_meant() {
        check("topic", Some("topics"));
        check("prefecth", Some("prefetch"));
        check("transport-url", Some("transport_url"));
    }

    #[test]
    fn another_word_names_nothing() {
        check("service_host", None);
        check("x", None);
        check(&"topics".repeat(20), None);
    }
}
