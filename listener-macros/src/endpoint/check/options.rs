//! Mistakes in the attribute's own options: what is empty, and what contradicts another
//! option. Unknown options and wrong shapes are said in `attr`, filters in `filter.rs`, what
//! is asked of the calls in `policy.rs`.

use syn::LitStr;

use crate::attr::Key;
use crate::endpoint::ast::Options;
use crate::endpoint::check::{filter, policy};
use crate::mistake::Mistakes;

/// As many bytes as a name of AMQP has at most.
const LONGEST_NAME: usize = 255;

/// Every mistake in the options.
pub(crate) fn check(options: &Options, mistakes: &mut Mistakes) {
    topics(options, mistakes);
    instance(options, mistakes);
    for (option, text) in [("exchange", &options.exchange), ("group", &options.group)] {
        if let Some(text) = text {
            not_empty(option, text, mistakes);
        }
    }
    if let Some(name) = &options.name {
        stable_name(name, mistakes);
    }
    policy::check(options, mistakes);
    filter::check(&options.filter, mistakes);
}

fn topics(options: &Options, mistakes: &mut Mistakes) {
    if let (Some(_), Some((key, _))) = (&options.topic, &options.topics) {
        let fix = "keep `topics(..)` and put all of them there";
        mistakes.at(key.span, "`topic` and `topics` are both given", fix);
    }
    if let Some((key, topics)) = &options.topics
        && topics.is_empty()
    {
        let fix = "name one, or leave `topics` out: the endpoint then takes the listener's";
        mistakes.at(key.span, "`topics` names no topic", fix);
    }
    let mut seen: Vec<String> = Vec::new();
    for topic in options.all_topics() {
        not_empty("topic", topic, mistakes);
        if seen.contains(&topic.value()) {
            let found = format_args!("topic `{}` is given twice", topic.value());
            mistakes.at(topic.span(), found, "keep one of the two");
        }
        seen.push(topic.value());
    }
    if let Some(exchange) = &options.exchange
        && options.topic.is_none()
        && options.topics.is_none()
    {
        let fix = "name the topic as well: `topic = \"notifications\"`; without one the endpoint takes the listener's targets, which have exchanges of their own";
        mistakes.at(exchange.span(), "`exchange` without a topic", fix);
    }
}

/// Where the instance comes from: `Default`, `init`, or the program.
fn instance(options: &Options, mistakes: &mut Mistakes) {
    let init = options.init.as_ref().map(|(key, _)| key);
    let given = |key: &Option<Key>| key.as_ref().map(|key| key.span);
    if let (Some(_), Some(init)) = (given(&options.provided), init) {
        mistakes.at(
            init.span,
            "`provided` and `init` are both given",
            "keep `init` if the listener makes the instance, `provided` if the program hands it to the builder",
        );
        return;
    }
    let Some(register) = options.unregistered() else {
        return;
    };
    let instances = options.instances.as_ref().map(|(key, _)| key);
    for key in [options.provided.as_ref(), init, instances].into_iter().flatten() {
        mistakes.at(
            key.span,
            format_args!("`{}` says nothing beside `register = false`", key.text),
            "leave one of the two out: what is not registered runs only if the program hands an instance to the builder",
        );
    }
    if let Some(group) = &options.group {
        mistakes.at(
            group.span(),
            format_args!("`group` says nothing beside `{} = false`", register.text),
            "leave one of the two out: a group chooses among registered endpoints",
        );
    }
}

/// The name stands in headers of messages, in a list.
fn stable_name(name: &LitStr, mistakes: &mut Mistakes) {
    let text = name.value();
    not_empty("name", name, mistakes);
    if let Some(character) = text.chars().find(|c| c.is_control() || *c == ',') {
        let fix = "a name is a word for machines: write letters, digits, `.`, `-` and `_`";
        mistakes.at(name.span(), format_args!("the name has a {character:?} in it"), fix);
    }
    if text.len() > LONGEST_NAME {
        let found = format_args!("the name is too long: {} bytes", text.len());
        let fix = format_args!("write one of {LONGEST_NAME} bytes at most");
        mistakes.at(name.span(), found, fix);
    }
}

fn not_empty(option: &str, text: &LitStr, mistakes: &mut Mistakes) {
    if text.value().trim().is_empty() {
        let found = format_args!("the {option} is empty");
        mistakes.at(text.span(), found, "write its name, or leave the option out");
    }
}
