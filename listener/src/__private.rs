//! All that generated code may name. No promise of stability: the macros and this crate are
//! paired by exact version.

pub use inventory;

pub use crate::endpoint::{
    Bound, Call, DefaultInstance, Definition, Endpoint, Method, Registration,
};
pub use crate::extract::FromNotification;
pub use crate::extract::argument::{
    ContextArgument, MetadataArgument, PayloadArgument, TextArgument,
};
pub use crate::extract::needs::Needs;
pub use crate::filter::FilterRule;
pub use crate::notification::Notification;
pub use crate::notification::priority::Priority;
pub use crate::outcome::{Failure, IntoOutcome, MethodResult};

use crate::outcome::BoxError;

/// Stands for the definition of an endpoint whose attribute has a mistake.
pub const MISTAKEN: Definition = Definition {
    name: "",
    module: "",
    file: "",
    line: 0,
    column: 0,
    topics: &[],
    exchange: None,
    group: None,
    order: 0,
    filter: FilterRule::ALL,
};

/// The failure of an argument that could not be made.
pub fn argument_failure(argument: &'static str, source: impl Into<BoxError>) -> Failure {
    Failure::Argument { argument, source: source.into() }
}
