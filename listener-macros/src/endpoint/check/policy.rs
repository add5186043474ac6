//! Checks `retry(..)` and `ordered_by`: delays must be consistent, and the path must be a valid order
//! key. `attr/duration.rs` reports invalid durations. Called by `options.rs`.

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::endpoint::ast::{Options, Retry};
use crate::similar::{ARGUMENT_SYNONYMS, similar};

/// All errors in `retry(..)` and `ordered_by`.
pub(crate) fn check(options: &Options, diagnostics: &mut Diagnostics) {
    if let Some(retry) = &options.retry {
        delays(retry, diagnostics);
    }
    if let Some(path) = &options.ordered_by
        && let Err(diagnostic) = ordered_by(&path.value())
    {
        diagnostics.add(diagnostic.at(path.span()));
    }
}

fn delays(retry: &Retry, diagnostics: &mut Diagnostics) {
    let Retry { attempts, delay, max_delay } = retry;
    if *attempts == Some(1) {
        for (option, value) in [("delay", delay), ("max_delay", max_delay)] {
            if let Some(value) = value {
                let message = format_args!("`{option}` has no effect with `attempts = 1`");
                let help = "remove one of the two: a method that is called once is not retried";
                diagnostics.at(value.text.span(), message, help);
            }
        }
    } else if let (Some(delay), Some(max_delay)) = (delay, max_delay)
        && delay.milliseconds > max_delay.milliseconds
    {
        let delay = delay.text.value();
        let message = format_args!("`max_delay` is shorter than `delay`, {delay}");
        let help = "delays double from `delay` up to `max_delay`: increase `max_delay`, or decrease `delay`";
        diagnostics.at(max_delay.text.span(), message, help);
    }
}

/// Parts that are one text, and parts with keys.
const TEXTS: [&str; 2] = ["publisher_id", "event_type"];
const KEYED: [&str; 2] = ["payload", "context"];

/// Other names of them: the argument `ctxt` is `context` here.
const SYNONYMS: &[(&str, &str)] = &[("ctx", "context"), ("ctxt", "context"), ("cx", "context")];

/// What differs in every notification.
const UNIQUE: [&str; 4] = ["metadata", "message_id", "timestamp", "unique_id"];

const FORMS: &str = "use `payload.KEY`, `context.KEY`, `publisher_id` or `event_type`";

/// Whether notifications can be ordered by the value at the path.
fn ordered_by(path: &str) -> Result<(), Diagnostic> {
    let error = |message: String, help: String| Err(Diagnostic::new(message, help));
    if path.trim().is_empty() {
        return error("`ordered_by` is empty".to_owned(), FORMS.to_owned());
    }
    let (part, key) = match path.split_once('.') {
        Some((part, key)) => (part, Some(key)),
        None => (path, None),
    };
    let is_keyed = KEYED.contains(&part);
    match key {
        None if TEXTS.contains(&part) => Ok(()),
        Some(_) if TEXTS.contains(&part) => {
            error(format!("`{part}` has no keys"), format!("write `{part}`"))
        }
        None | Some("") if is_keyed => error(
            format!("missing key in `{path}`"),
            format!("write `{part}.KEY` with the key to order by"),
        ),
        Some(key) if is_keyed && key.contains('.') => error(
            format!("expected a top-level key, found `{path}`"),
            format!("nested keys are not supported: write `{part}.KEY`"),
        ),
        Some(key) if is_keyed && is_key(key) => Ok(()),
        _ => error(format!("cannot order by `{path}`"), help(path)),
    }
}

fn is_key(key: &str) -> bool {
    key.trim() == key && !key.contains(|c: char| c.is_control() || "[](){}".contains(c))
}

/// The help for a path with an unknown part or an invalid form.
fn help(path: &str) -> String {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let words: Vec<&str> = path.split(|c| !is_word(c)).filter(|word| !word.is_empty()).collect();
    let synonyms = [SYNONYMS, ARGUMENT_SYNONYMS].concat();
    let suggest = |word: &str, known: &[&'static str]| similar(word, known, &synonyms);
    match *words.as_slice() {
        [first, ..] if UNIQUE.contains(&first) => {
            format!("it differs in every notification, so nothing would be ordered: {FORMS}")
        }
        [word] => match (suggest(word, &TEXTS), suggest(word, &KEYED)) {
            (Some(text), _) => format!("did you mean `{text}`?"),
            (None, Some(part)) => format!("did you mean `{part}.KEY`?"),
            (None, None) => format!("did you mean `payload.{word}` or `context.{word}`?"),
        },
        [part, key] => suggest(part, &KEYED)
            .map_or_else(|| FORMS.to_owned(), |part| format!("did you mean `{part}.{key}`?")),
        _ => FORMS.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, message: &str, help: &str) {
        assert_eq!(ordered_by(path), Err(Diagnostic::new(message, help)), "{path}");
    }

    #[track_caller]
    fn check_unknown(path: &str, help: &str) {
        check(path, &format!("cannot order by `{path}`"), help);
    }

    #[test]
    fn a_text_and_a_top_level_key_are_valid() {
        for path in ["publisher_id", "event_type", "payload.instance_id", "context.request-id"] {
            assert_eq!(ordered_by(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn a_name_similar_to_a_part_suggests_it() {
        check_unknown("publisher", "did you mean `publisher_id`?");
        check_unknown("event_typ", "did you mean `event_type`?");
        check_unknown("ctxt.request_id", "did you mean `context.request_id`?");
        check_unknown("body.instance_id", "did you mean `payload.instance_id`?");
        check_unknown("payload[instance_id]", "did you mean `payload.instance_id`?");
        check_unknown("payload. instance_id", "did you mean `payload.instance_id`?");
        check_unknown("payloads", "did you mean `payload.KEY`?");
    }

    #[test]
    fn any_other_name_may_be_a_key() {
        let help = "did you mean `payload.instance_id` or `context.instance_id`?";
        check_unknown("instance_id", help);
        check_unknown("tenant.id", FORMS);
        check_unknown("a b c", FORMS);
    }

    #[test]
    fn a_unique_value_orders_nothing() {
        let help =
            format!("it differs in every notification, so nothing would be ordered: {FORMS}");
        check_unknown("metadata.message_id", &help);
        check_unknown("message_id", &help);
    }

    #[test]
    fn a_key_is_one_name_in_a_part_with_keys() {
        check("", "`ordered_by` is empty", FORMS);
        check("publisher_id.host", "`publisher_id` has no keys", "write `publisher_id`");
        let key = "write `payload.KEY` with the key to order by";
        check("payload", "missing key in `payload`", key);
        check("payload.", "missing key in `payload.`", key);
        let top_level = "nested keys are not supported: write `payload.KEY`";
        let message = "expected a top-level key, found `payload.instance.uuid`";
        check("payload.instance.uuid", message, top_level);
    }
}
