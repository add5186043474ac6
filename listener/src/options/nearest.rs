//! "Did you mean" for the names of options: the known name with the smallest edit distance. Used for the
//! configuration and for URLs.

use strsim::osa_distance;

/// The longest name that is compared, in bytes.
const LONGEST: usize = 64;

/// The known name most similar to `found`, if one is similar enough.
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
