//! The known name that somebody most likely meant, for errors about options: those of the
//! configuration, and those of URLs.

use strsim::osa_distance;

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
    let far = |name: &&str| osa_distance(found, name);
    let name = known.into_iter().min_by_key(far)?;
    // One mistake in four letters is a slip; more is another word.
    (far(&name) <= (found.len().max(name.len()) / 4).max(1)).then_some(name)
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
        check("opol", Some("pool"));
    }

    #[test]
    fn another_word_names_nothing() {
        check("service_host", None);
        check("x", None);
        check(&"topics".repeat(20), None);
    }
}
