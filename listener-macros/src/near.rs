//! Which known word was meant by an unknown one: a table of words that other libraries use,
//! then the edit distance. What is done with the answer is decided in `attr.rs` and
//! `endpoint/check`.

/// Words for a priority elsewhere, and the priority meant.
pub(crate) const PRIORITY_WORDS: &[(&str, &str)] = &[
    ("crit", "critical"),
    ("err", "error"),
    ("exception", "error"),
    ("fatal", "critical"),
    ("information", "info"),
    ("notice", "info"),
    ("trace", "debug"),
    ("verbose", "debug"),
    ("warning", "warn"),
];

/// Words for a part of a notification elsewhere, and the argument or filter meant.
pub(crate) const ARGUMENT_WORDS: &[(&str, &str)] = &[
    ("body", "payload"),
    ("context", "ctxt"),
    ("ctx", "ctxt"),
    ("cx", "ctxt"),
    ("data", "payload"),
    ("event", "event_type"),
    ("kind", "event_type"),
    ("message", "payload"),
    ("meta", "metadata"),
    ("msg", "payload"),
    ("publisher", "publisher_id"),
    ("sender", "publisher_id"),
];

/// Words for an option elsewhere, and the option meant.
pub(crate) const OPTION_WORDS: &[(&str, &str)] = &[
    ("backoff", "pause"),
    ("backoff", "retry"),
    ("constructor", "init"),
    ("deadline", "timeout"),
    ("delay", "pause"),
    ("factory", "init"),
    ("id", "name"),
    ("instance", "provided"),
    ("interval", "pause"),
    ("max_attempts", "attempts"),
    ("max_attempts", "retry"),
    ("max_backoff", "max_pause"),
    ("max_delay", "max_pause"),
    ("max_retries", "attempts"),
    ("max_retries", "retry"),
    ("new", "init"),
    ("ordering_key", "ordered_by"),
    ("partition_by", "ordered_by"),
    ("position", "order"),
    ("queue", "topic"),
    ("retries", "attempts"),
    ("retries", "retry"),
    ("stable_name", "name"),
    ("times", "attempts"),
    ("tries", "attempts"),
];

/// Words for a unit of time elsewhere, and the unit meant.
pub(crate) const UNIT_WORDS: &[(&str, &str)] = &[
    ("h", "h"),
    ("hour", "h"),
    ("hours", "h"),
    ("hr", "h"),
    ("m", "m"),
    ("millis", "ms"),
    ("milliseconds", "ms"),
    ("min", "m"),
    ("mins", "m"),
    ("minute", "m"),
    ("minutes", "m"),
    ("ms", "ms"),
    ("msec", "ms"),
    ("s", "s"),
    ("sec", "s"),
    ("second", "s"),
    ("seconds", "s"),
    ("secs", "s"),
];

/// What a method's name wears around the priority that it means.
const AFFIXES: &[&str] = &["on", "handle", "handler", "notify", "process", "at"];

/// The known word that `word` comes close to.
pub(crate) fn nearest<'k>(
    word: &str,
    known: &[&'k str],
    table: &[(&str, &'k str)],
) -> Option<&'k str> {
    let word = word.to_lowercase();
    let named = known.iter().find(|known| **known == word).copied();
    let in_table = |(other, meant): &(&str, &'k str)| {
        (*other == word && known.contains(meant)).then_some(*meant)
    };
    named.or_else(|| table.iter().find_map(in_table)).or_else(|| closest(&word, known))
}

/// The priority that a method's name comes close to, an affix such as `on_` left aside.
pub(crate) fn nearest_priority(name: &str, priorities: &[&'static str]) -> Option<&'static str> {
    nearest(name, priorities, PRIORITY_WORDS).or_else(|| {
        let (first, last) = (name.split_once('_')?, name.rsplit_once('_')?);
        let bare = if AFFIXES.contains(&first.0) {
            first.1
        } else if AFFIXES.contains(&last.1) {
            last.0
        } else {
            return None;
        };
        nearest(bare, priorities, PRIORITY_WORDS)
    })
}

/// The known word at the smallest distance, if that is small for its length.
fn closest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let near = |known: &&'k str| {
        let allowed = if known.len() > 5 { 2 } else { 1 };
        let distance = distance(word, known);
        (distance <= allowed).then_some((distance, *known))
    };
    known.iter().filter_map(near).min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
}

/// How many insertions, deletions, replacements and swaps of neighbours lie between two words.
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    let mut rows: Vec<Vec<usize>> = vec![(0..=right.len()).collect()];
    for i in 1..=left.len() {
        let mut row = vec![i];
        for j in 1..=right.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(left[i - 1] != right[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            let swapped =
                i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1];
            if swapped {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIORITIES: &[&str] = &["audit", "debug", "info", "warn", "error", "critical", "sample"];

    #[track_caller]
    fn check(word: &str, expected: Option<&str>) {
        assert_eq!(nearest_priority(word, PRIORITIES), expected, "{word}");
    }

    #[test]
    fn words_of_other_libraries_name_a_priority() {
        check("warning", Some("warn"));
        check("err", Some("error"));
        check("information", Some("info"));
        check("fatal", Some("critical"));
        check("trace", Some("debug"));
    }

    #[test]
    fn slips_of_the_finger_name_a_priority() {
        check("critcal", Some("critical"));
        check("eror", Some("error"));
        check("inof", Some("info"));
        check("smaple", Some("sample"));
        check("Info", Some("info"));
    }

    #[test]
    fn an_affix_is_left_aside() {
        check("on_info", Some("info"));
        check("handle_warning", Some("warn"));
        check("error_handler", Some("error"));
    }

    #[test]
    fn a_word_that_is_far_from_all_names_none() {
        check("helper", None);
        check("new", None);
        check("on_instance", None);
        check("info_of_instance", None);
    }

    #[test]
    fn a_swap_of_neighbours_is_one_step() {
        assert_eq!(distance("inof", "info"), 1);
        assert_eq!(distance("", "info"), 4);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
