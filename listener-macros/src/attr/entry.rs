//! Reads one entry of an attribute: its key, and what follows it. What is not an entry is reported here, with
//! the entry that was probably meant. Called by `Entries` in `mod.rs`, which takes the entries by name.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::parse::discouraged::Speculative;
use syn::parse::{ParseStream, Parser};
use syn::{Ident, Lit, LitStr, Path, Token, Type, parenthesized, token};

use crate::attr::{Entry, Expected, Found, Key, Value, value};
use crate::diagnostic::{Diagnostic, Diagnostics, by_rustc, error_at, error_on};

/// Parses what is separated by commas. Invalid items are reported, and parsing continues after them. The
/// second value is whether there were none.
pub(super) fn separated<T>(
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

pub(super) fn ty(input: ParseStream<'_>) -> syn::Result<Type> {
    let at = input.span();
    input
        .parse()
        .map_err(|_| error_at(at, "expected a type", "write the type, such as `Billing<Postgres>`"))
}

pub(super) fn entry(input: ParseStream<'_>, expected: Expected) -> syn::Result<Entry> {
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
