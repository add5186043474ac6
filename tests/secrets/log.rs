//! Collects everything that this process logs and notes.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use support::SECRET;
use tracing_subscriber::EnvFilter;

#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// The only log, which starts with the first call. It excludes lapin, which logs the bytes on the
    /// wire.
    pub(crate) fn of_this_process() -> &'static Self {
        static LOG: OnceLock<Log> = OnceLock::new();
        LOG.get_or_init(|| {
            let log = Self::default();
            let writer = log.clone();
            tracing_subscriber::fmt()
                .with_env_filter(EnvFilter::new("listener=trace,secrets=trace"))
                .with_writer(move || writer.clone())
                .with_ansi(false)
                .init();
            log
        })
    }

    /// Adds other text.
    pub(crate) fn note(&self, text: &str) {
        self.clone().write_all(format!("{text}\n").as_bytes()).unwrap();
    }

    #[track_caller]
    pub(crate) fn assert_shows_no_secret(&self) {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&log);
        assert!(text.contains("listener::"), "nothing was logged: {text}");
        let tells: Vec<_> = text.lines().filter(|line| line.contains(SECRET)).collect();
        assert!(tells.is_empty(), "{}", tells.join("\n"));
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
