//! Everything that generated code may name. It is not stable: the macros and this crate depend on each
//! other's exact version.

pub use inventory;

pub use crate::endpoint::instance::DefaultInstance;
pub use crate::endpoint::policy::EndpointPolicy;
pub use crate::endpoint::{Bound, Call, Endpoint, EndpointDefinition, Method, Registration};
pub use crate::extract::FromNotification;
pub use crate::extract::Needs;
pub use crate::extract::argument::{
    ContextArgument, FallibleArgument, MetadataArgument, OptionalContext, OptionalPayload,
    PayloadArgument, TextArgument,
};
pub use crate::extract::similar_name::{
    MeantContext, MeantEventType, MeantMetadata, MeantPayload, MeantPublisherId,
};
pub use crate::filter::FilterRule;
pub use crate::notification::priority::Priority;
pub use crate::notification::{Notification, PartError};
pub use crate::outcome::{Failure, IntoOutcome, MethodResult};

/// For the tests of this repository.
pub mod for_tests {
    pub use crate::dispatch::Dispatcher;
    pub use crate::dispatch::table::Table;
    #[cfg(feature = "rabbit")]
    pub use crate::drivers::{filter_all, headers_from_table, table_from_headers};
    pub use crate::endpoint::Source;
    pub use crate::filter::Filter;
}

use futures_util::future::BoxFuture;

use crate::outcome::BoxError;

/// The definition of an endpoint whose attribute has a mistake.
pub const MISTAKEN: EndpointDefinition = EndpointDefinition::PLAIN;

/// An argument that is extracted by name; its failure has the name.
///
/// # Errors
/// The error of the argument, boxed.
pub fn by_name<T>(name: &'static str, taken: Result<T, impl Into<BoxError>>) -> Result<T, Failure> {
    taken.map_err(|source| Failure::Argument { argument: name, source: source.into() })
}

/// The future of a method. The values that it holds across an await must be `Send`.
pub fn boxed<'n, F>(future: F) -> BoxFuture<'n, MethodResult>
where
    F: Future<Output = MethodResult> + 'n,
    F: Send, // help: drop it before the `.await`, or use `Arc` instead of `Rc`, or a `tokio::sync` lock instead of a `std` one
{
    Box::pin(future)
}

/// An argument that is extracted by type; its failure also has the name.
///
/// # Errors
/// The error of the argument, boxed.
pub fn by_type<'n, T: FromNotification<'n>>(
    name: &'static str,
    notification: &'n Notification<'n>,
) -> Result<T, Failure> {
    by_name(name, T::from_notification(notification))
}
