//! What is wrong with TLS: the reason and its fix, whether or not this build has TLS. Found in `tls/`, kept by
//! `greeting.rs` for the connection, turned into a failure in `failure.rs`.

/// A problem with TLS that an operator has to fix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsProblem {
    pub(crate) reason: String,
    pub(crate) fix: String,
    /// Whether the host has it: another one may be usable.
    pub(crate) is_of_host: bool,
}

impl TlsProblem {
    /// What a host presents or refuses.
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "only TLS finds it"))]
    pub(crate) fn of_host(reason: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { reason: reason.into(), fix: fix.into(), is_of_host: true }
    }

    /// A file or option of this side.
    pub(crate) fn setup(reason: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { reason: reason.into(), fix: fix.into(), is_of_host: false }
    }
}
