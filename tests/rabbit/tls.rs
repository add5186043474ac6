//! TLS with real certificates: against nodes that require a client certificate or do not, and against servers
//! whose certificates are not valid.

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use listener::{Context, Listener, Notifier, Transport, notification_endpoint};
use support::{Authority, Folder, Identity, Proxy, TlsImpostor, Validity};
use tokio::sync::OnceCell;

use super::*;

/// The authority of the tests, its files, and a node that requires client certificates.
struct Fixture {
    authority: Authority,
    folder: Folder,
    node: RabbitNode,
    broker: Identity,
}

impl Fixture {
    async fn start(requires: bool) -> Self {
        let (authority, folder) = (Authority::new("tests"), Folder::new());
        authority.write(&folder.path("ca.pem"));
        // Clients have a file of their own.
        authority.write(&folder.path("trusted.pem"));
        let names = ["localhost", "127.0.0.1"];
        let broker = authority.issue(&folder, "broker", &names, Validity::Now);
        let node = RabbitNode::start_with_tls(&folder.path("ca.pem"), &broker, requires).await;
        Self { authority, folder, node, broker }
    }

    /// The node that requires client certificates.
    async fn requiring() -> &'static Self {
        static FIXTURE: OnceCell<Fixture> = OnceCell::const_new();
        FIXTURE.get_or_init(|| Self::start(true)).await
    }

    /// The URL of a virtual host over TLS, with the CA.
    async fn url(&self, vhost: &str) -> String {
        self.node.vhost(vhost).await;
        let (port, ca) = (self.node.tls_port(), self.folder.path("trusted.pem"));
        format!("amqps://guest:guest@localhost:{port}/{vhost}?cacertfile={}", ca.display())
    }

    /// The same with a client certificate for this name.
    async fn url_as(&self, vhost: &str, name: &str) -> String {
        let client = self.authority.issue(&self.folder, vhost, &[name], Validity::Now);
        with_client(&self.url(vhost).await, &client)
    }
}

fn with_client(url: &str, client: &Identity) -> String {
    format!("{url}&certfile={}&keyfile={}", client.certificate.display(), client.key.display())
}

/// Keeps the numbers that it handles.
#[derive(Clone, Default)]
struct Numbers(Arc<Mutex<Vec<u32>>>);

#[notification_endpoint(register = false, name = "numbers")]
impl Numbers {
    async fn info(&self, payload: u32) {
        self.0.lock().unwrap().push(payload);
    }
}

impl Numbers {
    fn sorted(&self) -> Vec<u32> {
        let mut numbers = self.0.lock().unwrap().clone();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }
}

async fn listening(url: &str) -> (Listener, Numbers) {
    let numbers = Numbers::default();
    let builder = Listener::builder().transport_url(url).endpoint(numbers.clone());
    let listener = builder.build().unwrap();
    listener.start().await.unwrap();
    (listener, numbers)
}

async fn send(notifier: &Notifier, numbers: std::ops::Range<u32>) {
    let ctxt = Context::new();
    join_all(numbers.map(|number| {
        let ctxt = &ctxt;
        async move { notifier.info(ctxt, "number", &number).await.unwrap() }
    }))
    .await;
}

fn notifier(url: &str) -> Notifier {
    Notifier::builder(Transport::open(url).unwrap()).build().unwrap()
}

/// Sends and handles numbers over TLS.
async fn round_trip(url: &str, count: u32) {
    let (listener, numbers) = listening(url).await;
    send(&notifier(url), 0..count).await;
    wait_until("all are handled", SOON, async || numbers.sorted().len() == count as usize).await;
    listener.shutdown().await.unwrap();
}

/// The error of a start.
async fn refusal(url: &str) -> String {
    let builder = Listener::builder().transport_url(url).endpoint(Numbers::default());
    let listener = builder.start_timeout(Duration::from_secs(20)).build().unwrap();
    listener.start().await.unwrap_err().to_string_with_causes()
}

trait WithCauses {
    fn to_string_with_causes(&self) -> String;
}

impl WithCauses for listener::Error {
    fn to_string_with_causes(&self) -> String {
        format!("{self:?}")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs rabbitmq"]
async fn thousands_of_notifications_pass_with_client_certificates() {
    let fixture = Fixture::requiring().await;
    let url = fixture.url_as("tls-many", "tap").await;
    round_trip(&url, 20_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs rabbitmq"]
async fn keys_may_be_rsa_in_pkcs1_and_in_the_file_of_the_certificate() {
    let fixture = Fixture::requiring().await;
    let url = fixture.url("tls-keys").await;
    let rsa = fixture.authority.issue_for_rsa(&fixture.folder, "rsa", &["tap"]);
    round_trip(&with_client(&url, &rsa), 10).await;
    let sec1 = fixture.authority.issue_for_sec1(&fixture.folder, "sec1", &["tap"]);
    round_trip(&with_client(&url, &sec1), 10).await;
    let both = fixture.folder.path("both.pem");
    let client = fixture.authority.issue(&fixture.folder, "client", &["tap"], Validity::Now);
    let text = [fs::read(&client.certificate).unwrap(), fs::read(&client.key).unwrap()].concat();
    fs::write(&both, text).unwrap();
    round_trip(&format!("{url}&certfile={}", both.display()), 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs rabbitmq"]
async fn a_client_certificate_logs_in_with_external() {
    let fixture = Fixture::requiring().await;
    let url = fixture.url_as("tls-external", "tap-by-name").await;
    let all = [".*", ".*", ".*"];
    fixture.node.ctl(&["add_user", "tap-by-name", "unused"]).await;
    fixture.node.ctl(&["clear_password", "tap-by-name"]).await;
    let grant = ["set_permissions", "-p", "tls-external", "tap-by-name", all[0], all[1], all[2]];
    fixture.node.ctl(&grant).await;
    let url = format!("{}&auth_mechanism=external", url.replace("guest:guest@", ""));
    let (listener, numbers) = listening(&url).await;
    let logins = fixture.node.ctl(&["list_connections", "user", "auth_mechanism"]).await;
    assert!(logins.contains("tap-by-name\tEXTERNAL"), "{logins}");
    send(&notifier(&url), 0..10).await;
    wait_until("all are handled", SOON, async || numbers.sorted().len() == 10).await;
    listener.shutdown().await.unwrap();
    let unknown =
        fixture.url_as("tls-external-unknown", "nobody").await.replace("guest:guest@", "");
    let error = refusal(&format!("{unknown}&auth_mechanism=external")).await;
    assert!(error.contains("refused to log in"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs rabbitmq"]
async fn a_missing_or_foreign_client_certificate_is_named() {
    let fixture = Fixture::requiring().await;
    let url = fixture.url("tls-missing").await;
    let error = refusal(&url).await;
    assert!(error.contains("it requires a client certificate"), "{error}");
    assert!(error.contains("set `ssl_cert_file` and `ssl_key_file`"), "{error}");
    let other =
        Authority::new("another").issue(&fixture.folder, "foreign", &["tap"], Validity::Now);
    let error = refusal(&with_client(&url, &other)).await;
    assert!(error.contains("it refused the client certificate"), "{error}");
    let expired = fixture.authority.issue(&fixture.folder, "expired", &["tap"], Validity::Expired);
    let error = refusal(&with_client(&url, &expired)).await;
    assert!(error.contains("it refused the client certificate"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs rabbitmq"]
async fn tls_and_plaintext_are_not_confused() {
    let fixture = Fixture::requiring().await;
    let tls = fixture.url_as("tls-or-not", "tap").await;
    let (plain_port, tls_port) = (fixture.node.port(), fixture.node.tls_port());
    let error = refusal(&tls.replace(&tls_port.to_string(), &plain_port.to_string())).await;
    assert!(
        error.contains("it answered without TLS; connect to its port for TLS, 5671"),
        "{error}"
    );
    let plain = format!("rabbit://guest:guest@localhost:{tls_port}/tls-or-not");
    let error = refusal(&plain).await;
    assert!(error.contains("ssl=true"), "{error}");
    // With oslo.messaging's options.
    let ca = fixture.folder.path("ca.pem");
    let client = fixture.authority.issue(&fixture.folder, "oslo", &["tap"], Validity::Now);
    let (certificate, key) = (client.certificate.display(), client.key.display());
    let oslo = format!(
        "{plain}?ssl=true&ssl_ca_file={}&ssl_cert_file={certificate}&ssl_key_file={key}&ssl_version=tlsv1_2&amqp_durable_queues=true",
        ca.display()
    );
    round_trip(&oslo, 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_certificate_of_a_server_is_explained() {
    let (authority, folder) = (Authority::new("tests"), Folder::new());
    authority.write(&folder.path("ca.pem"));
    let check_host = async |identity: &Identity, host: &str, expected: &str| {
        let server = TlsImpostor::start(identity, b"HTTP/1.1 400 Bad Request\r\n\r\n", true);
        let ca = folder.path("ca.pem");
        let url = format!("amqps://{host}:{}/?cacertfile={}", server.port(), ca.display());
        let error = refusal(&url).await;
        assert!(error.contains(expected), "{error}");
    };
    let check = async |identity: &Identity, expected: &str| {
        check_host(identity, "localhost", expected).await;
    };
    let issue = |file, names: &[&str], when| authority.issue(&folder, file, names, when);
    check(&issue("a", &["localhost"], Validity::Expired), "its certificate has expired").await;
    check(&issue("b", &["localhost"], Validity::NotYet), "its certificate is not valid yet").await;
    let other = "its certificate is for rabbit-1.example.org, rabbit-2, not for \"localhost\"";
    check(&issue("c", &["rabbit-1.example.org", "rabbit-2"], Validity::Now), other).await;
    let foreign = Authority::new("another").issue(&folder, "d", &["localhost"], Validity::Now);
    check(&foreign, "its certificate is not issued by a CA in `ssl_ca_file`").await;
    check(&issue("e", &["localhost"], Validity::Now), "it answered with HTTP").await;
    let named = issue("f", &["localhost"], Validity::Now);
    let address = "its certificate is for localhost, not for \"127.0.0.1\"";
    check_host(&named, "127.0.0.1", address).await;
    let both = issue("g", &["localhost", "127.0.0.1"], Validity::Now);
    check_host(&both, "127.0.0.1", "it answered with HTTP").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_cannot_be_used_is_named() {
    let (authority, folder) = (Authority::new("tests"), Folder::new());
    let ca = folder.path("ca.pem");
    authority.write(&ca);
    let client = authority.issue(&folder, "client", &["tap"], Validity::Now);
    let other = authority.issue(&folder, "other", &["tap"], Validity::Now);
    let text = folder.path("text.pem");
    fs::write(&text, "not PEM").unwrap();
    let encrypted = folder.path("encrypted.key");
    fs::write(
        &encrypted,
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    )
    .unwrap();
    let check = async |query: String, expected: &str| {
        let error = refusal(&format!("amqps://localhost:1/?{query}")).await;
        assert!(error.contains(expected), "{error}");
    };
    let path = |file: &std::path::Path| file.display().to_string();
    check(format!("cacertfile={}x", path(&ca)), "cannot be read: No such file").await;
    check(format!("cacertfile={}", path(&text)), "has no certificate in PEM format").await;
    let with = format!("cacertfile={}&certfile={}", path(&ca), path(&client.certificate));
    check(format!("{with}&keyfile={}", path(&other.key)), "cannot be used with the certificate")
        .await;
    check(format!("{with}&keyfile={}", path(&encrypted)), "is encrypted").await;
    check(with.clone(), "has no private key in PEM format").await;
    check(
        format!("cacertfile={}&keyfile={}", path(&ca), path(&other.key)),
        "without `ssl_cert_file`",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs rabbitmq"]
async fn one_of_several_hosts_with_an_invalid_certificate_is_passed_over() {
    let fixture = Fixture::requiring().await;
    let url = fixture.url_as("tls-hosts", "tap").await;
    let expired =
        fixture.authority.issue(&fixture.folder, "old", &["localhost"], Validity::Expired);
    let server = TlsImpostor::start(&expired, b"", true);
    let (tls, bad) = (fixture.node.tls_port(), server.port());
    let hosts = format!("guest:guest@localhost:{bad},guest:guest@127.0.0.1:{tls}");
    round_trip(&url.replace(&format!("guest:guest@localhost:{tls}"), &hosts), 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs rabbitmq"]
async fn replaced_certificates_are_used_by_the_next_connection() {
    let mut fixture = Fixture::start(true).await;
    let url = fixture.url_as("tls-rotated", "tap").await;
    let (listener, numbers) = listening(&format!("{url}&rabbit_retry_interval=100ms")).await;
    let sender = notifier(&url);
    send(&sender, 0..10).await;
    wait_until("the first are handled", SOON, async || numbers.sorted().len() == 10).await;
    // Everything is issued by another authority from now on, in the same files.
    let next = Authority::new("next");
    next.write(&fixture.folder.path("ca.pem"));
    next.issue(&fixture.folder, "broker", &["localhost", "127.0.0.1"], Validity::Now);
    next.issue(&fixture.folder, "tls-rotated", &["tap"], Validity::Now);
    assert!(fixture.broker.certificate.exists());
    let ca = fixture.folder.path("trusted.pem");
    next.write(&ca);
    let whole = fs::read(&ca).unwrap();
    fs::write(&ca, &whole[..whole.len() / 2]).unwrap();
    fixture.node.restart().await;
    // The file is written by halves: what is sent meanwhile waits.
    let completed = async {
        wait_until("a refused file", SOON, async || !sender_is_connected(&fixture.node).await)
            .await;
        fs::write(&ca, &whole).unwrap();
    };
    tokio::join!(send(&sender, 10..20), completed);
    wait_until("all are handled", SOON, async || numbers.sorted().len() == 20).await;
    listener.shutdown().await.unwrap();
}

/// Whether any client is connected.
async fn sender_is_connected(node: &RabbitNode) -> bool {
    node.ctl(&["-q", "list_connections", "pid"]).await.contains('<')
}

/// Counts large texts.
#[derive(Clone, Default)]
struct Texts(Arc<AtomicU32>);

#[notification_endpoint(register = false, name = "texts")]
impl Texts {
    async fn info(&self, payload: String) {
        assert_eq!(payload.len(), 200_000);
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs rabbitmq"]
async fn a_connection_that_is_cut_within_a_record_loses_nothing() {
    let fixture = Fixture::requiring().await;
    let direct = fixture.url_as("tls-cut", "tap").await;
    let proxy = Proxy::start(fixture.node.tls_port()).await;
    let url = direct.replace(&fixture.node.tls_port().to_string(), &proxy.port().to_string());
    let texts = Texts::default();
    let builder = Listener::builder()
        .transport_url(&format!("{url}&rabbit_retry_interval=100ms&kombu_reconnect_delay=50ms"));
    let listener = builder.endpoint(texts.clone()).build().unwrap();
    listener.start().await.unwrap();
    let notifier = notifier(&direct);
    let text = "a".repeat(200_000);
    let sending = async {
        for _ in 0..100 {
            notifier.info(&Context::new(), "text", &text).await.unwrap();
        }
    };
    let cutting = async {
        for handled in [5, 20, 40, 60, 80] {
            wait_until("some are handled", SOON, async || {
                texts.0.load(Ordering::SeqCst) >= handled
            })
            .await;
            proxy.cut();
        }
    };
    tokio::join!(sending, cutting);
    wait_until("all are settled", SOON, async || {
        texts.0.load(Ordering::SeqCst) >= 100
            && fixture.node.queue_depth("tls-cut", QUEUE).await == Some(0)
    })
    .await;
    listener.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs rabbitmq"]
async fn a_client_without_a_certificate_is_accepted_where_none_is_required() {
    let fixture = Fixture::start(false).await;
    let url = fixture.url("tls-optional").await;
    round_trip(&url, 100).await;
    round_trip(&format!("{url}&ssl_version=tlsv1_3"), 100).await;
    // The name is verified, also where the broker requires nothing.
    let named =
        format!("{}&server_name_indication=localhost", url.replace("@localhost", "@127.0.0.1"));
    round_trip(&named, 10).await;
    let misnamed = named.replace("indication=localhost", "indication=rabbit.example.org");
    let error = refusal(&misnamed).await;
    assert!(error.contains("not for \"rabbit.example.org\""), "{error}");
    let system = url.split('?').next().unwrap();
    let error = refusal(system).await;
    assert!(
        error.contains("that this system trusts") || error.contains("no CA certificates"),
        "{error}"
    );
}
