//! What the driver works around in lapin (`listener/src/drivers/rabbit/workarounds/`), shown with lapin
//! itself. A test that fails here says which workaround is not needed any more.

use std::time::Duration;

use lapin::options::{BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use support::{Amqp, Proxy, wait_until};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::{QUEUE, SOON};

/// How long lapin has to close a connection that it gave up.
const GIVEN_UP: Duration = Duration::from_secs(3);

#[tokio::test]
async fn lapin_keeps_the_socket_of_a_connection_that_nobody_waits_for() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("amqp://127.0.0.1:{}/", listener.local_addr().unwrap().port());
    let connecting =
        tokio::spawn(
            async move { Connection::connect(&url, ConnectionProperties::default()).await },
        );
    let (mut socket, _) = timeout(SOON, listener.accept()).await.unwrap().unwrap();
    let mut header = [0; 8];
    timeout(SOON, socket.read_exact(&mut header)).await.unwrap().unwrap();
    assert_eq!(&header, b"AMQP\0\0\x09\x01");
    connecting.abort();
    assert!(connecting.await.is_err_and(|error| error.is_cancelled()));
    let closed = timeout(GIVEN_UP, socket.read_u8()).await;
    assert!(
        closed.is_err(),
        "lapin closes it: workarounds/connection_guard.rs is not needed any more"
    );
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn lapin_leaves_a_consumer_attached_whose_request_was_dropped() {
    let node = support::shared().await;
    let url = node.vhost("dropped consume").await;
    let observer = Amqp::connect(&url).await;
    observer.declare_queue(QUEUE, true, &[]).await;
    let proxy = Proxy::start(node.port()).await;
    let through = url.replace(&node.port().to_string(), &proxy.port().to_string());
    let connection = Connection::connect(&through, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    proxy.stall(true);
    let request = {
        let channel = channel.clone();
        tokio::spawn(async move {
            let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
            channel.basic_consume(QUEUE.into(), "dropped".into(), options, arguments).await
        })
    };
    // Sent, and without an answer.
    tokio::time::sleep(Duration::from_millis(200)).await;
    request.abort();
    assert!(request.await.is_err_and(|error| error.is_cancelled()));
    proxy.stall(false);
    let consumers = async || {
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let declared =
            observer.channel().queue_declare(QUEUE.into(), passive, FieldTable::default()).await;
        declared.unwrap().consumer_count()
    };
    wait_until("the broker has the consumer", SOON, async || consumers().await == 1).await;
    // lapin has the answer, and time to cancel the consumer.
    channel.basic_qos(1, BasicQosOptions::default()).await.unwrap();
    tokio::time::sleep(GIVEN_UP).await;
    let left = consumers().await;
    assert_eq!(left, 1, "lapin cancels it: workarounds/detached_consume.rs is not needed any more");
}
