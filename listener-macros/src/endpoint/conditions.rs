//! The conditions on which a method or an argument exists: `#[cfg(..)]`, also as one of the attributes in
//! `#[cfg_attr(..)]`. What the macro generates for it exists on the same conditions.

use proc_macro2::{TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{Attribute, Meta, parse_quote};

/// The `cfg` in these attributes, without other attributes.
pub(crate) fn of(attributes: &[Attribute]) -> Vec<Attribute> {
    let condition = |attribute: &Attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => Some(attribute.clone()),
        Meta::List(list) if list.path.is_ident("cfg_attr") => {
            let condition = within(&list.tokens)?;
            Some(parse_quote!(#[cfg_attr(#condition)]))
        }
        _ => None,
    };
    attributes.iter().filter_map(condition).collect()
}

/// What is in `cfg_attr(..)`, with those of its attributes that are conditions; `None` if none is.
fn within(tokens: &TokenStream) -> Option<TokenStream> {
    let mut parts = split(tokens).into_iter();
    let predicate = parts.next()?;
    let conditions: Vec<TokenStream> = parts.filter_map(condition).collect();
    (!conditions.is_empty()).then(|| quote!(#predicate, #(#conditions),*))
}

fn condition(attribute: TokenStream) -> Option<TokenStream> {
    let mut tokens = attribute.clone().into_iter();
    match (tokens.next()?, tokens.next()?) {
        (TokenTree::Ident(name), TokenTree::Group(_)) if name == "cfg" => Some(attribute),
        (TokenTree::Ident(name), TokenTree::Group(group)) if name == "cfg_attr" => {
            let condition = within(&group.stream())?;
            Some(quote!(#name(#condition)))
        }
        _ => None,
    }
}

/// The parts between commas.
fn split(tokens: &TokenStream) -> Vec<TokenStream> {
    let mut parts = vec![TokenStream::new()];
    for token in tokens.clone() {
        let is_comma = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == ',');
        match parts.last_mut() {
            Some(part) if !is_comma => token.to_tokens(part),
            _ => parts.push(TokenStream::new()),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[track_caller]
    fn check(attribute: Attribute, expected: Option<&Attribute>) {
        let text = |attribute: &Attribute| attribute.to_token_stream().to_string();
        let found: Vec<String> = of(&[attribute]).iter().map(text).collect();
        assert_eq!(found, expected.map(text).into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn conditions_are_found_at_any_depth() {
        check(parse_quote!(#[cfg(test)]), Some(&parse_quote!(#[cfg(test)])));
        check(
            parse_quote!(#[cfg_attr(all(unix, test), inline, cfg(feature = "a", b), doc = "x")]),
            Some(&parse_quote!(#[cfg_attr(all(unix, test), cfg(feature = "a", b))])),
        );
        check(
            parse_quote!(#[cfg_attr(unix, cfg_attr(test, inline, cfg(a)), cfg(b))]),
            Some(&parse_quote!(#[cfg_attr(unix, cfg_attr(test, cfg(a)), cfg(b))])),
        );
    }

    #[test]
    fn other_attributes_are_ignored() {
        check(parse_quote!(#[cfg_attr(unix, inline, allow(unused))]), None);
        check(parse_quote!(#[cfg_attr(unix)]), None);
        check(parse_quote!(#[inline]), None);
        check(parse_quote!(#[my::cfg(a)]), None);
    }
}
