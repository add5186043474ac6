//! Warns of permissions that are missing for retry, dead-letter and quarantine queues, with the patterns
//! that suffice. Checked once for each driver and first queue of a subscription, when a listener attaches
//! for the first time: otherwise they would be missed at the first failure only. Called by
//! `consuming/session.rs`.

use std::collections::BTreeSet;
use std::time::Duration;

use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use tokio::time::timeout;

use super::channel::{TopologyChannel, short};
use super::permissions::{self, Access, may_declare, may_read};
use super::retry_queue::Level;
use crate::drivers::rabbit::connection::failure::{Failure, Fault};
use crate::drivers::rabbit::connection::hosts::Address;
use crate::drivers::rabbit::connection::link::{Connected, ConnectionPurpose, Link, Role};
use crate::drivers::rabbit::core::Core;
use crate::drivers::rabbit::wire::NAME_LIMIT;
use crate::target::{dead_letter_queue, quarantine_journal, quarantine_queue};
use crate::transport::driver::{Binding, Subscription};

/// The name of the default exchange in permissions.
const NAMELESS_EXCHANGE: &str = "amq.default";

/// How long each of the two checks may delay the start of a listener.
const LIMIT: Duration = Duration::from_millis(2500);

/// Checks the permissions, and logs those that are missing.
pub(crate) async fn warn_of_missing(
    link: &Link,
    core: &Core,
    address: &Address,
    subscription: &Subscription,
) {
    // Other brokers may declare what RabbitMQ refuses.
    if link.version.is_none() {
        return;
    }
    let mut topology = TopologyChannel::new(link, core);
    // What cannot be checked is reported at its first use; a lost connection is detected elsewhere.
    let Ok(Ok(mut missing)) = timeout(LIMIT, missing(&mut topology, subscription)).await else {
        return;
    };
    let asked = timeout(LIMIT, may_publish(&mut topology, core, address, subscription)).await;
    if matches!(asked, Ok(Ok(false))) {
        missing.push(NAMELESS_EXCHANGE.to_owned());
    }
    if missing.is_empty() {
        return;
    }
    let Patterns { configure, write, read } = patterns(&subscription.bindings);
    tracing::warn!(
        user = link.user,
        ?missing,
        configure,
        write,
        read,
        "the user lacks permissions for the retry, dead-letter or quarantine queues, or may not publish \
         to the default exchange, which routes to them: a \
         delivery whose dead letter cannot be published stays unacknowledged and its methods pause, \
         retries are held in the process, and messages that crash the process are not recognised; \
         grant these patterns, or more"
    );
}

/// The queues that the user may not declare or use, for the first queue of each pool or topic.
async fn missing(
    topology: &mut TopologyChannel<'_>,
    subscription: &Subscription,
) -> Result<Vec<String>, Failure> {
    let mut missing = Vec::new();
    let mut seen = BTreeSet::new();
    for binding in &subscription.bindings {
        if !seen.insert(name_prefix(binding)) {
            continue;
        }
        for (queue, needed) in queues_for_copies(binding, subscription) {
            let access = match needed {
                Needed::Declared => Access::Declare,
                Needed::DeadLetters | Needed::Consumed => Access::DeclareAndDeadLetter,
            };
            let is_consumed = needed == Needed::Consumed;
            if !may_declare(topology, &queue, access).await?
                || (is_consumed && !may_read(topology, &queue).await?)
            {
                missing.push(queue);
            }
        }
    }
    Ok(missing)
}

/// Whether the user may publish to the default exchange, as all copies are.
async fn may_publish(
    topology: &mut TopologyChannel<'_>,
    core: &Core,
    address: &Address,
    subscription: &Subscription,
) -> Result<bool, Failure> {
    let Some(binding) = subscription.bindings.first() else { return Ok(true) };
    let unique = uuid::Uuid::new_v4().simple().to_string();
    let derived = format!("{}.{unique}", name_prefix(binding).name());
    // Names derived from a long name would be too long.
    let missing = if derived.len() > NAME_LIMIT { &unique } else { &derived };
    if let Some(may) = permissions::may_publish(topology, missing).await? {
        return Ok(may);
    }
    // Over a connection of its own: while RabbitMQ is short of memory or disk, it stops reading from
    // connections that have published.
    let role = Role::Publish(ConnectionPurpose::Send);
    let Connected { link, .. } =
        Link::open(&core.options, &core.vhost, address, role, LIMIT).await?;
    let may = publish_unroutable(&link, short("the routing key", &unique)?).await;
    link.close().await;
    Ok(may?)
}

/// Publishes a message for a queue that does not exist, which the broker drops. Whether the user may
/// publish to the default exchange.
async fn publish_unroutable(link: &Link, queue: ShortString) -> Result<bool, Fault> {
    let channel = link.confirm_channel().await?;
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    let published =
        async { channel.basic_publish("".into(), queue, options, b"", properties).await?.await };
    match published.await {
        Ok(_) => Ok(true),
        Err(error) => match Fault::from(&error) {
            fault if fault.code() == Some(403) => Ok(false),
            fault => Err(fault),
        },
    }
}

/// What a queue is needed for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needed {
    /// Messages are published to it.
    Declared,
    /// The broker dead-letters its messages to another queue.
    DeadLetters,
    /// It is consumed, even if another user has declared it.
    Consumed,
}

/// The queues for copies of the messages of a queue.
fn queues_for_copies(binding: &Binding, subscription: &Subscription) -> Vec<(String, Needed)> {
    let queue = &binding.queue;
    let mut queues = vec![(dead_letter_queue(queue), Needed::Declared)];
    // If the queue itself expires, retries are delayed in the process.
    if let (None, Some(level)) = (subscription.expires, Level::of(Duration::from_secs(1))) {
        queues.push((level.queue(queue), Needed::DeadLetters));
    }
    if !subscription.quarantine.is_empty() {
        queues.push((quarantine_queue(queue), Needed::Consumed));
        queues.push((quarantine_journal(name_prefix(binding).name()), Needed::Consumed));
    }
    queues
}

/// What the queues of a binding are named after.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum NamePrefix<'b> {
    Pool(&'b str),
    Topic(&'b str),
}

fn name_prefix(binding: &Binding) -> NamePrefix<'_> {
    match binding.routing_key.rsplit_once('.') {
        Some((topic, _)) if binding.queue == binding.routing_key => NamePrefix::Topic(topic),
        _ => NamePrefix::Pool(&binding.queue),
    }
}

impl<'b> NamePrefix<'b> {
    const fn name(self) -> &'b str {
        match self {
            Self::Pool(name) | Self::Topic(name) => name,
        }
    }

    /// Patterns that match all queues named after it.
    fn patterns(self) -> impl Iterator<Item = String> {
        let named = match self {
            Self::Pool(pool) => format!(r"{}(\..*)?", escaped(pool)),
            Self::Topic(topic) => format!(r"{}\..*", escaped(topic)),
        };
        // The journal of a long name does not begin with the whole name.
        let journal = quarantine_journal(self.name());
        let journal = (!journal.starts_with(self.name())).then(|| escaped(&journal));
        [named].into_iter().chain(journal)
    }
}

/// The permissions that a listener needs.
#[derive(Debug, PartialEq, Eq)]
struct Patterns {
    configure: String,
    write: String,
    read: String,
}

fn patterns(bindings: &[Binding]) -> Patterns {
    let prefixes: BTreeSet<_> = bindings.iter().map(name_prefix).collect();
    let queues: Vec<_> = prefixes.into_iter().flat_map(NamePrefix::patterns).collect();
    let exchanges = |wanted: fn(&Binding) -> bool| {
        let named = bindings.iter().filter(|b| !b.exchange.is_empty() && wanted(b));
        let names: BTreeSet<_> = named.map(|binding| binding.exchange.as_str()).collect();
        names.into_iter().map(escaped)
    };
    // Only to users who may declare the exchange does the broker show how the deployment declares shared
    // queues.
    let inspected = exchanges(|binding| matches!(name_prefix(binding), NamePrefix::Topic(_)));
    let bound = exchanges(|_| true);
    let any_of = |names: Vec<String>| format!("^({})$", names.join("|"));
    Patterns {
        configure: any_of(queues.iter().cloned().chain(inspected).collect()),
        write: any_of(queues.iter().cloned().chain([escaped(NAMELESS_EXCHANGE)]).collect()),
        read: any_of(queues.into_iter().chain(bound).collect()),
    }
}

/// A pattern that matches this name only.
fn escaped(name: &str) -> String {
    let mut pattern = String::new();
    for c in name.chars() {
        if c.is_ascii_punctuation() && !matches!(c, '_' | '-' | '/' | ':' | ',') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(exchange: &str, routing_key: &str, queue: &str) -> Binding {
        Binding {
            exchange: exchange.to_owned(),
            routing_key: routing_key.to_owned(),
            queue: queue.to_owned(),
        }
    }

    #[test]
    fn the_patterns_of_a_pool() {
        let bindings = [
            binding("nova", "notifications.info", "my.tap"),
            binding("neutron", "notifications.error", "my.tap"),
        ];
        let expected = Patterns {
            configure: r"^(my\.tap(\..*)?)$".to_owned(),
            write: r"^(my\.tap(\..*)?|amq\.default)$".to_owned(),
            read: r"^(my\.tap(\..*)?|neutron|nova)$".to_owned(),
        };
        assert_eq!(patterns(&bindings), expected);
    }

    #[test]
    fn the_patterns_of_a_long_name_have_its_journal() {
        let pool = "p".repeat(200);
        let Patterns { configure, write, read } = patterns(&[binding("", "q.info", &pool)]);
        let journal = escaped(&quarantine_journal(&pool));
        for pattern in [&configure, &write, &read] {
            assert!(pattern.contains(&format!("|{journal}")), "{pattern}");
        }
    }

    #[test]
    fn the_patterns_of_topics() {
        let bindings = ["a.info", "a.error", "b_c.info"].map(|key| binding("nova", key, key));
        let queues = r"a\..*|b_c\..*";
        let expected = Patterns {
            configure: format!("^({queues}|nova)$"),
            write: format!(r"^({queues}|amq\.default)$"),
            read: format!("^({queues}|nova)$"),
        };
        assert_eq!(patterns(&bindings), expected);
    }
}
