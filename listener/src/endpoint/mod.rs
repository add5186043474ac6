//! An endpoint: what `#[notification_endpoint]` implements for an impl block, and the registration that
//! `inventory` collects. `dispatch` calls the methods.

pub(crate) mod configured;
pub(crate) mod instance;
pub(crate) mod policy;
pub(crate) mod setup;

use std::any::{TypeId, type_name};
use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::OnceCell;

use crate::batch::BatchRule;
use crate::batch::outcome::BatchResult;
use crate::endpoint::instance::{DefaultInstance, Init};
use crate::endpoint::policy::EndpointPolicy;
use crate::endpoint::setup::Setup;
use crate::extract::Needs;
use crate::filter::Filter;
use crate::filter::rule::FilterRule;
use crate::notification::Notification;
use crate::notification::priority::Priority;
use crate::notification::states::States;
use crate::outcome::{BoxError, MethodResult};
use crate::target::Target;

/// A type whose methods handle notifications. `#[notification_endpoint]` implements it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an endpoint",
    label = "not an endpoint",
    note = "write `#[notification_endpoint]` on the impl block whose methods handle notifications"
)]
pub trait Endpoint: Sized
where
    Self: Send, // help: the listener moves it between threads: use a `Send` type, such as `Arc` instead of `Rc`
    Self: Sync, // help: several threads use it concurrently: use `Arc` instead of `Rc`, `Mutex` instead of `RefCell`
    Self: 'static,
{
    /// The options of the attribute.
    #[doc(hidden)]
    const DEFINITION: EndpointDefinition;
    /// The methods, in the order in which they were written.
    #[doc(hidden)]
    const METHODS: &'static [Method<Self>];
}

/// An endpoint as its attribute declares it: [`Listener::endpoints`](crate::Listener::endpoints) lists
/// them.
///
/// Only `#[notification_endpoint]` makes one. Fields may be added in any release.
#[derive(Clone, Copy, Debug)]
pub struct EndpointDefinition {
    /// The name of the type, as written.
    pub name: &'static str,
    /// The module of the attribute.
    pub module: &'static str,
    /// The file of the attribute.
    pub file: &'static str,
    /// The line of the attribute.
    pub line: u32,
    /// The column of the attribute.
    pub column: u32,
    /// Whether the impl block is generic: the name is then that of several types.
    pub generic: bool,
    /// Its topics; empty: those of the listener.
    pub topics: &'static [&'static str],
    /// The exchange of its topics; `None`: the default one of the listener.
    pub exchange: Option<&'static str>,
    /// The group by which a listener may select it.
    pub group: Option<&'static str>,
    /// Endpoints run in (`order`, module, line) order.
    pub order: i32,
    /// The filter that applies to all of its methods.
    pub filter: FilterRule,
    /// Its name in the headers of copies (`name = ".."`), which stays when the type moves; `None`:
    /// module and type.
    pub stable_name: Option<&'static str>,
    /// Its retries, timeouts and order.
    pub policy: EndpointPolicy,
}

impl EndpointDefinition {
    /// One without options, for generated code.
    #[doc(hidden)]
    pub const PLAIN: Self = Self {
        name: "",
        module: "",
        file: "",
        line: 0,
        column: 0,
        generic: false,
        topics: &[],
        exchange: None,
        group: None,
        order: 0,
        filter: FilterRule::ALL,
        stable_name: None,
        policy: EndpointPolicy::NONE,
    };
}

/// One method of an endpoint.
#[derive(Debug)]
pub struct Method<E: 'static> {
    /// Its name.
    pub name: &'static str,
    /// The priorities that it handles.
    pub priorities: &'static [Priority],
    /// Its filter, in addition to that of the endpoint.
    pub filter: FilterRule,
    /// Adds what its arguments need of the listener.
    pub requires: fn(&mut Needs),
    /// How it is called.
    pub call: Call<E>,
}

/// How a method is called. The notification comes first, so that an error of the borrow checker names it.
pub enum Call<E: 'static> {
    /// An `async fn`.
    Async(for<'n> fn(&'n Notification<'n>, &'n E) -> BoxFuture<'n, MethodResult>),
    /// A plain `fn`: it may block, so it is called on a thread for blocking calls.
    Blocking(for<'n> fn(&'n Notification<'n>, &'n E) -> MethodResult),
    /// An `async fn` that takes a batch.
    AsyncBatch(BatchRule, for<'n> fn(&'n [Notification<'n>], &'n E) -> BoxFuture<'n, BatchResult>),
    /// A plain `fn` that takes a batch.
    BlockingBatch(BatchRule, for<'n> fn(&'n [Notification<'n>], &'n E) -> BatchResult),
}

impl<E> Call<E> {
    const fn is_blocking(&self) -> bool {
        matches!(self, Self::Blocking(_) | Self::BlockingBatch(..))
    }

    /// When it is called, if it takes a batch.
    const fn batch(&self) -> Option<BatchRule> {
        match self {
            Self::AsyncBatch(rule, _) | Self::BlockingBatch(rule, _) => Some(*rule),
            Self::Async(_) | Self::Blocking(_) => None,
        }
    }
}

impl<E> fmt::Debug for Call<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Async(_) | Self::AsyncBatch(..) => "async fn",
            Self::Blocking(_) | Self::BlockingBatch(..) => "fn",
        })
    }
}

/// A registered endpoint, collected by `inventory`, and where its instance comes from.
#[derive(Debug)]
pub struct Registration {
    /// The options of the attribute.
    pub definition: &'static EndpointDefinition,
    /// Its type.
    pub id: fn() -> TypeId,
    /// Where the instance comes from.
    pub source: Source,
}

/// Where the instance of a registered endpoint comes from.
#[derive(Debug)]
pub enum Source {
    /// The listener makes it when it starts.
    Made(fn() -> Bound),
    /// The program passes it to the builder.
    Provided,
}

inventory::collect!(Registration);

impl Registration {
    /// An endpoint whose instance the listener makes with `bound`.
    #[must_use]
    pub const fn made<E: Endpoint>(bound: fn() -> Bound) -> Self {
        Self { definition: &E::DEFINITION, id: TypeId::of::<E>, source: Source::Made(bound) }
    }

    /// An endpoint whose instance the program passes to the builder.
    #[must_use]
    pub const fn provided<E: Endpoint>() -> Self {
        Self { definition: &E::DEFINITION, id: TypeId::of::<E>, source: Source::Provided }
    }
}

/// A type-erased endpoint, with its instance or a function that makes it.
#[derive(Clone)]
pub struct Bound {
    definition: &'static EndpointDefinition,
    name: String,
    id: TypeId,
    specs: fn() -> Vec<MethodSpec>,
    requires: fn(&mut Needs),
    instance: Arc<OnceCell<Box<dyn Methods>>>,
    make: Option<Make>,
    setup: Setup,
}

/// Makes an instance.
type Make = Arc<dyn Fn(&States) -> Making + Send + Sync>;

type Making = BoxFuture<'static, Result<Box<dyn Methods>, BoxError>>;

impl Bound {
    /// Erases the type of an instance.
    pub fn new<E: Endpoint>(instance: E) -> Self {
        let instance: Box<dyn Methods> = Box::new(Instance(instance));
        Self { instance: Arc::new(OnceCell::new_with(Some(instance))), ..Self::empty::<E>() }
    }

    /// An endpoint whose instance is made by `Default` when the listener starts.
    #[must_use]
    pub fn by_default<E: Endpoint + DefaultInstance>() -> Self {
        Self::made::<E, _, _>(E::instance)
    }

    /// An endpoint whose instance is made by this function when the listener starts.
    pub fn made<E, Form, F>(init: F) -> Self
    where
        E: Endpoint,
        F: Init<E, Form> + Copy + Send + Sync + 'static,
    {
        let make = move |states: &States| -> Making {
            let instance = init.make(states);
            Box::pin(async move {
                let methods: Box<dyn Methods> = Box::new(Instance(instance.await?));
                Ok(methods)
            })
        };
        Self { requires: F::requires, make: Some(Arc::new(make)), ..Self::empty::<E>() }
    }

    fn empty<E: Endpoint>() -> Self {
        let definition = &E::DEFINITION;
        let name = match definition.stable_name {
            Some(name) if definition.generic => format!("{name}<{}>", type_name::<E>()),
            Some(name) => name.to_owned(),
            None if definition.generic => type_name::<E>().to_owned(),
            None => format!("{}::{}", definition.module, definition.name),
        };
        Self {
            definition,
            name,
            id: TypeId::of::<E>(),
            specs: specs::<E>,
            requires: |_| {},
            instance: Arc::default(),
            make: None,
            setup: Setup::default(),
        }
    }

    /// The same endpoint with a name, topics and a filter of its own.
    pub(crate) fn with_setup(mut self, setup: Setup) -> Self {
        if let Some(instance) = &setup.name {
            self.name = format!("{}[{instance}]", self.name);
        }
        self.setup = setup;
        self
    }

    /// Adds a filter.
    pub(crate) fn add_filter(&mut self, filter: Filter) {
        self.setup.add_filter(filter);
    }

    /// The name that distinguishes it from other instances of its type.
    pub(crate) fn instance_name(&self) -> Option<&str> {
        self.setup.name.as_deref()
    }

    /// The filter that the program gave it.
    pub(crate) const fn filter(&self) -> Option<&Filter> {
        self.setup.filter.as_ref()
    }

    /// Its own targets: those that the program gave it, or else those of the attribute. Empty: those of the
    /// listener.
    pub(crate) fn targets(&self) -> Vec<Target> {
        let Self { definition, setup, .. } = self;
        let targets: Vec<Target> = match setup.targets.as_slice() {
            [] => definition.topics.iter().map(|topic| Target::topic(*topic)).collect(),
            given => given.to_vec(),
        };
        match definition.exchange {
            Some(exchange) => {
                targets.into_iter().map(|target| target.or_exchange(exchange)).collect()
            }
            None => targets,
        }
    }

    /// The options of the attribute.
    #[must_use]
    pub const fn definition(&self) -> &'static EndpointDefinition {
        self.definition
    }

    /// Its name: the stable one, or module and type; then the name of the instance in brackets, if it has one.
    /// That of a generic endpoint includes the type arguments.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The type that was erased.
    #[must_use]
    pub const fn id(&self) -> TypeId {
        self.id
    }

    /// Its methods, in the order in which they were written.
    #[must_use]
    pub fn methods(&self) -> Vec<MethodSpec> {
        (self.specs)()
    }

    /// Adds what making its instance needs.
    pub fn requires(&self, needs: &mut Needs) {
        (self.requires)(needs);
    }

    /// Makes the instance, if there is none yet. Called when the listener starts.
    ///
    /// # Errors
    /// The program's own function failed.
    pub(crate) async fn make(&self, states: &States) -> Result<(), BoxError> {
        if let Some(make) = &self.make {
            self.instance.get_or_try_init(|| make(states)).await?;
        }
        Ok(())
    }

    /// Calls the method at `index`; a plain `fn` runs before this returns.
    pub(crate) fn call<'n>(
        &'n self,
        index: usize,
        notification: &'n Notification<'n>,
    ) -> BoxFuture<'n, MethodResult> {
        let instance = self.instance.get();
        instance
            .expect("every instance is made before the listener attaches")
            .call(index, notification)
    }

    /// As `call`, for a method that takes a batch.
    pub(crate) fn call_batch<'n>(
        &'n self,
        index: usize,
        notifications: &'n [Notification<'n>],
    ) -> BoxFuture<'n, BatchResult> {
        let instance = self.instance.get();
        instance
            .expect("every instance is made before the listener attaches")
            .call_batch(index, notifications)
    }
}

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A method, without the type of its endpoint.
#[derive(Clone, Copy, Debug)]
pub struct MethodSpec {
    /// Its name.
    pub name: &'static str,
    /// The priorities that it handles.
    pub priorities: &'static [Priority],
    /// Its filter, in addition to that of the endpoint.
    pub filter: FilterRule,
    /// Adds what its arguments need of the listener.
    pub requires: fn(&mut Needs),
    /// Whether it is a plain `fn`.
    pub blocking: bool,
    /// When it is called, if it takes a batch.
    pub batch: Option<BatchRule>,
}

/// The methods of an instance. Each is called as `MethodSpec::batch` says.
trait Methods: Send + Sync {
    fn call<'n>(
        &'n self,
        index: usize,
        notification: &'n Notification<'n>,
    ) -> BoxFuture<'n, MethodResult>;

    fn call_batch<'n>(
        &'n self,
        index: usize,
        notifications: &'n [Notification<'n>],
    ) -> BoxFuture<'n, BatchResult>;
}

struct Instance<E>(E);

impl<E: Endpoint> Methods for Instance<E> {
    fn call<'n>(
        &'n self,
        index: usize,
        notification: &'n Notification<'n>,
    ) -> BoxFuture<'n, MethodResult> {
        match E::METHODS[index].call {
            Call::Async(call) => call(notification, &self.0),
            Call::Blocking(call) => Box::pin(std::future::ready(call(notification, &self.0))),
            Call::AsyncBatch(..) | Call::BlockingBatch(..) => {
                unreachable!("a method that takes a batch is called with one")
            }
        }
    }

    fn call_batch<'n>(
        &'n self,
        index: usize,
        notifications: &'n [Notification<'n>],
    ) -> BoxFuture<'n, BatchResult> {
        match E::METHODS[index].call {
            Call::AsyncBatch(_, call) => call(notifications, &self.0),
            Call::BlockingBatch(_, call) => {
                Box::pin(std::future::ready(call(notifications, &self.0)))
            }
            Call::Async(_) | Call::Blocking(_) => {
                unreachable!("only a method that takes a batch is called with one")
            }
        }
    }
}

fn specs<E: Endpoint>() -> Vec<MethodSpec> {
    let spec = |method: &Method<E>| MethodSpec {
        name: method.name,
        priorities: method.priorities,
        filter: method.filter,
        requires: method.requires,
        blocking: method.call.is_blocking(),
        batch: method.call.batch(),
    };
    E::METHODS.iter().map(spec).collect()
}

#[cfg(all(test, feature = "macros"))]
mod tests {
    use std::time::Duration;

    use listener_macros::notification_endpoint;
    use serde::Deserialize;

    use super::*;
    use crate::notification::delivery_info::DeliveryInfo;
    use crate::notification::fields::Fields;
    use crate::outcome::Outcome;

    #[derive(Deserialize)]
    struct Fault<'a> {
        code: &'a str,
    }

    struct Reporter(&'static str);

    #[notification_endpoint(crate = crate, register = false, publisher_id = "^compute")]
    impl Reporter {
        async fn info(&self, payload: Fault<'_>, event_type: &str) -> Outcome {
            tokio::task::yield_now().await;
            Outcome::dead_letter(format!("{} {event_type} {}", self.0, payload.code))
        }

        #[on(warn, error, event_type = "^a")]
        fn blocking(priority: Priority, payload: u8) -> Result<(), String> {
            Err(format!("{priority:?} {payload}"))
        }
    }

    #[track_caller]
    fn check(index: usize, payload: &str, expected: Result<Outcome, &str>) {
        let fields = Fields {
            message_id: None,
            timestamp: None,
            publisher_id: None,
            event_type: Some("created".into()),
            priority: None,
            unique_id: None,
            payload: serde_json::from_str(payload).expect("JSON"),
            context: vec![],
        };
        let (delivery, states) = (DeliveryInfo::new("q", "", "t.info"), States::default());
        let notification = Notification::new(fields, Priority::Info, &delivery, &states);
        let bound = Bound::new(Reporter("told"));
        let result = block_on(bound.call(index, &notification));
        let result = result.map_err(|failure| failure.to_string());
        assert_eq!(result, expected.map_err(str::to_owned));
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime").block_on(future)
    }

    #[test]
    fn an_async_method_is_called_with_its_arguments() {
        let outcome = Outcome::dead_letter("told created E1");
        check(0, r#"{"code": "E1"}"#, Ok(outcome));
    }

    #[test]
    fn a_blocking_method_is_called_with_its_arguments() {
        check(1, "7", Err("Info 7"));
    }

    #[test]
    fn a_method_whose_argument_cannot_be_made_is_not_called() {
        let expected = "argument `payload`: invalid type: integer `7`, expected struct Fault at line 1 column 1";
        check(0, "7", Err(expected));
    }

    #[test]
    fn a_method_is_described_as_it_was_written() {
        let bound = Bound::new(Reporter("told"));
        let methods: Vec<_> = bound
            .methods()
            .iter()
            .map(|method| (method.name, method.priorities, method.blocking))
            .collect();
        let warn_and_error = [Priority::Warn, Priority::Error].as_slice();
        assert_eq!(
            methods,
            [("info", [Priority::Info].as_slice(), false), ("blocking", warn_and_error, true)]
        );
        assert_eq!(bound.definition().filter.publisher_id, Some("^compute"));
    }

    struct Steady;

    #[notification_endpoint(
        crate = crate,
        register = false,
        name = "steady",
        retry(attempts = 3, delay = "500ms", max_delay = "1m30s"),
        timeout = "30s",
        ordered_by = "payload.instance_id"
    )]
    impl Steady {
        async fn info(&self) {}
    }

    #[test]
    fn a_definition_has_the_options_for_calls_of_the_attribute() {
        let (steady, plain) = (Bound::new(Steady), Bound::new(Reporter("told")));
        let policy = EndpointPolicy {
            attempts: Some(3),
            delay: Some(Duration::from_millis(500)),
            max_delay: Some(Duration::from_secs(90)),
            timeout: Some(Duration::from_secs(30)),
            ordered_by: Some("payload.instance_id"),
        };
        let of = |bound: &Bound| (bound.definition().stable_name, bound.definition().policy);
        assert_eq!(of(&steady), (Some("steady"), policy));
        assert_eq!(of(&plain), (None, EndpointPolicy::NONE));
    }
}
