//! The first program declares exchanges and queues, and later ones must be able to declare the same: our
//! listener and notifier, those of Python, and services whose RPC uses the same control exchange. On an
//! empty virtual host, in both orders, with the same options on both sides, with options only on the
//! Python side, and after a restart of the broker.

use listener::{Context, Notifier, Target, Transport};
use serde_json::json;
use support::python_peer::{ListenerOptions, NotifierOptions, PythonListener, PythonNotifier};
use support::rabbit_node::{RabbitNode, shared};
use support::wait::wait_until;
use support::{Amqp, oslo_url};

use crate::collect::{Collector, SOON};

/// A deployment: how all its services are configured.
#[derive(Clone, Copy)]
struct Deployment {
    name: &'static str,
    /// The option of `[oslo_messaging_rabbit]`, which is also that of a transport URL.
    option: Option<&'static str>,
    /// The flags and the type of the declared queues.
    durable: bool,
    quorum: bool,
}

const DEFAULT: Deployment =
    Deployment { name: "default", option: None, durable: false, quorum: false };
const DURABLE: Deployment = Deployment {
    name: "durable",
    option: Some("amqp_durable_queues"),
    durable: true,
    quorum: false,
};
const QUORUM: Deployment =
    Deployment { name: "quorum", option: Some("rabbit_quorum_queue"), durable: true, quorum: true };

impl Deployment {
    fn rabbit(self) -> Vec<(String, String)> {
        self.option.into_iter().map(|name| (name.to_owned(), "true".to_owned())).collect()
    }

    /// Our URL with the option of the deployment.
    fn with_option(self, url: &str) -> String {
        self.option.map_or(url.to_owned(), |option| format!("{url}?{option}=true"))
    }

    async fn notifier(self, url: &str) -> PythonNotifier {
        let options = NotifierOptions { rabbit: self.rabbit(), ..NotifierOptions::default() };
        PythonNotifier::start(url, "messagingv2", &options).await
    }

    async fn listener(self, url: &str, pool: Option<&str>) -> PythonListener {
        let pool = pool.map(str::to_owned);
        let options = ListenerOptions { rabbit: self.rabbit(), pool, ..ListenerOptions::default() };
        PythonListener::start(url, &options).await
    }

    /// Declares the control exchange with the options of the deployment, as services do for RPC.
    async fn declares_the_control_exchange(self, amqp_url: &str) {
        let amqp = Amqp::connect(amqp_url).await;
        amqp.declare_exchange("openstack", self.durable).await;
        amqp.close().await;
    }

    /// Asserts that the exchange and all queues have the options of the deployment, except for journals,
    /// which exist after a redelivery, such as after a stop of the Python listener.
    async fn assert_kept(self, node: &RabbitNode, vhost: &str) {
        let exchanges = node.ctl(&["list_exchanges", "-p", vhost, "name", "durable"]).await;
        assert!(exchanges.contains(&format!("openstack\t{}", self.durable)), "{exchanges}");
        let queues = node.ctl(&["list_queues", "-p", vhost, "name", "durable", "type"]).await;
        let is_shared = |line: &&str| !line.starts_with("name\t") && !line.contains(".journal\t");
        for queue in queues.lines().filter(is_shared) {
            let durable = queue.contains("\ttrue\t");
            assert_eq!((durable, queue.contains("quorum")), (self.durable, self.quorum), "{queue}");
        }
        assert!(queues.contains("notifications.info"), "{queues}");
    }
}

fn text(n: usize) -> String {
    format!(
        r#"{{"ctxt": {{}}, "publisher_id": "p", "event_type": "x", "priority": "info", "payload": {n}}}"#
    )
}

async fn collector(url: &str, pool: Option<&str>) -> Collector {
    match pool {
        Some(pool) => Collector::start(url, pool).await,
        None => Collector::unpooled(url).await,
    }
}

/// Python and our notifier send; our listener and the Python listener share one queue and receive all.
async fn all_arrive(
    deployment: Deployment,
    (amqp_url, ours_url): (&str, &str),
    ours: &mut Collector,
    pool: Option<&str>,
) {
    deployment.declares_the_control_exchange(amqp_url).await;
    let mut python = deployment.listener(amqp_url, pool).await;
    let mut peer = deployment.notifier(amqp_url).await;
    let notifier = Notifier::builder(Transport::open(ours_url).unwrap()).build().unwrap();
    for n in 0..10 {
        peer.send(&text(n)).await;
        notifier.info(&Context::new(), "x", &(n + 10)).await.unwrap();
    }
    for _ in 0..20 {
        tokio::select! {
            _ = ours.next() => {}
            _ = python.next(SOON) => {}
        }
    }
    notifier.close().await;
    python.stop().await;
}

async fn ours_first(deployment: Deployment, pool: Option<&str>) {
    let node = shared().await;
    let vhost = format!("ours first {} {}", deployment.name, pool.unwrap_or_default());
    let amqp_url = node.vhost(&vhost).await;
    let ours_url = deployment.with_option(&oslo_url(&amqp_url));
    let mut ours = collector(&ours_url, pool).await;
    all_arrive(deployment, (&amqp_url, &ours_url), &mut ours, pool).await;
    ours.stop().await;
    deployment.assert_kept(node, &vhost).await;
}

/// Our URL has no options: existing queues show how the deployment is configured.
async fn python_first(deployment: Deployment, pool: Option<&str>) {
    let node = shared().await;
    let vhost = format!("python first {} {}", deployment.name, pool.unwrap_or_default());
    let amqp_url = node.vhost(&vhost).await;
    let ours_url = oslo_url(&amqp_url);
    // It declares `notifications.info` and nothing else.
    deployment.notifier(&amqp_url).await.send(&text(0)).await;
    let mut ours = collector(&ours_url, pool).await;
    all_arrive(deployment, (&amqp_url, &ours_url), &mut ours, pool).await;
    ours.stop().await;
    deployment.assert_kept(node, &vhost).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq and oslo.messaging"]
async fn python_accepts_our_declarations_without_a_pool() {
    for deployment in [DEFAULT, DURABLE, QUORUM] {
        ours_first(deployment, None).await;
    }
}

#[tokio::test]
#[ignore = "needs rabbitmq and oslo.messaging"]
async fn python_accepts_our_declarations_in_a_shared_pool() {
    for deployment in [DEFAULT, DURABLE, QUORUM] {
        ours_first(deployment, Some("tap")).await;
    }
}

#[tokio::test]
#[ignore = "needs rabbitmq and oslo.messaging"]
async fn we_follow_the_declarations_of_python_without_a_pool() {
    for deployment in [DEFAULT, DURABLE, QUORUM] {
        python_first(deployment, None).await;
    }
}

#[tokio::test]
#[ignore = "needs rabbitmq and oslo.messaging"]
async fn we_follow_the_declarations_of_python_in_a_shared_pool() {
    for deployment in [DEFAULT, DURABLE, QUORUM] {
        python_first(deployment, Some("tap")).await;
    }
}

/// A service has used its exchange for RPC, and no notification has been sent yet.
#[tokio::test]
#[ignore = "needs rabbitmq and oslo.messaging"]
async fn queues_are_declared_with_the_durability_of_an_rpc_exchange() {
    let node = shared().await;
    for deployment in [DEFAULT, DURABLE] {
        let vhost = format!("rpc first {}", deployment.name);
        let amqp_url = node.vhost(&vhost).await;
        let ours_url = oslo_url(&amqp_url);
        deployment.declares_the_control_exchange(&amqp_url).await;
        let mut ours = Collector::unpooled(&ours_url).await;
        all_arrive(deployment, (&amqp_url, &ours_url), &mut ours, None).await;
        ours.stop().await;
        deployment.assert_kept(node, &vhost).await;
    }
}

/// An account that may not configure the exchange cannot find out whether it is durable.
#[tokio::test]
#[ignore = "needs rabbitmq and oslo.messaging"]
async fn python_can_publish_when_our_user_may_not_inspect_its_durable_exchange() {
    let node = shared().await;
    let vhost = "hidden";
    let amqp_url = node.vhost(vhost).await;
    DURABLE.declares_the_control_exchange(&amqp_url).await;
    let password = json!({"password": "pw", "tags": ""});
    node.api("PUT", "/api/users/collector", Some(password)).await;
    let queues = r"^(notifications\..*|openstack|amq\.default)$";
    let may = json!({"configure": r"^notifications\..*", "write": queues, "read": queues});
    node.api("PUT", "/api/permissions/hidden/collector", Some(may)).await;
    let ours_url = oslo_url(&amqp_url).replace("guest:guest", "collector:pw");
    // The declaration is refused, and leaves nothing behind.
    if let Ok(ours) = Collector::try_unpooled(&ours_url).await {
        ours.stop().await;
    }
    DURABLE.notifier(&amqp_url).await.send(&text(1)).await;
    // By now the queue shows the durability.
    let mut ours = Collector::try_unpooled(&ours_url).await.unwrap();
    ours.next().await;
    ours.stop().await;
    DURABLE.assert_kept(node, vhost).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq and oslo.messaging"]
async fn python_accepts_our_declarations_after_a_restart_of_the_broker() {
    let mut node = RabbitNode::start().await;
    for deployment in [DEFAULT, DURABLE] {
        let vhost = deployment.name;
        let amqp_url = node.vhost(vhost).await;
        let ours_url = oslo_url(&amqp_url);
        // A listener that keeps running.
        let mut ours = Collector::unpooled(&deployment.with_option(&ours_url)).await;
        node.stop().await;
        wait_until("readiness is lost", SOON, async || !ours.is_ready()).await;
        node.restart().await;
        wait_until("the listener is ready again", SOON, async || ours.is_ready()).await;
        all_arrive(deployment, (&amqp_url, &ours_url), &mut ours, None).await;
        deployment.assert_kept(&node, vhost).await;
        ours.stop().await;
        // A listener that starts first after a restart of everything.
        node.restart().await;
        let mut ours = Collector::unpooled(&ours_url).await;
        all_arrive(deployment, (&amqp_url, &ours_url), &mut ours, None).await;
        deployment.assert_kept(&node, vhost).await;
        ours.stop().await;
    }
}

/// Options that other programs set and our URL does not: existing queues show them.
#[tokio::test]
#[ignore = "needs rabbitmq and oslo.messaging"]
async fn python_accepts_our_declarations_next_to_queues_with_its_options() {
    let node = shared().await;
    let quorum = ("rabbit_quorum_queue", "true");
    for (vhost, options) in [
        ("memory", vec![quorum, ("rabbit_quorum_max_memory_length", "1000")]),
        ("limit", vec![quorum, ("rabbit_quorum_delivery_limit", "7")]),
        ("unlimited", vec![quorum, ("rabbit_quorum_delivery_limit", "-1")]),
        ("auto_delete", vec![("amqp_auto_delete", "true")]),
    ] {
        // Before 4.0 RabbitMQ refuses a negative limit, and has none by default.
        if vhost == "unlimited" && node.version().await < (4, 0) {
            continue;
        }
        let url = node.vhost(vhost).await;
        let rabbit: Vec<_> =
            options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let options = NotifierOptions { rabbit: rabbit.clone(), ..NotifierOptions::default() };
        PythonNotifier::start(&url, "messagingv2", &options).await.send(&text(0)).await;
        let mut ours = Collector::unpooled(&oslo_url(&url)).await;
        ours.next().await;
        // It declares the queues of all priorities.
        let options = ListenerOptions { rabbit, ..ListenerOptions::default() };
        PythonListener::start(&url, &options).await.stop().await;
        ours.stop().await;
    }
}

/// An exchange that a service declared with its defaults is declared the same way again, whatever other
/// exchanges have.
#[tokio::test]
#[ignore = "needs rabbitmq and oslo.messaging"]
async fn python_keeps_its_transient_exchange_next_to_a_durable_one_after_a_restart() {
    let mut node = RabbitNode::start().await;
    let url = node.url();
    let amqp = Amqp::connect(&url).await;
    for (exchange, topic, durable) in [("nova", "notifications", false), ("heat", "heat", true)] {
        let queue = format!("{topic}.info");
        amqp.declare_exchange(exchange, durable).await;
        amqp.declare_queue(&queue, durable, &[]).await;
        amqp.bind(&queue, exchange, &queue).await;
    }
    amqp.close().await;
    let target = |exchange, topic: &str| Target::topic(topic).exchange(exchange);
    let targets = [target("nova", "notifications"), target("heat", "heat")];
    let mut ours = Collector::of(&oslo_url(&url), targets).await;
    node.stop().await;
    wait_until("readiness is lost", SOON, async || !ours.is_ready()).await;
    node.restart().await;
    wait_until("the listener is ready again", SOON, async || ours.is_ready()).await;
    let exchange = Some("nova".to_owned());
    let options = NotifierOptions { exchange, ..NotifierOptions::default() };
    PythonNotifier::start(&url, "messagingv2", &options).await.send(&text(1)).await;
    ours.next().await;
    ours.stop().await;
}
