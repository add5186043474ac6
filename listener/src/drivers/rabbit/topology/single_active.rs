//! Which queues have a single active consumer, as far as AMQP shows it: the refusal of a
//! declaration says what one argument of the queue is. Decisions only; `topology.rs` asks the
//! broker.

use std::collections::BTreeMap;

use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};

use crate::drivers::rabbit::connection::refusal::Fault;

const ARGUMENT: &str = "x-single-active-consumer";
/// So many other arguments are looked through.
const MOST: usize = 12;

/// Whether a queue goes to one consumer at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Single {
    #[default]
    No,
    Yes,
    /// It may not be asked, or does not say.
    Unknown,
}

/// A declaration that is refused whatever the queue is like, again and again, with what the last
/// refusal told of the queue's other arguments.
pub(crate) struct Probe {
    pub(crate) options: QueueDeclareOptions,
    arguments: BTreeMap<ShortString, AMQPValue>,
    left: usize,
}

impl Probe {
    /// Begins with what is likely, and an argument that no queue has: it should be true or false.
    /// So no queue is declared by mistake.
    pub(crate) fn new(options: QueueDeclareOptions, arguments: &FieldTable) -> Self {
        let mut arguments = arguments.inner().clone();
        arguments.insert(ARGUMENT.into(), text("?"));
        Self { options, arguments, left: MOST }
    }

    pub(crate) fn arguments(&self) -> FieldTable {
        FieldTable::from(self.arguments.clone())
    }

    /// What a refusal says; none if it is to be asked again.
    ///
    /// # Errors
    /// It says nothing.
    pub(crate) fn refused(&mut self, fault: &Fault) -> Result<Option<Single>, ()> {
        let Fault::Broker { code: 406, text } = fault else { return Err(()) };
        let (argument, value) = told(text).ok_or(())?;
        if argument == ARGUMENT {
            return match value {
                None | Some(AMQPValue::Boolean(false)) => Ok(Some(Single::No)),
                Some(AMQPValue::Boolean(true)) => Ok(Some(Single::Yes)),
                Some(_) => Err(()),
            };
        }
        self.left = self.left.checked_sub(1).ok_or(())?;
        match (argument, value) {
            ("durable", Some(AMQPValue::Boolean(is))) => self.options.durable = is,
            ("auto_delete", Some(AMQPValue::Boolean(is))) => self.options.auto_delete = is,
            (_, Some(value)) => drop(self.arguments.insert(argument.into(), value)),
            (_, None) => drop(self.arguments.remove(argument)),
        }
        Ok(None)
    }
}

/// The argument that differs and what it is, from the broker's `inequivalent arg 'x' for queue ..:
/// received .. but current is the value '1' of type 'signedint'`, `is none`, `is 'true'` where it is
/// none of the arguments, or `is 'stream'` where it is the type of the queue.
pub(crate) fn told(refusal: &str) -> Option<(&str, Option<AMQPValue>)> {
    let (_, rest) = refusal.split_once("inequivalent arg '")?;
    let (argument, rest) = rest.split_once('\'')?;
    let (_, current) = rest.rsplit_once(" but current is ")?;
    if current.starts_with("none") {
        return Some((argument, None));
    }
    if let Some(quoted) = current.strip_prefix('\'') {
        let (quoted, _) = quoted.split_once('\'')?;
        let value = quoted.parse().map_or_else(|_| text(quoted), AMQPValue::Boolean);
        return Some((argument, Some(value)));
    }
    let (value, rest) = current.strip_prefix("the value '")?.rsplit_once("' of type '")?;
    let value = match rest.split_once('\'')?.0 {
        "longstr" => text(value),
        "bool" => AMQPValue::Boolean(value.parse().ok()?),
        // Numbers are compared by what they are, and not by how many bytes they have.
        "signedint" | "unsignedint" | "long" | "short" | "unsignedshort" | "byte"
        | "unsignedbyte" => AMQPValue::LongLongInt(value.parse().ok()?),
        _ => return None,
    };
    Some((argument, Some(value)))
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe() -> Probe {
        Probe::new(QueueDeclareOptions::default(), &FieldTable::default())
    }

    fn refusal(argument: &str, current: &str) -> Fault {
        let text = format!(
            "PRECONDITION_FAILED - inequivalent arg '{argument}' for queue 'q' in vhost '/': received the value '?' of type 'longstr' but current is {current}"
        );
        Fault::Broker { code: 406, text }
    }

    #[test]
    fn the_refusal_says_whether_it_is_one() {
        let said = |current| probe().refused(&refusal(ARGUMENT, current));
        assert_eq!(said("none"), Ok(Some(Single::No)));
        assert_eq!(said("the value 'false' of type 'bool'"), Ok(Some(Single::No)));
        assert_eq!(said("the value 'true' of type 'bool'"), Ok(Some(Single::Yes)));
        assert_eq!(said("the value 'x' of type 'longstr'"), Err(()));
    }

    #[test]
    fn other_arguments_are_taken_over_and_it_is_asked_again() {
        let mut probe = probe();
        for (argument, current, value) in [
            ("x-max-length", "the value '10' of type 'signedint'", AMQPValue::LongLongInt(10)),
            ("x-overflow", "the value 'it's ' of type 'longstr'", text("it's ")),
            ("x-queue-master-locator", "the value 'true' of type 'bool'", AMQPValue::Boolean(true)),
        ] {
            assert_eq!(probe.refused(&refusal(argument, current)), Ok(None));
            assert_eq!(probe.arguments().inner().get(argument), Some(&value));
        }
        assert_eq!(probe.refused(&refusal("x-max-length", "none")), Ok(None));
        assert_eq!(probe.arguments().inner().get("x-max-length"), None);
        for argument in ["durable", "auto_delete"] {
            assert_eq!(probe.refused(&refusal(argument, "'true'")), Ok(None));
        }
        assert!(probe.options.durable && probe.options.auto_delete);
    }

    #[test]
    fn what_says_nothing_ends_it() {
        let mut probe = probe();
        for text in ["PRECONDITION_FAILED - invalid arg 'x-single-active-consumer'", "NOT_FOUND"] {
            let fault = Fault::Broker { code: 406, text: text.to_owned() };
            assert_eq!(probe.refused(&fault), Err(()));
        }
        let forbidden = Fault::Broker { code: 403, text: "ACCESS_REFUSED".to_owned() };
        assert_eq!(probe.refused(&forbidden), Err(()));
        assert_eq!(probe.refused(&refusal("durable", "the value '1' of type 'table'")), Err(()));
        let again = |probe: &mut Probe| probe.refused(&refusal("x-a", "none"));
        assert_eq!((0..MOST).map(|_| again(&mut probe)).last(), Some(Ok(None)));
        assert_eq!(again(&mut probe), Err(()));
    }
}
