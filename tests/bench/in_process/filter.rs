//! Applying one filter to a notification, compared with the regular expression alone. A value of the
//! payload is searched in its text each time. `cargo bench -p tests --bench filter`.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use listener::__private::FilterRule;
use listener::__private::for_tests::CompiledRule;
use listener::envelope::{Labels, Limits, open, read};
use listener::extract::States;
use listener::{DeliveryInfo, Notification, Priority};
use regex::Regex;

const BODY: &[u8] = include_bytes!("body.json");

/// Each with whether the notification passes.
const RULES: [(&str, FilterRule, bool); 7] = [
    ("none", FilterRule::ALL, true),
    ("event_type, passes", FilterRule { event_type: Some(EVENT_TYPE), ..FilterRule::ALL }, true),
    (
        "event_type, does not",
        FilterRule { event_type: Some(r"^volume\."), ..FilterRule::ALL },
        false,
    ),
    (
        "publisher_id, passes",
        FilterRule { publisher_id: Some(r"^compute\."), ..FilterRule::ALL },
        true,
    ),
    (
        "context, passes",
        FilterRule { context: &[("project_id", "^[0-9a-f]+$")], ..FilterRule::ALL },
        true,
    ),
    ("payload, passes", FilterRule { payload: &[("state", "^active$")], ..FilterRule::ALL }, true),
    (
        "payload, does not",
        FilterRule { payload: &[("state", "^error$")], ..FilterRule::ALL },
        false,
    ),
];

const EVENT_TYPE: &str = r"^compute\.instance\.";

fn bench(criterion: &mut Criterion) {
    let labels = Labels { content_type: Some("application/json"), compression: None };
    let opened = open(BODY, labels, &Limits::default()).expect("it opens");
    let fields = read(&opened.text).expect("a valid notification");
    let delivery = DeliveryInfo::new("q", "openstack", "notifications.info");
    let states = States::default();
    let notification = Notification::new(fields, Priority::Info, &delivery, &states);
    let mut group = criterion.benchmark_group("filter");
    let by_hand = Regex::new(EVENT_TYPE).expect("an expression");
    group.bench_function("by hand: event_type, passes", |b| {
        b.iter(|| {
            let text = black_box(&notification).event_type();
            assert!(text.is_some_and(|text| by_hand.is_match(text)));
        });
    });
    for (name, rule, passes) in RULES {
        let filter = CompiledRule::compile(&rule).expect("a filter");
        assert_eq!(filter.matches(&notification), passes, "{name}");
        group.bench_function(format!("listener: {name}"), |b| {
            b.iter(|| black_box(filter.matches(black_box(&notification))));
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
