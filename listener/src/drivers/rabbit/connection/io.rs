//! The thread on which a driver does its I/O. lapin reads its sockets and sends heartbeats through
//! tokio, so it runs on a runtime of the driver's own: a program that blocks its runtime, or has only
//! one thread, keeps its connections. Started by `core.rs`.

use std::io;

use tokio::runtime::{Builder, Handle, Runtime};

/// A runtime with one worker thread.
#[derive(Debug)]
pub(crate) struct Io(Option<Runtime>);

impl Io {
    pub(crate) fn start() -> io::Result<Self> {
        Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("listener-rabbit")
            .enable_all()
            .build()
            .map(|runtime| Self(Some(runtime)))
    }

    pub(crate) fn handle(&self) -> &Handle {
        self.0.as_ref().expect("the runtime is taken only when this is dropped").handle()
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        // The last owner may be a task of this runtime or of the program's: neither may block until
        // the threads have ended.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
