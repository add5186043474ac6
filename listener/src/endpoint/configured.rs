//! Several instances of one endpoint type in a listener: each with a name, topics and a filter of its own,
//! given at run time. `Bound` in `mod.rs` holds them for the table.

use std::any::TypeId;
use std::fmt;

use crate::endpoint::setup::Setup;
use crate::endpoint::{Bound, Endpoint, EndpointDefinition};
use crate::filter::Filter;
use crate::target::Target;

/// An instance of an endpoint with a name, topics or a filter of its own: [`EndpointExt`] makes it, and
/// [`ListenerBuilder::endpoint`](crate::ListenerBuilder::endpoint) takes it.
#[must_use = "an endpoint does nothing until it is passed to a listener's builder"]
pub struct Configured<E> {
    endpoint: E,
    setup: Setup,
}

/// Gives an instance of an endpoint a name, topics and a filter of its own, so that a listener may have
/// several instances of one type.
///
/// ```
/// use listener::{EndpointExt, Filter, Listener, Transport, notification_endpoint};
///
/// struct Metering {
///     tenant: &'static str,
/// }
///
/// #[notification_endpoint(register = false)]
/// impl Metering {
///     async fn sample(&self, payload: serde_json::Value) {
///         println!("{}: {payload}", self.tenant);
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let of = |project: &str| Filter::context("project_id", format!("{project}$"));
/// let listener = Listener::builder()
///     .transport(Transport::open("memory://doc-instances")?)
///     .endpoint(Metering { tenant: "a" }.named("tenant-a").filter(of("7c5f")?))
///     .endpoint(Metering { tenant: "b" }.named("tenant-b").filter(of("90ad")?).topic("nova/samples"))
///     .build()?;
/// # drop(listener);
/// # Ok(())
/// # }
/// ```
pub trait EndpointExt: Endpoint {
    /// Names the instance, so that others of its type may be added to the listener.
    ///
    /// The name appears in logs, and in the names of its methods: a copy for the method `sample` of the
    /// instance `tenant-a` is for `metering::Metering[tenant-a]::sample`, and only this instance handles it,
    /// also after a restart. Keep the name stable: copies for a name that no instance has any more become
    /// dead letters with the reason `unknown-method`.
    ///
    /// It has 1 to 64 bytes: ASCII letters, digits, `-`, `_` and `.`. No other instance of the type may have
    /// it; one instance may be without a name. The last call wins.
    fn named(self, name: impl Into<String>) -> Configured<Self> {
        Configured::new(self).named(name)
    }

    /// Handles only notifications that also match this filter. Of several calls all have to match.
    fn filter(self, filter: Filter) -> Configured<Self> {
        Configured::new(self).filter(filter)
    }

    /// Consumes this topic (`topic`, or `exchange/topic`) instead of those of the attribute or the listener.
    /// May be called several times. Without an exchange it is on that of the attribute, or else on the
    /// listener's.
    fn topic(self, topic: impl Into<Target>) -> Configured<Self> {
        Configured::new(self).topic(topic)
    }
}

impl<E: Endpoint> EndpointExt for E {}

impl<E> Configured<E> {
    fn new(endpoint: E) -> Self {
        Self { endpoint, setup: Setup::default() }
    }

    /// See [`EndpointExt::named`].
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.setup.name = Some(name.into());
        self
    }

    /// See [`EndpointExt::filter`].
    pub fn filter(mut self, filter: Filter) -> Self {
        self.setup.add_filter(filter);
        self
    }

    /// See [`EndpointExt::topic`].
    pub fn topic(mut self, topic: impl Into<Target>) -> Self {
        self.setup.targets.push(topic.into());
        self
    }
}

impl<E> fmt::Debug for Configured<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Setup { name, filter, targets } = &self.setup;
        f.debug_struct("Configured")
            .field("name", name)
            .field("filter", filter)
            .field("topics", targets)
            .finish_non_exhaustive()
    }
}

/// What a listener's builder takes as an endpoint: an instance of an [`Endpoint`], or one that
/// [`EndpointExt`] has configured. Only this crate implements it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an endpoint",
    label = "not an endpoint",
    note = "write `#[notification_endpoint]` on the impl block whose methods handle notifications"
)]
pub trait IntoEndpoint: sealed::Sealed {
    #[doc(hidden)]
    fn definition() -> &'static EndpointDefinition;
    #[doc(hidden)]
    fn id() -> TypeId;
    #[doc(hidden)]
    fn bind(self) -> Bound;
}

mod sealed {
    pub trait Sealed {}
}

impl<E: Endpoint> sealed::Sealed for E {}
impl<E: Endpoint> sealed::Sealed for Configured<E> {}

impl<E: Endpoint> IntoEndpoint for E {
    fn definition() -> &'static EndpointDefinition {
        &E::DEFINITION
    }

    fn id() -> TypeId {
        TypeId::of::<E>()
    }

    fn bind(self) -> Bound {
        Bound::new(self)
    }
}

impl<E: Endpoint> IntoEndpoint for Configured<E> {
    fn definition() -> &'static EndpointDefinition {
        &E::DEFINITION
    }

    fn id() -> TypeId {
        TypeId::of::<E>()
    }

    fn bind(self) -> Bound {
        Bound::new(self.endpoint).with_setup(self.setup)
    }
}
