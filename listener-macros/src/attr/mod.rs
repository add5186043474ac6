//! Reads the entries of an attribute: `key`, `key = value` and `key(..)`, separated by commas.
//! Duplicate and unknown keys are reported here only. `endpoint/parse.rs` knows the keys: it takes
//! each by name, then calls `finish`. `entry.rs` reads one entry, `value.rs` the value after the `=`, `duration.rs` a
//! duration in it.

mod duration;
mod entry;
mod value;

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use proc_macro2::{Span, TokenStream};
use syn::parse::ParseStream;
use syn::{Expr, LitStr, Path, Type};

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::similar::{ARGUMENT_SYNONYMS, OPTION_SYNONYMS, similar};

/// A key as it was written: an identifier, keywords included, or a string.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) span: Span,
    pub(crate) quoted: bool,
}

impl Key {
    /// The key as it is written, with its quotes.
    fn written(&self) -> String {
        if self.quoted { format!("{:?}", self.text) } else { self.text.clone() }
    }
}

/// A duration and the literal that it was read from.
pub(crate) struct Duration {
    pub(crate) text: LitStr,
    pub(crate) milliseconds: u64,
}

enum Value {
    Flag,
    Assigned(Expr),
    List(TokenStream),
}

struct Entry {
    key: Key,
    value: Value,
}

/// What is read where a list of options is expected: a name for messages, and a better explanation of an
/// entry that is not an option, if there is one.
#[derive(Clone, Copy)]
pub(crate) struct Expected {
    /// The attribute as messages name it: `#[on(..)]`.
    pub(crate) attribute: &'static str,
    pub(crate) explain: fn(&Found) -> Option<Diagnostic>,
    /// Whether a key may be a string literal.
    pub(crate) quotes_keys: bool,
}

/// What was found instead of an option.
pub(crate) enum Found {
    /// `Priority::Warn`, without spaces.
    Path(String),
    /// A string literal: its value.
    Text(String),
    /// Another token as written, or a group: `*`, `5`, `[..]`.
    Other(String),
}

/// The entries of one attribute, or of one `key(..)`, that have not been taken yet.
pub(crate) struct Entries {
    expected: Expected,
    remaining: Vec<Entry>,
    known: Vec<&'static str>,
}

/// The items of a list.
pub(crate) struct List<T> {
    pub(crate) key: Key,
    pub(crate) items: Vec<T>,
    /// Whether all of them could be read: a list that is not complete is not empty either.
    pub(crate) is_complete: bool,
}

impl<T> List<T> {
    /// Whether nothing is listed.
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty() && self.is_complete
    }
}

impl Entries {
    /// Reads all entries. An invalid entry is reported and skipped up to the next comma.
    pub(crate) fn read(
        expected: Expected,
        tokens: TokenStream,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        let mut remaining: Vec<Entry> = Vec::new();
        let read = |input: ParseStream<'_>| entry::entry(input, expected);
        let (entries, _) = entry::separated(tokens, diagnostics, read);
        for entry in entries {
            // The first one is used; the value of a duplicate is not checked.
            let duplicate = remaining.iter().any(|other| other.key.text == entry.key.text);
            if duplicate {
                let Key { text, span, .. } = &entry.key;
                diagnostics.at(*span, format_args!("duplicate `{text}`"), "remove one of the two");
            } else {
                remaining.push(entry);
            }
        }
        Self { expected, remaining, known: Vec::new() }
    }

    /// The string of `key = "text"`.
    pub(crate) fn string(
        &mut self,
        key: &'static str,
        diagnostics: &mut Diagnostics,
    ) -> Option<LitStr> {
        self.assigned(key, "\"text\"", diagnostics, value::string).map(|(_, text)| text)
    }

    /// The duration of `key = "30s"`.
    pub(crate) fn duration(
        &mut self,
        key: &'static str,
        diagnostics: &mut Diagnostics,
    ) -> Option<Duration> {
        self.assigned(key, "\"30s\"", diagnostics, value::duration).map(|(_, duration)| duration)
    }

    /// The integer of `key = 1`, which must be in the range.
    pub(crate) fn integer<N>(
        &mut self,
        key: &'static str,
        range: RangeInclusive<N>,
        diagnostics: &mut Diagnostics,
    ) -> Option<N>
    where
        N: FromStr + PartialOrd + Display,
    {
        let integer = |value: &Expr| value::integer(value, &range);
        self.assigned(key, "5", diagnostics, integer).map(|(_, number)| number)
    }

    /// The boolean of `key = true`, with the key.
    pub(crate) fn boolean(
        &mut self,
        key: &'static str,
        diagnostics: &mut Diagnostics,
    ) -> Option<(Key, bool)> {
        self.assigned(key, "false", diagnostics, value::boolean)
    }

    /// The path of `key = some::path`, with the key.
    pub(crate) fn path(
        &mut self,
        key: &'static str,
        diagnostics: &mut Diagnostics,
    ) -> Option<(Key, Path)> {
        self.assigned(key, "some::path", diagnostics, value::path)
    }

    /// The bare `key`, if it is present.
    pub(crate) fn flag(&mut self, key: &'static str, diagnostics: &mut Diagnostics) -> Option<Key> {
        let Entry { key, value } = self.take(key)?;
        if !matches!(value, Value::Flag) {
            diagnostics.at(
                key.span,
                format_args!("`{}` does not take a value", key.text),
                format_args!("write `{}`, or omit it", key.text),
            );
            return None;
        }
        Some(key)
    }

    /// The entries of `key(..)`, which the caller takes by name, with the key.
    pub(crate) fn nested(
        &mut self,
        key: &'static str,
        example: &str,
        expected: Expected,
        diagnostics: &mut Diagnostics,
    ) -> Option<(Key, Self)> {
        let (key, tokens) = self.list(key, example, diagnostics)?;
        if tokens.is_empty() {
            diagnostics.at(
                key.span,
                format_args!("`{}` is empty", key.text),
                format_args!("write `{}({example})`, or omit it", key.text),
            );
            return None;
        }
        let entries = Self::read(expected, tokens, diagnostics);
        Some((key, entries))
    }

    /// The entries of `key(name = "text", ..)`.
    pub(crate) fn table(
        &mut self,
        key: &'static str,
        diagnostics: &mut Diagnostics,
    ) -> Vec<(Key, LitStr)> {
        let Some((_, tokens)) = self.list(key, "name = \"text\"", diagnostics) else {
            return Vec::new();
        };
        let expected = Expected { attribute: "a filter", explain: |_| None, quotes_keys: true };
        let mut entries =
            Self::read(expected, tokens, diagnostics).remaining.into_iter().peekable();
        let mut rules = Vec::new();
        while let Some(Entry { key, value }) = entries.next() {
            let Value::Assigned(expr) = value else {
                // `"key", "value"`: one mistake.
                let value =
                    entries.next_if(|next| next.key.quoted && matches!(next.value, Value::Flag));
                let value = value.map_or("..".to_owned(), |value| value.key.text);
                diagnostics.at(
                    key.span,
                    format_args!("missing regular expression for `{}`", key.text),
                    format_args!("write `{} = {value:?}`", key.written()),
                );
                continue;
            };
            rules.extend(diagnostics.handle(value::string(&expr)).map(|text| (key, text)));
        }
        rules
    }

    /// The strings of `key("text", ..)`, with the key.
    pub(crate) fn strings(
        &mut self,
        key: &'static str,
        diagnostics: &mut Diagnostics,
    ) -> Option<List<LitStr>> {
        let (key, tokens) = self.list(key, "\"one\", \"other\"", diagnostics)?;
        let string = |input: ParseStream<'_>| value::string(&input.parse()?);
        let (items, is_complete) = entry::separated(tokens, diagnostics, string);
        Some(List { key, items, is_complete })
    }

    /// The types of `key(One, Other)`, with the key.
    pub(crate) fn types(
        &mut self,
        key: &'static str,
        diagnostics: &mut Diagnostics,
    ) -> Option<List<Type>> {
        let (key, tokens) = self.list(key, "One, Other", diagnostics)?;
        let (items, is_complete) = entry::separated(tokens, diagnostics, entry::ty);
        Some(List { key, items, is_complete })
    }

    /// Takes all bare keys that remain, in source order.
    pub(crate) fn flags(&mut self) -> Vec<Key> {
        let (flags, remaining) = std::mem::take(&mut self.remaining)
            .into_iter()
            .partition(|entry| matches!(entry.value, Value::Flag));
        self.remaining = remaining;
        flags.into_iter().map(|entry: Entry| entry.key).collect()
    }

    /// Reports the keys that were not taken: those that `misplaced` recognises belong to another
    /// attribute, all others are unknown.
    pub(crate) fn finish(
        self,
        misplaced: impl Fn(&str) -> Option<Diagnostic>,
        diagnostics: &mut Diagnostics,
    ) {
        let synonyms = [ARGUMENT_SYNONYMS, OPTION_SYNONYMS].concat();
        for Entry { key, value } in self.remaining {
            let text = || Found::Text(key.text.clone());
            let explained = (key.quoted && matches!(value, Value::Flag))
                .then(|| (self.expected.explain)(&text()))
                .flatten();
            if let Some(diagnostic) = explained.or_else(|| misplaced(&key.text)) {
                diagnostics.add(diagnostic.at(key.span));
                continue;
            }
            let help = match similar(&key.text, &self.known, &synonyms) {
                Some(known) => format!("did you mean `{known}`?"),
                None => {
                    let Expected { attribute, .. } = self.expected;
                    format!("the options of {attribute} are {}", self.known.join(", "))
                }
            };
            diagnostics.at(key.span, format_args!("unknown option `{}`", key.text), help);
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Entry> {
        self.known.push(key);
        let index = self.remaining.iter().position(|entry| entry.key.text == key)?;
        Some(self.remaining.remove(index))
    }

    fn assigned<T>(
        &mut self,
        key: &'static str,
        example: &str,
        diagnostics: &mut Diagnostics,
        read: impl FnOnce(&Expr) -> syn::Result<T>,
    ) -> Option<(Key, T)> {
        let Entry { key, value } = self.take(key)?;
        let Value::Assigned(expr) = value else {
            diagnostics.at(
                key.span,
                format_args!("`{}` requires a value", key.text),
                format_args!("write `{} = {example}`", key.text),
            );
            return None;
        };
        Some((key, diagnostics.handle(read(&expr))?))
    }

    fn list(
        &mut self,
        key: &'static str,
        example: &str,
        diagnostics: &mut Diagnostics,
    ) -> Option<(Key, TokenStream)> {
        let Entry { key, value } = self.take(key)?;
        let Value::List(tokens) = value else {
            diagnostics.at(
                key.span,
                format_args!("`{}` requires a list", key.text),
                format_args!("write `{}({example})`", key.text),
            );
            return None;
        };
        Some((key, tokens))
    }
}
