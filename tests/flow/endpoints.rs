//! Which endpoints a listener has, in which order they run, and what each takes.

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
async fn registered_endpoints_run_by_order_then_by_place() {
    let mut rig = Rig::new();
    let listener = rig.builder().group("group-a").build().unwrap();
    crate::rig::run_once(&listener, &rig.notifier()).await;
    assert_eq!(rig.seen_so_far(), ["First", "Second", "Third"]);
}

#[tokio::test(start_paused = true)]
async fn an_explicit_endpoint_alone_is_all_there_is() {
    let mut rig = Rig::new();
    let listener = rig.builder().endpoint(Explicit).build().unwrap();
    crate::rig::run_once(&listener, &rig.notifier()).await;
    assert_eq!(rig.seen_so_far(), ["Explicit"]);
}

#[tokio::test(start_paused = true)]
async fn an_instance_stands_for_the_registered_one_of_its_type() {
    let mut rig = Rig::new();
    let listener = rig.builder().group("group-b").endpoint(Made("given")).build().unwrap();
    crate::rig::run_once(&listener, &rig.notifier()).await;
    assert_eq!(rig.seen_so_far(), ["given"]);
}

#[tokio::test(start_paused = true)]
async fn init_makes_the_instance() {
    let mut rig = Rig::new();
    let listener = rig.builder().group("group-b").build().unwrap();
    crate::rig::run_once(&listener, &rig.notifier()).await;
    assert_eq!(rig.seen_so_far(), ["made by init"]);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_with_topics_takes_from_those_alone() {
    let mut rig = Rig::new();
    let listener = rig.builder().endpoint(Nova).endpoint(Explicit).build().unwrap();
    listener.start().await.unwrap();
    let transport = rig.transport.clone();
    let send = async |target: Target| {
        let notifier = Notifier::builder(transport.clone()).target(target).build().unwrap();
        notifier.info(&Context::new(), "x", &()).await.unwrap();
    };
    send(Target::topic("notifications")).await;
    assert_eq!(rig.seen().await, "Explicit");
    send(Target::topic("other").exchange("nova")).await;
    let mut both = [rig.seen().await, rig.seen().await];
    both.sort();
    assert_eq!(both, ["Explicit", "Nova"]);
    send(Target::topic("versioned_notifications").exchange("cinder")).await;
    // The queue is shared by all exchanges, and the endpoint asked for one.
    assert_eq!(rig.seen().await, "Explicit");
    finish(&listener).await;
    assert_eq!(rig.seen_so_far(), [""; 0]);
}
