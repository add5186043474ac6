//! "Did you mean": the known name that a mistyped one comes nearest to. Called by whatever
//! reads names that a person wrote (options of URLs, keys of the configuration).

/// The known name that is nearest to `found`, if one is near enough to have been meant.
#[cfg_attr(not(feature = "rabbit"), allow(dead_code))]
pub(crate) fn nearest<'a>(
    found: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let limit = (found.chars().count() / 3).clamp(1, 8);
    known
        .into_iter()
        .map(|name| (distance(found, name), name))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// How many letters must be put in, taken out or exchanged (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let exchanged = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = exchanged.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_the_name_that_was_meant() {
        let known = ["rabbit_quorum_queue", "rabbit_ha_queues", "ssl"];
        let check = |found, expected| assert_eq!(nearest(found, known), expected, "{found}");
        check("rabbit_quorum_queues", Some("rabbit_quorum_queue"));
        check("rabit_ha_queue", Some("rabbit_ha_queues"));
        check("sls", None);
        check("ss", Some("ssl"));
        check("prefetch", None);
        check("", None);
    }
}
