//! Which queues have a single active consumer. AMQP shows it in refusals only: that of a declaration
//! says which value one argument of the queue has. Decisions only; `inspect.rs` sends the
//! declaration.

use std::collections::BTreeMap;

use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};

use crate::drivers::rabbit::connection::failure::Fault;
use crate::drivers::rabbit::connection::refusal::Current;

const ARGUMENT: &str = "x-single-active-consumer";
/// How many refusals about other arguments are followed up.
const MAX_ARGUMENTS: usize = 12;

/// Whether a queue has a single active consumer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum SingleActiveConsumer {
    #[default]
    No,
    Yes,
    /// The user may not declare the queue, or the refusal does not say.
    Unknown,
}

/// A declaration that is refused whatever the properties of the queue are. It is repeated with what each
/// refusal says of the other arguments.
pub(crate) struct SingleActiveProbe {
    pub(crate) options: QueueDeclareOptions,
    arguments: BTreeMap<ShortString, AMQPValue>,
    left: usize,
}

impl SingleActiveProbe {
    /// Begins with the likely arguments, and with text where RabbitMQ expects a boolean, so that no
    /// queue is ever declared.
    pub(crate) fn new(options: QueueDeclareOptions, arguments: &FieldTable) -> Self {
        let mut arguments = arguments.inner().clone();
        arguments.insert(ARGUMENT.into(), text("?"));
        Self { options, arguments, left: MAX_ARGUMENTS }
    }

    pub(crate) fn arguments(&self) -> FieldTable {
        FieldTable::from(self.arguments.clone())
    }

    /// What a refusal says; none if the declaration is to be repeated.
    ///
    /// # Errors
    /// The refusal does not say it.
    pub(crate) fn refused(&mut self, fault: &Fault) -> Result<Option<SingleActiveConsumer>, ()> {
        let inequivalent = fault.inequivalent().ok_or(())?;
        let (argument, current) = (inequivalent.argument.as_str(), inequivalent.current());
        if argument == ARGUMENT {
            return match current {
                Current::NotSet | Current::Value(AMQPValue::Boolean(false)) => {
                    Ok(Some(SingleActiveConsumer::No))
                }
                Current::Value(AMQPValue::Boolean(true)) => Ok(Some(SingleActiveConsumer::Yes)),
                Current::Value(_) | Current::Unknown => Err(()),
            };
        }
        if current == Current::Unknown {
            return Err(());
        }
        self.left = self.left.checked_sub(1).ok_or(())?;
        match (argument, current) {
            ("durable", Current::Value(AMQPValue::Boolean(is))) => self.options.durable = is,
            ("auto_delete", Current::Value(AMQPValue::Boolean(is))) => {
                self.options.auto_delete = is;
            }
            (_, Current::Value(value)) => drop(self.arguments.insert(argument.into(), value)),
            (_, Current::NotSet | Current::Unknown) => drop(self.arguments.remove(argument)),
        }
        Ok(None)
    }
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe() -> SingleActiveProbe {
        SingleActiveProbe::new(QueueDeclareOptions::default(), &FieldTable::default())
    }

    fn refusal(argument: &str, current: &str) -> Fault {
        let text = format!(
            "PRECONDITION_FAILED - inequivalent arg '{argument}' for queue 'q' in vhost '/': received the value '?' of type 'longstr' but current is {current}"
        );
        Fault::Broker { code: 406, text }
    }

    #[test]
    fn the_refusal_says_whether_there_is_a_single_active_consumer() {
        let said = |current| probe().refused(&refusal(ARGUMENT, current));
        assert_eq!(said("none"), Ok(Some(SingleActiveConsumer::No)));
        assert_eq!(said("the value 'false' of type 'bool'"), Ok(Some(SingleActiveConsumer::No)));
        assert_eq!(said("the value 'true' of type 'bool'"), Ok(Some(SingleActiveConsumer::Yes)));
        assert_eq!(said("the value 'x' of type 'longstr'"), Err(()));
    }

    #[test]
    fn other_arguments_are_adopted_and_the_declaration_is_repeated() {
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
    fn a_refusal_that_does_not_say_ends_the_probe() {
        let mut probe = probe();
        for text in ["PRECONDITION_FAILED - invalid arg 'x-single-active-consumer'", "NOT_FOUND"] {
            let fault = Fault::Broker { code: 406, text: text.to_owned() };
            assert_eq!(probe.refused(&fault), Err(()));
        }
        let forbidden = Fault::Broker { code: 403, text: "ACCESS_REFUSED".to_owned() };
        assert_eq!(probe.refused(&forbidden), Err(()));
        assert_eq!(probe.refused(&refusal("durable", "the value '1' of type 'table'")), Err(()));
        let again = |probe: &mut SingleActiveProbe| probe.refused(&refusal("x-a", "none"));
        assert_eq!((0..MAX_ARGUMENTS).map(|_| again(&mut probe)).last(), Some(Ok(None)));
        assert_eq!(again(&mut probe), Err(()));
    }
}
