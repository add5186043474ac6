//! What an account may not do with retry, dead-letter and quarantine queues: asked
//! once, when a listener attaches for the first time, and told with the patterns that suffice. It
//! would show at the first failure otherwise. Called by `session.rs`; asked by `topology.rs`.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::timeout;

use super::retry_queue::Level;
use crate::drivers::rabbit::Core;
use crate::drivers::rabbit::connection::hosts::Address;
use crate::drivers::rabbit::connection::link::{Link, Purpose, Role};
use crate::drivers::rabbit::connection::refusal::Failure;
use crate::drivers::rabbit::publishing::message;
use crate::drivers::rabbit::topology::{Topology, short};
use crate::drivers::rabbit::wire::NAME_LIMIT;
use crate::target::{dead_letter_queue, quarantine_journal, quarantine_queue};
use crate::transport::driver::{Binding, Subscription};

/// So permissions call the exchange without a name.
const DEFAULT_EXCHANGE: &str = "amq.default";

/// So long a listener's start may be held up by each of the two questions.
const LIMIT: Duration = Duration::from_millis(2500);

/// Asks, and tells what is missing.
pub(crate) async fn tell(link: &Link, core: &Core, at: &Address, subscription: &Subscription) {
    // Another broker might declare what RabbitMQ refuses.
    if link.version.is_none() {
        return;
    }
    let mut topology = Topology::new(link, core);
    // What cannot be checked now shows at its first use, and a lost connection is detected elsewhere.
    let Ok(Ok(mut missing)) = timeout(LIMIT, missing(&mut topology, subscription)).await else {
        return;
    };
    let asked = timeout(LIMIT, may_publish(&mut topology, core, at, subscription)).await;
    if matches!(asked, Ok(Ok(false))) {
        missing.push(DEFAULT_EXCHANGE.to_owned());
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
         delivery whose dead letter cannot be made stays unacknowledged and its methods pause, a \
         retry is held in the process, what ends the process is not recognised; grant these \
         patterns, or more"
    );
}

/// The queues that the user may not declare or use, of the first queue of each pool or topic.
async fn missing(
    topology: &mut Topology<'_>,
    subscription: &Subscription,
) -> Result<Vec<String>, Failure> {
    let mut missing = Vec::new();
    let mut seen = BTreeSet::new();
    for binding in &subscription.bindings {
        if !seen.insert(stem(binding)) {
            continue;
        }
        for (queue, needed) in beside(binding, subscription) {
            let declares = topology.may_declare(&queue, needed != Needed::Declared).await?;
            if !declares || needed == Needed::Consumed && !topology.may_read(&queue).await? {
                missing.push(queue);
            }
        }
    }
    Ok(missing)
}

/// Whether the user may publish to the default exchange, as each copy is.
async fn may_publish(
    topology: &mut Topology<'_>,
    core: &Core,
    at: &Address,
    subscription: &Subscription,
) -> Result<bool, Failure> {
    let Some(binding) = subscription.bindings.first() else { return Ok(true) };
    let unique = uuid::Uuid::new_v4().simple().to_string();
    let beside = format!("{}.{unique}", stem(binding).name());
    // Of a long name nothing more can be named after it.
    let missing = if beside.len() > NAME_LIMIT { &unique } else { &beside };
    if let Some(may) = topology.may_publish(missing).await? {
        return Ok(may);
    }
    // Over a connection of its own: while RabbitMQ is short of memory or disk it reads nothing any
    // more from one that has published.
    let role = Role::Publish(Purpose::Send);
    let (link, _events) = Link::open(&core.options, &core.vhost, at, role, LIMIT).await?;
    let may = message::may_publish(&link, short("the routing key", &unique)?).await;
    link.close().await;
    Ok(may?)
}

/// What a queue is needed for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needed {
    /// Only put into.
    Declared,
    /// The broker moves messages out of it.
    Moved,
    /// It is consumed, also where somebody else has declared it.
    Consumed,
}

/// The queues beside one.
fn beside(binding: &Binding, subscription: &Subscription) -> Vec<(String, Needed)> {
    let queue = &binding.queue;
    let mut queues = vec![(dead_letter_queue(queue), Needed::Declared)];
    // Where the queue itself may go, retries are held in the process.
    if let (None, Some(level)) = (subscription.expires, Level::of(Duration::from_secs(1))) {
        queues.push((level.queue(queue), Needed::Moved));
    }
    if !subscription.quarantine.is_empty() {
        queues.push((quarantine_queue(queue), Needed::Consumed));
        queues.push((quarantine_journal(stem(binding).name()), Needed::Consumed));
    }
    queues
}

/// What the queues of a binding are named after.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stem<'b> {
    Pool(&'b str),
    Topic(&'b str),
}

fn stem(binding: &Binding) -> Stem<'_> {
    match binding.routing_key.rsplit_once('.') {
        Some((topic, _)) if binding.queue == binding.routing_key => Stem::Topic(topic),
        _ => Stem::Pool(&binding.queue),
    }
}

impl<'b> Stem<'b> {
    const fn name(self) -> &'b str {
        match self {
            Self::Pool(name) | Self::Topic(name) => name,
        }
    }

    /// All queues that are named after it.
    fn patterns(self) -> impl Iterator<Item = String> {
        let named = match self {
            Self::Pool(pool) => format!(r"{}(\..*)?", escaped(pool)),
            Self::Topic(topic) => format!(r"{}\..*", escaped(topic)),
        };
        // That of a long name does not begin with all of it.
        let journal = quarantine_journal(self.name());
        let journal = (!journal.starts_with(self.name())).then(|| escaped(&journal));
        [named].into_iter().chain(journal)
    }
}

/// The permissions of an account that does all that a listener does.
#[derive(Debug, PartialEq, Eq)]
struct Patterns {
    configure: String,
    write: String,
    read: String,
}

fn patterns(bindings: &[Binding]) -> Patterns {
    let stems: BTreeSet<_> = bindings.iter().map(stem).collect();
    let queues: Vec<_> = stems.into_iter().flat_map(Stem::patterns).collect();
    let exchanges = |wanted: fn(&Binding) -> bool| {
        let named = bindings.iter().filter(|b| !b.exchange.is_empty() && wanted(b));
        let names: BTreeSet<_> = named.map(|binding| binding.exchange.as_str()).collect();
        names.into_iter().map(escaped)
    };
    // Only to those who may declare it the broker shows how the deployment declares queues that are shared.
    let shown = exchanges(|binding| matches!(stem(binding), Stem::Topic(_)));
    let bound = exchanges(|_| true);
    let any_of = |names: Vec<String>| format!("^({})$", names.join("|"));
    Patterns {
        configure: any_of(queues.iter().cloned().chain(shown).collect()),
        write: any_of(queues.iter().cloned().chain([escaped(DEFAULT_EXCHANGE)]).collect()),
        read: any_of(queues.into_iter().chain(bound).collect()),
    }
}

/// A name as a pattern that it alone fits.
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
