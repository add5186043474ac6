//! Which queues have a single active consumer. AMQP shows it in refusals only: that of a declaration
//! says which value one argument of the queue has. Decisions only; `inspect.rs` sends the
//! declaration.

use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};

use super::probe::{MAX_ARGUMENTS, ProbeDeclaration, ProbeStep, difference};
use super::properties::text;
use crate::drivers::rabbit::connection::failure::Fault;

const SINGLE_ACTIVE_ARG: &str = "x-single-active-consumer";

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
    declaration: ProbeDeclaration,
    left: usize,
}

impl SingleActiveProbe {
    /// Begins with the likely arguments, and with text where RabbitMQ expects a boolean, so that no
    /// queue is ever declared.
    pub(crate) fn new(options: QueueDeclareOptions, arguments: &FieldTable) -> Self {
        let mut arguments = arguments.inner().clone();
        arguments.insert(SINGLE_ACTIVE_ARG.into(), text("?"));
        Self { declaration: ProbeDeclaration { options, arguments }, left: MAX_ARGUMENTS }
    }

    /// How to declare the queue next.
    pub(crate) fn declaration(&self) -> (QueueDeclareOptions, FieldTable) {
        (self.declaration.options, self.declaration.arguments())
    }

    /// What a refusal says.
    pub(crate) fn refused(&mut self, fault: &Fault) -> ProbeStep<SingleActiveConsumer> {
        let unknown = ProbeStep::Done(SingleActiveConsumer::Unknown);
        let Some((argument, current)) = difference(fault) else { return unknown };
        if argument == SINGLE_ACTIVE_ARG {
            return ProbeStep::Done(match current {
                None | Some(AMQPValue::Boolean(false)) => SingleActiveConsumer::No,
                Some(AMQPValue::Boolean(true)) => SingleActiveConsumer::Yes,
                Some(_) => SingleActiveConsumer::Unknown,
            });
        }
        let Some(left) = self.left.checked_sub(1) else { return unknown };
        self.left = left;
        self.declaration.adopt(&argument, current);
        ProbeStep::Repeat
    }
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
        let said = |current| probe().refused(&refusal(SINGLE_ACTIVE_ARG, current));
        assert_eq!(said("none"), ProbeStep::Done(SingleActiveConsumer::No));
        assert_eq!(
            said("the value 'false' of type 'bool'"),
            ProbeStep::Done(SingleActiveConsumer::No)
        );
        assert_eq!(
            said("the value 'true' of type 'bool'"),
            ProbeStep::Done(SingleActiveConsumer::Yes)
        );
        assert_eq!(
            said("the value 'x' of type 'longstr'"),
            ProbeStep::Done(SingleActiveConsumer::Unknown)
        );
        assert_eq!(said("something else"), ProbeStep::Done(SingleActiveConsumer::Unknown));
    }

    #[test]
    fn other_arguments_are_adopted_and_the_declaration_is_repeated() {
        let mut probe = probe();
        for (argument, current, value) in [
            ("x-max-length", "the value '10' of type 'signedint'", AMQPValue::LongLongInt(10)),
            ("x-overflow", "the value 'it's ' of type 'longstr'", text("it's ")),
            ("x-queue-master-locator", "the value 'true' of type 'bool'", AMQPValue::Boolean(true)),
        ] {
            assert_eq!(probe.refused(&refusal(argument, current)), ProbeStep::Repeat);
            assert_eq!(probe.declaration().1.inner().get(argument), Some(&value));
        }
        assert_eq!(probe.refused(&refusal("x-max-length", "none")), ProbeStep::Repeat);
        assert_eq!(probe.declaration().1.inner().get("x-max-length"), None);
        for argument in ["durable", "auto_delete"] {
            assert_eq!(probe.refused(&refusal(argument, "'true'")), ProbeStep::Repeat);
        }
        let QueueDeclareOptions { durable, auto_delete, .. } = probe.declaration().0;
        assert!(durable && auto_delete);
    }

    #[test]
    fn a_refusal_that_does_not_say_ends_the_probe() {
        let mut probe = probe();
        for text in ["PRECONDITION_FAILED - invalid arg 'x-single-active-consumer'", "NOT_FOUND"] {
            let fault = Fault::Broker { code: 406, text: text.to_owned() };
            assert_eq!(probe.refused(&fault), ProbeStep::Done(SingleActiveConsumer::Unknown));
        }
        let forbidden = Fault::Broker { code: 403, text: "ACCESS_REFUSED".to_owned() };
        assert_eq!(probe.refused(&forbidden), ProbeStep::Done(SingleActiveConsumer::Unknown));
        assert_eq!(
            probe.refused(&refusal("durable", "the value '1' of type 'table'")),
            ProbeStep::Done(SingleActiveConsumer::Unknown)
        );
        let again = |probe: &mut SingleActiveProbe| probe.refused(&refusal("x-a", "none"));
        assert_eq!((0..MAX_ARGUMENTS).map(|_| again(&mut probe)).last(), Some(ProbeStep::Repeat));
        assert_eq!(again(&mut probe), ProbeStep::Done(SingleActiveConsumer::Unknown));
    }
}
