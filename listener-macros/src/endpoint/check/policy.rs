//! Mistakes in what an endpoint asks of the calls of its methods: pauses that contradict each
//! other, and a path by which nothing can be ordered. A time that is none is said in
//! `attr/duration.rs`. Called by `options.rs`.

use crate::endpoint::ast::{Options, Retry};
use crate::mistake::Mistakes;
use crate::near::{ARGUMENT_WORDS, nearest};

/// Every mistake in `retry(..)` and `ordered_by`.
pub(crate) fn check(options: &Options, mistakes: &mut Mistakes) {
    if let Some(retry) = &options.retry {
        pauses(retry, mistakes);
    }
    if let Some(path) = &options.ordered_by
        && let Err(Flaw { found, fix }) = ordered_by(&path.value())
    {
        mistakes.at(path.span(), found, fix);
    }
}

fn pauses(retry: &Retry, mistakes: &mut Mistakes) {
    let Retry { attempts, pause, max_pause } = retry;
    if *attempts == Some(1) {
        for time in [pause, max_pause].into_iter().flatten() {
            let found = "a pause says nothing beside `attempts = 1`";
            let fix = "leave one of the two out: a method that is called once is not waited for";
            mistakes.at(time.text.span(), found, fix);
        }
    } else if let (Some(pause), Some(max_pause)) = (pause, max_pause)
        && pause.milliseconds > max_pause.milliseconds
    {
        let pause = pause.text.value();
        let found = format_args!("`max_pause` is shorter than `pause`, which is {pause}");
        let fix = "the first pause is `pause`, each further one is twice as long, up to `max_pause`: make this one longer, or the other shorter";
        mistakes.at(max_pause.text.span(), found, fix);
    }
}

/// What is the same as a whole, and what has keys.
const WHOLE: [&str; 2] = ["publisher_id", "event_type"];
const KEYED: [&str; 2] = ["payload", "context"];

/// Other words for them; an argument `ctxt` is the `context` here.
const WORDS: &[(&str, &str)] = &[("ctx", "context"), ("ctxt", "context"), ("cx", "context")];

/// What each notification has for itself.
const OF_ONE: [&str; 4] = ["metadata", "message_id", "timestamp", "unique_id"];

const FORMS: &str = "order by `payload.KEY`, `context.KEY`, `publisher_id` or `event_type`";

/// What is wrong with a path, and the fix.
#[derive(Debug, PartialEq, Eq)]
struct Flaw {
    found: String,
    fix: String,
}

/// Whether notifications can be ordered by what stands at the path.
fn ordered_by(path: &str) -> Result<(), Flaw> {
    let flaw = |found: String, fix: String| Err(Flaw { found, fix });
    if path.trim().is_empty() {
        return flaw("the path is empty".to_owned(), FORMS.to_owned());
    }
    let (part, key) = match path.split_once('.') {
        Some((part, key)) => (part, Some(key)),
        None => (path, None),
    };
    let is_keyed = KEYED.contains(&part);
    match key {
        None if WHOLE.contains(&part) => Ok(()),
        Some(_) if WHOLE.contains(&part) => {
            flaw(format!("`{part}` has no keys"), format!("write `{part}`"))
        }
        None | Some("") if is_keyed => flaw(
            format!("`{path}` names no key"),
            format!("name the one that notifications are ordered by: `{part}.KEY`"),
        ),
        Some(key) if is_keyed && key.contains('.') => flaw(
            format!("`{path}` is a key of an inner level"),
            format!("only keys of the top level can be looked at: `{part}.KEY`"),
        ),
        Some(key) if is_keyed && is_key(key) => Ok(()),
        _ => flaw(format!("nothing can be ordered by `{path}`"), fix(path)),
    }
}

fn is_key(key: &str) -> bool {
    key.trim() == key && !key.contains(|c: char| c.is_control() || "[](){}".contains(c))
}

/// The fix for a path whose part is not known, or that is written otherwise.
fn fix(path: &str) -> String {
    let is_of_word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let words: Vec<&str> = path.split(|c| !is_of_word(c)).filter(|word| !word.is_empty()).collect();
    let table = [WORDS, ARGUMENT_WORDS].concat();
    let near = |word: &str, known: &[&'static str]| nearest(word, known, &table);
    match *words.as_slice() {
        [first, ..] if OF_ONE.contains(&first) => {
            format!("each notification has its own, so none would wait for another: {FORMS}")
        }
        [word] => match (near(word, &WHOLE), near(word, &KEYED)) {
            (Some(whole), _) => format!("did you mean `{whole}`?"),
            (None, Some(part)) => format!("did you mean `{part}.KEY`?"),
            (None, None) => format!("say where it stands: `payload.{word}` or `context.{word}`"),
        },
        [part, key] => near(part, &KEYED)
            .map_or_else(|| FORMS.to_owned(), |part| format!("did you mean `{part}.{key}`?")),
        _ => FORMS.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, found: &str, fix: &str) {
        let flaw = Flaw { found: found.to_owned(), fix: fix.to_owned() };
        assert_eq!(ordered_by(path), Err(flaw), "{path}");
    }

    #[track_caller]
    fn check_unknown(path: &str, fix: &str) {
        check(path, &format!("nothing can be ordered by `{path}`"), fix);
    }

    #[test]
    fn a_text_and_a_key_of_the_top_level_order() {
        for path in ["publisher_id", "event_type", "payload.instance_id", "context.request-id"] {
            assert_eq!(ordered_by(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn a_word_that_is_like_a_part_names_it() {
        check_unknown("publisher", "did you mean `publisher_id`?");
        check_unknown("event_typ", "did you mean `event_type`?");
        check_unknown("ctxt.request_id", "did you mean `context.request_id`?");
        check_unknown("body.instance_id", "did you mean `payload.instance_id`?");
        check_unknown("payload[instance_id]", "did you mean `payload.instance_id`?");
        check_unknown("payload. instance_id", "did you mean `payload.instance_id`?");
        check_unknown("payloads", "did you mean `payload.KEY`?");
    }

    #[test]
    fn a_word_that_is_like_none_is_taken_for_a_key() {
        let fix = "say where it stands: `payload.instance_id` or `context.instance_id`";
        check_unknown("instance_id", fix);
        check_unknown("tenant.id", FORMS);
        check_unknown("a b c", FORMS);
    }

    #[test]
    fn what_each_notification_has_for_itself_orders_none() {
        let fix = format!("each notification has its own, so none would wait for another: {FORMS}");
        check_unknown("metadata.message_id", &fix);
        check_unknown("message_id", &fix);
    }

    #[test]
    fn a_key_is_one_name_of_what_has_keys() {
        check("", "the path is empty", FORMS);
        check("publisher_id.host", "`publisher_id` has no keys", "write `publisher_id`");
        let name = "name the one that notifications are ordered by: `payload.KEY`";
        check("payload", "`payload` names no key", name);
        check("payload.", "`payload.` names no key", name);
        let top = "only keys of the top level can be looked at: `payload.KEY`";
        check("payload.instance.uuid", "`payload.instance.uuid` is a key of an inner level", top);
    }
}
