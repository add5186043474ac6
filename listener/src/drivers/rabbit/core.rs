//! What all parts of a driver share: the hosts, the options, the I/O thread and what is known of the
//! broker. Owned by `Rabbit`, passed down to everything below it.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use super::connection::hosts::{self, Address};
use super::connection::io::Io;
use super::options::RabbitOptions;
use super::topology::broker_state::BrokerState;
use crate::transport::error::ConnectError;
use crate::transport::url::TransportUrl;

/// The shared state of a driver.
pub(super) struct Core {
    /// Shuffled once per driver.
    pub(super) addresses: Vec<Address>,
    pub(super) vhost: String,
    pub(super) options: RabbitOptions,
    pub(super) broker: BrokerState,
    io: Mutex<Option<Arc<Io>>>,
    /// The broker did not answer in time when the last session closed.
    pub(super) last_close_timed_out: AtomicBool,
}

impl Core {
    /// The state of a driver for the hosts and the virtual host of a URL. Nothing is connected.
    pub(super) fn new(url: &TransportUrl, options: RabbitOptions) -> Self {
        let mut addresses = hosts::addresses(url);
        fastrand::shuffle(&mut addresses);
        Self {
            addresses,
            vhost: url.virtual_host().unwrap_or("/").to_owned(),
            options,
            broker: BrokerState::default(),
            io: Mutex::default(),
            last_close_timed_out: AtomicBool::new(false),
        }
    }

    /// The I/O thread, started when it is first needed.
    pub(super) fn io(&self) -> Result<Arc<Io>, ConnectError> {
        let mut io = self.io.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(io) = &*io {
            return Ok(Arc::clone(io));
        }
        let started = Io::start().map_err(|error| ConnectError::Local {
            action: "start the driver's thread".to_owned(),
            reason: format!("{error}; check its limits on threads, open files and memory"),
        })?;
        Ok(Arc::clone(io.insert(Arc::new(started))))
    }
}
