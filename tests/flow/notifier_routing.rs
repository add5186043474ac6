//! The output `routing`: the rules of its file, as the tests of oslo.messaging have them.

use listener::error::RoutingError;
use listener::output::{NotifierOutput, OutputNotification, Routing, TestOutput};
use listener::{BoxError, BoxFuture, Context, Notifier, Priority};

use crate::rig::Rig;

/// A list with a name.
#[derive(Clone)]
struct Named(&'static str, tokio::sync::mpsc::UnboundedSender<String>);

impl NotifierOutput for Named {
    fn name(&self) -> &str {
        self.0
    }

    fn notify<'a>(&'a self, sent: &'a OutputNotification) -> BoxFuture<'a, Result<(), BoxError>> {
        let _ = self.1.send(format!("{} {} {}", self.0, sent.priority, sent.event_type));
        Box::pin(std::future::ready(Ok(())))
    }
}

/// What the outputs `rpc`, `rpc2` and `bar` get, given this file.
async fn routed(file: &str, notifications: &[(Priority, &str)]) -> Vec<String> {
    let (log, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let known = ["rpc", "rpc2", "bar"].map(|name| Named(name, log.clone()));
    let routing = known.into_iter().fold(Routing::new(), Routing::known).read(file).unwrap();
    let notifier = Notifier::builder(Rig::new().transport).routing(routing).build().unwrap();
    for (priority, event_type) in notifications {
        notifier.notify(*priority, &Context::new(), event_type, &1).await.unwrap();
    }
    std::iter::from_fn(|| seen.try_recv().ok()).collect()
}

fn refused(file: &str) -> String {
    Routing::new().read(file).unwrap_err().to_string()
}

#[tokio::test(start_paused = true)]
async fn an_empty_file_routes_nothing() {
    for file in ["", "# only a comment", "{}", "group:"] {
        assert_eq!(routed(file, &[(Priority::Info, "x")]).await, [""; 0], "{file}");
    }
}

#[tokio::test(start_paused = true)]
async fn accepted_events_are_patterns_of_the_whole_event_type() {
    let file = "
group_1:
  rpc:
    accepted_events: ['foo.*', 'blah.zoo.*', zip]
";
    let types = ["foo.1", "foo", "blah.zoo.1", "blah.zoo", "zip", "zipper", "x.foo.1"];
    let seen = routed(file, &types.map(|event_type| (Priority::Info, event_type))).await;
    assert_eq!(seen, ["rpc info foo.1", "rpc info blah.zoo.1", "rpc info zip"]);
}

#[tokio::test(start_paused = true)]
async fn accepted_priorities_are_patterns_in_any_case() {
    let file = "
group_1:
  rpc:
    accepted_priorities: [INFO, 'err*', '[a-c]*']
";
    let seen = routed(file, &Priority::ALL.map(|priority| (priority, "x"))).await;
    assert_eq!(seen, ["rpc audit x", "rpc info x", "rpc error x", "rpc critical x"]);
}

#[tokio::test(start_paused = true)]
async fn events_and_priorities_must_both_match_and_outputs_are_independent() {
    let file = "
group_1:
  rpc:
    accepted_events: ['foo.*']
    accepted_priorities: [info]
  bar:
    accepted_priorities: [error]
";
    let sent = [(Priority::Info, "foo.1"), (Priority::Info, "x"), (Priority::Error, "foo.1")];
    assert_eq!(routed(file, &sent).await, ["rpc info foo.1", "bar error foo.1"]);
}

#[tokio::test(start_paused = true)]
async fn an_output_without_rules_accepts_everything() {
    let sent = [(Priority::Sample, "x")];
    assert_eq!(routed("group: {rpc: , bar: {}}", &sent).await, ["rpc sample x", "bar sample x"]);
}

#[tokio::test(start_paused = true)]
async fn an_output_that_several_groups_select_is_called_once() {
    let file = "
group_1:
  rpc: {accepted_events: ['foo.*']}
  rpc2: {accepted_events: ['foo.*']}
group_2:
  rpc: {accepted_priorities: [info]}
  bar: {accepted_events: ['blah.*']}
";
    let sent = [(Priority::Info, "foo.1"), (Priority::Info, "blah.1")];
    let expected = ["rpc info foo.1", "rpc2 info foo.1", "rpc info blah.1", "bar info blah.1"];
    assert_eq!(routed(file, &sent).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_route_to_the_broker_sends() {
    let (rig, list) = (Rig::new(), TestOutput::new());
    let file = "g: {messagingv2: {accepted_events: [to_the_broker]}, test: }";
    let routing = Routing::new().known(list.clone()).read(file).unwrap();
    let notifier = Notifier::builder(rig.transport.clone()).routing(routing).build().unwrap();
    notifier.info(&Context::new(), "to_the_broker", &1).await.unwrap();
    notifier.info(&Context::new(), "not_to_the_broker", &1).await.unwrap();
    rig.take("notifications.info").await;
    rig.assert_empty("notifications.info").await;
    assert_eq!(list.notifications().len(), 2);
}

#[test]
fn a_mistake_in_the_file_says_where_it_is() {
    assert_eq!(
        refused("g: {mesagingv2: }"),
        "group \"g\" of the routing file: unknown output \"mesagingv2\"; expected one of messaging, \
         messagingv2, log, noop, test, or a name given to `Routing::known` (did you mean \
         \"messagingv2\"?)"
    );
    assert_eq!(
        refused("g: {log: {accepted_event: [x]}}"),
        "g.log.accepted_event of the routing file has another form; expected one of the keys \
         accepted_events and accepted_priorities"
    );
    assert_eq!(
        refused("g: {log: {accepted_events: foo.*}}"),
        "g.log.accepted_events of the routing file has another form; expected a list of texts, such \
         as ['compute.*']"
    );
    assert!(refused("g: [log]").starts_with("g of the routing file has another form"));
    assert!(refused("g: {").starts_with("the routing file is not YAML: "));
}

#[test]
fn a_missing_file_is_an_error_that_names_it() {
    let error = Routing::new().read_file("/nowhere/routing.yaml").unwrap_err();
    assert!(matches!(error, RoutingError::File { .. }));
    assert!(error.to_string().contains("/nowhere/routing.yaml"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_routing_without_rules_sends_nowhere() {
    let rig = Rig::new();
    let builder = Notifier::builder(rig.transport.clone()).routing(Routing::new());
    builder.build().unwrap().info(&Context::new(), "x", &1).await.unwrap();
    rig.assert_empty("notifications.info").await;
}
