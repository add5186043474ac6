//! Concurrent sends: each gets its own result, those of one caller keep their order, and dropped ones do
//! not affect others. A broker that crashes meanwhile is in `faults.rs`.

use super::*;
use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::pin::pin;

use futures_util::future::{join_all, poll_immediate};
use listener::{Context, Notifier, Transport};
use support::{Proxy, Toxics};

const COUNT: usize = 1000;

/// The messages in the queue, in order.
async fn drain(url: &str) -> Vec<String> {
    let messages = Amqp::connect(url).await.drain(QUEUE).await;
    messages.into_iter().map(|message| String::from_utf8(message.delivery.data).unwrap()).collect()
}

fn through(url: &str, node: &RabbitNode, proxy: &Proxy) -> String {
    url.replace(&node.port().to_string(), &proxy.port().to_string())
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn unroutable_messages_are_reported_among_confirmed_ones() {
    let node = support::shared().await;
    let url = mistakes::user(node, "unwanted", "^$", ".*", ".*").await;
    let owner = node.vhost("unwanted").await;
    send(&rabbit(&owner), "first").await;
    assert_eq!(drain(&owner).await, ["first"]);
    let rabbit = rabbit(&url);
    // No queue is bound with this key, and the user may not declare one.
    let unroutable = Route::Topic { exchange: "nova".to_owned(), routing_key: "nobody".to_owned() };
    for round in 0..5 {
        let sends = (0..COUNT).map(|n| {
            let (rabbit, unroutable) = (&rabbit, &unroutable);
            async move {
                let body = format!("{round} {n}");
                let is_routable = n % 3 != 0;
                let outgoing =
                    if is_routable { topic(&body) } else { to(unroutable.clone(), &body) };
                (body, is_routable, rabbit.send(outgoing).await)
            }
        });
        let mut routable = HashSet::new();
        for (body, is_routable, sent) in join_all(sends).await {
            match sent {
                Ok(()) if is_routable => drop(routable.insert(body)),
                Err(SendError::Connect(ConnectError::Forbidden { .. })) if !is_routable => {}
                sent => panic!("{body}: {sent:?}"),
            }
        }
        let found = drain(&owner).await;
        assert_eq!(
            found.len(),
            routable.len(),
            "no message is sent again because another was returned"
        );
        assert_eq!(found.into_iter().collect::<HashSet<_>>(), routable);
    }
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn the_order_of_each_caller_is_kept_across_a_cut_link() {
    let node = support::shared().await;
    let url = node.vhost("order").await;
    let proxy = Proxy::start(node.port()).await;
    let rabbit = rabbit(&through(&url, node, &proxy));
    const CALLERS: usize = 10;
    let sent = Cell::new(0);
    join_all((0..CALLERS).map(|caller| {
        let (rabbit, proxy, sent) = (&rabbit, &proxy, &sent);
        async move {
            for n in 0..COUNT / CALLERS {
                send(rabbit, &format!("{caller} {n}")).await;
                sent.update(|sent| sent + 1);
                if [100, 300, 500].contains(&sent.get()) {
                    proxy.cut();
                }
            }
        }
    }))
    .await;
    assert!(proxy.accepted() > 3, "the link was never cut");
    let mut next: HashMap<String, usize> = HashMap::new();
    for body in drain(&url).await {
        let (caller, n) = body.split_once(' ').unwrap();
        let next = next.entry(caller.to_owned()).or_default();
        let n: usize = n.parse().unwrap();
        assert!(n <= *next, "{body} came before {next}");
        *next = (*next).max(n + 1);
    }
    assert_eq!(next.into_values().collect::<Vec<_>>(), [COUNT / CALLERS; CALLERS]);
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_thousand_concurrent_messages_all_arrive_across_a_cut_link() {
    let node = support::shared().await;
    let url = node.vhost("thousand").await;
    let proxy = Proxy::start(node.port()).await;
    let rabbit = rabbit(&through(&url, node, &proxy));
    send(&rabbit, "first").await;
    let sent = Cell::new(0);
    join_all((0..COUNT).map(|n| {
        let (rabbit, proxy, sent) = (&rabbit, &proxy, &sent);
        async move {
            send(rabbit, &n.to_string()).await;
            sent.update(|sent| sent + 1);
            if [1, 400, 700].contains(&sent.get()) {
                proxy.cut();
            }
        }
    }))
    .await;
    assert!(proxy.accepted() > 1, "the link was never cut");
    let found: HashSet<_> = drain(&url).await.into_iter().collect();
    assert_eq!(found.len(), COUNT + 1);
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn dropped_callers_return_their_window_permits() {
    const WINDOW: usize = 200;
    let node = support::shared().await;
    let url = node.vhost("dropped").await;
    let proxy = Proxy::start(node.port()).await;
    let transport = Transport::open(&through(&url, node, &proxy)).unwrap();
    let notifier = Notifier::builder(transport).window(WINDOW).build().unwrap();
    let context = Context::new();
    let notify = |n: usize| {
        let (notifier, context) = (&notifier, &context);
        async move { notifier.info(context, "x", &n).await }
    };
    notify(0).await.unwrap();
    for _ in 0..5 {
        // Nothing is confirmed while the callers are dropped: some messages are on the wire, some
        // callers wait for the window.
        proxy.stall(true);
        let sends = join_all((0..2 * WINDOW).map(notify));
        assert!(poll_immediate(sends).await.is_none());
        proxy.stall(false);
        notify(1).await.unwrap();
    }
    // Everything sent before is in the queue: it was sent before the last one.
    let before = depth(node, "dropped").await.unwrap();
    // From here on nothing is confirmed: only messages with a permit of the window arrive.
    proxy.toxics(Toxics { deaf: true, ..Toxics::default() });
    let mut sends = pin!(join_all((0..2 * WINDOW).map(notify)));
    let mut arrived = 0;
    let all_arrive = wait_until("a full window", SOON, async || {
        arrived = depth(node, "dropped").await.unwrap() - before;
        arrived >= WINDOW as u64
    });
    tokio::select! {
        sent = &mut sends => panic!("{sent:?}"),
        () = all_arrive => {}
    }
    assert_eq!(arrived, WINDOW as u64);
    proxy.toxics(Toxics::default());
    proxy.cut();
    assert!(sends.await.iter().all(Result::is_ok), "sent again over the next link");
}
