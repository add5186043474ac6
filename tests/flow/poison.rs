//! Notifications that end the process: recognised by how often they were given out, set aside,
//! worked on alone, given up. A process that dies is a listener whose runtime is dropped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use listener::drivers::memory::model::{Model, Weather};
use listener::transport::driver::{Binding, Driver, Subscription};
use listener::{Context, Listener, State, Transport, notification_endpoint};
use tokio::sync::mpsc;

use crate::rig::{Log, Rig, finish};

/// Ends its process at the payload "poison"; counts how many others are beside it then.
struct Dies {
    beside: Arc<AtomicU32>,
    death: mpsc::UnboundedSender<u32>,
}

#[notification_endpoint(register = false)]
impl Dies {
    async fn info(&self, payload: &str, log: State<Log>) {
        if payload == "poison" {
            let _ = self.death.send(self.beside.load(Ordering::SeqCst));
            std::future::pending::<()>().await;
        }
        self.beside.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.beside.fetch_sub(1, Ordering::SeqCst);
        let _ = log.send(payload.to_owned());
    }
}

/// One life of the process: until it dies, or for an hour. Whether it died, and how many
/// others were in work.
fn live(transport: &Transport, log: &Log) -> Option<u32> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    let died = runtime.block_on(async {
        let (death, mut died) = mpsc::unbounded_channel();
        let dies = Dies { beside: Arc::default(), death };
        let builder = Listener::builder().transport(transport.clone()).state(log.clone());
        let listener = builder.endpoint(dies).build().unwrap();
        listener.start().await.unwrap();
        let died = tokio::time::timeout(Duration::from_secs(3600), died.recv()).await;
        if died.is_err() {
            listener.stop().await;
            listener.wait().await.unwrap();
        }
        died.ok().flatten()
    });
    // Its tasks are dropped where they wait, and what they held is the broker's again.
    drop(runtime);
    died
}

#[test]
fn what_ends_the_process_is_set_aside_and_given_up_and_its_neighbours_are_handled() {
    let (transport, log, mut seen) = {
        let rig = Rig::new();
        (rig.transport.clone(), rig.log(), rig.into_seen())
    };
    let send = |payload: String| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let notifier = listener::Notifier::builder(transport.clone()).build().unwrap();
        runtime.block_on(async { notifier.info(&Context::new(), "x", &payload).await.unwrap() });
    };
    for number in 0..20 {
        send(if number == 7 { "poison".to_owned() } else { number.to_string() });
    }
    let mut deaths = Vec::new();
    while let Some(beside) = live(&transport, &log) {
        deaths.push(beside);
        assert!(deaths.len() < 10, "it is never given up");
    }
    // Twice beside others, as nobody knew; three times alone.
    assert_eq!(deaths.len(), 5, "{deaths:?}");
    assert_eq!(deaths[2..], [0, 0, 0], "it was not alone");
    let mut handled: Vec<u32> = Vec::new();
    while let Ok(line) = seen.try_recv() {
        handled.push(line.parse().unwrap());
    }
    handled.sort_unstable();
    handled.dedup();
    let expected: Vec<u32> = (0..20).filter(|number| *number != 7).collect();
    assert_eq!(handled, expected);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let rig = Rig::on(transport);
        let letter = rig.dead_letter().await;
        assert_eq!(
            (letter.reason.as_str(), letter.error.as_str()),
            (
                "poison",
                "was worked on alone 3 times and never settled: it may end the process that works on it"
            )
        );
        for queue in ["notifications.info", "notifications.alone", "notifications.info.dead"] {
            rig.assert_empty(queue).await;
        }
    });
}

#[tokio::test(start_paused = true)]
async fn what_comes_again_because_a_method_gave_it_back_is_not_set_aside() {
    struct GivesBack(AtomicU32);

    #[notification_endpoint(register = false)]
    impl GivesBack {
        async fn info(&self, log: State<Log>) -> listener::Outcome {
            let _ = log.send("called".to_owned());
            match self.0.fetch_add(1, Ordering::SeqCst) {
                0..10 => listener::Outcome::Requeue,
                _ => listener::Outcome::Handled,
            }
        }
    }

    let mut rig = Rig::new();
    let builder = rig.builder().allow_requeue(true).endpoint(GivesBack(AtomicU32::new(0)));
    let listener = builder.build().unwrap();
    listener.start().await.unwrap();
    rig.notifier().info(&Context::new(), "x", &()).await.unwrap();
    finish(&listener).await;
    assert_eq!(rig.seen_so_far(), ["called"; 11]);
    rig.assert_empty("notifications.alone").await;
}

#[tokio::test(start_paused = true)]
async fn what_was_set_aside_without_a_confirmation_is_found_all_the_same() {
    let model = Model::new(1);
    let mut rig = Rig::on(Transport::new(model.process(), "model"));
    suspect(&model, &rig).await;
    model.change(|weather| weather.lost_confirms = 100);
    let dies = Dies { beside: Arc::default(), death: mpsc::unbounded_channel().0 };
    let listener = rig.builder().endpoint(dies).build().unwrap();
    listener.start().await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    model.change(|weather| *weather = Weather::default());
    tokio::time::sleep(Duration::from_secs(60)).await;
    finish(&listener).await;
    // Where it was, and where it had been moved to, once or more.
    assert!(rig.seen_so_far().len() > 1, "{:?}", model.depths());
    let empty = ["notifications.alone", "notifications.info"].map(|name| (name.to_owned(), 0));
    assert_eq!(model.depths(), BTreeMap::from(empty));
}

#[tokio::test(start_paused = true)]
async fn a_suspect_is_held_while_it_cannot_be_set_aside() {
    let model = Model::new(1);
    let mut rig = Rig::on(Transport::new(model.process(), "model"));
    suspect(&model, &rig).await;
    let dies = Dies { beside: Arc::default(), death: mpsc::unbounded_channel().0 };
    let listener = rig.builder().endpoint(dies).build().unwrap();
    model.change(|weather| weather.full = true);
    listener.start().await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(rig.seen_so_far(), [""; 0], "it was worked on beside others");
    assert_eq!(listener.health().paused[0].queue, "notifications.alone");
    assert!(!listener.is_ready());
    model.change(|weather| weather.full = false);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(listener.is_ready());
    finish(&listener).await;
    assert_eq!(rig.seen_so_far(), ["suspect"]);
}

/// Sends what two processes die of.
async fn suspect(model: &Model, rig: &Rig) {
    rig.notifier().info(&Context::new(), "x", &"suspect").await.unwrap();
    for _ in 0..2 {
        let process = model.process();
        let mut subscribed = process.subscribe(subscription()).await.unwrap();
        let _held = subscribed.deliveries.recv().await.unwrap();
        process.kill();
    }
}

fn subscription() -> Subscription {
    let (exchange, routing_key) = (String::new(), String::new());
    Subscription {
        bindings: vec![Binding { exchange, routing_key, queue: "notifications.info".to_owned() }],
        prefetch: 1,
        timeout: Duration::from_secs(60),
        expires: None,
        alone: Vec::new(),
        bytes: usize::MAX,
    }
}
