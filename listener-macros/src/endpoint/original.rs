//! The user's block, emitted unchanged except for the attributes of this macro: bodies are copied as
//! tokens and never parsed, so nothing in them can be lost or misread. Called for every block, with
//! errors or without. `parse.rs` reads `on`.

use proc_macro2::{Delimiter, Group, Ident, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::Parser;

/// The item without the `#[on]` attributes at the top level of its braces, and without a
/// second `#[notification_endpoint]`.
pub(crate) fn without_on(item: &TokenStream) -> TokenStream {
    with_body(item, strip)
}

/// The same, with the second and later methods of each of the `duplicate_names` renamed: two methods
/// of one name would be a second error.
pub(crate) fn with_unique_names(item: &TokenStream, duplicate_names: &[String]) -> TokenStream {
    with_body(item, |body| unique_names(strip(body), duplicate_names))
}

/// Whether the path names this macro.
pub(crate) fn is_ours(path: &syn::Path) -> bool {
    path.segments.last().is_some_and(|last| last.ident == "notification_endpoint")
}

fn with_body(item: &TokenStream, change: impl FnOnce(TokenStream) -> TokenStream) -> TokenStream {
    let mut tokens = Vec::new();
    for token in item.clone() {
        if is_punct(tokens.last(), '#') && is_second_attribute(&token) {
            tokens.pop();
        } else {
            tokens.push(token);
        }
    }
    if let Some(TokenTree::Group(body)) = tokens.pop_if(|last| is_braces(last)) {
        let mut changed = Group::new(Delimiter::Brace, change(body.stream()));
        changed.set_span(body.span());
        tokens.push(changed.into());
    }
    tokens.into_iter().collect()
}

fn is_second_attribute(token: &TokenTree) -> bool {
    let TokenTree::Group(group) = token else {
        return false;
    };
    let path = |input: syn::parse::ParseStream<'_>| {
        let path = syn::Path::parse_mod_style(input)?;
        input.parse::<TokenStream>().map(|_| path)
    };
    group.delimiter() == Delimiter::Bracket
        && path.parse2(group.stream()).is_ok_and(|path| is_ours(&path))
}

fn unique_names(body: TokenStream, duplicate_names: &[String]) -> TokenStream {
    let (mut seen, mut after_fn) = (Vec::new(), false);
    let rename = |token: TokenTree| {
        let is_name = std::mem::replace(&mut after_fn, is_word(Some(&token), "fn"));
        let TokenTree::Ident(name) = &token else {
            return token;
        };
        let text = name.unraw().to_string();
        if !is_name || !duplicate_names.contains(&text) {
            return token;
        }
        let earlier = seen.iter().filter(|other| **other == text).count();
        seen.push(text.clone());
        match earlier {
            0 => token,
            _ => Ident::new(&format!("__{text}_{earlier}"), name.span()).into(),
        }
    };
    body.into_iter().map(rename).collect()
}

/// Whether the token is `{ .. }`.
pub(crate) fn is_braces(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace)
}

/// The members of a block without the invisible groups that `macro_rules!` puts around them.
pub(crate) fn flat(body: TokenStream) -> TokenStream {
    let flatten = |token: TokenTree| match &token {
        TokenTree::Group(group) if is_whole_member(group) => flat(group.stream()),
        _ => token.into(),
    };
    body.into_iter().map(flatten).collect()
}

fn is_whole_member(group: &Group) -> bool {
    let last = group.stream().into_iter().last();
    group.delimiter() == Delimiter::None
        && (last.as_ref().is_some_and(is_braces) || is_punct(last.as_ref(), ';'))
}

fn strip(body: TokenStream) -> TokenStream {
    let mut kept: Vec<TokenTree> = Vec::new();
    for token in flat(body) {
        let hash = is_punct(kept.last(), '#');
        if hash && is_on(&token) {
            kept.pop();
        } else {
            kept.push(token);
        }
    }
    kept.into_iter().collect()
}

/// Whether the token is `[on]`, `[on(..)]` or another form of it.
fn is_on(token: &TokenTree) -> bool {
    let TokenTree::Group(group) = token else {
        return false;
    };
    let mut inside = group.stream().into_iter();
    let named = is_word(inside.next().as_ref(), "on") && !is_punct(inside.next().as_ref(), ':');
    group.delimiter() == Delimiter::Bracket && (named || is_conditional_on(&group.stream()))
}

/// Whether the attribute is `cfg_attr(condition, on(..))`: an error, because that `on` would be
/// ignored.
pub(crate) fn is_conditional_on(attribute: &TokenStream) -> bool {
    let mut inside = attribute.clone().into_iter();
    if !is_word(inside.next().as_ref(), "cfg_attr") {
        return false;
    }
    let Some(TokenTree::Group(group)) = inside.next() else {
        return false;
    };
    let tokens: Vec<TokenTree> = group.stream().into_iter().collect();
    tokens.windows(2).any(|pair| is_punct(pair.first(), ',') && is_word(pair.last(), "on"))
}

fn is_word(token: Option<&TokenTree>, word: &str) -> bool {
    matches!(token, Some(TokenTree::Ident(name)) if name == word)
}

fn is_punct(token: Option<&TokenTree>, character: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == character)
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;

    #[track_caller]
    fn check(item: &TokenStream, expected: &TokenStream) {
        assert_eq!(without_on(item).to_string(), expected.to_string());
    }

    #[test]
    fn only_on_is_removed() {
        check(
            &quote! {
                #[allow(unused)]
                impl Billing {
                    /// Documented.
                    #[on(info, warn)]
                    #[cfg(test)]
                    fn f(&self) { #[on(stays)] let _ = [on(1)]; }
                    #[on] fn g() {}
                    #[cfg_attr(test, on(info))] fn h() {}
                    #[cfg_attr(on, inline)] fn i() {}
                    #[on::path] const N: u8 = 1;
                }
            },
            &quote! {
                #[allow(unused)]
                impl Billing {
                    /// Documented.
                    #[cfg(test)]
                    fn f(&self) { #[on(stays)] let _ = [on(1)]; }
                    fn g() {}
                    fn h() {}
                    #[cfg_attr(on, inline)] fn i() {}
                    #[on::path] const N: u8 = 1;
                }
            },
        );
    }

    #[test]
    fn a_second_attribute_is_removed() {
        check(
            &quote!(
                #[a]
                #[listener::notification_endpoint(x)]
                impl Billing {}
            ),
            &quote!(
                #[a]
                impl Billing {}
            ),
        );
    }

    #[test]
    fn a_second_method_of_one_name_is_renamed() {
        let item = quote!(impl B { fn info() {} fn info() { fn info() {} } fn warn() {} });
        let expected = quote!(impl B { fn info() {} fn __info_1() { fn info() {} } fn warn() {} });
        let single = with_unique_names(&item, &["info".to_owned()]);
        assert_eq!(single.to_string(), expected.to_string());
    }

    #[test]
    fn an_item_without_braces_is_unchanged() {
        let item = quote!(
            pub struct Billing;
        );
        check(&item, &item);
    }
}
