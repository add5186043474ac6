//! Where the instance of an endpoint comes from: every form of `init`, and the types of a generic
//! endpoint.

use std::marker::PhantomData;

use listener::Error;
use listener::{State, notification_endpoint};

use crate::rig::{Log, Rig, once, run_once};

macro_rules! made_by {
    ($($name:ident $group:literal $init:path;)*) => {$(
        struct $name(String);

        #[notification_endpoint(group = $group, init = $init)]
        impl $name {
            async fn info(&self, log: State<Log>) {
                let _ = log.send(self.0.clone());
            }
        }
    )*};
}

made_by! {
    Plain "init-plain" plain;
    FromStates "init-states" FromStates::new;
    Delayed "init-delayed" delayed;
    Fallible "init-fallible" fallible;
    Both "init-both" both;
    Fails "init-fails" fails;
}

fn plain() -> Plain {
    Plain("plain".to_owned())
}

impl FromStates {
    fn new(number: State<u32>, text: State<&'static str>) -> Self {
        Self(format!("{} {}", *number, *text))
    }
}

async fn delayed() -> Delayed {
    tokio::time::sleep(std::time::Duration::from_secs(20)).await;
    Delayed("delayed".to_owned())
}

fn fallible(text: State<&'static str>) -> Result<Fallible, std::num::ParseIntError> {
    Ok(Fallible(text.parse::<i32>()?.to_string()))
}

async fn both(State(number): State<u32>) -> Result<Both, String> {
    Ok(Both(format!("both {number}")))
}

async fn fails() -> Result<Fails, std::num::ParseIntError> {
    "no number".parse::<i32>().map(|_| Fails(String::new()))
}

async fn seen(group: &str) -> Vec<String> {
    let mut rig = Rig::new();
    let builder = rig.builder().group(group).state(7_u32).state("-8");
    run_once(&builder.build().unwrap(), &rig.notifier()).await;
    rig.seen_so_far()
}

#[tokio::test(start_paused = true)]
async fn every_form_of_init_creates_the_instance() {
    assert_eq!(seen("init-plain").await, ["plain"]);
    assert_eq!(seen("init-states").await, ["7 -8"]);
    assert_eq!(seen("init-delayed").await, ["delayed"]);
    assert_eq!(seen("init-fallible").await, ["-8"]);
    assert_eq!(seen("init-both").await, ["both 7"]);
}

#[tokio::test(start_paused = true)]
async fn a_failing_init_keeps_the_listener_from_starting() {
    let rig = Rig::new();
    let listener = rig.builder().group("init-fails").build().unwrap();
    let error = listener.start().await.unwrap_err();
    assert!(matches!(error, Error::Instance { .. }));
    let text = format!("{error:?}");
    assert!(
        text.starts_with("endpoint `flow::instances::Fails` (tests/flow/instances.rs:"),
        "{text}"
    );
    assert!(text.ends_with("): its `init` failed: invalid digit found in string"), "{text}");
    let source = std::error::Error::source(&error).map(ToString::to_string);
    assert_eq!(source.as_deref(), Some("invalid digit found in string"));
    assert!(error.to_string().ends_with("): its `init` failed"), "{error}");
    assert!(!listener.is_ready());
}

#[test]
fn a_state_that_init_takes_must_be_given() {
    let rig = Rig::new();
    let error = rig.builder().group("init-both").build().unwrap_err().to_string();
    assert!(
        error.ends_with("its `init` takes `State<u32>`, and the listener has none; give it with `Listener::builder().config(Config::from_env()?).state(..)` instead of `listen()`"),
        "{error}"
    );
}

trait Store: Send + Sync + 'static {
    const NAME: &'static str;
}

#[derive(Default)]
struct Postgres;
#[derive(Default)]
struct Sqlite;

impl Store for Postgres {
    const NAME: &'static str = "postgres";
}

impl Store for Sqlite {
    const NAME: &'static str = "sqlite";
}

#[derive(Default)]
struct Generic<S>(PhantomData<S>);

#[notification_endpoint(
    group = "generic",
    instances(Generic<Postgres>, Generic<Sqlite>)
)]
impl<S: Store> Generic<S> {
    async fn info(&self, log: State<Log>) -> Result<(), &'static str> {
        let _ = log.send(S::NAME.to_owned());
        if S::NAME == "sqlite" { Err("it is full") } else { Ok(()) }
    }
}

#[tokio::test(start_paused = true)]
async fn a_generic_endpoint_is_registered_for_each_type() {
    let mut rig = Rig::new();
    let listener = rig.builder().retry(once()).group("generic").build().unwrap();
    run_once(&listener, &rig.notifier()).await;
    assert_eq!(rig.seen_so_far(), ["postgres", "sqlite"]);
    assert_eq!(
        rig.dead_letter().await.methods,
        "flow::instances::Generic<flow::instances::Sqlite>::info"
    );
}

struct Held<S>(S);

#[notification_endpoint(register = false)]
impl<S> Held<S>
where
    S: std::fmt::Display,
{
    async fn info(&self, log: State<Log>) {
        let _ = log.send(self.0.to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn a_generic_instance_can_be_handed_to_the_builder() {
    let mut rig = Rig::new();
    let listener = rig.builder().endpoint(Held(1)).endpoint(Held("two")).build().unwrap();
    run_once(&listener, &rig.notifier()).await;
    let mut seen = rig.seen_so_far();
    seen.sort();
    assert_eq!(seen, ["1", "two"]);
}
