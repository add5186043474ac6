//! Reads what stands in an attribute: `key`, `key = value` and `key(..)`, separated by commas.
//! "Given twice" and "unknown option, did you mean" are said here only. What a key means is
//! not known here: `endpoint/parse.rs` asks for each key by name, then calls `finish`. What
//! stands behind a `=` is read in `value.rs`, and a time there in `duration.rs`.

mod duration;
mod value;

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Expr, Ident, LitStr, Path, Token, Type, parenthesized, token};

use crate::mistake::{Mistakes, mistake};
use crate::near::{ARGUMENT_WORDS, OPTION_WORDS, nearest};

/// What to say of a key that belongs in another attribute.
pub(crate) struct Elsewhere {
    pub(crate) found: String,
    pub(crate) fix: String,
}

/// A key as it was written: an identifier, keywords included, or a string.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) span: Span,
    pub(crate) quoted: bool,
}

/// A time, and the literal that says it.
pub(crate) struct Time {
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

/// The entries of one attribute or of one `key(..)` that nobody has asked for yet.
pub(crate) struct Entries {
    /// What they stand in, for the messages: `#[on(..)]`.
    place: &'static str,
    left: Vec<Entry>,
    known: Vec<&'static str>,
}

impl Entries {
    /// Reads all entries; what cannot be read is noted and skipped up to the next comma.
    pub(crate) fn read(place: &'static str, tokens: TokenStream, mistakes: &mut Mistakes) -> Self {
        let mut left: Vec<Entry> = Vec::new();
        for entry in separated(tokens, mistakes, entry) {
            // The first one counts; the value of a repetition is not looked at.
            let twice = left.iter().any(|other| other.key.text == entry.key.text);
            if twice {
                let Key { text, span, .. } = &entry.key;
                mistakes.at(*span, format_args!("`{text}` is given twice"), "keep one of the two");
            } else {
                left.push(entry);
            }
        }
        Self { place, left, known: Vec::new() }
    }

    /// The string of `key = "text"`.
    pub(crate) fn text(&mut self, key: &'static str, mistakes: &mut Mistakes) -> Option<LitStr> {
        self.assigned(key, "\"text\"", mistakes, value::string).map(|(_, text)| text)
    }

    /// The time of `key = "30s"`.
    pub(crate) fn time(&mut self, key: &'static str, mistakes: &mut Mistakes) -> Option<Time> {
        self.assigned(key, "\"30s\"", mistakes, value::time).map(|(_, time)| time)
    }

    /// The number of `key = 1`, which must be in the range.
    pub(crate) fn integer<N>(
        &mut self,
        key: &'static str,
        range: RangeInclusive<N>,
        mistakes: &mut Mistakes,
    ) -> Option<N>
    where
        N: FromStr + PartialOrd + Display,
    {
        let integer = |value: &Expr| value::integer(value, &range);
        self.assigned(key, "1", mistakes, integer).map(|(_, number)| number)
    }

    /// The boolean of `key = true`, and where the key stands.
    pub(crate) fn boolean(
        &mut self,
        key: &'static str,
        mistakes: &mut Mistakes,
    ) -> Option<(Key, bool)> {
        self.assigned(key, "false", mistakes, value::boolean)
    }

    /// The path of `key = some::path`, and where the key stands.
    pub(crate) fn path(
        &mut self,
        key: &'static str,
        mistakes: &mut Mistakes,
    ) -> Option<(Key, Path)> {
        self.assigned(key, "some::path", mistakes, value::path)
    }

    /// Whether the bare `key` is there, and where.
    pub(crate) fn flag(&mut self, key: &'static str, mistakes: &mut Mistakes) -> Option<Key> {
        let Entry { key, value } = self.take(key)?;
        if !matches!(value, Value::Flag) {
            mistakes.at(
                key.span,
                format_args!("`{}` takes no value", key.text),
                format_args!("write `{}` alone, or leave it out", key.text),
            );
            return None;
        }
        Some(key)
    }

    /// The entries of `key(..)`, to be asked for by name: what is in it is known to the caller.
    pub(crate) fn nested(
        &mut self,
        key: &'static str,
        example: &str,
        place: &'static str,
        mistakes: &mut Mistakes,
    ) -> Option<Self> {
        let (key, tokens) = self.list(key, example, mistakes)?;
        if tokens.is_empty() {
            mistakes.at(
                key.span,
                format_args!("`{}` is empty", key.text),
                format_args!("write `{}({example})`, or leave it out", key.text),
            );
            return None;
        }
        Some(Self::read(place, tokens, mistakes))
    }

    /// The entries of `key(name = "text", ..)`.
    pub(crate) fn table(
        &mut self,
        key: &'static str,
        mistakes: &mut Mistakes,
    ) -> Vec<(Key, LitStr)> {
        let Some((_, tokens)) = self.list(key, "name = \"text\"", mistakes) else {
            return Vec::new();
        };
        let entries = Self::read("a filter by key", tokens, mistakes);
        let text = |Entry { key, value }| match value {
            Value::Assigned(expr) => mistakes.keep(value::string(&expr)).map(|text| (key, text)),
            Value::Flag | Value::List(_) => {
                mistakes.at(
                    key.span,
                    format_args!("`{}` has no regular expression", key.text),
                    format_args!("write `{} = \"..\"`", key.text),
                );
                None
            }
        };
        entries.left.into_iter().filter_map(text).collect()
    }

    /// The strings of `key("text", ..)`, and where the key stands.
    pub(crate) fn texts(
        &mut self,
        key: &'static str,
        mistakes: &mut Mistakes,
    ) -> Option<(Key, Vec<LitStr>)> {
        let (key, tokens) = self.list(key, "\"one\", \"other\"", mistakes)?;
        let text = |input: ParseStream<'_>| value::string(&input.parse()?);
        Some((key, separated(tokens, mistakes, text)))
    }

    /// The types of `key(One, Other)`, and where the key stands.
    pub(crate) fn types(
        &mut self,
        key: &'static str,
        mistakes: &mut Mistakes,
    ) -> Option<(Key, Vec<Type>)> {
        let (key, tokens) = self.list(key, "One, Other", mistakes)?;
        Some((key, separated(tokens, mistakes, |input: ParseStream<'_>| input.parse())))
    }

    /// All bare keys that nobody has asked for, in their order.
    pub(crate) fn flags(&mut self) -> Vec<Key> {
        let (flags, left) = std::mem::take(&mut self.left)
            .into_iter()
            .partition(|entry| matches!(entry.value, Value::Flag));
        self.left = left;
        flags.into_iter().map(|entry: Entry| entry.key).collect()
    }

    /// Ends the reading: what nobody has asked for is unknown, or belongs elsewhere.
    pub(crate) fn finish(
        self,
        elsewhere: impl Fn(&str) -> Option<Elsewhere>,
        mistakes: &mut Mistakes,
    ) {
        let words = [ARGUMENT_WORDS, OPTION_WORDS].concat();
        for Entry { key, .. } in self.left {
            if let Some(Elsewhere { found, fix }) = elsewhere(&key.text) {
                mistakes.at(key.span, found, fix);
                continue;
            }
            let fix = match nearest(&key.text, &self.known, &words) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("{} takes {}", self.place, self.known.join(", ")),
            };
            mistakes.at(key.span, format_args!("unknown option `{}`", key.text), fix);
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Entry> {
        self.known.push(key);
        let at = self.left.iter().position(|entry| entry.key.text == key)?;
        Some(self.left.remove(at))
    }

    fn assigned<T>(
        &mut self,
        key: &'static str,
        example: &str,
        mistakes: &mut Mistakes,
        read: impl FnOnce(&Expr) -> syn::Result<T>,
    ) -> Option<(Key, T)> {
        let Entry { key, value } = self.take(key)?;
        let Value::Assigned(expr) = value else {
            mistakes.at(
                key.span,
                format_args!("`{}` needs a value", key.text),
                format_args!("write `{} = {example}`", key.text),
            );
            return None;
        };
        Some((key, mistakes.keep(read(&expr))?))
    }

    fn list(
        &mut self,
        key: &'static str,
        example: &str,
        mistakes: &mut Mistakes,
    ) -> Option<(Key, TokenStream)> {
        let Entry { key, value } = self.take(key)?;
        let Value::List(tokens) = value else {
            mistakes.at(
                key.span,
                format_args!("`{}` needs a list", key.text),
                format_args!("write `{}({example})`", key.text),
            );
            return None;
        };
        Some((key, tokens))
    }
}

/// What stands between the commas. What cannot be read is noted; the rest is read on.
fn separated<T>(
    tokens: TokenStream,
    mistakes: &mut Mistakes,
    read: impl Fn(ParseStream<'_>) -> syn::Result<T>,
) -> Vec<T> {
    let all = |input: ParseStream<'_>| {
        let mut found = Vec::new();
        while !input.is_empty() {
            match read(input) {
                Ok(value) => {
                    found.push(value);
                    if !input.is_empty() && !input.peek(Token![,]) {
                        let fix = "separate what stands in an attribute with commas";
                        mistakes.at(input.span(), "expected `,`", fix);
                    }
                }
                Err(error) => mistakes.add(error),
            }
            while !input.is_empty() && !input.peek(Token![,]) {
                input.parse::<TokenTree>()?;
            }
            input.parse::<Option<Token![,]>>()?;
        }
        Ok(found)
    };
    let result = all.parse2(tokens);
    mistakes.keep(result).unwrap_or_default()
}

fn entry(input: ParseStream<'_>) -> syn::Result<Entry> {
    let key = key(input)?;
    let value = if input.peek(token::Paren) {
        let content;
        parenthesized!(content in input);
        Value::List(content.parse()?)
    } else if input.parse::<Option<Token![=]>>()?.is_some() {
        if input.is_empty() || input.peek(Token![,]) {
            return Err(mistake(
                key.span,
                format_args!("`{}` has no value", key.text),
                "write one after the `=`",
            ));
        }
        Value::Assigned(input.parse()?)
    } else if input.peek(Token![.]) || input.peek(Token![::]) || input.peek(Token![-]) {
        return Err(mistake(
            input.span(),
            "a key is one name",
            "write a key with other characters in quotes: `\"other-key\" = \"..\"`",
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
        mistake(
            error.span(),
            "expected the name of an option",
            "options are `name`, `name = value` and `name(..)`, separated by commas",
        )
    })?;
    Ok(Key { text: name.unraw().to_string(), span: name.span(), quoted: false })
}
