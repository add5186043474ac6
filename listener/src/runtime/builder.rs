//! Builds a listener: chooses the endpoints, compiles the table, and reports every mistake
//! that needs no I/O at once. What the options mean is in `options.rs`.

use std::any::{TypeId, type_name};
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::dispatch::Dispatcher;
use crate::dispatch::table::{Cause, Table, TableMistake};
use crate::endpoint::{Bound, Endpoint, Registration, Source};
use crate::envelope::Limits;
use crate::extract::Needs;
use crate::inbox::Inbox;
use crate::notification::states::States;
use crate::observer::{Observer, Observers};
use crate::order::OrderKey;
use crate::outcome::kind::{Classifiers, ErrorKind};
use crate::runtime::Listener;
use crate::runtime::error::{BuildError, EndpointLocation, Problem};
use crate::runtime::names;
use crate::runtime::open::budget::Budget;
use crate::runtime::open::offload::Offload;
use crate::runtime::options::{
    Executor, OnFailure, OnUnknownPriority, Options, RetryOptions, RetryPlace,
};
use crate::runtime::settle::copier::Copier;
use crate::runtime::shared::Shared;
use crate::runtime::suspect::gate::Gate;
use crate::runtime::suspect::journal::Journal;
use crate::runtime::suspect::quarantines::Quarantines;
use crate::serializer::Serializer;
use crate::target::{DEFAULT_EXCHANGE, DEFAULT_TOPIC, Target, quarantine_journal, routing_key};
use crate::transport::Transport;
use crate::transport::driver::Binding;
use crate::transport::error::OpenError;

/// The times after which the queue of a temporary pool may go. RabbitMQ counts milliseconds in 32 bits.
const EXPIRY: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(49 * 24 * 3600);

/// Builds a [`Listener`].
#[derive(Debug, Default)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct ListenerBuilder {
    transport: Option<Result<Transport, OpenError>>,
    owns_transport: bool,
    targets: Vec<Target>,
    control_exchange: Option<String>,
    pool: Option<String>,
    expires: Option<Duration>,
    options: Options,
    serializer: Option<Arc<dyn Serializer>>,
    inbox: Option<Arc<dyn Inbox>>,
    order: Option<OrderKey>,
    classifiers: Classifiers,
    observers: Observers,
    states: States,
    endpoints: Vec<Bound>,
    registered: bool,
    groups: Vec<String>,
    problems: Vec<Problem>,
}

impl ListenerBuilder {
    /// The transport to consume from; `transport_url` opens one. There is no default: a listener
    /// without a transport does not build.
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = Some(Ok(transport));
        self.owns_transport = false;
        self
    }

    /// A transport that was opened for this listener, and is closed with it.
    pub(crate) fn opened(mut self, transport: Result<Transport, OpenError>) -> Self {
        self.transport = Some(transport);
        self.owns_transport = true;
        self
    }

    pub(crate) const fn has_transport(&self) -> bool {
        self.transport.is_some()
    }

    /// Also takes from this target. Default: topic `notifications`; endpoints that name
    /// topics of their own take from those instead.
    pub fn target(mut self, target: Target) -> Self {
        if target.name().is_empty() {
            self.problems.push(Problem::Option {
                option: "the topic of a target",
                found: "empty".to_owned(),
                expected: "a name",
            });
        }
        self.targets.push(target);
        self
    }

    /// The exchange of targets that name none. Default: `openstack`.
    pub fn control_exchange(mut self, exchange: impl Into<String>) -> Self {
        self.control_exchange = Some(exchange.into());
        self
    }

    /// Takes copies into a queue of this name instead of taking from the queues that all
    /// unpooled listeners share. The listeners of one pool share its queue. Pool names are
    /// global in a virtual host, and have 241 bytes at most, so that the queues beside it can be
    /// named after it. A name that ends as theirs do, such as `.dead`, is refused.
    pub fn pool(mut self, pool: impl Into<String>) -> Self {
        let pool = pool.into();
        if pool.is_empty() {
            self.problems.push(Problem::Option {
                option: "pool",
                found: "empty".to_owned(),
                expected: "the name of a queue",
            });
        }
        self.pool = Some(pool);
        // The last call counts whole: a queue that is to stay must not be declared to expire.
        self.expires = None;
        self
    }

    /// As `pool`, for a listener that comes and goes, such as a tap: the broker deletes the
    /// queue, with what it holds, once no listener of the pool has been there for `expires`, from a
    /// second to 49 days.
    /// The queue of a `pool` stays, and fills.
    ///
    /// Nothing that is kept beside it would go with it. So retries are held in the process, and a
    /// pause that is longer than [`hold`](RetryOptions::hold) makes a dead letter; and what ends the process
    /// is not recognised, for there is neither journal nor quarantine. Dead letters stay, on
    /// purpose: `<pool>.dead` is declared with the first one, and is to be deleted by hand.
    pub fn temporary_pool(self, pool: impl Into<String>, expires: Duration) -> Self {
        let mut builder = self.pool(pool);
        builder.expires = Some(expires);
        builder
    }

    /// How many deliveries are worked on at once.
    pub fn executor(mut self, executor: Executor) -> Self {
        self.options.executor = executor;
        self
    }

    /// Changes the executor.
    pub(crate) fn change_executor(mut self, change: impl FnOnce(Executor) -> Executor) -> Self {
        self.options.executor = change(self.options.executor);
        self
    }

    /// How many deliveries of one queue may be unsettled at once; never 0.
    pub fn prefetch(mut self, prefetch: u16) -> Self {
        self.options.prefetch = prefetch;
        self
    }

    /// Whether a method may give a delivery back with `Outcome::Requeue`.
    pub fn allow_requeue(mut self, allow: bool) -> Self {
        self.options.allow_requeue = allow;
        self
    }

    /// How long `start` waits for a broker that cannot be reached.
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.options.start_timeout = timeout;
        self
    }

    /// What a body may hold at most.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.options.limits = limits;
        self
    }

    /// How many bytes of bodies may be unsettled at once, over all queues; and how many of bodies
    /// that came compressed may be open at once.
    pub fn bytes_in_flight(mut self, bytes: usize) -> Self {
        self.options.bytes_in_flight = bytes;
        self
    }

    /// How long one call of a method may take. An `async fn` is dropped where it waits then; a
    /// plain `fn` cannot be ended: it counts as failed and runs on.
    pub fn handler_timeout(mut self, timeout: Duration) -> Self {
        self.options.handler_timeout = timeout;
        self
    }

    /// How often a method that fails is called again, and after which pauses. What an endpoint
    /// says itself goes before.
    pub fn retry(mut self, retry: RetryOptions) -> Self {
        self.options.retry = retry;
        self
    }

    /// Changes some of the retry options.
    pub(crate) fn change_retry(
        mut self,
        change: impl FnOnce(RetryOptions) -> RetryOptions,
    ) -> Self {
        self.options.retry = change(self.options.retry);
        self
    }

    /// What follows when a method fails: retries and then the dead letters, or what
    /// oslo.messaging does.
    pub fn on_failure(mut self, on_failure: OnFailure) -> Self {
        self.options.on_failure = on_failure;
        self
    }

    /// What follows when the body of a notification has no known priority: the routing key
    /// decides, or it is acknowledged as oslo.messaging does.
    pub fn on_unknown_priority(mut self, on_unknown: OnUnknownPriority) -> Self {
        self.options.on_unknown_priority = on_unknown;
        self
    }

    /// Says what kind of error those of type `E` are, also where one is the cause of another.
    /// What an error says itself goes before (`permanent(..)`), and so does what was added
    /// before.
    ///
    /// ```
    /// use listener::ErrorKind;
    ///
    /// let builder = listener::Listener::builder().classify(|error: &std::io::Error| {
    ///     match error.kind() {
    ///         std::io::ErrorKind::InvalidData => ErrorKind::Permanent,
    ///         _ => ErrorKind::Transient,
    ///     }
    /// });
    /// # drop(builder);
    /// ```
    pub fn classify<E: std::error::Error + 'static>(
        mut self,
        classify: impl Fn(&E) -> ErrorKind + Send + Sync + 'static,
    ) -> Self {
        self.classifiers.add(classify);
        self
    }

    /// Notifications in which this part is equal are worked on one after the other, in the order
    /// in which they come; others side by side. One that is to be tried again holds up those
    /// behind it. What is delivered a second time, after a lost connection or a crash, may come
    /// out of order.
    pub fn ordered_by(mut self, key: OrderKey) -> Self {
        self.order = Some(key);
        self
    }

    /// Remembers which methods have handled which notifications, so that what is delivered
    /// twice is handled once.
    pub fn inbox(mut self, inbox: impl Inbox) -> Self {
        self.inbox = Some(Arc::new(inbox));
        self
    }

    /// Is told what happens; there may be several.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observers.add(observer);
        self
    }

    /// How long methods may run on after `stop`.
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.options.shutdown_timeout = timeout;
        self
    }

    /// All numbers at once; see [`Options`] for the defaults.
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// Changes payload and context between the wire and the endpoints.
    pub fn serializer(mut self, serializer: impl Serializer) -> Self {
        self.serializer = Some(Arc::new(serializer));
        self
    }

    /// A value that methods take as `State<T>`; one of each type.
    pub fn state<T: Send + Sync + 'static>(mut self, state: T) -> Self {
        if self.states.insert(state) {
            self.problems.push(Problem::DuplicateState { state: type_name::<T>().to_owned() });
        }
        self
    }

    /// An endpoint by its instance. Once one is given, nothing else is taken, unless
    /// `registered` or `group` asks for it; it then stands for the registered one of its type.
    pub fn endpoint<E: Endpoint>(mut self, endpoint: E) -> Self {
        self.endpoints.push(Bound::new(endpoint));
        self
    }

    /// Takes every registered endpoint too: what a listener without endpoints of its own
    /// does anyway.
    pub fn registered(mut self) -> Self {
        self.registered = true;
        self
    }

    /// Takes the registered endpoints of this group too, and no other registered ones.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.groups.push(group.into());
        self
    }

    /// Builds the listener. No I/O.
    ///
    /// # Errors
    /// Every mistake at once.
    pub fn build(mut self) -> Result<Listener, BuildError> {
        let mut problems = std::mem::take(&mut self.problems);
        self.check_options(&mut problems);
        let (exchange, pool) = (self.control_exchange.as_deref(), self.pool.as_deref());
        names::of_the_listener(&self.targets, exchange, pool, &mut problems);
        let endpoints = self.choose(&mut problems);
        for endpoint in &endpoints {
            names::of_endpoint(endpoint, self.pool.as_deref(), &mut problems);
            self.check_states(endpoint, &mut problems);
        }
        self.tell_unused(&endpoints);
        let shared = match std::mem::take(&mut self.targets) {
            targets if targets.is_empty() => vec![Target::topic(DEFAULT_TOPIC)],
            targets => targets,
        };
        let exchange = self.control_exchange.as_deref().unwrap_or(DEFAULT_EXCHANGE);
        let table = match Table::build(endpoints, &shared, exchange) {
            Ok(table) => Some(table),
            Err(mistakes) => {
                problems.extend(mistakes.iter().map(problem));
                None
            }
        };
        let transport = match self.transport.take() {
            Some(Ok(transport)) => Some(transport),
            Some(Err(error)) => {
                problems.push(error.into());
                None
            }
            None => {
                problems.push(Problem::Option {
                    option: "the transport",
                    found: "not given".to_owned(),
                    expected: "LISTENER_TRANSPORT_URL, `.transport(..)` or `.transport_url(..)`: \
                               amqp://user:password@host:5672 for RabbitMQ, or memory:// where only \
                               this process notifies",
                });
                None
            }
        };
        match (table, transport) {
            (Some(table), Some(transport)) if problems.is_empty() => {
                Ok(self.assemble(table, transport))
            }
            _ => Err(BuildError::new(problems)),
        }
    }

    fn check_options(&self, problems: &mut Vec<Problem>) {
        let mut zero = |option, is_zero, expected| {
            if is_zero {
                problems.push(Problem::Option { option, found: "0".to_owned(), expected });
            }
        };
        let options = &self.options;
        zero(
            "prefetch",
            options.prefetch == 0,
            "1 or more: 0 would take the whole queue into memory",
        );
        zero("executor", options.executor.at_once() == 0, "`Concurrent(1)` or more");
        zero("retry.attempts", options.retry.attempts == 0, "1 or more");
        zero("retry.hold", options.retry.hold.is_zero(), "a time above 0");
        zero("send_timeout", options.send_timeout.is_zero(), "a time above 0");
        zero("bytes_in_flight", options.bytes_in_flight == 0, "1 or more");
        zero("handler_timeout", options.handler_timeout.is_zero(), "a time above 0");
        zero("poison.give_up_after", options.poison.give_up_after == 0, "1 or more");
        if options.poison.suspect_after < 2 {
            problems.push(Problem::Option {
                option: "poison.suspect_after",
                found: options.poison.suspect_after.to_string(),
                expected: "2 or more: a first death looks like an orderly stop",
            });
        }
        let RetryOptions { pause, max_pause, .. } = options.retry;
        if pause > max_pause {
            problems.push(Problem::Option {
                option: "retry.pause",
                found: format!("{pause:?}"),
                expected: "no more than `retry.max_pause`; raise that, too",
            });
        }
        if self.expires.is_some_and(|expires| !EXPIRY.contains(&expires)) {
            problems.push(Problem::Option {
                option: "temporary_pool",
                found: format!("{:?}", self.expires.unwrap_or_default()),
                expected: "a time from 1 s, for the queue would be gone before it is bound, to 49 days, the most that RabbitMQ takes",
            });
        }
    }

    /// The instances: those that were given, and the registered ones that were asked for.
    fn choose(&mut self, problems: &mut Vec<Problem>) -> Vec<Bound> {
        let mut endpoints = std::mem::take(&mut self.endpoints);
        let mut given: HashSet<TypeId> = HashSet::new();
        endpoints.retain(|endpoint| {
            let is_first = given.insert(endpoint.id());
            if !is_first {
                let endpoint = EndpointLocation::of(endpoint.definition());
                problems.push(Problem::Duplicate { endpoint });
            }
            is_first
        });
        let only_given = !given.is_empty() && !self.registered && self.groups.is_empty();
        if !only_given {
            let registrations: Vec<_> = inventory::iter::<Registration>().collect();
            self.check_groups(&registrations, problems);
            for registration in registrations {
                if !self.wants(registration) || given.contains(&(registration.id)()) {
                    continue;
                }
                match registration.source {
                    Source::Made(bound) => endpoints.push(bound()),
                    Source::Provided => problems.push(Problem::NotProvided {
                        endpoint: EndpointLocation::of(registration.definition),
                    }),
                }
            }
        }
        if endpoints.is_empty() && problems.is_empty() {
            problems.push(Problem::NoEndpoint);
        }
        endpoints
    }

    /// Topics of the listener that no endpoint takes from: somebody set them for nothing.
    fn tell_unused(&self, endpoints: &[Bound]) {
        let takes_from_them = |endpoint: &Bound| endpoint.definition().topics.is_empty();
        if self.targets.is_empty() || endpoints.is_empty() || endpoints.iter().any(takes_from_them)
        {
            return;
        }
        let topics: Vec<String> = self.targets.iter().map(ToString::to_string).collect();
        tracing::warn!(
            topics = topics.join(", "),
            "the listener's topics are not used: each of its endpoints names its own in its \
             attribute; take `topic` out of one, or leave the listener's topics out"
        );
    }

    fn wants(&self, registration: &Registration) -> bool {
        let in_group = |group: &str| self.groups.iter().any(|wanted| wanted == group);
        self.groups.is_empty() || registration.definition.group.is_some_and(in_group)
    }

    fn check_groups(&self, registrations: &[&Registration], problems: &mut Vec<Problem>) {
        let known: BTreeSet<&str> =
            registrations.iter().filter_map(|registration| registration.definition.group).collect();
        for group in self.groups.iter().filter(|group| !known.contains(group.as_str())) {
            problems.push(Problem::UnknownGroup {
                group: group.clone(),
                known: known.iter().map(|&group| group.to_owned()).collect(),
            });
        }
    }

    fn check_states(&self, endpoint: &Bound, problems: &mut Vec<Problem>) {
        let mut check = |whose: String, requires: &dyn Fn(&mut Needs)| {
            let mut needs = Needs::default();
            requires(&mut needs);
            for need in needs.all().iter().filter(|need| !self.states.has(need.id)) {
                problems.push(Problem::MissingState {
                    endpoint: EndpointLocation::of(endpoint.definition()),
                    whose: whose.clone(),
                    state: need.name.to_owned(),
                    near: self.given_near(need.name),
                });
            }
        };
        check("its `init`".to_owned(), &|needs| endpoint.requires(needs));
        for method in endpoint.methods() {
            check(format!("method `{}`", method.name), &|needs| (method.requires)(needs));
        }
    }

    /// The type of a given state that is the needed one with something around it, such as an
    /// `Arc` or an `Arc<Mutex<..>>`, or without.
    fn given_near(&self, needed: &str) -> Option<String> {
        let near = |given: &&str| is_around(given, needed) || is_around(needed, given);
        self.states.names().find(near).map(str::to_owned)
    }

    fn assemble(mut self, table: Table, transport: Transport) -> Listener {
        if self.expires.is_some() {
            self.options.retry.place = RetryPlace::Process;
        }
        let mut quarantines = Quarantines::default();
        let bindings = table
            .targets()
            .into_iter()
            .map(|(target, priority)| {
                let routing_key = routing_key(target.name(), priority);
                let queue = self.pool.clone().unwrap_or_else(|| routing_key.clone());
                let journal = quarantine_journal(self.pool.as_deref().unwrap_or(target.name()));
                // They would outlive the queue.
                if self.expires.is_none() {
                    quarantines.add(&queue, journal, |name| {
                        Journal::new(transport.clone(), name, self.options.send_timeout)
                    });
                }
                Binding {
                    exchange: target.exchange_name().unwrap_or_default().to_owned(),
                    queue,
                    routing_key,
                }
            })
            .collect();
        let observers = Arc::new(self.observers);
        let shared = Shared {
            dispatcher: Dispatcher::new(table),
            copier: Copier::new(
                transport,
                self.options.send_timeout,
                self.options.retry.hold,
                Arc::clone(&observers),
            ),
            states: self.states,
            serializer: self.serializer,
            inbox: self.inbox,
            order: self.order,
            classifiers: self.classifiers,
            observers,
            budget: Budget::new(self.options.bytes_in_flight),
            offload: Offload::default(),
            options: self.options,
            quarantines,
            is_temporary: self.expires.is_some(),
            in_flight: Arc::default(),
            quarantined: Notify::new(),
            gate: Gate::default(),
            suspects: Arc::default(),
        };
        Listener::new(shared, bindings, self.expires, self.owns_transport)
    }
}

/// Whether a type is another one with types of one parameter around it.
fn is_around(outer: &str, inner: &str) -> bool {
    let within = outer.split_once('<').and_then(|(_, rest)| rest.strip_suffix('>'));
    within.is_some_and(|within| within == inner || is_around(within, inner))
}

fn problem(mistake: &TableMistake) -> Problem {
    let endpoint = EndpointLocation::of(mistake.endpoint);
    match &mistake.cause {
        Cause::Filter(error) => Problem::Filter {
            endpoint,
            method: mistake.method.map(str::to_owned),
            reason: error.to_string(),
        },
        Cause::Order(error) => Problem::Order { endpoint, reason: error.to_string() },
        Cause::Name(name) => Problem::SameName { endpoint, name: name.clone() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing is registered in this crate's own tests; the rest of the builder is tested in
    /// `tests/flow`, where there are endpoints.
    #[test]
    fn a_listener_without_endpoints_names_the_likely_cause() {
        let transport = Transport::open("memory://").expect("a transport");
        let error =
            ListenerBuilder::default().transport(transport).build().expect_err("no endpoint");
        assert_eq!(
            error.to_string(),
            "the listener cannot be built: no endpoint is registered; write `#[notification_endpoint]` \
             on an impl block, or hand one to `Listener::builder().endpoint(..)`; endpoints of another \
             crate are only linked when that crate is named in code, as with `listener::link!(that_crate);`"
        );
    }
}
