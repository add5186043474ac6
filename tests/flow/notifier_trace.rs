//! The trace of a notification: written by the notifier, read by the listener, in the keys of the context
//! that OpenTelemetry's instrumentation of oslo.messaging uses.

use listener::{
    BoxError, Context, NoOpSerializer, Notifier, RequestContextSerializer, State, Trace,
    TraceContext, notification_endpoint,
};

use crate::rig::{Log, Rig, finish};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn trace() -> TraceContext {
    TraceContext::parse(PARENT, Some("vendor=1")).unwrap()
}

struct Traced;

#[notification_endpoint(register = false)]
impl Traced {
    async fn info(&self, Trace(trace): Trace, ctxt: Context, log: State<Log>) {
        let state = trace.as_ref().and_then(TraceContext::tracestate).unwrap_or("none");
        let parent = trace.as_ref().map_or("none".to_owned(), TraceContext::traceparent);
        let _ = log.send(format!("{parent} {state} {:?}", ctxt.get_str("traceparent")));
    }
}

async fn sent(make: impl FnOnce(&Rig) -> Notifier, context: &Context) -> String {
    let mut rig = Rig::new();
    let listener = rig.builder().endpoint(Traced).build().unwrap();
    listener.start().await.unwrap();
    make(&rig).info(context, "x", &1).await.unwrap();
    let seen = rig.seen().await;
    finish(&listener).await;
    seen
}

fn expected() -> String {
    format!("{PARENT} vendor=1 Some({PARENT:?})")
}

#[tokio::test(start_paused = true)]
async fn a_trace_of_the_notifier_is_read_by_the_listener() {
    let make = |rig: &Rig| rig.notifier().with_trace_context(trace());
    assert_eq!(sent(make, &Context::new()).await, expected());
}

#[tokio::test(start_paused = true)]
async fn a_trace_in_a_context_that_is_forwarded_is_kept() {
    let mut context = Context::new();
    trace().write_to(&mut context);
    assert_eq!(sent(Rig::notifier, &context).await, expected());
}

#[tokio::test(start_paused = true)]
async fn a_serializer_that_drops_keys_keeps_the_trace_of_the_notifier() {
    let make = |rig: &Rig| {
        let drop_all = |_| Ok::<_, BoxError>(Context::new());
        let serializer = RequestContextSerializer::new(NoOpSerializer, drop_all, Ok);
        let builder = Notifier::builder(rig.transport.clone()).serializer(serializer);
        builder.build().unwrap().with_trace_context(trace())
    };
    assert_eq!(sent(make, &Context::new()).await, expected());
}

#[tokio::test(start_paused = true)]
async fn an_invalid_trace_does_not_fail_the_notification() {
    let context = Context::new().with("traceparent", 7).with("tracestate", "x");
    assert_eq!(sent(Rig::notifier, &context).await, "none none None");
}
