//! Pools: each has its own copy, members of one compete, and a temporary one leaves nothing.

use std::time::Duration;

use listener::{Context, Listener, State, notification_endpoint};

use crate::rig::{Log, Rig, finish};

struct Tells(&'static str);

#[notification_endpoint(register = false)]
impl Tells {
    async fn info(&self, payload: u32, log: State<Log>) {
        let _ = log.send(format!("{} {payload}", self.0));
    }

    async fn warn(&self, payload: u32, log: State<Log>) {
        let _ = log.send(format!("{} {payload}", self.0));
    }
}

async fn start(rig: &Rig, name: &'static str, pool: Option<&str>) -> Listener {
    let mut builder = rig.builder().endpoint(Tells(name));
    if let Some(pool) = pool {
        builder = builder.pool(pool);
    }
    let listener = builder.build().unwrap();
    listener.start().await.unwrap();
    listener
}

#[tokio::test(start_paused = true)]
async fn a_pool_gets_its_own_copy_and_its_members_share_it() {
    let mut rig = Rig::new();
    let listeners = [
        start(&rig, "unpooled", None).await,
        start(&rig, "pool", Some("audit")).await,
        start(&rig, "pool", Some("audit")).await,
        start(&rig, "other", Some("billing")).await,
    ];
    let notifier = rig.notifier();
    for number in 0..10 {
        notifier.info(&Context::new(), "x", &number).await.unwrap();
        notifier.warn(&Context::new(), "x", &(number + 10)).await.unwrap();
    }
    for listener in &listeners {
        finish(listener).await;
    }
    let mut seen = rig.seen_so_far();
    seen.sort();
    let mut expected: Vec<String> = ["unpooled", "pool", "other"]
        .iter()
        .flat_map(|name| (0..20).map(move |number| format!("{name} {number}")))
        .collect();
    expected.sort();
    assert_eq!(seen, expected);
}

#[tokio::test(start_paused = true)]
async fn a_pool_keeps_what_comes_while_nobody_listens() {
    let mut rig = Rig::new();
    let first = start(&rig, "first", Some("audit")).await;
    finish(&first).await;
    rig.notifier().info(&Context::new(), "x", &1).await.unwrap();
    let second = start(&rig, "second", Some("audit")).await;
    assert_eq!(rig.seen().await, "second 1");
    finish(&second).await;
}

#[tokio::test(start_paused = true)]
async fn a_temporary_pool_leaves_nothing_behind() {
    let mut rig = Rig::new();
    let builder = rig.builder().endpoint(Tells("tap"));
    let tap = builder.temporary_pool("tap", Duration::from_secs(60)).build().unwrap();
    tap.start().await.unwrap();
    rig.notifier().info(&Context::new(), "x", &1).await.unwrap();
    assert_eq!(rig.seen().await, "tap 1");
    finish(&tap).await;
    rig.notifier().info(&Context::new(), "x", &2).await.unwrap();
    rig.assert_empty("tap").await;
}

struct FailsFor(Duration);

#[notification_endpoint(register = false, name = "fails")]
impl FailsFor {
    async fn info(&self, payload: u32, log: State<Log>) -> Result<(), listener::BoxError> {
        let _ = log.send(format!("called {payload}"));
        Err(listener::retry_after("busy", self.0).into())
    }
}

/// A queue that holds retries would outlive the pool, and put into nothing.
#[tokio::test(start_paused = true)]
async fn in_a_temporary_pool_a_retry_after_a_longer_pause_than_is_held_is_a_dead_letter() {
    let mut rig = Rig::new();
    let hour = Duration::from_secs(3600);
    let builder = rig.builder().endpoint(FailsFor(hour)).temporary_pool("tap", hour);
    let tap = builder.build().unwrap();
    tap.start().await.unwrap();
    rig.notifier().info(&Context::new(), "x", &1).await.unwrap();
    assert_eq!(rig.seen().await, "called 1");
    let letter = rig.take("tap.dead").await;
    assert_eq!(letter.properties.headers.text("listener-reason"), Some("retries"));
    finish(&tap).await;
    assert_eq!(rig.seen_so_far(), [""; 0]);
}

/// Of a temporary pool and another one the last counts whole: its queue stays.
#[tokio::test(start_paused = true)]
async fn of_several_pools_the_last_counts_whole() {
    struct Nothing;

    #[notification_endpoint(register = false)]
    impl Nothing {
        async fn info(&self) {}
    }

    let model = listener::testing::Model::new(1);
    let transport = || listener::Transport::new(model.process(), "model");
    let minute = Duration::from_secs(60);
    for (pool, stays) in [("billing", true), ("tap", false)] {
        let builder = Listener::builder().transport(transport()).endpoint(Nothing);
        let builder = match stays {
            true => builder.temporary_pool("other", minute).pool(pool),
            false => builder.pool("other").temporary_pool(pool, minute),
        };
        let listener = builder.build().unwrap();
        listener.start().await.unwrap();
        listener.stop().await;
        listener.wait().await.unwrap();
        assert_eq!(model.depths().contains_key(pool), stays, "{pool}");
    }
}
