//! Checks the options of the attribute: none is empty, and none contradicts another. `attr` reports
//! unknown options and invalid values, `filter.rs` checks filters, `policy.rs` retries and order.

use syn::LitStr;

use crate::attr::Key;
use crate::diagnostic::Diagnostics;
use crate::endpoint::ast::Options;
use crate::endpoint::check::{filter, policy};

/// The maximum length of an AMQP short string, in bytes.
const LONGEST_NAME: usize = 255;

/// All errors in the options.
pub(crate) fn check(options: &Options, diagnostics: &mut Diagnostics) {
    topics(options, diagnostics);
    instance(options, diagnostics);
    for (option, text) in [("exchange", &options.exchange), ("group", &options.group)] {
        if let Some(text) = text {
            not_empty(option, text, diagnostics);
        }
    }
    if let Some(name) = &options.name {
        stable_name(name, diagnostics);
    }
    policy::check(options, diagnostics);
    filter::check(&options.filter, diagnostics);
}

fn topics(options: &Options, diagnostics: &mut Diagnostics) {
    if let (Some(_), Some(topics)) = (&options.topic, &options.topics) {
        let help = "list all topics in `topics(..)`";
        diagnostics.at(topics.key.span, "`topic` and `topics` cannot be used together", help);
    }
    if let Some(topics) = &options.topics
        && topics.is_empty()
    {
        let help = "list at least one topic, or omit `topics` to use the listener's";
        diagnostics.at(topics.key.span, "`topics` is empty", help);
    }
    let mut seen: Vec<String> = Vec::new();
    for topic in options.all_topics() {
        not_empty("topic", topic, diagnostics);
        if seen.contains(&topic.value()) {
            let message = format_args!("duplicate topic `{}`", topic.value());
            diagnostics.at(topic.span(), message, "remove one of the two");
        }
        seen.push(topic.value());
    }
    if let Some(exchange) = &options.exchange
        && options.topic.is_none()
        && options.topics.is_none()
        && options.is_complete
    {
        let help = "add the topic: `topic = \"notifications\"`; without one the endpoint uses the listener's targets, which have exchanges of their own";
        diagnostics.at(exchange.span(), "`exchange` requires `topic` or `topics`", help);
    }
}

/// Where the instance comes from: `Default`, `init`, or the program.
fn instance(options: &Options, diagnostics: &mut Diagnostics) {
    let init = options.init.as_ref().map(|(key, _)| key);
    let given = |key: &Option<Key>| key.as_ref().map(|key| key.span);
    if let (Some(_), Some(init)) = (given(&options.provided), init) {
        diagnostics.at(
            init.span,
            "`provided` and `init` cannot be used together",
            "keep `init` if the listener creates the instance, `provided` if the program passes it to the builder",
        );
        return;
    }
    let Some(register) = options.register_false() else {
        return;
    };
    let instances = options.instances.as_ref().map(|instances| &instances.key);
    for key in [options.provided.as_ref(), init, instances].into_iter().flatten() {
        diagnostics.at(
            key.span,
            format_args!("`{}` has no effect with `register = false`", key.text),
            "remove one of the two: an endpoint that is not registered runs only if the program passes an instance to the builder",
        );
    }
    if let Some(group) = &options.group {
        diagnostics.at(
            group.span(),
            format_args!("`group` has no effect with `{} = false`", register.text),
            "remove one of the two: groups select registered endpoints",
        );
    }
}

/// The name is part of a comma-separated list in message headers.
fn stable_name(name: &LitStr, diagnostics: &mut Diagnostics) {
    let text = name.value();
    not_empty("name", name, diagnostics);
    if let Some(character) = text.chars().find(|c| c.is_control() || *c == ',') {
        let help = "use letters, digits, `.`, `-` and `_`";
        diagnostics.at(
            name.span(),
            format_args!("invalid character {character:?} in the name"),
            help,
        );
    }
    if text.len() > LONGEST_NAME {
        let message = format_args!(
            "name too long: expected at most {LONGEST_NAME} bytes, found {}",
            text.len()
        );
        let help = "write a shorter name";
        diagnostics.at(name.span(), message, help);
    }
}

fn not_empty(option: &str, text: &LitStr, diagnostics: &mut Diagnostics) {
    if text.value().trim().is_empty() {
        let message = format_args!("`{option}` is empty");
        diagnostics.at(text.span(), message, "write a name, or omit the option");
    }
}
