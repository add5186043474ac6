//! Whole configurations with files of oslo.config: which source wins, what a service's own file means, and
//! what errors say.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::config::Config;
use crate::options::listener::ConfiguredExecutor;
use crate::target::Target;

/// A directory of its own for each test, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("listener-oslo-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        Self(folder)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("a file");
        path.to_str().expect("a path").to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn read(variables: &[(&str, &str)], paths: &[&str]) -> Result<Config, String> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    Config::read(variables, paths).map_err(|error| error.to_string())
}

/// The configuration of one file.
fn of_file(text: &str) -> Result<Config, String> {
    let folder = Folder::new();
    let path = folder.file("nova.conf", text);
    read(&[("LISTENER_OSLO_CONFIG", &path)], &[]).map_err(|error| error.replace(&path, "FILE"))
}

fn url(config: Result<Config, String>) -> Option<String> {
    config.expect("a configuration").sources.transport_url
}

/// As deployment tools write them.
const NOVA: &str = "\
[DEFAULT]
debug = False
log_dir = /var/log/kolla/nova
my_ip = 10.0.0.5
transport_url = rabbit://openstack:pass@10.0.0.1:5672,openstack:pass@10.0.0.2:5672//

[oslo_messaging_notifications]
transport_url = rabbit://openstack:pass@$my_ip:5672//
topics = notifications,versioned_notifications
driver = messagingv2
driver = log

[oslo_messaging_rabbit]
use_queue_manager = true
heartbeat_in_pthread = false
heartbeat_timeout_threshold = 0
amqp_durable_queues = true
rabbit_quorum_queue = true
rabbit_transient_quorum_queue = true
rabbit_qos_prefetch_count = 0
rabbit_transient_queues_ttl =
rabbit_interval_max = 30
ssl = false
rabbit_hosts = 10.0.0.1

[keystone_authtoken]
password = hunter2
topics = not ours
";

#[test]
fn the_file_of_a_service_is_read_unchanged() {
    let config = of_file(NOVA).expect("a configuration");
    let sources = &config.sources;
    let topics: Vec<_> = sources.topics.iter().map(Target::topic_name).collect();
    assert_eq!(topics, ["notifications", "versioned_notifications"]);
    let url = sources.transport_url.as_deref().map(|url| url.replace("%5F", "_"));
    #[cfg(feature = "rabbit")]
    assert_eq!(
        url.as_deref(),
        Some(
            "rabbit://openstack:pass@10.0.0.5:5672//?amqp_durable_queues=true\
             &heartbeat_timeout_threshold=0&rabbit_interval_max=30&rabbit_quorum_queue=true&ssl=false"
        )
    );
    #[cfg(not(feature = "rabbit"))]
    assert!(url.is_some());
    assert!(config.is_deployed);
}

#[test]
fn each_source_wins_over_the_next_weaker_one() {
    let folder = Folder::new();
    let exchange =
        |name: &str| format!("[DEFAULT]\ncontrol_exchange = {name}\ntransport_url = memory://");
    let secret = folder.file("secret", "of-value-file\n");
    let toml = folder.file("listener.toml", "control_exchange = 'of-toml'");
    let first = folder.file("first.conf", &exchange("of-first"));
    let later = folder.file("later.conf", &exchange("of-later"));
    let both = format!("{first}, {later}");
    let value_file = ("LISTENER_CONTROL_EXCHANGE_FILE", secret.as_str());
    let variable = ("LISTENER_CONTROL_EXCHANGE", "of-variable");
    let overlay = ("OS_DEFAULT__CONTROL_EXCHANGE", "of-overlay");
    let of_toml = ("LISTENER_CONFIG", toml.as_str());
    let files = ("LISTENER_OSLO_CONFIG", both.as_str());
    let of_first = ("LISTENER_OSLO_CONFIG", first.as_str());
    for (variables, expected) in [
        (&[variable, overlay][..], Some("of-variable")),
        (&[value_file, overlay], Some("of-value-file")),
        #[cfg(feature = "config")]
        (&[overlay, of_toml], Some("of-overlay")),
        #[cfg(feature = "config")]
        (&[of_toml, files], Some("of-toml")),
        (&[overlay, files], Some("of-overlay")),
        (&[files], Some("of-later")),
        (&[of_first], Some("of-first")),
        (&[], None),
    ] {
        let config = read(variables, &[]).expect("a configuration");
        assert_eq!(config.sources.control_exchange.as_deref(), expected, "{variables:?}");
    }
    let of_arguments = read(&[files], &[&first]).expect("a configuration");
    assert_eq!(of_arguments.sources.control_exchange.as_deref(), Some("of-first"));
    let _ = of_toml;
}

#[test]
fn the_files_of_a_directory_are_read_in_the_order_of_their_names() {
    let folder = Folder::new();
    for (name, exchange) in [("b.conf", "b"), ("a.conf", "a"), ("c.txt", "c"), (".d.conf", "d")] {
        folder.file(
            name,
            &format!("[DEFAULT]\ncontrol_exchange={exchange}\ntransport_url=memory://"),
        );
    }
    let config = read(&[], &[folder.0.to_str().expect("a path")]).expect("a configuration");
    assert_eq!(config.sources.control_exchange.as_deref(), Some("b"));
}

#[test]
fn the_url_of_notifications_wins_over_that_of_default() {
    let both = "[DEFAULT]\ntransport_url=memory://a\n[oslo_messaging_notifications]\ntransport_url=memory://b";
    assert_eq!(url(of_file(both)).as_deref(), Some("memory://b"));
    let folder = Folder::new();
    let path = folder.file("x.conf", both);
    let overlay = |name| url(read(&[(name, "memory://c")], &[&path]));
    assert_eq!(overlay("OS_DEFAULT__TRANSPORT_URL").as_deref(), Some("memory://b"));
    let name = "OS_OSLO_MESSAGING_NOTIFICATIONS__TRANSPORT_URL";
    assert_eq!(overlay(name).as_deref(), Some("memory://c"));
}

#[cfg(feature = "rabbit")]
#[test]
fn the_section_of_rabbitmq_applies_to_the_url_of_each_source() {
    let folder = Folder::new();
    let path = folder.file("x.conf", "[oslo_messaging_rabbit]\nrabbit_quorum_queue=true");
    let check = |variables: &[(&str, &str)], expected: &str| {
        let url = url(read(variables, &[&path])).map(|url| url.replace("%5F", "_"));
        assert_eq!(url.as_deref(), Some(expected));
    };
    let ours = ("LISTENER_TRANSPORT_URL", "rabbit://h/");
    check(&[ours], "rabbit://h/?rabbit_quorum_queue=true");
    let overlay = ("OS_OSLO_MESSAGING_RABBIT__RABBIT_QUORUM_QUEUE", "false");
    check(&[ours, overlay], "rabbit://h/?rabbit_quorum_queue=false");
    let query = ("LISTENER_TRANSPORT_URL", "rabbit://h/?rabbit_quorum_queue=0");
    check(&[query, overlay], "rabbit://h/?rabbit_quorum_queue=0");
}

/// The file of a deployment starts unchanged: names are verified in any case.
#[test]
fn a_section_cannot_disable_the_verification_of_tls() {
    let text = "[DEFAULT]\ntransport_url=rabbit://h:5671/\n[oslo_messaging_rabbit]\nssl=true\n\
                ssl_ca_file=/ca.pem\nssl_enforce_hostname_verification=False\n\
                ssl_enforce_fips_mode=True";
    let url = url(of_file(text)).expect("a URL");
    assert_eq!(url.replace("%5F", "_"), "rabbit://h:5671/?ssl=true&ssl_ca_file=%2Fca%2Epem");
    let opened = crate::transport::Transport::open(&url);
    assert_eq!(opened.is_ok(), cfg!(feature = "tls"), "{opened:?}");
}

#[test]
fn the_size_of_the_executor_is_read_under_both_names() {
    let size = |text: &str| {
        let text = format!("[DEFAULT]\ntransport_url=memory://\n{text}");
        of_file(&text).expect("a configuration").sources.executor
    };
    let slots = |number| Some(ConfiguredExecutor::Concurrent(Some(number)));
    assert_eq!(size("executor_thread_pool_size = 8"), slots(8));
    assert_eq!(size("rpc_thread_pool_size = 9"), slots(9));
    assert_eq!(size("executor_thread_pool_size = 8\nrpc_thread_pool_size = 9"), slots(8));
}

#[test]
fn a_wrong_value_says_option_file_line_and_what_is_accepted() {
    for (text, expected) in [
        (
            "[DEFAULT]\n\nexecutor_thread_pool_size = many",
            "option \"executor_thread_pool_size\" in \"FILE\", line 3: expected a number above 0, found \"many\"",
        ),
        #[cfg(feature = "rabbit")]
        (
            "[oslo_messaging_rabbit]\nrabbit_quorum_queue = maybe",
            "option \"rabbit_quorum_queue\" in \"FILE\", line 2: expected `true` or `false`, found \"maybe\"",
        ),
        (
            "[DEFAULT]\ncontrol_exchange = $my_ip",
            "option \"control_exchange\" in \"FILE\", line 2: it refers to `$my_ip`, which no file and no variable sets; set it, or write `$$` for a dollar sign",
        ),
        (
            "[DEFAULT]\nhunter2",
            "the file \"FILE\" that LISTENER_OSLO_CONFIG names cannot be read: line 2: expected `key = value`, and found no `=` or `:`",
        ),
    ] {
        assert_eq!(of_file(text), Err(expected.to_owned()), "{text}");
    }
    let missing = read(&[("LISTENER_OSLO_CONFIG", "/nonexistent/x")], &[]);
    assert_eq!(
        missing,
        Err("the file \"/nonexistent/x\" that LISTENER_OSLO_CONFIG names cannot be read: No such file or directory (os error 2)".to_owned())
    );
}

#[test]
fn no_error_shows_a_password_of_the_file() {
    for text in [
        "[DEFAULT]\ntransport_url = rabbit://u:hunter2@h:hunter2/",
        "[DEFAULT]\ntransport_url = rabbit://u:hunter2$x@h/",
        "[DEFAULT]\ntransport_url = hunter2",
        "[DEFAULT]\nhunter2 hunter2",
    ] {
        let error = of_file(text).expect_err(text);
        assert!(!error.contains("hunter2"), "{error}");
    }
}
