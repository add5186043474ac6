//! Pools: each receives its own copy, members of one pool compete, and a temporary pool leaves nothing
//! behind.

use std::time::Duration;

use listener::{Context, Listener, State, notification_endpoint};

use crate::rig::{Log, Rig, finish};

struct Logs(&'static str);

#[notification_endpoint(register = false)]
impl Logs {
    async fn info(&self, payload: u32, log: State<Log>) {
        let _ = log.send(format!("{} {payload}", self.0));
    }

    async fn warn(&self, payload: u32, log: State<Log>) {
        let _ = log.send(format!("{} {payload}", self.0));
    }
}

async fn start(rig: &Rig, name: &'static str, pool: Option<&str>) -> Listener {
    let mut builder = rig.builder().endpoint(Logs(name));
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
async fn a_pool_keeps_notifications_while_no_listener_runs() {
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
    let builder = rig.builder().endpoint(Logs("tap"));
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

/// A retry queue would outlive the pool, and its messages would be lost.
#[tokio::test(start_paused = true)]
async fn in_a_temporary_pool_a_retry_longer_than_hold_is_a_dead_letter() {
    let mut rig = Rig::new();
    let hour = Duration::from_secs(3600);
    let builder = rig.builder().endpoint(FailsFor(hour)).temporary_pool("tap", hour);
    let tap = builder.build().unwrap();
    tap.start().await.unwrap();
    rig.notifier().info(&Context::new(), "x", &1).await.unwrap();
    assert_eq!(rig.seen().await, "called 1");
    let dead_letter = rig.take("tap.dead").await;
    assert_eq!(dead_letter.properties.headers.get_str("listener-reason"), Some("retries"));
    finish(&tap).await;
    assert_eq!(rig.seen_so_far(), [""; 0]);
}

/// The expiry of a temporary pool does not carry over to a pool that is set after it.
#[tokio::test(start_paused = true)]
async fn the_last_of_several_pool_settings_wins() {
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
