//! Run it with `cargo run -p examples --example server`, and look at `http://127.0.0.1:8080/ready`.
//!
//! A listener and an HTTP server with one handler for SIGTERM and Ctrl-C: the listener stops first, while
//! the server still answers probes, and then the server. `LISTENER_TRANSPORT_URL` is the broker;
//! SERVER_ADDRESS is the address of the server.
//!
//! The server is minimal. With axum, `serve` becomes `axum::serve(socket, router)
//! .with_graceful_shutdown(async move { drop(stopped.wait_for(|stopped| *stopped).await) })`.

use std::future::pending;

use listener::{BoxError, Config, Listener, notification_endpoint};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::ctrl_c;
use tokio::sync::watch;

/// lapin is excluded, because it logs the bodies of returned messages.
const LOG: &str = "info,lapin=off";

#[derive(Default)]
struct Audit;

#[notification_endpoint]
impl Audit {
    async fn info(&self, event_type: &str) {
        println!("{event_type}");
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    tracing_subscriber::fmt().with_env_filter(LOG).with_writer(std::io::stderr).init();
    let listener = Listener::builder().config(Config::from_env()?).build()?;
    let address = std::env::var("SERVER_ADDRESS").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
    let socket = TcpListener::bind(address).await?;
    println!("listening on http://{}", socket.local_addr()?);

    let (stop, stopped) = watch::channel(false);
    let server = tokio::spawn(serve(socket, listener.clone(), stopped));
    // `listener.run()` would handle signals itself, independently of the handler here. Probes are answered
    // while the listener starts and while it stops. `shutdown_timeout`, plus the time that the server needs
    // to stop, must be shorter than the grace period.
    let ended = listener.run_until(shutdown_signal()).await;
    stop.send_replace(true);
    let served = server.await;
    ended?;
    Ok(served??)
}

/// Answers requests until it is stopped.
async fn serve(
    socket: TcpListener,
    listener: Listener,
    mut stopped: watch::Receiver<bool>,
) -> std::io::Result<()> {
    loop {
        tokio::select! {
            accepted = socket.accept() => {
                let (stream, _) = accepted?;
                // A client that disconnects early only misses the answer.
                tokio::spawn(answer(stream, listener.clone()));
            }
            _ = stopped.wait_for(|stopped| *stopped) => return Ok(()),
        }
    }
}

/// Liveness: the process answers. Readiness: the listener's, with the reason.
async fn answer(mut stream: TcpStream, listener: Listener) -> std::io::Result<()> {
    let mut request = [0; 1024];
    let length = stream.read(&mut request).await?;
    let (status, body) = match request[..length].split(|byte| *byte == b' ').nth(1) {
        Some(b"/live") => ("200 OK", "alive".to_owned()),
        Some(b"/ready") if listener.is_ready() => ("200 OK", "ready".to_owned()),
        Some(b"/ready") => ("503 Service Unavailable", format!("{:?}", listener.health())),
        _ => ("404 Not Found", String::new()),
    };
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    stream.write_all((head + &body).as_bytes()).await
}

/// Completes on SIGTERM or Ctrl-C.
async fn shutdown_signal() {
    #[cfg(unix)]
    let terminated = async {
        let kind = tokio::signal::unix::SignalKind::terminate();
        match tokio::signal::unix::signal(kind) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminated = pending::<()>();
    tokio::select! {
        () = terminated => {}
        Ok(()) = ctrl_c() => {}
    }
}
