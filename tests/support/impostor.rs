//! A server on 127.0.0.1 that is not a broker: it accepts connections, sends something or nothing, and
//! keeps them open. Fault tests use it as a host. Like the proxy it has its own thread.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Listens until it is dropped.
pub struct Impostor {
    port: u16,
    accepted: Arc<AtomicUsize>,
    // When it is dropped, the thread ends at the next connection, which `drop` makes.
    alive: Arc<()>,
}

impl Impostor {
    /// Answers each connection with `words`, and then nothing.
    pub fn start(words: impl Into<Vec<u8>>) -> Self {
        let words = words.into();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (accepted, alive) = (Arc::new(AtomicUsize::new(0)), Arc::new(()));
        let (count, is_alive) = (Arc::clone(&accepted), Arc::downgrade(&alive));
        std::thread::spawn(move || {
            let mut kept: Vec<TcpStream> = Vec::new();
            for stream in listener.incoming() {
                if is_alive.strong_count() == 0 {
                    return;
                }
                let Ok(mut stream) = stream else { continue };
                count.fetch_add(1, Ordering::SeqCst);
                let _ = stream.write_all(&words);
                kept.push(stream);
            }
        });
        Self { port, accepted, alive }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many connections have been accepted.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.alive = Arc::new(());
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}
