//! The properties and headers of a copy, in forms of decreasing size: a broker limits the size of all
//! headers together. Sent by `copier.rs`; the copy headers themselves are `copy_headers.rs`.

use crate::redact::{LONGEST_ERROR, shortened};
use crate::runtime::judge::policy::{CopyKind, MessageCopy};
use crate::runtime::settle::copy_headers::{self, CopyHeaders};
use crate::runtime::settle::pending::Pending;
use crate::transport::delivery::{Delivery, HeaderValue, Headers, Properties};
use crate::transport::driver::MAX_DELAY;

/// How much of a delivery its copy keeps. All headers share one frame, of 128 KiB by default and 4 KiB at
/// least in AMQP: a copy whose headers are too large is sent in the next form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The properties of the original, its headers unless they exceed 100 000 bytes, and the error up to
    /// `LONGEST_ERROR`.
    Whole,
    /// Without the headers of the original, except the one that is needed to read its body; the error is
    /// shortened.
    Short,
    /// Hardly more than the body and its origin: fits any frame.
    Minimal,
}

impl Form {
    /// The next smaller form.
    pub(crate) const fn smaller(self) -> Option<Self> {
        match self {
            Self::Whole => Some(Self::Short),
            Self::Short => Some(Self::Minimal),
            Self::Minimal => None,
        }
    }

    /// The longest that the headers of the original may be, in bytes of a frame.
    const fn longest_headers(self) -> usize {
        match self {
            Self::Whole => 100_000,
            Self::Short | Self::Minimal => 0,
        }
    }

    /// The longest text of an error, in bytes.
    const fn longest_error(self) -> usize {
        match self {
            Self::Whole => LONGEST_ERROR,
            Self::Short | Self::Minimal => 256,
        }
    }

    /// The longest list of pending methods, in bytes. A longer one is left out, so that the copy is pending
    /// for all methods: some are called twice rather than never.
    const fn longest_names(self) -> usize {
        match self {
            Self::Whole => usize::MAX,
            Self::Short => 1024,
            Self::Minimal => 256,
        }
    }
}

/// The properties of a copy of a delivery.
pub(crate) fn properties(
    delivery: &Delivery,
    copy_headers: &CopyHeaders,
    copy: &MessageCopy,
    form: Form,
) -> Properties {
    let pending = copy.pending.clone();
    let first_time = Some(copy_headers.first_time.unwrap_or_else(copy_headers::now));
    let remaining = match copy.kind {
        CopyKind::Retry { after: delay } => copy_headers::remaining_after_longest(delay),
        CopyKind::DeadLetter(_) => None,
    };
    let copy_headers = CopyHeaders { pending, first_time, remaining, ..copy_headers.clone() };
    let mut properties = with_headers(delivery, copy_headers, form);
    if remaining.is_some() {
        let seconds = i64::try_from(MAX_DELAY.as_secs()).unwrap_or(i64::MAX);
        properties.headers.insert(copy_headers::DELAY, HeaderValue::Int64(seconds));
    }
    if let CopyKind::DeadLetter(reason) = copy.kind {
        properties.headers.insert(copy_headers::REASON, reason.into());
        properties
            .headers
            .insert(copy_headers::ERROR, shortened(&copy.error, form.longest_error()).into());
    }
    properties
}

/// The properties of the original with these copy headers; without the list of pending methods if that is
/// too long.
pub(crate) fn with_headers(
    delivery: &Delivery,
    mut copy_headers: CopyHeaders,
    form: Form,
) -> Properties {
    let size: usize = copy_headers.pending.names().iter().map(|name| name.len() + 5).sum();
    if size > form.longest_names() {
        copy_headers.pending = Pending::All;
    }
    let mut properties = kept_properties(delivery, form);
    copy_headers.write(&mut properties.headers);
    properties
}

/// The properties of the original that a copy keeps.
fn kept_properties(delivery: &Delivery, form: Form) -> Properties {
    let mut properties = delivery.properties.clone();
    properties.headers.remove_broker_owned();
    if properties.headers.size() > form.longest_headers() {
        let compression =
            properties.headers.get_str("compression").map(|text| shortened(text, 255));
        let mut headers = Headers::default();
        headers.insert(copy_headers::HEADERS_OMITTED, "too large to be kept".into());
        // Without it the body could not be read.
        if let Some(compression) = compression {
            headers.insert("compression", compression.into());
        }
        properties.headers = headers;
    }
    match form {
        Form::Whole | Form::Short => properties,
        Form::Minimal => Properties {
            content_type: properties.content_type,
            content_encoding: properties.content_encoding,
            headers: properties.headers,
            priority: properties.priority,
            ..Properties::default()
        },
    }
}
