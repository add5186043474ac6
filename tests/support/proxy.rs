//! A TCP proxy for a port of 127.0.0.1, whose links can be cut, refused, stalled, slowed down, or lose
//! bytes: network faults without touching the broker. It runs on its own thread and runtime, so it works
//! while the runtime of the test is busy, paused or gone. How bytes are forwarded is in `pump.rs`.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

use crate::pump::{Direction, pump};

/// What happens to all bytes, also on existing links; by default nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Toxics {
    /// How long each chunk waits in each direction; a chunk is the result of one read.
    pub latency: Duration,
    /// The latency varies by up to this much for each chunk.
    pub jitter: Duration,
    /// Bytes per second, in each direction.
    pub rate: Option<u32>,
    /// Each write has at most this many bytes.
    pub slice: Option<usize>,
    /// Bytes from the broker are discarded, and everything after them on that link.
    pub deaf: bool,
    /// Bytes from the client are discarded, and everything after them on that link.
    pub mute: bool,
}

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
    toxics: watch::Sender<Toxics>,
    /// How many bytes the next link forwards to the client before it is reset, and how many more each
    /// link after it.
    limit: Mutex<Option<(usize, usize)>>,
    accepted: AtomicUsize,
    /// Each link holds a receiver of the generation in which it was accepted.
    generation: Mutex<watch::Sender<()>>,
}

impl Proxy {
    /// Listens on its own port and connects each link to `target_port`.
    pub async fn start(target_port: u16) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let controls = Arc::new(Controls {
            refuse: watch::Sender::new(false),
            stall: watch::Sender::new(false),
            toxics: watch::Sender::new(Toxics::default()),
            limit: Mutex::new(None),
            accepted: AtomicUsize::new(0),
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

    /// While set, new connections are reset at once. Existing links are not affected.
    pub fn refuse(&self, refuse: bool) {
        self.controls.refuse.send_replace(refuse);
    }

    /// While set, no bytes are forwarded in either direction, and all links stay open, new ones
    /// included. Bytes sent meanwhile arrive afterwards.
    pub fn stall(&self, stall: bool) {
        self.controls.stall.send_replace(stall);
    }

    /// Sets what happens to all bytes from now on.
    pub fn toxics(&self, toxics: Toxics) {
        self.controls.toxics.send_replace(toxics);
    }

    /// From now on each new link is reset after this many bytes to the client: the next one after
    /// `first`, each later one after `step` more. `None` ends it.
    pub fn limit(&self, limit: Option<(usize, usize)>) {
        *self.controls.limit.lock().unwrap() = limit;
    }

    /// How many connections have been accepted, refused ones included.
    pub fn accepted(&self) -> usize {
        self.controls.accepted.load(Ordering::SeqCst)
    }

    /// The number of open links.
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
        controls.accepted.fetch_add(1, Ordering::SeqCst);
        if *controls.refuse.borrow() {
            let _ = client.set_zero_linger();
            continue;
        }
        let limit = controls.limit.lock().unwrap().as_mut().map(|(next, step)| {
            *next += *step;
            *next - *step
        });
        let way = Direction::new(controls.stall.subscribe(), controls.toxics.subscribe());
        let generation = controls.generation.lock().unwrap().subscribe();
        tokio::spawn(link(client, target_port, way, limit, generation));
    }
}

/// One client and its connection to the target. Ends when both sides are done, or by a reset.
async fn link(
    mut client: TcpStream,
    target_port: u16,
    way: Direction,
    limit: Option<usize>,
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
            pump(from_client, to_target, way.clone()),
            pump(from_target, to_client, way.back(limit))
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
