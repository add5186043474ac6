//! The known word that is similar to an unknown one: tables of synonyms, then the edit distance.
//! `attr` and `endpoint/check` make "did you mean" of it.

use strsim::osa_distance;

/// What other libraries call a priority, and the priority.
pub(crate) const PRIORITY_SYNONYMS: &[(&str, &str)] = &[
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

/// What other libraries call a part of a message, and the argument or filter.
pub(crate) const ARGUMENT_SYNONYMS: &[(&str, &str)] = &[
    ("body", "payload"),
    ("context", "ctxt"),
    ("ctx", "ctxt"),
    ("ctxt", "context"),
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

/// What other libraries call an option, and the option.
pub(crate) const OPTION_SYNONYMS: &[(&str, &str)] = &[
    ("backoff", "delay"),
    ("backoff", "retry"),
    ("constructor", "init"),
    ("deadline", "timeout"),
    ("factory", "init"),
    ("id", "name"),
    ("instance", "provided"),
    ("interval", "delay"),
    ("max_attempts", "attempts"),
    ("max_attempts", "retry"),
    ("max_backoff", "max_delay"),
    ("max_pause", "max_delay"),
    ("max_retries", "attempts"),
    ("max_retries", "retry"),
    ("new", "init"),
    ("ordering_key", "ordered_by"),
    ("partition_by", "ordered_by"),
    ("pause", "delay"),
    ("position", "order"),
    ("queue", "topic"),
    ("retries", "attempts"),
    ("retries", "retry"),
    ("stable_name", "name"),
    ("times", "attempts"),
    ("tries", "attempts"),
];

/// Other names of a unit of time, and the unit.
pub(crate) const UNIT_SYNONYMS: &[(&str, &str)] = &[
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

/// Prefixes and suffixes of handler names in other libraries.
const AFFIXES: &[&str] = &["on", "handle", "handler", "notify", "process", "at"];

/// The known word that is similar to `word`.
pub(crate) fn similar<'k>(
    word: &str,
    known: &[&'k str],
    synonyms: &[(&str, &'k str)],
) -> Option<&'k str> {
    synonym(word, known, synonyms).or_else(|| closest(&word.to_lowercase(), known))
}

/// The known word that `word` is in other letters, or a synonym of.
pub(crate) fn synonym<'k>(
    word: &str,
    known: &[&'k str],
    synonyms: &[(&str, &'k str)],
) -> Option<&'k str> {
    let word = word.to_lowercase();
    let exact = known.iter().find(|known| **known == word).copied();
    let synonym = |(other, meaning): &(&str, &'k str)| {
        (*other == word && known.contains(meaning)).then_some(*meaning)
    };
    exact.or_else(|| synonyms.iter().find_map(synonym))
}

/// The priority that is similar to a method's name, without an affix such as `on_`.
pub(crate) fn similar_priority(name: &str, priorities: &[&'static str]) -> Option<&'static str> {
    similar(name, priorities, PRIORITY_SYNONYMS).or_else(|| {
        let (first, last) = (name.split_once('_')?, name.rsplit_once('_')?);
        let bare = if AFFIXES.contains(&first.0) {
            first.1
        } else if AFFIXES.contains(&last.1) {
            last.0
        } else {
            return None;
        };
        similar(bare, priorities, PRIORITY_SYNONYMS)
    })
}

/// The known word with the smallest edit distance, if that is small for its length.
fn closest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let distances = |known: &&'k str| {
        let allowed = if known.len() > 5 { 2 } else { 1 };
        let distance = osa_distance(word, known);
        (distance <= allowed).then_some((distance, *known))
    };
    known.iter().filter_map(distances).min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIORITIES: &[&str] = &["audit", "debug", "info", "warn", "error", "critical", "sample"];

    #[track_caller]
    fn check(word: &str, expected: Option<&str>) {
        assert_eq!(similar_priority(word, PRIORITIES), expected, "{word}");
    }

    #[test]
    fn a_synonym_suggests_the_priority() {
        check("warning", Some("warn"));
        check("err", Some("error"));
        check("information", Some("info"));
        check("fatal", Some("critical"));
        check("trace", Some("debug"));
    }

    #[test]
    fn a_typo_suggests_the_priority() {
        check("critcal", Some("critical"));
        check("eror", Some("error"));
        check("inof", Some("info"));
        check("smaple", Some("sample"));
        check("Info", Some("info"));
    }

    #[test]
    fn an_affix_is_ignored() {
        check("on_info", Some("info"));
        check("handle_warning", Some("warn"));
        check("error_handler", Some("error"));
    }

    #[test]
    fn an_unrelated_word_suggests_nothing() {
        check("helper", None);
        check("new", None);
        check("on_instance", None);
        check("info_of_instance", None);
    }

    #[test]
    fn a_transposition_counts_as_one_edit() {
        assert_eq!(closest("inof", &["info"]), Some("info"));
        assert_eq!(closest("niof", &["info"]), None);
        assert_eq!(closest("", &["info"]), None);
    }
}
