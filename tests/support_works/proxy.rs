//! The proxy: what it does to a link, seen from plain sockets on both sides, and once from an AMQP
//! client.

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::time::Duration;

use support::amqp::oslo_properties;
use support::{Amqp, Impostor, Proxy, Toxics, shared, wait_until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn cut_resets_links_and_accepts_new_ones() {
    let (proxy, mut client, mut server) = linked().await;
    assert_eq!(proxy.connections(), 1);
    proxy.cut();
    assert_eq!(proxy.connections(), 0);
    assert_eq!(client.read_u8().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(server.1.read_u8().await.unwrap_err().kind(), ErrorKind::ConnectionReset);

    let (mut client, mut server) = link(&proxy, server.0).await;
    passes(&mut client, &mut server.1).await;
}

#[tokio::test]
async fn stall_delays_bytes_and_loses_none() {
    let (proxy, mut client, mut server) = linked().await;
    proxy.stall(true);
    client.write_all(b"up").await.unwrap();
    server.1.write_all(b"down").await.unwrap();
    let mut bytes = [0; 4];
    timeout(Duration::from_millis(300), client.read_exact(&mut bytes)).await.unwrap_err();
    timeout(Duration::from_millis(300), server.1.read_exact(&mut bytes)).await.unwrap_err();
    assert_eq!(proxy.connections(), 1);

    proxy.stall(false);
    timeout(SOON, client.read_exact(&mut bytes)).await.unwrap().unwrap();
    assert_eq!(&bytes, b"down");
    timeout(SOON, server.1.read_exact(&mut bytes[..2])).await.unwrap().unwrap();
    assert_eq!(&bytes[..2], b"up");
}

#[tokio::test]
async fn refuse_keeps_existing_links() {
    let (proxy, mut client, mut server) = linked().await;
    proxy.refuse(true);
    // The reset may come before connect has returned, or after it.
    let refused =
        async { TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).await?.read_u8().await };
    assert!(timeout(SOON, refused).await.unwrap().is_err());
    passes(&mut client, &mut server.1).await;

    proxy.refuse(false);
    let (mut client, mut server) = link(&proxy, server.0).await;
    passes(&mut client, &mut server.1).await;
    assert_eq!(proxy.connections(), 2);
}

#[tokio::test]
async fn a_close_is_passed_on() {
    let (proxy, client, mut server) = linked().await;
    drop(client);
    let end = timeout(SOON, server.1.read(&mut [0; 1])).await.unwrap().unwrap();
    assert_eq!(end, 0);
    drop(server);
    wait_until("the link is gone", SOON, async || proxy.connections() == 0).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_client_of_the_broker_is_stalled_and_cut() {
    let node = shared().await;
    let url = node.vhost("proxied").await;
    let proxy = Proxy::start(node.port()).await;
    let proxied = url.replace(&node.port().to_string(), &proxy.port().to_string());
    let amqp = Amqp::connect(&proxied).await;
    amqp.declare_queue("q", true, &[]).await;

    proxy.stall(true);
    let mut publish = Box::pin(amqp.publish("", "q", b"stalled", oslo_properties(&[])));
    timeout(Duration::from_millis(500), &mut publish).await.unwrap_err();
    proxy.stall(false);
    timeout(SOON, publish).await.unwrap();

    proxy.cut();
    let connection_is_lost = async || !amqp.channel().status().connected();
    wait_until("the client notices", SOON, connection_is_lost).await;
    assert_eq!(Amqp::connect(&proxied).await.drain("q").await.len(), 1);
}

/// A proxy, a client, and the target with its end of the link.
#[tokio::test]
async fn bytes_lost_by_a_link_stay_lost_with_all_that_follow() {
    let (proxy, mut client, mut server) = linked().await;
    proxy.toxics(Toxics { deaf: true, ..Toxics::default() });
    server.1.write_all(b"lost").await.unwrap();
    client.write_all(b"up").await.unwrap();
    let mut bytes = [0; 2];
    timeout(SOON, server.1.read_exact(&mut bytes)).await.unwrap().unwrap();
    assert_eq!(&bytes, b"up");
    timeout(Duration::from_millis(300), client.read_u8()).await.unwrap_err();
    proxy.toxics(Toxics::default());
    server.1.write_all(b"behind it").await.unwrap();
    timeout(Duration::from_millis(300), client.read_u8()).await.unwrap_err();

    let (mut client, mut server) = link(&proxy, server.0).await;
    passes(&mut client, &mut server.1).await;
}

#[tokio::test]
async fn a_limited_link_is_reset_after_its_bytes_and_the_next_passes_more() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let proxy = Proxy::start(listener.local_addr().unwrap().port()).await;
    proxy.limit(Some((3, 2)));
    let mut target = listener;
    for brought in [3, 5] {
        let (mut client, mut server) = link(&proxy, target).await;
        server.1.write_all(&[7; 100]).await.unwrap();
        // A reset may lose bytes that were not read yet.
        let mut bytes = Vec::new();
        let end = timeout(SOON, client.read_to_end(&mut bytes)).await.unwrap();
        assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert!(bytes.len() <= brought, "{bytes:?}");
        target = server.0;
    }
    proxy.limit(None);
    let (mut client, mut server) = link(&proxy, target).await;
    passes(&mut client, &mut server.1).await;
    assert_eq!(proxy.accepted(), 3);
}

#[tokio::test]
async fn a_slow_link_delivers_everything_in_order() {
    let (proxy, mut client, mut server) = linked().await;
    let latency = Duration::from_millis(50);
    proxy.toxics(Toxics { latency, slice: Some(1), rate: Some(10_000), ..Toxics::default() });
    let sent: Vec<u8> = (0..=255).collect();
    let start = std::time::Instant::now();
    server.1.write_all(&sent).await.unwrap();
    let mut bytes = vec![0; 256];
    timeout(SOON, client.read_exact(&mut bytes)).await.unwrap().unwrap();
    assert_eq!(bytes, sent);
    assert!(start.elapsed() >= latency, "it came after {:?}", start.elapsed());
}

#[tokio::test]
async fn an_impostor_sends_its_words_and_then_nothing() {
    let impostor = Impostor::start("HTTP/1.1");
    let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, impostor.port())).await.unwrap();
    let mut bytes = [0; 8];
    timeout(SOON, client.read_exact(&mut bytes)).await.unwrap().unwrap();
    assert_eq!(&bytes, b"HTTP/1.1");
    timeout(Duration::from_millis(300), client.read_u8()).await.unwrap_err();
    assert_eq!(impostor.accepted(), 1);
}

async fn linked() -> (Proxy, TcpStream, (TcpListener, TcpStream)) {
    let target = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let proxy = Proxy::start(target.local_addr().unwrap().port()).await;
    let (mut client, mut server) = link(&proxy, target).await;
    passes(&mut client, &mut server.1).await;
    (proxy, client, server)
}

async fn link(proxy: &Proxy, target: TcpListener) -> (TcpStream, (TcpListener, TcpStream)) {
    let client = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).await.unwrap();
    let (server, _) = timeout(SOON, target.accept()).await.unwrap().unwrap();
    (client, (target, server))
}

async fn passes(client: &mut TcpStream, server: &mut TcpStream) {
    client.write_all(b"x").await.unwrap();
    assert_eq!(timeout(SOON, server.read_u8()).await.unwrap().unwrap(), b'x');
}
