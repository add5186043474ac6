//! Whoever comes first declares exchanges and queues, and whoever comes later must be able to
//! declare the same: our listener and notifier, Python's, and services whose RPC uses the same
//! control exchange. On an empty virtual host, in both orders, with the same options on both
//! sides, with options on Python's side only, and after a restart of the broker.

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
    /// The flags and the type of what is declared.
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

    /// What services do for their RPC: they declare the control exchange as they are configured.
    async fn declares_the_control_exchange(self, amqp_url: &str) {
        let amqp = Amqp::connect(amqp_url).await;
        amqp.declare_exchange("openstack", self.durable).await;
        amqp.close().await;
    }

    /// What is there is what a service of the deployment declares, but for what nobody else does:
    /// a journal is there once something was redelivered, as when Python's listener stops.
    async fn is_kept(self, node: &RabbitNode, vhost: &str) {
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

/// Python sends, our notifier sends; ours and Python's listener share one queue and get all.
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
    deployment.is_kept(node, &vhost).await;
}

/// Our URL has no options: what exists shows how the deployment is configured.
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
    deployment.is_kept(node, &vhost).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq and oslo.messaging"]
async fn python_works_on_what_we_declared_first_unpooled() {
    for deployment in [DEFAULT, DURABLE, QUORUM] {
        ours_first(deployment, None).await;
    }
}

#[tokio::test]
#[ignore = "needs rabbitmq and oslo.messaging"]
async fn python_works_on_what_we_declared_first_in_a_shared_pool() {
    for deployment in [DEFAULT, DURABLE, QUORUM] {
        ours_first(deployment, Some("tap")).await;
    }
}

#[tokio::test]
#[ignore = "needs rabbitmq and oslo.messaging"]
async fn we_declare_as_python_did_where_it_came_first_unpooled() {
    for deployment in [DEFAULT, DURABLE, QUORUM] {
        python_first(deployment, None).await;
    }
}

#[tokio::test]
#[ignore = "needs rabbitmq and oslo.messaging"]
async fn we_declare_as_python_did_where_it_came_first_in_a_shared_pool() {
    for deployment in [DEFAULT, DURABLE, QUORUM] {
        python_first(deployment, Some("tap")).await;
    }
}

/// A service has used its exchange for RPC, and nobody has sent a notification yet.
#[tokio::test]
#[ignore = "needs rabbitmq and oslo.messaging"]
async fn queues_are_declared_as_an_exchange_of_rpc_is() {
    let node = shared().await;
    for deployment in [DEFAULT, DURABLE] {
        let vhost = format!("rpc first {}", deployment.name);
        let amqp_url = node.vhost(&vhost).await;
        let ours_url = oslo_url(&amqp_url);
        deployment.declares_the_control_exchange(&amqp_url).await;
        let mut ours = Collector::unpooled(&ours_url).await;
        all_arrive(deployment, (&amqp_url, &ours_url), &mut ours, None).await;
        ours.stop().await;
        deployment.is_kept(node, &vhost).await;
    }
}

/// An account that may not configure the exchange: the broker does not show it whether that is durable.
#[tokio::test]
#[ignore = "needs rabbitmq and oslo.messaging"]
async fn python_publishes_though_our_user_may_not_see_that_its_exchange_is_durable() {
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
    // It is refused, and leaves nothing behind.
    if let Ok(ours) = Collector::try_unpooled(&ours_url).await {
        ours.stop().await;
    }
    DURABLE.notifier(&amqp_url).await.send(&text(1)).await;
    // By now the queue shows it.
    let mut ours = Collector::try_unpooled(&ours_url).await.unwrap();
    ours.next().await;
    ours.stop().await;
    DURABLE.is_kept(node, vhost).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq and oslo.messaging"]
async fn python_works_on_what_we_declared_after_a_restart_of_the_broker() {
    let mut node = RabbitNode::start().await;
    for deployment in [DEFAULT, DURABLE] {
        let vhost = deployment.name;
        let amqp_url = node.vhost(vhost).await;
        let ours_url = oslo_url(&amqp_url);
        // A listener that stays.
        let mut ours = Collector::unpooled(&deployment.with_option(&ours_url)).await;
        node.stop().await;
        wait_until("readiness is lost", SOON, async || !ours.is_ready()).await;
        node.restart().await;
        wait_until("the listener is ready again", SOON, async || ours.is_ready()).await;
        all_arrive(deployment, (&amqp_url, &ours_url), &mut ours, None).await;
        deployment.is_kept(&node, vhost).await;
        ours.stop().await;
        // One that starts first after a restart of everything.
        node.restart().await;
        let mut ours = Collector::unpooled(&ours_url).await;
        all_arrive(deployment, (&amqp_url, &ours_url), &mut ours, None).await;
        deployment.is_kept(&node, vhost).await;
        ours.stop().await;
    }
}

/// Options that other programs set, and our URL does not: what exists shows them.
#[tokio::test]
#[ignore = "needs rabbitmq and oslo.messaging"]
async fn python_works_on_what_we_declared_beside_queues_with_its_options() {
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

/// What a service has declared with its defaults is declared so again, whatever another one has.
#[tokio::test]
#[ignore = "needs rabbitmq and oslo.messaging"]
async fn python_works_on_its_transient_exchange_beside_a_durable_one_after_a_restart() {
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
