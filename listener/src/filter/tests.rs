//! The algebra of filters, compared with a simple evaluation of the parsed JSON. The filters of the attribute are
//! tested in `rule.rs`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::notification::delivery_info::DeliveryInfo;
use crate::notification::fields::Fields;
use crate::notification::priority::Priority;
use crate::notification::states::States;

/// A notification as parsed values.
struct Sample {
    publisher_id: Option<&'static str>,
    event_type: Option<&'static str>,
    context: Value,
    payload: Value,
}

fn with<T>(sample: &Sample, run: impl FnOnce(&Notification<'_>) -> T) -> T {
    let payload = sample.payload.to_string();
    let context: BTreeMap<String, String> = sample
        .context
        .as_object()
        .map(|map| map.iter().map(|(key, value)| (key.clone(), value.to_string())).collect())
        .unwrap_or_default();
    let fields = Fields {
        message_id: Some("7c5f2f4e".into()),
        timestamp: None,
        publisher_id: sample.publisher_id.map(Into::into),
        event_type: sample.event_type.map(Into::into),
        priority: None,
        unique_id: None,
        payload: serde_json::from_str(&payload).expect("JSON"),
        context: context
            .iter()
            .map(|(key, value)| (key.as_str().into(), serde_json::from_str(value).expect("JSON")))
            .collect(),
    };
    let (delivery, states) = (DeliveryInfo::new("q", "", "t.info"), States::default());
    run(&Notification::new(fields, Priority::Info, &delivery, &states))
}

/// What a filter means, evaluated on parsed values.
enum Meaning {
    Starts(&'static [&'static str], &'static str),
    All(Vec<Meaning>),
    Any(Vec<Meaning>),
    Not(Box<Meaning>),
}

impl Meaning {
    fn of(&self, sample: &Sample) -> bool {
        match self {
            Self::Starts(path, prefix) => {
                let whole = json!({
                    "publisher_id": sample.publisher_id,
                    "event_type": sample.event_type,
                    "context": sample.context,
                    "payload": sample.payload,
                });
                let value = path.iter().try_fold(&whole, |value, key| value.as_object()?.get(*key));
                value.and_then(Value::as_str).is_some_and(|text| text.starts_with(prefix))
            }
            Self::All(all) => all.iter().all(|meaning| meaning.of(sample)),
            Self::Any(any) => any.iter().any(|meaning| meaning.of(sample)),
            Self::Not(meaning) => !meaning.of(sample),
        }
    }
}

const TEXTS: [&str; 4] = ["a", "ab", "b", ""];

fn leaf(random: &mut fastrand::Rng) -> (Filter, Meaning) {
    let text = TEXTS[random.usize(..TEXTS.len())];
    let (filter, path): (_, &'static [&'static str]) = match random.u8(..6) {
        0 => (Filter::publisher_id(text), &["publisher_id"]),
        1 => (Filter::event_type(text), &["event_type"]),
        2 => (Filter::context("k", text), &["context", "k"]),
        3 => (Filter::payload("k", text), &["payload", "k"]),
        4 => (Filter::payload("k.l", text), &["payload", "k.l"]),
        _ => (Filter::payload_path(["k", "l"], text), &["payload", "k", "l"]),
    };
    (filter.expect("a filter"), Meaning::Starts(path, text))
}

fn filter(random: &mut fastrand::Rng, depth: u32) -> (Filter, Meaning) {
    if depth == 0 {
        return leaf(random);
    }
    match random.u8(..5) {
        0 | 1 => {
            let (left, left_means) = filter(random, depth - 1);
            let (right, right_means) = filter(random, depth - 1);
            (left & right, Meaning::All(vec![left_means, right_means]))
        }
        2 | 3 => {
            let (left, left_means) = filter(random, depth - 1);
            let (right, right_means) = filter(random, depth - 1);
            (left | right, Meaning::Any(vec![left_means, right_means]))
        }
        _ => {
            let (inner, means) = filter(random, depth - 1);
            (!inner, Meaning::Not(Box::new(means)))
        }
    }
}

fn value(random: &mut fastrand::Rng) -> Value {
    match random.u8(..8) {
        0 => Value::Null,
        1 => json!(1),
        2 => json!(["a"]),
        3 => json!({"l": TEXTS[random.usize(..TEXTS.len())]}),
        4 => json!({"l": null}),
        _ => json!(TEXTS[random.usize(..TEXTS.len())]),
    }
}

fn object(random: &mut fastrand::Rng) -> Value {
    match random.u8(..6) {
        0 => json!({}),
        1 => json!({"k.l": value(random)}),
        2 => json!({"k": value(random), "k.l": value(random)}),
        _ => json!({"k": value(random)}),
    }
}

fn sample(random: &mut fastrand::Rng) -> Sample {
    let text = |random: &mut fastrand::Rng| TEXTS.get(random.usize(..5)).copied();
    Sample {
        publisher_id: text(random),
        event_type: text(random),
        context: object(random),
        payload: if random.bool() { object(random) } else { value(random) },
    }
}

#[test]
fn filters_match_as_their_parts_combined() {
    let mut random = fastrand::Rng::with_seed(11);
    let samples: Vec<Sample> = (0..100).map(|_| sample(&mut random)).collect();
    let mut matched = 0;
    for round in 0..500 {
        let (filter, meaning) = filter(&mut random, round % 4);
        for sample in &samples {
            let expected = meaning.of(sample);
            let matches = with(sample, |notification| filter.matches(notification));
            assert_eq!(matches, expected, "{filter:?} {}", sample.payload);
            matched += u32::from(matches);
            let index = filter.required_event_type();
            if let (true, Some(index)) = (matches, index) {
                let index = Regex::new(&index).expect("a regular expression");
                assert!(sample.event_type.is_some_and(|text| index.is_match(text)), "{filter:?}");
            }
        }
    }
    // Both answers occur.
    assert!((10_000..40_000).contains(&matched), "{matched}");
}

fn nova() -> Sample {
    Sample {
        publisher_id: Some("compute.host1"),
        event_type: Some("compute.instance.create.end"),
        context: json!({"project_id": "p1"}),
        payload: json!({"state": "active", "n": 1, "none": null}),
    }
}

#[track_caller]
fn check(filter: &Filter, expected: bool) {
    assert_eq!(with(&nova(), |notification| filter.matches(notification)), expected, "{filter:?}");
}

#[test]
fn the_complement_matches_also_what_is_missing_or_not_text() {
    for key in ["missing", "n", "none"] {
        check(&Filter::payload(key, "").unwrap(), false);
        check(&!Filter::payload(key, "").unwrap(), true);
    }
    check(&(Filter::payload("n", "").unwrap() & !Filter::payload("n", "x").unwrap()), false);
}

#[test]
fn names_match_exactly() {
    check(&Filter::event_types(["compute.instance.create.end", "other"]), true);
    check(&Filter::event_types(["compute"]), false);
    check(&Filter::event_types(Vec::<String>::new()), false);
    check(&Filter::publisher_ids(["compute.host1"]), true);
}

#[test]
fn without_a_filter_all_matches_everything_and_any_nothing() {
    check(&Filter::all([]), true);
    check(&Filter::any([]), false);
}

#[test]
fn a_required_event_type_is_known_to_the_index() {
    let required = |filter: Filter| filter.required_event_type().map(Cow::into_owned);
    let compute = || Filter::event_type("compute").unwrap();
    let project = || Filter::context("project_id", "p").unwrap();
    assert_eq!(required(compute()).as_deref(), Some("^(?:compute)"));
    assert_eq!(required(project() & compute()).as_deref(), Some("^(?:compute)"));
    assert_eq!(required(Filter::event_types(["a.b", "c"])).as_deref(), Some(r"\A(?:a\.b|c)\z"));
    assert_eq!(required(project() | compute()), None);
    assert_eq!(required(!compute()), None);
}

#[test]
fn a_panicking_predicate_is_an_error_unless_it_is_not_reached() {
    let panics = || Filter::predicate(|_| panic!("no luck"));
    let matches = |filter: Filter| with(&nova(), |notification| filter.try_matches(notification));
    assert_eq!(matches(!panics()), Err("no luck".to_owned()));
    assert_eq!(matches(Filter::all([]) | panics()), Ok(true));
    assert_eq!(matches(Filter::any([]) & panics()), Ok(false));
    assert_eq!(matches(Filter::predicate(|n| n.publisher_id() == Some("compute.host1"))), Ok(true));
}

#[test]
fn errors_name_the_part_and_the_fix() {
    let error = |built: Result<Filter, FilterError>| built.unwrap_err().to_string();
    let invalid = error(Filter::payload_path(["a", "b"], "("));
    assert!(
        invalid.starts_with(r#"the filter for payload.a.b: "(" is not a valid regular expression"#),
        "{invalid}"
    );
    assert_eq!(
        error(Filter::metadata("time", "x")),
        "the filter for metadata: expected `message_id` or `timestamp`, found \"time\""
    );
    assert_eq!(
        error(Filter::payload_path(Vec::<String>::new(), "x")),
        "the filter for a path of the payload: expected at least one key, found none"
    );
}
