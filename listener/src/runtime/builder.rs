//! Builds a listener: selects the endpoints, compiles the table, and reports all mistakes that can be found
//! without I/O in one error. The options and their setters are declared in `options/listener.rs`.

use std::any::type_name;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::dispatch::Dispatcher;
use crate::dispatch::table::{Cause, Table, TableMistake};
use crate::endpoint::configured::IntoEndpoint;
use crate::endpoint::{Bound, Endpoint};
use crate::envelope::Limits;
use crate::extract::Needs;
use crate::filter::Filter;
use crate::inbox::Inbox;
use crate::notification::priority::Priority;
use crate::notification::states::States;
use crate::observer::{Observer, Observers};
use crate::options::declare::{Group, check};
use crate::options::listener::{
    EXPIRES, Executor, ListenerOptions, OnFailure, OnUnknownPriority, PoisonOptions, Queues,
    RetryOptions, RetryStorage, options_setters,
};
use crate::options::value::Wrong;
use crate::order::OrderKey;
use crate::outcome::kind::{Classifiers, ErrorKind};
use crate::runtime::attachment::Attachment;
use crate::runtime::batches::Batches;
use crate::runtime::capabilities;
use crate::runtime::choose::Choice;
use crate::runtime::error::{BuildError, EndpointLocation, Problem};
use crate::runtime::names;
use crate::runtime::open::budget::Budget;
use crate::runtime::open::offload::Offload;
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

/// What a listener is made of.
pub(super) struct Parts {
    /// One for each transport, at least one.
    pub(super) attachments: Vec<Arc<Attachment>>,
}

/// Builds a [`Listener`](crate::Listener).
#[derive(Debug, Default)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct ListenerBuilder {
    connections: Vec<Connection>,
    targets: Vec<Target>,
    control_exchange: Option<String>,
    queues: Queues,
    options: ListenerOptions,
    serializer: Option<Arc<dyn Serializer>>,
    inbox: Option<Arc<dyn Inbox>>,
    order: Option<OrderKey>,
    classifiers: Classifiers,
    observers: Observers,
    states: States,
    choice: Choice,
    problems: Vec<Problem>,
}

/// The transport of a listener that is built.
#[derive(Debug)]
enum Connection {
    /// The program's: it may outlive the listener.
    Shared(Transport),
    /// Opened for this listener, and closed with it.
    Owned(Transport),
    /// It cannot be opened.
    Invalid(OpenError),
}

impl ListenerBuilder {
    options_setters!();

    /// Replaces all options, including those set before, also by `config`. [`ListenerOptions`] has the
    /// defaults.
    pub fn options(mut self, options: ListenerOptions) -> Self {
        self.options = options;
        self
    }

    pub(crate) const fn options_mut(&mut self) -> &mut ListenerOptions {
        &mut self.options
    }

    /// Consumes from this transport. Required, unless `transport_url` or `config` sets one.
    ///
    /// Call it for each of several transports, such as the brokers of several cells: their endpoints, states
    /// and batches are the same. Everything else belongs to each transport: `prefetch`, `bytes_in_flight`, the
    /// slots of `executor` and order keys apply to each one, and copies and journals stay on the transport of
    /// the delivery. So one that is slow or unreachable does not stop the others;
    /// [`start`](crate::Listener::start) says what happens at the start.
    pub fn transport(mut self, transport: Transport) -> Self {
        self.connections.push(Connection::Shared(transport));
        self
    }

    /// A transport that was opened for this listener, and is closed with it.
    pub(crate) fn opened(mut self, transport: Result<Transport, OpenError>) -> Self {
        self.connections.push(match transport {
            Ok(transport) => Connection::Owned(transport),
            Err(error) => Connection::Invalid(error),
        });
        self
    }

    /// Forgets the transports that were given before.
    pub(crate) fn without_transports(mut self) -> Self {
        self.connections.clear();
        self
    }

    pub(crate) const fn has_transport(&self) -> bool {
        !self.connections.is_empty()
    }

    /// Adds a target to consume; without one, the topic `notifications` is consumed. Endpoints with
    /// topics of their own consume those instead.
    pub fn target(mut self, target: Target) -> Self {
        if target.topic_name().is_empty() {
            self.problems.push(Problem::Option {
                option: "the topic of a target".to_owned(),
                found: "empty".to_owned(),
                expected: "a name".to_owned(),
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

    /// Consumes the queue of this name instead of the queues that listeners without a pool share. Listeners
    /// with the same pool share it, and it receives every notification as well.
    ///
    /// The name is unique within the virtual host, has at most 241 bytes, so that its side queues can be
    /// named after it, and must not end like a side queue (`.dead`). The last call of `pool` or
    /// `temporary_pool` wins.
    pub fn pool(self, pool: impl Into<String>) -> Self {
        self.queues(Queues::Pool(pool.into()))
    }

    /// Like `pool`, for a listener that runs only occasionally, such as a tap: the broker deletes the queue
    /// with its messages after `expires` (1 s to 49 days) without a consumer.
    ///
    /// To leave nothing behind, there are no retry queues, no quarantine and no journal: retries are held in
    /// the process, a delay longer than [`hold`](RetryOptions::hold) ends in a dead letter, and poison
    /// messages are not recognised. `<pool>.dead`, declared with the first dead letter, remains; delete it
    /// manually.
    pub fn temporary_pool(self, pool: impl Into<String>, expires: Duration) -> Self {
        self.queues(Queues::Temporary { pool: pool.into(), expires })
    }

    pub(crate) fn queues(mut self, queues: Queues) -> Self {
        self.queues = queues;
        self
    }

    /// Classifies errors of type `E`, wherever they occur in the chain of causes. A classification in the
    /// error itself ([`permanent(..)`](crate::permanent)) takes precedence, and an earlier classifier over a
    /// later one.
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

    /// Handles notifications with the same value of this key in sequence, in order of arrival; others
    /// concurrently. A retry delays the later ones. Redeliveries after a lost connection or a crash may be out
    /// of order.
    pub fn ordered_by(mut self, key: OrderKey) -> Self {
        self.order = Some(key);
        self
    }

    /// Records which methods have handled which notifications, so that redelivered ones are not handled
    /// again.
    pub fn inbox(mut self, inbox: impl Inbox) -> Self {
        self.inbox = Some(Arc::new(inbox));
        self
    }

    /// Adds an observer. May be called several times.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observers.add(observer);
        self
    }

    /// Converts payload and context between the wire and the endpoints.
    pub fn serializer(mut self, serializer: impl Serializer) -> Self {
        self.serializer = Some(Arc::new(serializer));
        self
    }

    /// Adds a value that methods take as [`State<T>`](crate::State); at most one of each type.
    pub fn state<T: Send + Sync + 'static>(mut self, state: T) -> Self {
        if self.states.insert(state).is_some() {
            self.problems.push(Problem::DuplicateState { state: type_name::<T>().to_owned() });
        }
        self
    }

    /// Adds an endpoint instance, or one with a name, topics or a filter of its own
    /// ([`EndpointExt`](crate::EndpointExt)), of which there may be several of a type. Only endpoints added this
    /// way run, unless `registered` or `group` is called; the instances then replace the registered endpoint of
    /// their type.
    pub fn endpoint<E: IntoEndpoint>(mut self, endpoint: E) -> Self {
        self.choice.give(endpoint);
        self
    }

    /// Adds an endpoint if the condition is true, as `endpoint` does. Otherwise it is not made, and a
    /// registered endpoint of its type does not run either.
    pub fn endpoint_if<E: IntoEndpoint>(
        mut self,
        condition: bool,
        endpoint: impl FnOnce() -> E,
    ) -> Self {
        if condition {
            return self.endpoint(endpoint());
        }
        self.choice.leave_out::<E>();
        self
    }

    /// Also runs all registered endpoints. This is the default if no instance is added.
    pub fn registered(mut self) -> Self {
        self.choice.registered = true;
        self
    }

    /// Also runs the registered endpoints of this group, and no other registered ones. Takes precedence over
    /// `registered`. May be called several times.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.choice.groups.push(group.into());
        self
    }

    /// Of the endpoints that would run, runs only those that are named here. Without a name, and by default,
    /// all run. May be called several times.
    ///
    /// A name is that of the type (`Metering` or `metering::Metering`), the `name` or the `group` of the
    /// attribute, or for one instance its name (`tenant-a`, or with its type `Metering[tenant-a]`). A name that
    /// no endpoint of the program has is an error of `build`.
    pub fn enabled_endpoints<N: Into<String>>(
        mut self,
        names: impl IntoIterator<Item = N>,
    ) -> Self {
        self.choice.enabled.extend(names.into_iter().map(Into::into));
        self
    }

    /// Does not run the endpoints that are named here, each as for
    /// [`enabled_endpoints`](Self::enabled_endpoints), over which this takes precedence. May be called several
    /// times.
    ///
    /// Nothing is consumed for them: if no other endpoint consumes a topic, its notifications stay in their
    /// queues.
    pub fn disabled_endpoints<N: Into<String>>(
        mut self,
        names: impl IntoIterator<Item = N>,
    ) -> Self {
        self.choice.disabled.extend(names.into_iter().map(Into::into));
        self
    }

    /// Every instance of this endpoint, also the registered one, handles only notifications that also match
    /// this filter. Of several calls all have to match. That the listener has no such endpoint is an error of
    /// `build`.
    ///
    /// ```
    /// use listener::{Filter, Listener, notification_endpoint};
    ///
    /// #[derive(Default)]
    /// struct Audit;
    ///
    /// #[notification_endpoint]
    /// impl Audit {
    ///     async fn info(&self) {}
    /// }
    ///
    /// let builder = Listener::builder().registered().filter::<Audit>(Filter::event_type(r"^compute\.")?);
    /// # drop(builder);
    /// # Ok::<(), listener::error::FilterError>(())
    /// ```
    pub fn filter<E: Endpoint>(mut self, filter: Filter) -> Self {
        self.choice.filter::<E>(filter);
        self
    }

    /// Checks everything, and builds the parts of the listener.
    ///
    /// # Errors
    /// All mistakes, in one error.
    pub(super) fn finish(mut self) -> Result<Parts, BuildError> {
        let mut problems = std::mem::take(&mut self.problems);
        self.check_options(&mut problems);
        let (exchange, pool) = (self.control_exchange.as_deref(), self.queues.pool());
        names::check_listener(&self.targets, exchange, pool, &mut problems);
        let endpoints = std::mem::take(&mut self.choice).endpoints(&mut problems);
        for endpoint in &endpoints {
            names::check_endpoint(endpoint, self.queues.pool(), &mut problems);
            self.check_states(endpoint, &mut problems);
        }
        self.warn_of_unused_topics(&endpoints);
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
        let transports = self.transports(&mut problems);
        for (transport, _) in &transports {
            capabilities::check(transport, &self.options, &mut problems);
        }
        match table {
            Some(table) if problems.is_empty() => Ok(self.assemble(table, transports)),
            _ => Err(BuildError::new(problems)),
        }
    }

    /// The transports, and whether each is closed with the listener.
    fn transports(&mut self, problems: &mut Vec<Problem>) -> Vec<(Transport, bool)> {
        if self.connections.is_empty() {
            problems.push(Problem::Option {
                option: "the transport".to_owned(),
                found: "not given".to_owned(),
                expected: "LISTENER_TRANSPORT_URL, `.transport(..)` or `.transport_url(..)`: \
                           amqp://user:password@host:5672 for RabbitMQ, or memory:// where only \
                           this process notifies"
                    .to_owned(),
            });
        }
        let mut transports = Vec::new();
        for connection in std::mem::take(&mut self.connections) {
            match connection {
                Connection::Shared(transport) => transports.push((transport, false)),
                Connection::Owned(transport) => transports.push((transport, true)),
                Connection::Invalid(error) => problems.push(error.into()),
            }
        }
        transports
    }

    fn check_options(&self, problems: &mut Vec<Problem>) {
        let mut add = |option: String, wrong: Wrong| {
            let Wrong { expected, found } = wrong;
            problems.push(Problem::Option { option, found, expected });
        };
        if self.queues.pool() == Some("") {
            let expected = "the name of a queue".to_owned();
            add("pool".to_owned(), Wrong { found: "empty".to_owned(), expected });
        }
        let ListenerOptions { retry, poison, .. } = &self.options;
        for (prefix, wrong) in
            [("", self.options.wrong()), ("retry.", retry.wrong()), ("poison.", poison.wrong())]
        {
            wrong.into_iter().for_each(|(option, wrong)| add(format!("{prefix}{option}"), wrong));
        }
        if retry.delay > retry.max_delay {
            add(
                "retry.delay".to_owned(),
                Wrong {
                    found: format!("{:?}", retry.delay),
                    expected: "no more than `retry.max_delay`; raise that, too".to_owned(),
                },
            );
        }
        if let Some(wrong) = check(&EXPIRES, self.queues.expires()) {
            add("temporary_pool".to_owned(), wrong);
        }
    }

    /// Warns if topics of the listener have no effect, because every endpoint names its own.
    fn warn_of_unused_topics(&self, endpoints: &[Bound]) {
        let uses_them = |endpoint: &Bound| endpoint.targets().is_empty();
        if self.targets.is_empty() || endpoints.is_empty() || endpoints.iter().any(uses_them) {
            return;
        }
        let topics: Vec<String> = self.targets.iter().map(ToString::to_string).collect();
        tracing::warn!(
            topics = topics.join(", "),
            "the listener's topics have no effect: each endpoint names its own; remove `topic` \
             from one, or the listener's topics"
        );
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

    /// The type of a given state that differs from the needed one only by wrappers such as `Arc` or
    /// `Arc<Mutex<..>>`.
    fn given_near(&self, needed: &str) -> Option<String> {
        let near = |given: &&str| is_around(given, needed) || is_around(needed, given);
        self.states.names().find(near).map(str::to_owned)
    }

    fn assemble(mut self, table: Table, transports: Vec<(Transport, bool)>) -> Parts {
        let targets = table.targets();
        let common = Common {
            batches: Arc::new(Batches::new(&table, &self.options, self.queues.pool().is_some())),
            dispatcher: Arc::new(Dispatcher::new(table)),
            observers: Arc::new(std::mem::take(&mut self.observers)),
            gate: Gate::default(),
            suspect_mutex: Arc::default(),
        };
        let attach = |(transport, is_owned)| {
            Arc::new(self.attachment(&common, &targets, transport, is_owned))
        };
        Parts { attachments: transports.into_iter().map(attach).collect() }
    }

    fn attachment(
        &self,
        common: &Common,
        targets: &BTreeSet<(Target, Priority)>,
        transport: Transport,
        owns_transport: bool,
    ) -> Attachment {
        let (pool, expires) = (self.queues.pool(), self.queues.expires());
        let mut options = self.options.clone();
        let has_retry_queues = expires.is_none() && transport.capabilities().delay;
        if !has_retry_queues {
            options.retry.storage = RetryStorage::Process;
        }
        let mut quarantines = Quarantines::default();
        let bindings = targets
            .iter()
            .map(|(target, priority)| {
                let routing_key = routing_key(target.topic_name(), *priority);
                let queue = pool.unwrap_or(&routing_key).to_owned();
                let journal = quarantine_journal(pool.unwrap_or(target.topic_name()));
                // They would outlive the queue.
                if expires.is_none() {
                    quarantines.add(&queue, journal, |name| {
                        Journal::new(transport.clone(), name, options.send_timeout)
                    });
                }
                Binding {
                    exchange: target.exchange_name().unwrap_or_default().to_owned(),
                    queue,
                    routing_key,
                }
            })
            .collect();
        let observers = Arc::clone(&common.observers);
        let shared = Shared {
            batches: Arc::clone(&common.batches),
            dispatcher: Arc::clone(&common.dispatcher),
            copier: Copier::new(transport, options.send_timeout, Arc::clone(&observers)),
            states: self.states.clone(),
            serializer: self.serializer.clone(),
            inbox: self.inbox.clone(),
            order: self.order.clone(),
            classifiers: self.classifiers.clone(),
            observers,
            budget: Budget::new(options.bytes_in_flight),
            offload: Offload::default(),
            options,
            quarantines,
            has_retry_queues,
            in_flight: Arc::default(),
            quarantined: Notify::new(),
            gate: common.gate.clone(),
            suspect_mutex: Arc::clone(&common.suspect_mutex),
        };
        Attachment { shared: Arc::new(shared), bindings, expires, owns_transport }
    }
}

/// What all transports of a listener share.
struct Common {
    dispatcher: Arc<Dispatcher>,
    batches: Arc<Batches>,
    observers: Arc<Observers>,
    /// A suspect may end the process, whose methods handle notifications of every transport.
    gate: Gate,
    suspect_mutex: Arc<tokio::sync::Mutex<()>>,
}

/// Whether a type is another one in wrappers, which are types with one parameter.
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
    use crate::runtime::shutdown::LAST_WAIT;
    use crate::runtime::suspect::journal::MIN_STOP_WAIT;

    /// Kubernetes' `terminationGracePeriodSeconds`, if none is set.
    const GRACE: Duration = Duration::from_secs(30);

    #[test]
    fn a_stop_is_over_before_the_process_is_killed() {
        // The last is the driver's, for a broker that does not answer.
        let rest = LAST_WAIT + MIN_STOP_WAIT + Duration::from_secs(3);
        assert!(ListenerOptions::default().shutdown_timeout + rest < GRACE);
    }

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
             on an impl block, or pass one to `Listener::builder().endpoint(..)`; endpoints of another \
             crate are linked only if code names that crate, as `listener::link!(that_crate);` does"
        );
    }
}
