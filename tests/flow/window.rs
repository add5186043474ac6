//! The window of a notifier and the limit of a body: what a full window does, and invalid settings.

use listener::error::NotifierBuildError;
use listener::{Context, NotifyError};

use crate::notifier_broker::{Broker, BrokerState, TIMEOUT, builder, notify};

#[tokio::test(start_paused = true)]
async fn a_call_beyond_the_window_waits_for_a_permit_or_times_out() {
    let broker = Broker::new(BrokerState::Away);
    let notifier = builder(&broker).window(2).build().unwrap();
    let calls = futures_util::future::join_all((0..3).map(|payload| notify(&notifier, payload)));
    let results = calls.await;
    let [Err(one), Err(two), Err(three)] = &results[..] else { panic!("{results:?}") };
    for error in [one, two] {
        assert!(error.is_transient() && error.may_have_been_sent(), "{error}");
    }
    assert_eq!(
        three.to_string(),
        "the window (`window`: 2 notifications, or `window_bytes`) was full for 30s: the broker confirms more \
         slowly than this program sends"
    );
    assert!(three.is_transient() && !three.may_have_been_sent());

    let coming_back = async {
        tokio::time::sleep(TIMEOUT / 2).await;
        broker.state.send_replace(BrokerState::Available);
    };
    let calls = futures_util::future::join_all((3..10).map(|payload| notify(&notifier, payload)));
    let (results, ()) = tokio::join!(calls, coming_back);
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(broker.accepted(), (3..10).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_notification_above_max_body_is_refused_before_anything_is_sent() {
    let broker = Broker::new(BrokerState::Available);
    let notifier = builder(&broker).max_body(300).build().unwrap();
    let error = notifier.info(&Context::new(), "x", &"x".repeat(300)).await.unwrap_err();
    assert!(matches!(&error, NotifyError::TooLarge { limit: 300, size: 301.., .. }), "{error}");
    assert!(!error.is_transient() && !error.may_have_been_sent());
    assert_eq!(broker.accepted(), [0; 0]);
    notify(&notifier, 1).await.unwrap();
}

#[test]
fn every_mistake_of_a_notifier_is_reported_at_once() {
    let broker = Broker::new(BrokerState::Available);
    let error = builder(&broker).topic("").window(0).build().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the notifier cannot be built, for 2 reasons:\
         \n- a topic of the notifier is empty; expected a name such as \"notifications\"\
         \n- window is 0; expected a number above 0"
    );
}

#[test]
fn an_empty_window_does_not_build() {
    let broker = Broker::new(BrokerState::Available);
    for (option, builder, accepted) in [
        ("window", builder(&broker).window(0), "a number above 0"),
        ("window_bytes", builder(&broker).window_bytes(0), "a number from 1 to 4294967295"),
    ] {
        let expected = NotifierBuildError::Option {
            option: option.to_owned(),
            found: "0".to_owned(),
            expected: accepted.to_owned(),
        };
        assert_eq!(builder.build().unwrap_err(), expected);
    }
}
