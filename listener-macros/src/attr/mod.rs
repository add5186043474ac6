//! Reads the entries of an attribute: `key`, `key = value` and `key(..)`, separated by commas.
//! Duplicate and unknown keys are reported here only. `endpoint/parse.rs` knows the keys: it takes
//! each by name, then calls `finish`. `value.rs` reads the value after the `=`, `duration.rs` a
//! duration in it.

mod duration;
mod value;

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use proc_macro2::{Delimiter, Spacing, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::parse::discouraged::Speculative;
use syn::parse::{ParseStream, Parser};
use syn::{Expr, Ident, Lit, LitStr, Path, Token, Type, parenthesized, token};

use crate::diagnostic::{Diagnostic, Diagnostics, by_rustc, error_at, error_on};
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
        let read = |input: ParseStream<'_>| entry(input, expected);
        let (entries, _) = separated(tokens, diagnostics, read);
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

    /// The entries of `key(..)`, which the caller takes by name.
    pub(crate) fn nested(
        &mut self,
        key: &'static str,
        example: &str,
        expected: Expected,
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
        Some(Self::read(expected, tokens, diagnostics))
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
        let (items, is_complete) = separated(tokens, diagnostics, string);
        Some(List { key, items, is_complete })
    }

    /// The types of `key(One, Other)`, with the key.
    pub(crate) fn types(
        &mut self,
        key: &'static str,
        diagnostics: &mut Diagnostics,
    ) -> Option<List<Type>> {
        let (key, tokens) = self.list(key, "One, Other", diagnostics)?;
        let (items, is_complete) = separated(tokens, diagnostics, ty);
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

/// Parses what is separated by commas. Invalid items are reported, and parsing continues after them. The
/// second value is whether there were none.
fn separated<T>(
    tokens: TokenStream,
    diagnostics: &mut Diagnostics,
    read: impl Fn(ParseStream<'_>) -> syn::Result<T>,
) -> (Vec<T>, bool) {
    let mut is_complete = true;
    let all = |input: ParseStream<'_>| {
        let mut items = Vec::new();
        while !input.is_empty() {
            match read(input) {
                Ok(value) => {
                    items.push(value);
                    if !input.is_empty() && !input.peek(Token![,]) {
                        is_complete = false;
                        let help = "separate options with commas";
                        diagnostics.at(input.span(), "expected `,`", help);
                    }
                }
                Err(error) => {
                    is_complete = false;
                    diagnostics.add(error);
                }
            }
            while !input.is_empty() && !input.peek(Token![,]) {
                input.parse::<TokenTree>()?;
            }
            input.parse::<Option<Token![,]>>()?;
        }
        Ok(items)
    };
    let result = all.parse2(tokens);
    let is_complete = is_complete && result.is_ok();
    (diagnostics.handle(result).unwrap_or_default(), is_complete)
}

fn ty(input: ParseStream<'_>) -> syn::Result<Type> {
    let at = input.span();
    input
        .parse()
        .map_err(|_| error_at(at, "expected a type", "write the type, such as `Billing<Postgres>`"))
}

fn entry(input: ParseStream<'_>, expected: Expected) -> syn::Result<Entry> {
    let key = key(input, expected)?;
    let value = if input.peek(token::Paren) {
        let content;
        parenthesized!(content in input);
        Value::List(content.parse()?)
    } else if let Some((operator, tokens)) = operator(input) {
        if operator != "=" {
            let value = literal(input);
            return Err(error_on(
                tokens,
                format_args!("expected `=` after `{}`, found `{operator}`", key.text),
                format_args!("write `{} = {value}`", key.written()),
            ));
        }
        if input.is_empty() || input.peek(Token![,]) {
            return Err(error_at(
                key.span,
                format_args!("missing value for `{}`", key.text),
                "write the value after the `=`",
            ));
        }
        let at = input.span();
        Value::Assigned(input.parse().map_err(|_| {
            let message = format_args!("expected a value for `{}`", key.text);
            error_at(at, message, "write a literal or a path")
        })?)
    } else if input.peek(Token![.]) || input.peek(Token![-]) {
        let help = if expected.quotes_keys {
            "quote a key that contains other characters: `\"other-key\" = \"..\"`"
        } else {
            "write one name, then its value or its list"
        };
        return Err(error_at(input.span(), "a key must be a single name", help));
    } else if input.peek(Lit) {
        return Err(error_at(
            key.span,
            format_args!("missing `=` after `{}`", key.text),
            format_args!("write `{} = {}`", key.written(), literal(input)),
        ));
    } else if input.is_empty() || input.peek(Token![,]) || input.peek(Ident::peek_any) {
        Value::Flag
    } else {
        let token: TokenTree = input.fork().parse()?;
        let help = format!("write `{0} = ..` or `{0}(..)`", key.written());
        let message = format!("expected `=`, `(` or `,` after `{}`", key.text);
        return Err(error_on(token, message, help));
    };
    Ok(Entry { key, value })
}

/// The operator between a key and its value: `=`, or another one that was meant as such.
fn operator(input: ParseStream<'_>) -> Option<(String, TokenStream)> {
    const OPERATORS: &[&str] = &["=", ":", "==", "=>", ":=", "=~", "~=", "+=", "!="];
    let rest = input.fork();
    let (mut text, mut tokens) = (String::new(), TokenStream::new());
    let mut longest = None;
    while let Some((punct, _)) = rest.cursor().punct() {
        text.push(punct.as_char());
        rest.parse::<TokenTree>().ok()?.to_tokens(&mut tokens);
        if OPERATORS.contains(&text.as_str()) {
            longest = Some((text.clone(), tokens.clone(), rest.fork()));
        }
        if punct.spacing() == Spacing::Alone || text.len() == 2 {
            break;
        }
    }
    let (text, tokens, rest) = longest?;
    // `::` is part of a path.
    if text == ":" && rest.peek(Token![:]) {
        return None;
    }
    input.advance_to(&rest);
    Some((text, tokens))
}

/// The literal that follows, as written; `..` if another token does.
fn literal(input: ParseStream<'_>) -> String {
    let literal = input.fork().parse::<Lit>();
    literal.map_or_else(|_| "..".to_owned(), |literal| literal.to_token_stream().to_string())
}

fn key(input: ParseStream<'_>, expected: Expected) -> syn::Result<Key> {
    if input.peek(LitStr) {
        let text: LitStr = input.parse()?;
        return Ok(Key { text: text.value(), span: text.span(), quoted: true });
    }
    let is_path = input.peek(Token![::]) || input.peek2(Token![::]);
    if is_path && let Ok(path) = input.call(Path::parse_mod_style) {
        let found = Found::Path(path.to_token_stream().to_string().replace(' ', ""));
        let diagnostic = (expected.explain)(&found).unwrap_or_else(|| {
            Diagnostic::new("a key must be a single name", "write one name, without a path")
        });
        return Err(diagnostic.on(path));
    }
    if !input.peek(Token![_])
        && let Ok(name) = input.call(Ident::parse_any)
    {
        return Ok(Key { text: name.unraw().to_string(), span: name.span(), quoted: false });
    }
    if input.fork().parse::<Lit>().is_ok_and(|literal| value::is_invalid(&literal)) {
        return Err(by_rustc(input.fork().parse::<TokenTree>()?));
    }
    let token: TokenTree = input.fork().parse()?;
    let found = match &token {
        TokenTree::Group(group) => match group.delimiter() {
            Delimiter::Bracket => "[..]".to_owned(),
            Delimiter::Brace => "{..}".to_owned(),
            Delimiter::Parenthesis | Delimiter::None => "(..)".to_owned(),
        },
        token => token.to_string(),
    };
    let diagnostic = (expected.explain)(&Found::Other(found)).unwrap_or_else(|| {
        Diagnostic::new(
            "expected an option name",
            "options are `name`, `name = value` and `name(..)`, separated by commas",
        )
    });
    Err(diagnostic.on(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, operator: Option<&str>, rest: &str) {
        let read = |input: ParseStream<'_>| {
            let operator = super::operator(input).map(|(text, _)| text);
            input.parse::<TokenStream>().map(|rest| (operator, rest.to_string().replace(' ', "")))
        };
        let found = read.parse_str(text).expect("tokens");
        assert_eq!(found, (operator.map(str::to_owned), rest.to_owned()), "{text}");
    }

    #[test]
    fn the_longest_operator_is_read() {
        check("= -1", Some("="), "-1");
        check("=-1", Some("="), "-1");
        check("=::std::mem", Some("="), "::std::mem");
        check("=&a", Some("="), "&a");
        check("== 1", Some("=="), "1");
        check("=> 1", Some("=>"), "1");
        check(": 1", Some(":"), "1");
        check(":: a", None, "::a");
        check("- 1", None, "-1");
        check("\"a\"", None, "\"a\"");
    }
}
