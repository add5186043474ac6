//! A TCP proxy in front of a port of 127.0.0.1, whose links can be cut, refused or stalled: the
//! network's faults, without touching the broker. Fault tests call it. It runs on a thread with a
//! runtime of its own, so it works while the runtime of the test is busy, paused or gone.

use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

pub struct Proxy {
    port: u16,
    controls: Arc<Controls>,
    // Dropping the sender ends the thread, and with its runtime all links.
    alive: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Controls {
    refuse: watch::Sender<bool>,
    stall: watch::Sender<bool>,
    /// Each link holds a receiver of the generation in which it was accepted.
    generation: Mutex<watch::Sender<()>>,
}

impl Proxy {
    /// Listens on a port of its own and connects each link to `target_port`.
    pub async fn start(target_port: u16) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let controls = Arc::new(Controls {
            refuse: watch::Sender::new(false),
            stall: watch::Sender::new(false),
            generation: Mutex::new(watch::Sender::new(())),
        });
        let (alive, end) = oneshot::channel();
        let shared = Arc::clone(&controls);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    _ = end => {}
                    () = accept(listener, target_port, &shared) => {}
                }
            });
        });
        Self { port, controls, alive: Some(alive), thread: Some(thread) }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Resets all links, in both directions. Returns when they are closed; new ones are accepted
    /// unless they are refused.
    pub fn cut(&self) {
        let fresh = watch::Sender::new(());
        let old = std::mem::replace(&mut *self.controls.generation.lock().unwrap(), fresh);
        old.send_replace(());
        let end = Instant::now() + Duration::from_secs(10);
        while old.receiver_count() > 0 {
            assert!(Instant::now() < end, "the links of the proxy did not close within 10 s");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// While set, a new connection is reset at once. Links that stand are not touched.
    pub fn refuse(&self, refuse: bool) {
        self.controls.refuse.send_replace(refuse);
    }

    /// While set, no byte moves in either direction, and all links stay open, new ones too.
    /// Bytes sent meanwhile arrive afterwards.
    pub fn stall(&self, stall: bool) {
        self.controls.stall.send_replace(stall);
    }

    /// The links that stand.
    pub fn connections(&self) -> usize {
        self.controls.generation.lock().unwrap().receiver_count()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.alive.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, target_port: u16, controls: &Controls) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            continue;
        };
        if *controls.refuse.borrow() {
            let _ = client.set_zero_linger();
            continue;
        }
        let generation = controls.generation.lock().unwrap().subscribe();
        tokio::spawn(link(client, target_port, controls.stall.subscribe(), generation));
    }
}

/// One client and its connection to the target. Ends when both sides are done, or by a reset.
async fn link(
    mut client: TcpStream,
    target_port: u16,
    stall: watch::Receiver<bool>,
    mut generation: watch::Receiver<()>,
) {
    let Ok(mut target) = TcpStream::connect((Ipv4Addr::LOCALHOST, target_port)).await else {
        let _ = client.set_zero_linger();
        return;
    };
    let (_, _) = (client.set_nodelay(true), target.set_nodelay(true));
    let (from_client, to_client) = client.split();
    let (from_target, to_target) = target.split();
    let both = async {
        tokio::try_join!(
            pump(from_client, to_target, stall.clone()),
            pump(from_target, to_client, stall.clone())
        )
    };
    let ended = tokio::select! {
        _ = generation.changed() => false,
        ended = both => ended.is_ok(),
    };
    if !ended {
        let (_, _) = (client.set_zero_linger(), target.set_zero_linger());
    }
    // The sockets are closed before the link is counted as gone.
    drop((client, target));
    drop(generation);
}

/// Moves bytes one way until the sender closes, which is passed on.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut stall: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = from.read(&mut buffer).await?;
        // What was read while the link was stalled waits here, the end of the stream too.
        if stall.wait_for(|stalled| !stalled).await.is_err() {
            return Ok(());
        }
        if count == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..count]).await?;
    }
}
