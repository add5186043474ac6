//! The signals that end a program, for `Listener::run`: the first one stops the listener, the second one
//! ends the process.

use std::time::Duration;

/// The longest that the second signal waits until the stop is recorded.
pub(super) const SECOND_SIGNAL_TIMEOUT: Duration = Duration::from_secs(2);

/// The exit code of a process that the second signal ends.
pub(super) const SECOND_SIGNAL_EXIT_CODE: i32 = 130;

/// SIGINT and SIGTERM on Unix, Ctrl-C elsewhere. They do not end the process once this exists.
#[cfg(unix)]
pub(super) struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next signal, and returns its name.
    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

/// SIGINT and SIGTERM on Unix, Ctrl-C elsewhere. They do not end the process once this exists.
#[cfg(not(unix))]
pub(super) struct Signals;

#[cfg(not(unix))]
impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    /// Waits for the next signal, and returns its name.
    pub(super) async fn next(&mut self) -> &'static str {
        match tokio::signal::ctrl_c().await {
            Ok(()) => "Ctrl-C",
            Err(_) => std::future::pending().await,
        }
    }
}

/// Ends the process at the next signal. For a program that returns from `main` while a method is still
/// running: its runtime waits for the method, and polls no task that could wait for signals.
pub(super) fn exit_at_next_signal() {
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        // Without a runtime signals cannot be waited for, and there is no caller to report that to.
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            if let Ok(mut signals) = Signals::new() {
                signals.next().await;
                std::process::exit(SECOND_SIGNAL_EXIT_CODE);
            }
        });
    });
}
