//! Methods of the program that fail or are slow. Rows 14, 29 and 30 of the list.

use std::collections::BTreeSet;

use support::{Act, Job, shared};

use crate::trial::{PREFETCH, Trial, all_sent, plain};

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn methods_that_panic_or_hang_are_retried_and_given_up_without_effect_on_others() {
    let node = shared().await;
    let mut trial = Trial::new(14, "panics always, panics once, hangs", node).await;
    trial.options.handler_timeout_ms = 500;
    let mut worker = trial.worker().await;
    let jobs = (0..300).map(|id| Job {
        id,
        act: match id {
            0..10 => Act::Panic(u32::MAX),
            10..40 => Act::Panic(1),
            40..45 => Act::Hang,
            _ => Act::Handle,
        },
    });
    trial.send(jobs).await;
    trial.until_depth(node, "notifications.info.dead", 15).await;
    trial.until_empty(&mut worker, node).await;
    assert_eq!(worker.losses(), 0, "{}", worker.log());
    let account = trial.finish(worker, node, 0).await;
    let dead: BTreeSet<u64> = account.dead.keys().copied().collect();
    assert_eq!(dead, (0..10).chain(40..45).collect());
    let calls = |id: u64| account.calls.get(&id).copied();
    assert!((0..10).chain(40..45).all(|id| calls(id) == Some(5)), "{:?}", account.calls);
    assert!((10..40).all(|id| calls(id) == Some(2)), "{:?}", account.calls);
    assert!((45..300).all(|id| calls(id) == Some(1)), "{:?}", account.calls);
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn of_a_hundred_calls_ending_in_any_order_only_the_failed_one_is_retried() {
    let node = shared().await;
    let trial = Trial::new(29, "one bad of 100, ended in any order", node).await;
    let mut worker = trial.worker().await;
    let jobs = (0..100).map(|id| Job {
        id,
        act: if id == 37 { Act::Fail(2) } else { Act::Sleep(id * 7919 % 100) },
    });
    trial.send(jobs).await;
    trial.until_all_handled(&mut worker).await;
    trial.until_empty(&mut worker, node).await;
    let account = trial.finish(worker, node, 0).await;
    let again: Vec<_> = account.calls.iter().filter(|(_, calls)| **calls > 1).collect();
    assert_eq!(again, [(&37, &3)]);
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_slow_handler_on_a_large_backlog_holds_no_more_than_its_prefetch() {
    const BACKLOG: u64 = 10_000;
    let node = shared().await;
    let mut trial = Trial::new(30, "backlog of 10,000 before a slow handler", node).await;
    trial.options.pause_ms = 60;
    trial.send(plain(0..BACKLOG)).await;
    // Sent last.
    all_sent(trial.sending_errors([Job { id: BACKLOG, act: Act::Handle }])).await;
    let mut worker = trial.worker().await;
    trial.until_handled(&mut worker, 1000).await;
    let early = worker.measures();
    let unacked = ["list_queues", "-p", &trial.vhost, "name", "messages_unacknowledged"];
    let queues = node.ctl(&unacked).await;
    let held = queues.lines().find_map(|line| line.strip_prefix("notifications.info\t"));
    let held: u32 = held.unwrap().parse().unwrap();
    assert!(held <= PREFETCH, "{held} are unacknowledged");
    trial.until_all_handled(&mut worker).await;
    // An error does not queue behind the whole backlog.
    let before = trial.order_of_handling().iter().take_while(|id| **id != BACKLOG).count();
    assert!((before as u64) < BACKLOG / 2, "{before} were handled before the error");
    let late = worker.measures();
    assert!(late.rss_kb < early.rss_kb + 16_000, "{early:?} at first, {late:?} at the end");
    trial.finish(worker, node, 0).await;
}
