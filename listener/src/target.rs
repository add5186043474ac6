//! Targets: where notifications are consumed from and sent to, an exchange and a topic. Routing keys
//! (`topic.priority`) and queue names are made only here.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::notification::priority::Priority;
use crate::redact::redacted;

/// The default topic of listeners and notifiers, as in oslo.messaging.
pub const DEFAULT_TOPIC: &str = "notifications";

/// The exchange of a target without one: oslo.messaging's `control_exchange`.
pub const DEFAULT_EXCHANGE: &str = "openstack";

/// A topic on an exchange. As text it is `topic` or `exchange/topic`, as in `LISTENER_TOPICS`.
///
/// Queues are bound to the exchange; it is not a filter. All listeners of a topic share the queues
/// `topic.priority`, to which any exchange may be bound: a notification from an exchange that no endpoint
/// names is for every endpoint of the topic. A pool has a queue of its own, which is bound only to the
/// exchanges of its listeners.
///
/// ```
/// use listener::Target;
///
/// let nova = Target::topic("notifications").exchange("nova");
/// assert_eq!((nova.topic_name(), nova.exchange_name()), ("notifications", Some("nova")));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    topic: String,
    exchange: Option<String>,
}

impl Target {
    /// A topic on the default exchange (oslo.messaging's `control_exchange`). It is a name, not a
    /// pattern, and does not include the priority with which its routing keys end. It has at most 232
    /// bytes, so that queues can be named after it; the builders check that.
    pub fn topic(topic: impl Into<String>) -> Self {
        Self { topic: topic.into(), exchange: None }
    }

    /// Sets the exchange of the topic.
    #[must_use]
    pub fn exchange(self, exchange: impl Into<String>) -> Self {
        Self { exchange: Some(exchange.into()), ..self }
    }

    /// Sets the exchange if there is none.
    pub(crate) fn or_exchange(self, exchange: &str) -> Self {
        Self { exchange: self.exchange.or_else(|| Some(exchange.to_owned())), ..self }
    }

    /// The topic's name.
    #[must_use]
    pub fn topic_name(&self) -> &str {
        &self.topic
    }

    /// The exchange; `None`: the default exchange of the listener or notifier.
    #[must_use]
    pub fn exchange_name(&self) -> Option<&str> {
        self.exchange.as_deref()
    }
}

/// Parses `topic` or `exchange/topic`.
///
/// ```
/// use listener::Target;
///
/// assert_eq!(Target::from("nova/billing"), Target::topic("billing").exchange("nova"));
/// ```
impl From<&str> for Target {
    fn from(text: &str) -> Self {
        match text.split_once('/') {
            Some((exchange, topic)) => Self::topic(topic).exchange(exchange),
            None => Self::topic(text),
        }
    }
}

impl From<String> for Target {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl FromStr for Target {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self::from(text))
    }
}

/// Written and read as text: `exchange/topic`, or `topic`. A topic without an exchange that holds a `/`
/// is read back as an exchange and a topic.
///
/// ```
/// use listener::Target;
///
/// let target = Target::topic("billing").exchange("nova");
/// assert_eq!(serde_json::to_string(&target)?, r#""nova/billing""#);
/// assert_eq!(serde_json::from_str::<Target>(r#""nova/billing""#)?, target);
/// # Ok::<(), serde_json::Error>(())
/// ```
impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(exchange) = &self.exchange {
            write!(f, "{exchange}/")?;
        }
        f.write_str(&self.topic)
    }
}

/// The routing key of a topic and a priority, which is also the name of the queue that all listeners
/// without a pool share: `notifications.info`.
#[must_use]
pub fn routing_key(topic: &str, priority: Priority) -> String {
    format!("{topic}.{priority}")
}

/// The priority at the end of a routing key, if it is one of [`routing_key`].
pub(crate) fn priority_of(routing_key: &str) -> Option<Priority> {
    let (_, last) = routing_key.rsplit_once('.')?;
    Priority::ALL.into_iter().find(|priority| priority.as_str() == last)
}

/// The queue of the dead letters of `queue`: `notifications.info.dead`.
#[must_use]
pub fn dead_letter_queue(queue: &str) -> String {
    format!("{queue}.dead")
}

/// The queue of the notifications of `queue` that may end the process which handles them:
/// `notifications.info.quarantine`.
#[must_use]
pub fn quarantine_queue(queue: &str) -> String {
    format!("{queue}.quarantine")
}

/// The stream in which processes record the suspects of a pool or a topic:
/// `notifications.quarantine.journal`. A name of more than 150 bytes is shortened and ends with a digest
/// of the whole: RabbitMQ uses the name of a stream and of its virtual host as the name of a directory.
#[must_use]
pub fn quarantine_journal(pool_or_topic: &str) -> String {
    let journal = |name: &str| format!("{name}{JOURNAL}");
    if pool_or_topic.len() + JOURNAL.len() <= LONGEST_JOURNAL {
        return journal(pool_or_topic);
    }
    let digest = format!(".{:016x}", digest(pool_or_topic));
    let room = LONGEST_JOURNAL - JOURNAL.len() - digest.len();
    let is_whole = |end: &usize| pool_or_topic.is_char_boundary(*end);
    let end = (0..=room).rev().find(is_whole).unwrap_or_default();
    journal(&format!("{}{digest}", &pool_or_topic[..end]))
}

/// FNV-1a: the same in every process and every build.
fn digest(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |digest, byte| {
        (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The suffix of journals.
const JOURNAL: &str = ".quarantine.journal";

/// The longest name of a journal, in bytes; this leaves space for the name of the virtual host.
const LONGEST_JOURNAL: usize = 150;

/// The longest name in AMQP, in bytes.
const LONGEST: usize = 255;

/// The longest suffix of a retry queue; drivers use no longer one.
pub(crate) const LONGEST_RETRY: &str = ".retry.131072s";

/// How many characters of a name an error shows.
const SHOWN: usize = 40;

/// The use of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A topic that queues are named after.
    Topic,
    /// A topic that is only a routing key: its queue is that of a pool or another program.
    Route,
    Pool,
    Exchange,
}

impl Role {
    const fn name(self) -> &'static str {
        match self {
            Self::Topic | Self::Route => "topic",
            Self::Pool => "pool",
            Self::Exchange => "exchange",
        }
    }

    /// The longest name that is derived from a name in this role.
    fn longest(self, name: &str) -> String {
        let key = |name| routing_key(name, Priority::Critical);
        match self {
            Self::Topic => format!("{}{LONGEST_RETRY}", key(name)),
            Self::Route => key(name),
            Self::Pool => format!("{name}{LONGEST_RETRY}"),
            Self::Exchange => name.to_owned(),
        }
    }
}

/// Why a name is invalid, with a fix. Checked when a listener or notifier is built; otherwise it would be
/// noticed at the first failure, or never.
pub(crate) fn mistake(role: Role, name: &str) -> Option<String> {
    wrong(role, name).map(|text| described(role, name, &text))
}

/// As `mistake`, for a value of the configuration, which may contain punctuation of its file.
pub(crate) fn mistake_in_configuration(role: Role, name: &str) -> Option<String> {
    let text = wrong(role, name).or_else(|| punctuated(name).map(str::to_owned))?;
    // The value may be a misplaced password.
    let shown = redacted(name);
    Some(if shown == name {
        described(role, name, &text)
    } else {
        format!("{} {shown} {text}", role.name())
    })
}

fn described(role: Role, name: &str, text: &str) -> String {
    let shown: String = name.chars().take(SHOWN).collect();
    let cut = if shown.len() < name.len() { ".." } else { "" };
    format!("{} {:?} {text}", role.name(), shown + cut)
}

fn punctuated(name: &str) -> Option<&'static str> {
    if name.contains(['"', '\'', '[', ']', ';']) {
        Some(
            "contains a quotation mark, a bracket or a semicolon; expected only the name: separate several names in a variable with commas",
        )
    } else if name.starts_with('.') || name.ends_with('.') {
        Some("begins or ends with a dot; expected a name without one")
    } else {
        None
    }
}

fn wrong(role: Role, name: &str) -> Option<String> {
    let found = match role {
        Role::Topic | Role::Route => wrong_topic(name),
        Role::Pool => wrong_pool(name),
        Role::Exchange => wrong_exchange(name),
    };
    if let Some(found) = found {
        return Some(found.to_owned());
    }
    // Other programs choose the names of exchanges and of topics that are only sent to.
    if let (Role::Topic | Role::Pool, Some(found)) = (role, punctuated(name)) {
        return Some(found.to_owned());
    }
    if name.trim() != name || name.contains(char::is_control) {
        return Some(
            "begins or ends with white space, or contains a control character; expected a name without them"
                .to_owned(),
        );
    }
    if matches!(role, Role::Topic | Role::Pool) && name.starts_with("amq.") {
        return Some(
            "begins with `amq.`, which is reserved for brokers; choose another name".to_owned(),
        );
    }
    let longest = role.longest(name).len();
    (longest > LONGEST).then(|| {
        let most = LONGEST - (longest - name.len());
        let made = match role {
            Role::Exchange => String::new(),
            _ => {
                let made = role.longest(&format!("<{}>", role.name()));
                format!(
                    ": names such as `{made}` are made from it, and AMQP allows {LONGEST} bytes"
                )
            }
        };
        format!("has {} bytes; expected {most} at most{made}", name.len())
    })
}

fn is_blank(character: char) -> bool {
    character.is_whitespace() || character.is_control()
}

fn wrong_topic(name: &str) -> Option<&'static str> {
    if name.contains(['*', '#']) {
        Some(
            "contains `*` or `#`; expected the name of one topic: a topic is not a pattern, so list each by its name",
        )
    } else if name.contains(is_blank) {
        Some(
            "contains white space; expected the name of one topic: list several individually, and in a variable with commas",
        )
    } else if name.contains(',') {
        Some("contains a comma; expected the name of one topic: list several individually")
    } else {
        None
    }
}

fn wrong_pool(name: &str) -> Option<&'static str> {
    is_side_queue(name).then_some(
        "ends like a dead-letter, quarantine or retry queue of another queue, which a pool must not consume; choose another name",
    )
}

fn wrong_exchange(name: &str) -> Option<&'static str> {
    if name.contains(['*', '#']) {
        Some(
            "contains `*` or `#`; expected the name of one exchange: an exchange is not a pattern, so write each topic as `exchange/topic`",
        )
    } else if name.contains(is_blank) || name.contains([',', '/']) {
        Some(
            "contains white space, a comma or `/`; expected the name of one exchange: list several with their topics, each as `exchange/topic`",
        )
    } else if name.starts_with("amq.") && !is_of_the_broker(name) {
        Some(
            "begins with `amq.`, which is reserved for exchanges of the broker, such as `amq.topic`; choose another name",
        )
    } else {
        None
    }
}

/// Whether an exchange is one of the predeclared ones of every virtual host.
fn is_of_the_broker(exchange: &str) -> bool {
    let known = ["amq.topic", "amq.direct", "amq.fanout", "amq.headers", "amq.match"];
    known.contains(&exchange) || exchange.starts_with("amq.rabbitmq.")
}

/// Whether a name has the suffix of a side queue: dead letters, quarantine, journal or retries.
fn is_side_queue(name: &str) -> bool {
    let is_retry = |queue: &str| {
        let seconds = queue.rsplit_once(".retry.").and_then(|(_, level)| level.strip_suffix('s'));
        seconds.is_some_and(|seconds| seconds.parse::<u64>().is_ok())
    };
    [".dead", ".quarantine", JOURNAL].iter().any(|end| name.ends_with(end)) || is_retry(name)
}

/// Why a pool cannot be bound to the default exchange, which has an empty name.
pub(crate) const NAMELESS: &str = "the nameless exchange routes to the queue that a message \
    names, and a pool cannot be bound to it; name the exchange that the notifications are sent \
    to, or remove the pool";

/// Warns if a topic has the form of a routing key, of `exchange/topic` or of a queue: it is used literally,
/// and most likely nobody sends to it.
pub(crate) fn warn_of_topic(topic: &str) {
    if topic.contains('/') {
        tracing::warn!(
            topic,
            "the topic contains a `/`, which separates it from its exchange only in LISTENER_TOPICS and in \
             `Target::from`: write `exchange = \"..\", topic = \"..\"` in an attribute, and \
             `Target::topic(..).exchange(..)` in code"
        );
    }
    if is_side_queue(topic) {
        tracing::warn!(
            topic,
            "the topic ends like the name of a side queue, but it is not a queue: its queues are \
             named `topic.priority`; to handle dead letters again, move them to their queue"
        );
    }
    if let Some(priority) = priority_of(&topic.to_ascii_lowercase()) {
        let queue = routing_key(topic, priority);
        tracing::warn!(
            topic,
            queue,
            "the topic ends in a priority, like a routing key, and another one is appended: remove \
             it, unless others send to a topic of exactly this name"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_names_that_are_made_from_the_longest_allowed_name_fit() {
        let fit = |name: String| assert!(name.len() <= LONGEST, "{name}");
        let longest = |role| {
            let fits = |length: &usize| mistake(role, &"a".repeat(*length)).is_none();
            "a".repeat((1..=LONGEST + 1).take_while(fits).last().unwrap_or_default())
        };
        let of_queue = |queue: &str| {
            for name in [dead_letter_queue(queue), quarantine_queue(queue)] {
                fit(name);
            }
            fit(format!("{queue}{LONGEST_RETRY}"));
        };
        let (topic, pool) = (longest(Role::Topic), longest(Role::Pool));
        for priority in Priority::ALL {
            of_queue(&routing_key(&topic, priority));
            fit(routing_key(&longest(Role::Route), priority));
        }
        of_queue(&pool);
        fit(quarantine_journal(&pool));
        fit(quarantine_journal(&topic));
        assert_eq!((longest(Role::Exchange).len(), topic.len(), pool.len()), (255, 232, 241));
    }

    #[test]
    fn the_journal_of_a_long_name_is_short_stable_and_unique() {
        let of = |length| quarantine_journal(&"p".repeat(length));
        assert_eq!(of(131), "p".repeat(131) + ".quarantine.journal");
        let expected = "p".repeat(114) + ".ecad33dfc90699b5.quarantine.journal";
        assert_eq!(of(132), expected, "other processes may be of another version");
        assert_eq!(of(241).len(), LONGEST_JOURNAL);
        assert_ne!(of(241), of(240));
        // Not in the middle of a character.
        for name in ["é".repeat(120), "x".to_owned() + &"é".repeat(119)] {
            let journal = quarantine_journal(&name);
            assert!((LONGEST_JOURNAL - 1..=LONGEST_JOURNAL).contains(&journal.len()), "{journal}");
            assert!(is_side_queue(&journal), "{journal}");
        }
    }
}
