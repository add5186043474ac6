//! Which endpoints a listener has, in which order they run, and what each receives.

use listener::ListenerBuilder;
use listener::{Context, Notifier, State, Target, notification_endpoint};

use crate::rig::{Log, Rig, finish};

macro_rules! endpoint {
    ($name:ident, $($options:tt)*) => {
        #[derive(Default)]
        struct $name;

        #[notification_endpoint($($options)*)]
        impl $name {
            async fn info(&self, log: State<Log>) {
                let _ = log.send(stringify!($name).to_owned());
            }
        }
    };
}

endpoint!(First, group = "group-a", order = -1);
endpoint!(Second, group = "group-a");
endpoint!(Third, group = "group-a");
endpoint!(Explicit, register = false);
endpoint!(Nova, register = false, topics("versioned_notifications", "other"), exchange = "nova");

struct Made(&'static str);

fn make() -> Made {
    Made("made by init")
}

#[notification_endpoint(group = "group-b", init = make)]
impl Made {
    async fn info(&self, log: State<Log>) {
        let _ = log.send(self.0.to_owned());
    }
}

#[tokio::test(start_paused = true)]
async fn registered_endpoints_run_by_order_then_by_source_location() {
    let mut rig = Rig::new();
    let listener = rig.builder().group("group-a").build().unwrap();
    crate::rig::run_once(&listener, &rig.notifier()).await;
    assert_eq!(rig.seen_so_far(), ["First", "Second", "Third"]);
}

#[tokio::test(start_paused = true)]
async fn an_explicit_endpoint_replaces_the_registered_ones() {
    let mut rig = Rig::new();
    let listener = rig.builder().endpoint(Explicit).build().unwrap();
    crate::rig::run_once(&listener, &rig.notifier()).await;
    assert_eq!(rig.seen_so_far(), ["Explicit"]);
}

#[tokio::test(start_paused = true)]
async fn a_given_instance_replaces_the_registered_one_of_its_type() {
    let mut rig = Rig::new();
    let listener = rig.builder().group("group-b").endpoint(Made("given")).build().unwrap();
    crate::rig::run_once(&listener, &rig.notifier()).await;
    assert_eq!(rig.seen_so_far(), ["given"]);
}

#[tokio::test(start_paused = true)]
async fn init_creates_the_instance() {
    let mut rig = Rig::new();
    let listener = rig.builder().group("group-b").build().unwrap();
    crate::rig::run_once(&listener, &rig.notifier()).await;
    assert_eq!(rig.seen_so_far(), ["made by init"]);
}

endpoint!(Cinder, register = false, topic = "notifications", exchange = "cinder");

async fn send(rig: &Rig, topic: &str, exchange: &str) {
    let builder = Notifier::builder(rig.transport.clone());
    let notifier = builder.target(Target::topic(topic).exchange(exchange)).build().unwrap();
    notifier.info(&Context::new(), "x", &()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn each_endpoint_receives_from_its_own_topics() {
    let mut rig = Rig::new();
    let listener = rig.builder().endpoint(Nova).endpoint(Explicit).build().unwrap();
    listener.start().await.unwrap();
    send(&rig, "notifications", "openstack").await;
    assert_eq!(rig.seen().await, "Explicit");
    send(&rig, "other", "nova").await;
    assert_eq!(rig.seen().await, "Nova");
    finish(&listener).await;
    assert_eq!(rig.seen_so_far(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn endpoints_of_two_exchanges_share_a_queue_and_each_handles_its_own() {
    let mut rig = Rig::new();
    let listener = rig.builder().endpoint(Cinder).endpoint(Explicit).build().unwrap();
    listener.start().await.unwrap();
    send(&rig, "notifications", "cinder").await;
    assert_eq!(rig.seen().await, "Cinder");
    send(&rig, "notifications", "openstack").await;
    assert_eq!(rig.seen().await, "Explicit");
    finish(&listener).await;
    assert_eq!(rig.seen_so_far(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_notification_of_an_unknown_exchange_in_a_shared_queue_is_handled() {
    let mut rig = Rig::new();
    let listener = rig.builder().endpoint(Cinder).build().unwrap();
    listener.start().await.unwrap();
    send(&rig, "notifications", "glance").await;
    assert_eq!(rig.seen().await, "Cinder");
    finish(&listener).await;
}

#[tokio::test(start_paused = true)]
async fn a_message_put_directly_into_the_queue_of_a_pool_is_handled() {
    let mut rig = Rig::new();
    let builder = rig.builder().pool("billing.eu").endpoint(Cinder).endpoint(Nova);
    let listener = builder.build().unwrap();
    listener.start().await.unwrap();
    rig.put("billing.eu", r#"{"priority": "INFO"}"#).await;
    let mut both = [rig.seen().await, rig.seen().await];
    both.sort();
    assert_eq!(both, ["Cinder", "Nova"]);
    finish(&listener).await;
}

#[tokio::test(start_paused = true)]
async fn a_target_named_twice_counts_once() {
    let mut rig = Rig::new();
    let twice =
        [Target::topic("notifications"), Target::topic("notifications").exchange("openstack")];
    let builder = twice.into_iter().fold(rig.builder(), ListenerBuilder::target);
    let listener = builder.endpoint(Explicit).build().unwrap();
    listener.start().await.unwrap();
    rig.notifier().info(&Context::new(), "x", &()).await.unwrap();
    finish(&listener).await;
    assert_eq!(rig.seen_so_far(), ["Explicit"]);
}

/// Blocks its thread for the first notification until the second is handled.
struct Blocks(std::sync::mpsc::SyncSender<()>, std::sync::Mutex<std::sync::mpsc::Receiver<()>>);

#[notification_endpoint(register = false)]
impl Blocks {
    async fn info(&self, payload: u32, log: State<Log>) {
        if payload == 1 {
            let received = self.1.lock().unwrap().recv_timeout(std::time::Duration::from_secs(20));
            let _ = log.send(format!("{}", received.is_ok()));
        } else {
            let _ = self.0.send(());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_method_that_blocks_its_thread_does_not_delay_other_calls() {
    let mut rig = Rig::new();
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    let listener = rig.builder().endpoint(Blocks(sender, receiver.into())).build().unwrap();
    for number in [1, 2] {
        rig.notifier().info(&Context::new(), "x", &number).await.unwrap();
    }
    listener.start().await.unwrap();
    assert_eq!(rig.seen().await, "true");
    finish(&listener).await;
}
