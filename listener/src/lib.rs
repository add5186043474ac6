//! listener

#[doc(hidden)]
pub mod __private;
pub mod drivers;
pub mod endpoint;
pub mod extract;
pub mod filter;
mod nearest;
pub mod notification;
pub mod outcome;
pub mod target;
pub mod transport;

pub use endpoint::Endpoint;
pub use extract::FromNotification;
pub use extract::state::State;
pub use notification::Notification;
pub use notification::PartError;
pub use notification::context::Context;
pub use notification::delivery_info::DeliveryInfo;
pub use notification::metadata::Metadata;
pub use notification::priority::Priority;
pub use outcome::{BoxError, Outcome};
pub use target::Target;
