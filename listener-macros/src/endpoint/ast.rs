//! The attribute and its impl block as written, with spans. Not validated: `check` reports what is
//! invalid. Built by `parse.rs`, read by `check` and `expand.rs`.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::{Attribute, Generics, Ident, LitStr, Pat, Path, Signature, Token, Type};

use crate::attr::{Duration, Key, List};
use crate::similar::{ARGUMENT_SYNONYMS, similar};

/// The priorities, in the order of the documentation.
pub(crate) const PRIORITIES: &[&str] =
    &["audit", "debug", "info", "warn", "error", "critical", "sample"];

/// `#[notification_endpoint(options)] impl Billing { methods }`.
pub(crate) struct Endpoint {
    pub(crate) options: Options,
    /// The `#[allow(..)]` of the block.
    pub(crate) allowed: Vec<Attribute>,
    pub(crate) keyword: Token![impl],
    pub(crate) generics: Generics,
    /// The trait, if the block implements one.
    pub(crate) trait_path: Option<Path>,
    pub(crate) self_type: Type,
    pub(crate) methods: Vec<Method>,
    /// Macro invocations among the methods.
    pub(crate) macros: Vec<TokenStream>,
}

/// The options of the attribute.
#[derive(Default)]
pub(crate) struct Options {
    /// Whether all of them were read. If not, a missing one is not an error of its own.
    pub(crate) is_complete: bool,
    pub(crate) crate_path: Option<Path>,
    pub(crate) topic: Option<LitStr>,
    pub(crate) topics: Option<List<LitStr>>,
    pub(crate) exchange: Option<LitStr>,
    pub(crate) filter: Filter,
    pub(crate) group: Option<LitStr>,
    pub(crate) order: Option<i32>,
    pub(crate) name: Option<LitStr>,
    pub(crate) retry: Option<Retry>,
    pub(crate) batch: Option<BatchRule>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) ordered_by: Option<LitStr>,
    pub(crate) provided: Option<Key>,
    pub(crate) init: Option<(Key, Path)>,
    pub(crate) instances: Option<List<Type>>,
    pub(crate) register: Option<(Key, bool)>,
}

impl Options {
    /// The topics of `topic` and `topics`.
    pub(crate) fn all_topics(&self) -> impl Iterator<Item = &LitStr> {
        let more = self.topics.iter().flat_map(|topics| &topics.items);
        self.topic.iter().chain(more)
    }

    /// The key of `register = false`.
    pub(crate) fn register_false(&self) -> Option<&Key> {
        self.register.as_ref().and_then(|(key, register)| (!register).then_some(key))
    }
}

/// `retry(attempts = 5, delay = "1s", max_delay = "1m")`.
pub(crate) struct Retry {
    pub(crate) attempts: Option<u32>,
    pub(crate) delay: Option<Duration>,
    pub(crate) max_delay: Option<Duration>,
}

/// `batch(size = 100, timeout = "1s", bytes = 1_000_000)`.
pub(crate) struct BatchRule {
    pub(crate) key: Key,
    pub(crate) size: Option<u16>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) bytes: Option<usize>,
}

/// Regular expressions by the part that they match.
#[derive(Default)]
pub(crate) struct Filter {
    pub(crate) publisher_id: Option<LitStr>,
    pub(crate) event_type: Option<LitStr>,
    pub(crate) context: Vec<(Key, LitStr)>,
    pub(crate) metadata: Vec<(Key, LitStr)>,
    pub(crate) payload: Vec<(Key, LitStr)>,
}

/// One regular expression and the part that it matches.
#[derive(Clone, Copy)]
pub(crate) struct Rule<'f> {
    pub(crate) part: &'static str,
    /// The key within the part, if it has keys.
    pub(crate) key: Option<&'f str>,
    pub(crate) expression: &'f LitStr,
}

impl Rule<'_> {
    /// What it matches, as messages name it: `event_type`, `context(user)`.
    pub(crate) fn subject(&self) -> String {
        match self.key {
            Some(key) => format!("{}({key})", self.part),
            None => self.part.to_owned(),
        }
    }

    /// Whether both match the same part and key.
    pub(crate) fn has_subject_of(&self, other: &Rule<'_>) -> bool {
        (self.part, self.key) == (other.part, other.key)
    }
}

impl Filter {
    /// Its rules, in the order of the documentation.
    pub(crate) fn rules(&self) -> Vec<Rule<'_>> {
        let plain = [("publisher_id", &self.publisher_id), ("event_type", &self.event_type)];
        let plain = plain.into_iter().filter_map(|(part, expression)| {
            Some(Rule { part, key: None, expression: expression.as_ref()? })
        });
        let keyed =
            [("context", &self.context), ("metadata", &self.metadata), ("payload", &self.payload)];
        let keyed = keyed.into_iter().flat_map(|(part, rules)| {
            rules.iter().map(move |(key, expression)| Rule {
                part,
                key: Some(&key.text),
                expression,
            })
        });
        plain.chain(keyed).collect()
    }
}

/// A function of the block.
pub(crate) struct Method {
    /// Its `#[cfg(..)]` attributes, and those in `#[cfg_attr(..)]`.
    pub(crate) cfg: Vec<Attribute>,
    /// A `#[cfg_attr(..)]` that names `on`.
    pub(crate) conditional_on: Option<Attribute>,
    /// An attribute that may be meant as `#[on(..)]`.
    pub(crate) misnamed_attribute: Option<Attribute>,
    pub(crate) on: Vec<On>,
    pub(crate) signature: Signature,
    pub(crate) arguments: Vec<Argument>,
}

impl Method {
    /// Its name, without `r#`.
    pub(crate) fn name(&self) -> String {
        self.signature.ident.unraw().to_string()
    }

    /// The argument `batch`.
    pub(crate) fn batch(&self) -> Option<&Argument> {
        self.arguments.iter().find(|argument| argument.source() == Source::Batch)
    }

    /// Its own `batch(..)`.
    pub(crate) fn batch_rule(&self) -> Option<&BatchRule> {
        self.on.first()?.batch.as_ref()
    }

    /// Whether its `#[on(..)]` was read as it was meant.
    pub(crate) fn is_complete(&self) -> bool {
        self.on.iter().all(|on| on.is_complete)
    }

    /// The names of the priorities that it handles: those in `#[on(..)]`, or its own name.
    pub(crate) fn priorities(&self) -> Vec<String> {
        match self.on.first() {
            Some(on) => on.priorities.iter().map(|key| key.text.clone()).collect(),
            None => vec![self.name()],
        }
    }
}

/// `#[on(info, warn, event_type = "..")]`.
pub(crate) struct On {
    pub(crate) attribute: Attribute,
    pub(crate) priorities: Vec<Key>,
    pub(crate) filter: Filter,
    pub(crate) batch: Option<BatchRule>,
    /// Whether every entry was read and is known. If not, a missing priority is not an error of its own.
    pub(crate) is_complete: bool,
}

/// An argument other than the receiver.
pub(crate) struct Argument {
    /// Its `#[cfg(..)]` attributes, and those in `#[cfg_attr(..)]`.
    pub(crate) cfg: Vec<Attribute>,
    /// Its name, if its pattern has one.
    pub(crate) name: Option<Ident>,
    pub(crate) ty: Type,
}

/// How an argument is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    Context,
    PublisherId,
    EventType,
    Payload,
    Metadata,
    Batch,
    /// By type, through `FromNotification`.
    ByType,
}

/// The named arguments.
pub(crate) const NAMED: &[(&str, Source)] = &[
    ("ctxt", Source::Context),
    ("publisher_id", Source::PublisherId),
    ("event_type", Source::EventType),
    ("payload", Source::Payload),
    ("metadata", Source::Metadata),
    ("batch", Source::Batch),
];

impl Argument {
    /// The argument has a name if `pattern` is an identifier, with or without `mut`, `ref` or `@`.
    pub(crate) fn new(cfg: Vec<Attribute>, pattern: &Pat, ty: Type) -> Self {
        let name = match pattern {
            Pat::Ident(pattern) => Some(pattern.ident.clone()),
            _ => None,
        };
        Self { cfg, name, ty }
    }

    /// Its name without `r#` and without one leading `_`.
    pub(crate) fn bare_name(&self) -> Option<String> {
        let name = self.name.as_ref()?.unraw().to_string();
        Some(name.strip_prefix('_').map_or(name.clone(), str::to_owned))
    }

    /// The named argument whose name is similar to this one's.
    pub(crate) fn similar_name(&self) -> Option<&'static str> {
        let names: Vec<&'static str> = NAMED.iter().map(|(name, _)| *name).collect();
        similar(&self.bare_name()?, &names, ARGUMENT_SYNONYMS)
    }

    pub(crate) fn source(&self) -> Source {
        let name = self.bare_name();
        NAMED
            .iter()
            .find(|(named, _)| name.as_deref() == Some(*named))
            .map_or(Source::ByType, |(_, source)| *source)
    }
}

/// A type as written by hand, without the spaces of `TokenStream`: `&str`, `State<Db>`.
pub(crate) fn type_text(ty: &Type) -> String {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let spaced: Vec<char> = ty.to_token_stream().to_string().chars().collect();
    let separates_words = |at: usize| {
        let before = at.checked_sub(1).and_then(|at| spaced.get(at));
        let pair = before.zip(spaced.get(at + 1));
        pair.is_some_and(|(before, after)| is_word(*before) && is_word(*after))
    };
    let kept = |(at, c): (usize, &char)| (*c != ' ' || separates_words(at)).then_some(*c);
    spaced.iter().enumerate().filter_map(kept).collect()
}

#[cfg(test)]
mod tests {
    use syn::parse::Parser;
    use syn::parse_quote;

    use super::*;

    #[track_caller]
    fn check(pattern: &str, expected: Source) {
        let pattern = Pat::parse_single.parse_str(pattern).expect("a pattern");
        let argument = Argument::new(Vec::new(), &pattern, parse_quote!(T));
        assert_eq!(argument.source(), expected);
    }

    #[test]
    fn an_argument_is_recognised_by_its_bare_name() {
        check("payload", Source::Payload);
        check("_metadata", Source::Metadata);
        check("mut event_type", Source::EventType);
        check("r#ctxt", Source::Context);
        check("__payload", Source::ByType);
        check("db", Source::ByType);
        check("_", Source::ByType);
    }

    #[test]
    fn a_type_is_shown_as_written() {
        assert_eq!(type_text(&parse_quote!(&'a str)), "&'a str");
        assert_eq!(type_text(&parse_quote!(State<dyn Db + Send>)), "State<dyn Db+Send>");
    }
}
