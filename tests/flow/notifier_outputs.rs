//! The outputs of a notifier: which of them a notification reaches, with which content, and what the caller
//! learns if some of them fail.

use std::time::Duration;

use listener::error::OutputError;
use listener::output::{NotifierOutput, Output, OutputNotification, TestOutput};
use listener::{
    BoxError, BoxFuture, Context, Notifier, NotifierBuilder, NotifyError, Priority, Receipt, Retry,
};
use serde_json::{Value, json};

use crate::logging::Buffer;
use crate::rig::Rig;

fn builder(rig: &Rig) -> NotifierBuilder {
    Notifier::builder(rig.transport.clone()).publisher_id("p")
}

/// An output that fails in one of several ways.
#[derive(Clone, Copy)]
enum Broken {
    Error,
    Panic,
    Hang,
}

impl NotifierOutput for Broken {
    fn name(&self) -> &str {
        match self {
            Self::Error => "error",
            Self::Panic => "panic",
            Self::Hang => "hang",
        }
    }

    fn notify<'a>(
        &'a self,
        notification: &'a OutputNotification,
    ) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(async move {
            match self {
                Self::Error => Err(format!("no room for {}", notification.event_type).into()),
                Self::Panic => panic!("a bug"),
                Self::Hang => std::future::pending().await,
            }
        })
    }
}

#[tokio::test(start_paused = true)]
async fn every_output_gets_the_same_notification_once() {
    let (rig, list, log) = (Rig::new(), TestOutput::new(), Buffer::default());
    let builder = builder(&rig).output(list.clone()).drivers(["messaging", "messagingv2", "log"]);
    let (notifier, _guard) = (builder.build().unwrap(), log.set());
    let context = Context::new().with("user", "u");
    let receipt = notifier.info(&context, "x.y", &json!({"n": 1})).await.unwrap();
    assert_eq!(receipt, Receipt::Confirmed);
    let [sent] = &list.notifications()[..] else { panic!("{:?}", list.notifications()) };
    let first: Value = serde_json::from_slice(&rig.take("notifications.info").await.body).unwrap();
    let second: Value = serde_json::from_slice(&rig.take("notifications.info").await.body).unwrap();
    let second: Value = serde_json::from_str(second["oslo.message"].as_str().unwrap()).unwrap();
    for body in [&first, &second] {
        assert_eq!(body["message_id"], sent.message_id);
        assert_eq!(body["timestamp"], sent.timestamp);
        assert_eq!((&body["payload"], &body["_context_user"]), (&json!({"n": 1}), &json!("u")));
    }
    assert_eq!((&sent.payload, &sent.context), (&json!({"n": 1}), &context));
    assert_eq!((sent.priority, sent.event_type.as_str()), (Priority::Info, "x.y"));
    assert!(log.text().contains(&sent.message_id), "{}", log.text());
    rig.assert_empty("notifications.info").await;
}

#[tokio::test(start_paused = true)]
async fn the_failure_of_outputs_does_not_prevent_the_others_and_lists_each() {
    let (rig, list) = (Rig::new(), TestOutput::new());
    let all = [Broken::Error, Broken::Panic, Broken::Hang];
    let builder = all.into_iter().fold(builder(&rig), NotifierBuilder::output);
    let builder = builder.output(list.clone()).output(Output::MessagingV2);
    let notifier = builder.timeout(Duration::from_secs(3)).build().unwrap();
    let error = notifier.info(&Context::new(), "x", &1).await.unwrap_err();
    let NotifyError::Outputs(errors) = &error else { panic!("{error:?}") };
    assert_eq!(errors.succeeded().collect::<Vec<_>>(), ["test", "messagingv2"]);
    let errors: Vec<_> = errors.iter().collect();
    assert!(matches!(
        errors[..],
        [
            ("error", OutputError::Failed(_)),
            ("panic", OutputError::Panicked),
            ("hang", OutputError::TimedOut { .. })
        ]
    ));
    assert_eq!(
        error.to_string(),
        "3 of 5 outputs did not take the notification: output \"error\": no room for x; \
         output \"panic\": it panicked; output \"hang\": it took longer than 3s"
    );
    assert_eq!((error.is_transient(), error.may_have_been_sent()), (false, true));
    assert_eq!(list.notifications().len(), 1);
    rig.take("notifications.info").await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_the_broker_does_not_prevent_the_other_outputs() {
    let (rig, list) = (Rig::new(), TestOutput::new());
    let builder = builder(&rig).max_body(10).output(Output::MessagingV2).output(list.clone());
    let error = builder.build().unwrap().info(&Context::new(), "x", &1).await.unwrap_err();
    let NotifyError::Outputs(errors) = &error else { panic!("{error:?}") };
    let errors: Vec<_> = errors.iter().collect();
    let [("messagingv2", OutputError::Notify(error))] = errors[..] else { panic!("{errors:?}") };
    assert!(matches!(**error, NotifyError::TooLarge { .. }), "{error:?}");
    assert_eq!(list.notifications().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_notifier_with_only_noop_is_not_enabled_and_sends_nothing() {
    let rig = Rig::new();
    let noop = builder(&rig).drivers(["noop"]).build().unwrap();
    assert_eq!(noop.info(&Context::new(), "x", &1).await.unwrap(), Receipt::Local);
    rig.assert_empty("notifications.info").await;
    let both = builder(&rig).drivers(["noop", "log"]).build().unwrap();
    let enabled = [noop.is_enabled(), both.is_enabled(), rig.notifier().is_enabled()];
    assert_eq!(enabled, [false, true, true]);
}

#[tokio::test(start_paused = true)]
async fn an_output_that_is_named_twice_is_called_once() {
    let rig = Rig::new();
    let builder = builder(&rig).drivers(["messagingv2", "messagingv2"]);
    builder.build().unwrap().info(&Context::new(), "x", &1).await.unwrap();
    rig.take("notifications.info").await;
    rig.assert_empty("notifications.info").await;
}

#[tokio::test(start_paused = true)]
async fn an_unknown_output_is_an_error_that_lists_the_known_ones() {
    let error = builder(&Rig::new()).drivers(["mesaging"]).build().unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown output \"mesaging\"; expected one of messaging, messagingv2, log, noop, test, or a \
         name given to `Routing::known` (did you mean \"messaging\"?)"
    );
}

#[tokio::test(start_paused = true)]
async fn the_log_has_the_logger_of_the_event_type_the_level_of_the_priority_and_json() {
    let (rig, log) = (Rig::new(), Buffer::default());
    let (notifier, _guard) = (builder(&rig).drivers(["log"]).build().unwrap(), log.set());
    for priority in Priority::ALL {
        notifier.notify(priority, &Context::new(), "test.notify", &1).await.unwrap();
    }
    let text = log.text();
    let of_log = text.lines().filter(|line| line.contains(" oslo.messaging.notification: "));
    let lines: Vec<&str> = of_log.map(str::trim_start).collect();
    let levels: Vec<&str> = lines.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(levels, ["INFO", "DEBUG", "INFO", "WARN", "ERROR", "ERROR", "INFO"]);
    for (line, priority) in lines.iter().zip(Priority::ALL) {
        assert!(line.contains("logger=\"oslo.messaging.notification.test.notify\""), "{line}");
        let json = &line[line.find('{').unwrap()..=line.rfind('}').unwrap()];
        let logged: Value = serde_json::from_str(json).unwrap();
        assert_eq!((&logged["priority"], &logged["payload"]), (&json!(priority.wire()), &json!(1)));
        assert_eq!(
            (&logged["event_type"], &logged["publisher_id"]),
            (&json!("test.notify"), &json!("p"))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_log_masks_passwords() {
    let (rig, log) = (Rig::new(), Buffer::default());
    let (notifier, _guard) = (builder(&rig).drivers(["log"]).build().unwrap(), log.set());
    let payload =
        json!({"password": "passw0rd", "list": [{"my_TOKEN": 1}], "text": "--password passw0rd x"});
    notifier.info(&Context::new(), "test.notify", &payload).await.unwrap();
    let text = log.text();
    assert!(
        text.contains(
            r#"{"list":[{"my_TOKEN":"***"}],"password":"***","text":"--password *** x"}"#
        ),
        "{text}"
    );
    assert!(!text.contains("passw0rd"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn each_call_has_the_retries_of_its_notifier() {
    let (rig, list) = (Rig::new(), TestOutput::new());
    let build = |retry: Option<Retry>| {
        let builder = builder(&rig).output(list.clone());
        retry.into_iter().fold(builder, NotifierBuilder::retry).build().unwrap()
    };
    let notifiers = [
        build(None),
        build(Some(Retry::from_count(3))),
        build(Some(Retry::Times(3))).with_retry(Retry::Times(5)),
        build(None).with_retry(Retry::Times(0)).with_publisher_id("q"),
    ];
    for notifier in notifiers {
        notifier.info(&Context::new(), "x", &1).await.unwrap();
    }
    let retries: Vec<Retry> = list.notifications().iter().map(|sent| sent.retry).collect();
    let times = Retry::Times;
    assert_eq!(retries, [Retry::UntilTimeout, times(3), times(5), times(0)]);
    assert_eq!(list.notifications()[3].publisher_id.as_deref(), Some("q"));
}
