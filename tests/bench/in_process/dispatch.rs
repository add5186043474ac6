//! Dispatching one notification: finding its endpoints, applying filters, and calling the one method
//! that matches it, compared with a `HashMap` from priority to boxed closures. With ten endpoints and with
//! a thousand. `cargo bench -p tests --bench dispatch`.

use std::collections::HashMap;
use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use listener::__private::FilterRule;
use listener::__private::for_tests::Dispatcher;
use listener::__private::for_tests::Table;
use listener::__private::{Bound, Call, EndpointDefinition, Method};
use listener::__private::{Failure, MethodResult};
use listener::envelope::{Labels, Limits, open, read};
use listener::extract::States;
use listener::{DeliveryInfo, Endpoint, Notification, Outcome, Priority};

const BODY: &[u8] = include_bytes!("body.json");

/// The number of `Nth` types.
const MANY: usize = 1000;

/// Long names of equal length: `aaaa.aaaaaaaa.NNN`.
const LENGTH: usize = 17;

static NAMES: [[u8; LENGTH]; MANY] = {
    let mut names = [*b"topic.aaaaaaa.000"; MANY];
    let mut n = 0;
    while n < MANY {
        names[n][LENGTH - 3] += (n / 100) as u8;
        names[n][LENGTH - 2] += (n / 10 % 10) as u8;
        names[n][LENGTH - 1] += (n % 10) as u8;
        n += 1;
    }
    names
};

const fn name(n: usize) -> &'static str {
    match std::str::from_utf8(&NAMES[n]) {
        Ok(name) => name,
        Err(_) => panic!("it is ASCII"),
    }
}

/// One of many endpoints: each on its own topic, or all on one topic with one event type each.
struct Nth<const N: usize, const OWN_TOPIC: bool>;

impl<const N: usize, const OWN_TOPIC: bool> Endpoint for Nth<N, OWN_TOPIC> {
    const DEFINITION: EndpointDefinition = EndpointDefinition {
        name: name(N),
        topics: if OWN_TOPIC { &[const { name(N) }] } else { &["notifications"] },
        filter: if OWN_TOPIC {
            FilterRule::ALL
        } else {
            FilterRule { event_type: Some(name(N)), ..FilterRule::ALL }
        },
        ..EndpointDefinition::PLAIN
    };
    const METHODS: &'static [Method<Self>] = &[Method {
        name: "info",
        priorities: &[Priority::Info],
        filter: FilterRule::ALL,
        requires: |_| {},
        call: Call::Async(|notification, _| Box::pin(handle(notification))),
    }];
}

async fn handle(notification: &Notification<'_>) -> MethodResult {
    black_box(notification.event_type());
    Ok(Outcome::Handled)
}

macro_rules! each_digit {
    ($call:ident!($($before:tt)*)) => {
        $call!($($before)* 0); $call!($($before)* 1); $call!($($before)* 2);
        $call!($($before)* 3); $call!($($before)* 4); $call!($($before)* 5);
        $call!($($before)* 6); $call!($($before)* 7); $call!($($before)* 8);
        $call!($($before)* 9);
    };
}

/// The first `count` of them.
fn endpoints<const OWN_TOPIC: bool>(count: usize) -> Vec<Bound> {
    let mut all = Vec::new();
    macro_rules! push {
        ($h:literal $t:literal $u:literal) => {
            all.push(Bound::new(Nth::<{ $h * 100 + $t * 10 + $u }, OWN_TOPIC>));
        };
    }
    macro_rules! tens {
        ($h:literal $t:literal) => {
            each_digit!(push!($h $t));
        };
    }
    macro_rules! hundreds {
        ($h:literal) => {
            each_digit!(tens!($h));
        };
    }
    each_digit!(hundreds!());
    assert_eq!(all.len(), MANY);
    all.truncate(count);
    all
}

fn dispatcher(endpoints: Vec<Bound>) -> Dispatcher {
    Dispatcher::new(Table::build(endpoints, &[], "openstack").expect("a table"))
}

/// Everything that a listener does with a notification between reading and the verdict, with a method
/// that returns immediately. Returns how many methods were called.
fn dispatch(dispatcher: &Dispatcher, notification: &Notification<'_>) -> usize {
    let mut called = 0;
    for (entry, _) in dispatcher.table().wanting(notification, |_| true) {
        let call = dispatcher.call(entry, notification, Duration::from_secs(60), || true);
        let result = call.now_or_never().expect("a method that returns immediately");
        assert!(matches!(result, Some(Ok(Outcome::Handled))));
        called += 1;
    }
    called
}

type Closure = Box<
    dyn for<'n> Fn(&'n Notification<'n>) -> BoxFuture<'n, Result<Outcome, Failure>> + Send + Sync,
>;

fn bench(criterion: &mut Criterion) {
    let labels = Labels { content_type: Some("application/json"), compression: None };
    let opened = open(BODY, labels, &Limits::default()).expect("it opens");
    let states = States::default();
    let mut group = criterion.benchmark_group("dispatch");

    // Reading is repeated because a notification does not outlive its delivery.
    let by_topic = |n: usize| DeliveryInfo::new("q", "openstack", format!("{}.info", name(n)));
    let delivery = by_topic(7);
    let fields = read(&opened.text).expect("a valid notification");
    let notification = Notification::new(fields, Priority::Info, &delivery, &states);

    let mut closures: HashMap<&str, Vec<Closure>> = HashMap::new();
    closures.entry("info").or_default().push(Box::new(|n| Box::pin(handle(n))));
    group.bench_function("by hand: a HashMap and a boxed closure", |b| {
        b.iter(|| {
            let notification = black_box(&notification);
            for closure in &closures[black_box("info")] {
                let result = closure(notification)
                    .now_or_never()
                    .expect("a method that returns immediately");
                assert!(matches!(result, Ok(Outcome::Handled)));
            }
        });
    });
    for count in [10, MANY] {
        let dispatcher = dispatcher(endpoints::<true>(count));
        assert_eq!(dispatch(&dispatcher, &notification), 1);
        group.bench_function(format!("listener: {count} endpoints, a topic each"), |b| {
            b.iter(|| dispatch(&dispatcher, black_box(&notification)));
        });
    }

    let delivery = DeliveryInfo::new("q", "openstack", "notifications.info");
    let mut fields = read(&opened.text).expect("a valid notification");
    fields.event_type = Some(name(7).into());
    let notification = Notification::new(fields, Priority::Info, &delivery, &states);
    for count in [10, 100, MANY] {
        let dispatcher = dispatcher(endpoints::<false>(count));
        assert_eq!(dispatch(&dispatcher, &notification), 1);
        group.bench_function(format!("listener: {count} endpoints, an event each"), |b| {
            b.iter(|| dispatch(&dispatcher, black_box(&notification)));
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
