//! Reads the entries of an attribute: `key`, `key = value` and `key(..)`, separated by commas.
//! Duplicate and unknown keys are reported here only. `endpoint/parse.rs` knows the keys: it takes
//! each by name, then calls `finish`. `value.rs` reads the value after the `=`, `duration.rs` a
//! duration in it.

mod duration;
mod value;

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Expr, Ident, LitStr, Path, Token, Type, parenthesized, token};

use crate::diagnostic::{Diagnostic, Diagnostics, error_at};
use crate::similar::{ARGUMENT_SYNONYMS, OPTION_SYNONYMS, similar};

/// A key as it was written: an identifier, keywords included, or a string.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) span: Span,
    pub(crate) quoted: bool,
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

/// The entries of one attribute, or of one `key(..)`, that have not been taken yet.
pub(crate) struct Entries {
    /// The attribute as messages name it: `#[on(..)]`.
    attribute: &'static str,
    remaining: Vec<Entry>,
    known: Vec<&'static str>,
}

impl Entries {
    /// Reads all entries. An invalid entry is reported and skipped up to the next comma.
    pub(crate) fn read(
        attribute: &'static str,
        tokens: TokenStream,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        let mut remaining: Vec<Entry> = Vec::new();
        for entry in separated(tokens, diagnostics, entry) {
            // The first one is used; the value of a duplicate is not checked.
            let duplicate = remaining.iter().any(|other| other.key.text == entry.key.text);
            if duplicate {
                let Key { text, span, .. } = &entry.key;
                diagnostics.at(*span, format_args!("duplicate `{text}`"), "remove one of the two");
            } else {
                remaining.push(entry);
            }
        }
        Self { attribute, remaining, known: Vec::new() }
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
        self.assigned(key, "1", diagnostics, integer).map(|(_, number)| number)
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

    /// The entries of `key(..)`, which the caller takes by name.
    pub(crate) fn nested(
        &mut self,
        key: &'static str,
        example: &str,
        attribute: &'static str,
        diagnostics: &mut Diagnostics,
    ) -> Option<Self> {
        let (key, tokens) = self.list(key, example, diagnostics)?;
        if tokens.is_empty() {
            diagnostics.at(
                key.span,
                format_args!("`{}` is empty", key.text),
                format_args!("write `{}({example})`, or omit it", key.text),
            );
            return None;
        }
        Some(Self::read(attribute, tokens, diagnostics))
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
        let entries = Self::read("a filter", tokens, diagnostics);
        let string = |Entry { key, value }| match value {
            Value::Assigned(expr) => {
                diagnostics.handle(value::string(&expr)).map(|text| (key, text))
            }
            Value::Flag | Value::List(_) => {
                diagnostics.at(
                    key.span,
                    format_args!("missing regular expression for `{}`", key.text),
                    format_args!("write `{} = \"..\"`", key.text),
                );
                None
            }
        };
        entries.remaining.into_iter().filter_map(string).collect()
    }

    /// The strings of `key("text", ..)`, with the key.
    pub(crate) fn strings(
        &mut self,
        key: &'static str,
        diagnostics: &mut Diagnostics,
    ) -> Option<(Key, Vec<LitStr>)> {
        let (key, tokens) = self.list(key, "\"one\", \"other\"", diagnostics)?;
        let string = |input: ParseStream<'_>| value::string(&input.parse()?);
        Some((key, separated(tokens, diagnostics, string)))
    }

    /// The types of `key(One, Other)`, with the key.
    pub(crate) fn types(
        &mut self,
        key: &'static str,
        diagnostics: &mut Diagnostics,
    ) -> Option<(Key, Vec<Type>)> {
        let (key, tokens) = self.list(key, "One, Other", diagnostics)?;
        Some((key, separated(tokens, diagnostics, |input: ParseStream<'_>| input.parse())))
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
        for Entry { key, .. } in self.remaining {
            if let Some(diagnostic) = misplaced(&key.text) {
                diagnostics.add(diagnostic.at(key.span));
                continue;
            }
            let help = match similar(&key.text, &self.known, &synonyms) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("the options of {} are {}", self.attribute, self.known.join(", ")),
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

/// Parses what is separated by commas. Invalid items are reported, and parsing continues after them.
fn separated<T>(
    tokens: TokenStream,
    diagnostics: &mut Diagnostics,
    read: impl Fn(ParseStream<'_>) -> syn::Result<T>,
) -> Vec<T> {
    let all = |input: ParseStream<'_>| {
        let mut items = Vec::new();
        while !input.is_empty() {
            match read(input) {
                Ok(value) => {
                    items.push(value);
                    if !input.is_empty() && !input.peek(Token![,]) {
                        let help = "separate options with commas";
                        diagnostics.at(input.span(), "expected `,`", help);
                    }
                }
                Err(error) => diagnostics.add(error),
            }
            while !input.is_empty() && !input.peek(Token![,]) {
                input.parse::<TokenTree>()?;
            }
            input.parse::<Option<Token![,]>>()?;
        }
        Ok(items)
    };
    let result = all.parse2(tokens);
    diagnostics.handle(result).unwrap_or_default()
}

fn entry(input: ParseStream<'_>) -> syn::Result<Entry> {
    let key = key(input)?;
    let value = if input.peek(token::Paren) {
        let content;
        parenthesized!(content in input);
        Value::List(content.parse()?)
    } else if input.parse::<Option<Token![=]>>()?.is_some() {
        if input.is_empty() || input.peek(Token![,]) {
            return Err(error_at(
                key.span,
                format_args!("missing value for `{}`", key.text),
                "write the value after the `=`",
            ));
        }
        Value::Assigned(input.parse()?)
    } else if input.peek(Token![.]) || input.peek(Token![::]) || input.peek(Token![-]) {
        return Err(error_at(
            input.span(),
            "a key must be a single name",
            "quote a key that contains other characters: `\"other-key\" = \"..\"`",
        ));
    } else {
        Value::Flag
    };
    Ok(Entry { key, value })
}

fn key(input: ParseStream<'_>) -> syn::Result<Key> {
    if input.peek(LitStr) {
        let text: LitStr = input.parse()?;
        return Ok(Key { text: text.value(), span: text.span(), quoted: true });
    }
    let name = input.call(Ident::parse_any).map_err(|error| {
        error_at(
            error.span(),
            "expected an option name",
            "options are `name`, `name = value` and `name(..)`, separated by commas",
        )
    })?;
    Ok(Key { text: name.unraw().to_string(), span: name.span(), quoted: false })
}
