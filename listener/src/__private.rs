//! Everything that generated code may name. It is not stable: the macros and this crate depend on each
//! other's exact version.

pub use core::option::Option::{None, Some};
pub use core::result::Result::{Err, Ok};

pub use inventory;
#[cfg(feature = "macros")]
pub use listener_macros::on;

pub use crate::batch::BatchRule;
pub use crate::batch::outcome::{BatchResult, IntoBatchOutcome};
pub use crate::batch::read::{batch, boxed_batch};
pub use crate::endpoint::instance::DefaultInstance;
pub use crate::endpoint::policy::EndpointPolicy;
pub use crate::endpoint::{Bound, Call, Endpoint, EndpointDefinition, Method, Registration};
pub use crate::extract::argument::{
    ContextArgument, MetadataArgument, PayloadArgument, TextArgument,
};
pub use crate::extract::find_form::{Typed, ctxt, payload};
pub use crate::extract::form::Plain;
pub use crate::extract::lifetimes::{
    Argument, ArgumentLifetime, AsContext, AsExtractor, AsFallibleContext, AsFalliblePayload,
    AsPayload, Returned, ReturnedLifetime,
};
pub use crate::extract::similar_name::{
    Extracted, MeantContext, MeantEventType, MeantMetadata, MeantPayload, MeantPublisherId,
};
pub use crate::extract::{FromBatch, Needs};
pub use crate::filter::rule::FilterRule;
pub use crate::notification::priority::Priority;
pub use crate::notification::{Notification, PartError};
pub use crate::outcome::{Failure, IntoOutcome, MethodResult};

/// The traits of method lookup, without names that could shadow those of the program.
pub mod lookup {
    pub use crate::extract::find_form::{DeepForm as _, NestedForm as _, OtherForm as _};
    pub use crate::extract::lifetimes::{
        ArgumentForEvery as _, ArgumentForStatic as _, BorrowingError as _, NoArgument as _,
        NotReturned as _, OwnedReturned as _, ReturnedForEvery as _, ReturnedForStatic as _,
    };
}

/// For the tests of this repository.
pub mod for_tests {
    pub use crate::dispatch::Dispatcher;
    pub use crate::dispatch::table::Table;
    #[cfg(feature = "rabbit")]
    pub use crate::drivers::{filter_all, headers_from_table, table_from_headers};
    pub use crate::endpoint::Source;
    pub use crate::filter::rule::CompiledRule;
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

/// The instance of an endpoint that `Default` makes.
#[must_use]
pub fn by_default<E: Endpoint + DefaultInstance>() -> Bound {
    Bound::by_default::<E>()
}

/// A value for code that never runs.
///
/// # Panics
/// Always.
#[must_use]
pub fn never<T>() -> T {
    unreachable!("generated code does not call it")
}

/// A method whose arguments need nothing of the listener.
pub const fn requires_nothing(_: &mut Needs) {}

/// The future of a method. The values that it holds across an await must be `Send`.
pub fn boxed<'n, F>(future: F) -> BoxFuture<'n, MethodResult>
where
    F: Future<Output = MethodResult> + 'n,
    F: Send, // help: end its scope before the `.await` (a block, not `drop`), or use `Arc` for `Rc`, or a `tokio::sync` lock
{
    Box::pin(future)
}
