//! Mistakes in a configuration: each ends `listen()` with a message that names what is wrong, where, and
//! the fix, also in a program without a subscriber for logs. It contains no password.

use support::amqp::Amqp;
use support::rabbit_node::shared;

use crate::program::Program;

/// Runs the program until it ends with an error, and returns what it printed.
async fn error(variables: &[(&str, &str)]) -> String {
    let mut variables = variables.to_vec();
    variables.extend([("LISTENER_START_TIMEOUT", "3"), ("SERVICE_SILENT", "1")]);
    let ended = Program::start(&variables).ended().await;
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(!ended.stderr.contains("hunter2"), "{ended:?}");
    ended.stderr.trim_end().to_owned()
}

async fn url_error(url: &str) -> String {
    error(&[("LISTENER_TRANSPORT_URL", url)]).await
}

#[tokio::test]
async fn an_invalid_url_is_reported_with_what_is_missing() {
    assert_eq!(
        url_error("127.0.0.1:5672").await,
        "Error: option \"transport_url\" in the environment (LISTENER_..): invalid transport URL: no scheme; expected a URL like `amqp://user:password@host:5672` or `rabbit://user:password@host:5672`"
    );
    assert_eq!(
        url_error("rabit://u:hunter2@h/").await,
        "Error: option \"transport_url\" in the environment (LISTENER_..): no driver is named \"rabit\" in the transport URL; expected one of: rabbit (or kombu), amqp, amqps, memory (or fake)"
    );
}

#[tokio::test]
async fn an_unknown_option_suggests_a_known_one() {
    assert_eq!(
        url_error("rabbit://u:hunter2@h/?rabbit_quorum_queues=true").await,
        "Error: option \"transport_url\" in the environment (LISTENER_..): unknown option \"rabbit_quorum_queues\" in the query of the transport URL; did you mean \"rabbit_quorum_queue\"?"
    );
    assert_eq!(
        error(&[("LISTENER_PREFECTH", "1")]).await,
        "Error: unknown option \"prefecth\" in the environment (LISTENER_..); did you mean \"prefetch\"?"
    );
}

#[tokio::test]
async fn an_unreachable_host_is_named_after_the_start_timeout() {
    let text = url_error("rabbit://u:hunter2@127.0.0.1:1,nowhere.invalid:2/").await;
    let start = "Error: the listener could not start on rabbit://u:***@127.0.0.1:1,nowhere.invalid:2/: no broker could be reached within 3s; tried ";
    let fix = "; check host and port in the transport URL, and that the broker runs";
    assert!(text.starts_with(start) && text.ends_with(fix), "{text}");
    assert!(text.contains("127.0.0.1:1") && text.contains("nowhere.invalid:2"), "{text}");
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_wrong_password_names_the_user() {
    let port = shared().await.port();
    assert_eq!(
        url_error(&format!("rabbit://guest:hunter2@127.0.0.1:{port}/")).await,
        format!(
            "Error: the listener could not start on rabbit://guest:***@127.0.0.1:{port}/: 127.0.0.1:{port} refused to log in user \"guest\"; check user and password in the transport URL, and that the user may log in"
        )
    );
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_wrong_virtual_host_is_named() {
    let port = shared().await.port();
    let text = url_error(&format!("rabbit://guest:guest@127.0.0.1:{port}/nowhere")).await;
    let expected = format!(
        "127.0.0.1:{port} has no virtual host \"nowhere\" that user \"guest\" may use; check the path of the transport URL"
    );
    assert!(text.contains(&expected), "{text}");
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_missing_configure_permission_is_reported_with_the_queue_and_a_fix() {
    let node = shared().await;
    node.vhost("no-configure").await;
    node.ctl(&["add_user", "tapper", "hunter2"]).await;
    node.ctl(&["set_permissions", "-p", "no-configure", "tapper", "^$", ".*", ".*"]).await;
    let port = node.port();
    let text = url_error(&format!("rabbit://tapper:hunter2@127.0.0.1:{port}/no-configure")).await;
    assert!(
        text.contains("user \"tapper\" may not declare queue \"notifications.info\"; grant the permission, or let another user create it first"),
        "{text}"
    );
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_queue_with_other_arguments_is_reported_with_the_difference() {
    let url = shared().await.vhost("mismatch").await;
    let amqp = Amqp::connect(&url).await;
    amqp.declare_queue("notifications.info", true, &[]).await;
    amqp.close().await;
    let text = url_error(&format!("{url}?rabbit_quorum_queue=true")).await;
    assert!(
        text.contains("queue \"notifications.info\" exists with other arguments: ")
            && text.contains("x-queue-type")
            && text.contains("remove the option from the transport URL to use it unchanged, or delete it so that it is declared again"),
        "{text}"
    );
}

#[tokio::test]
async fn a_program_whose_url_was_forgotten_does_not_start() {
    for variables in [
        &[("LISTENER_TRANSPORT_URL", "")][..],
        &[("LISTENER_POOL", "billing")],
        &[("KUBERNETES_SERVICE_HOST", "10.0.0.1")],
    ] {
        let text = error(variables).await;
        let expected = "the transport is not given; expected LISTENER_TRANSPORT_URL";
        assert!(text.contains(expected), "{text}");
    }
}

#[tokio::test]
async fn a_program_without_configuration_logs_that_it_listens_in_memory() {
    let mut program = Program::start(&[("KUBERNETES_SERVICE_HOST", "")]);
    program.logs("set LISTENER_TRANSPORT_URL=amqp://").await;
    program.logs("attached").await;
    program.signal("-TERM");
    let ended = program.ended().await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
}
