//! Types of the program named `Result` and `Option`, and aliases of those of the standard library.
#![deny(warnings)]

use listener::{Context, PartError, Versioned, VersionedPayload, notification_endpoint};

mod own {
    #[derive(serde::Deserialize)]
    pub struct Result<T>(pub T);

    #[derive(serde::Deserialize)]
    pub struct Option<T>(pub T);
}

#[derive(serde::Deserialize)]
struct Read {
    uuid: String,
}

impl VersionedPayload for Read {
    const NAME: &'static str = "Read";
    const VERSION: (u32, u32) = (1, 0);
}

/// An error that is made of `PartError`.
struct Unread(String);

impl From<PartError> for Unread {
    fn from(error: PartError) -> Self {
        Self(error.to_string())
    }
}

type Fallible<T> = Result<T, PartError>;
type ReadOrError = Result<Read, Unread>;
type Maybe<T> = Option<T>;
type Object = Versioned<Read>;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    fn info(&self, payload: own::Result<u8>, ctxt: own::Option<u8>) {
        let _ = (payload.0, ctxt.0);
    }

    async fn warn(&self, payload: Fallible<Read>, ctxt: Fallible<&Context>) {
        let read = payload.map(|read| read.uuid);
        let _ = (read.is_ok(), ctxt.is_ok());
    }

    fn error(payload: ReadOrError, ctxt: Maybe<&Context>) {
        let _ = (payload.map_err(|error| error.0).is_ok(), ctxt.is_none());
    }

    fn audit(&self, payload: Maybe<Read>, ctxt: Maybe<Read>) {
        let _ = (payload.is_some(), ctxt.is_some());
    }

    fn debug(&self, payload: Object) {
        let _ = payload.uuid == "a";
    }

    fn critical(&self, payload: Option<Result<Maybe<Read>, PartError>>) {
        let _ = payload.is_none();
    }

    fn sample(&self, payload: Fallible<Object>) {
        let _ = payload.is_ok();
    }
}

fn main() {}
