//! The user's block, emitted unchanged except for the attributes of this macro: bodies are copied as
//! tokens and never parsed, so nothing in them can be lost or misread. Called for every block, with
//! errors or without. `parse.rs` reads `on`.

use proc_macro2::{Delimiter, Group, Ident, TokenStream, TokenTree};
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::Parser;

use crate::endpoint::ast::PRIORITIES;
use crate::endpoint::tokens::{is_punct, is_word};
use crate::similar::{PRIORITY_SYNONYMS, synonym};

/// The item without the `#[on]` attributes at the top level of its braces, and without a
/// second `#[notification_endpoint]`.
pub(crate) fn without_on(item: &TokenStream) -> TokenStream {
    with_body(item, strip)
}

/// The same, without what rustc would report a second time: the second and later methods of each of the
/// `duplicate_names` are renamed, and the `attributes` with these tokens removed.
pub(crate) fn without_reported(
    item: &TokenStream,
    duplicate_names: &[String],
    attributes: &[String],
) -> TokenStream {
    let text = |attribute: &TokenStream| attribute.to_string().replace(' ', "");
    let is_reported = |attribute: &TokenStream| {
        let attribute = text(attribute);
        attributes.iter().any(|reported| reported.replace(' ', "") == attribute)
    };
    with_body(item, |body| unique_names(strip_also(body, &is_reported), duplicate_names))
}

/// The item as it was, with all spans, for rustc and editors: a rebuilt group has no span of its closing
/// brace. `on_macro` is a path to a macro that does nothing, for an `#[on]` in the item.
pub(crate) fn unchanged(item: &TokenStream, on_macro: &TokenStream) -> TokenStream {
    let item = without_second(item);
    let has_on = item.clone().into_iter().any(|token| match token {
        TokenTree::Group(body) => {
            flat(body.stream()).into_iter().any(|token| is_attribute_on(&token))
        }
        _ => false,
    });
    if !has_on {
        return item;
    }
    quote! {
        const _: () = {
            #[allow(unused_imports)]
            use #on_macro;
            #item
        };
    }
}

/// Whether the path names this macro.
pub(crate) fn is_ours(path: &syn::Path) -> bool {
    path.segments.last().is_some_and(|last| last.ident == "notification_endpoint")
}

fn with_body(item: &TokenStream, change: impl FnOnce(TokenStream) -> TokenStream) -> TokenStream {
    let mut tokens: Vec<TokenTree> = without_second(item).into_iter().collect();
    if let Some(TokenTree::Group(body)) = tokens.pop_if(|last| is_braces(last)) {
        let mut changed = Group::new(Delimiter::Brace, change(body.stream()));
        changed.set_span(body.span());
        tokens.push(changed.into());
    }
    tokens.into_iter().collect()
}

/// The item without a second `#[notification_endpoint]`.
fn without_second(item: &TokenStream) -> TokenStream {
    let mut tokens = Vec::new();
    for token in item.clone() {
        if is_punct(tokens.last(), '#') && is_second_attribute(&token) {
            tokens.pop();
        } else {
            tokens.push(token);
        }
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
    strip_also(body, &|_| false)
}

/// The members without `#[on]`, and without other attributes.
fn strip_also(body: TokenStream, other: &dyn Fn(&TokenStream) -> bool) -> TokenStream {
    let mut kept: Vec<TokenTree> = Vec::new();
    for token in flat(body) {
        let is_other = matches!(&token, TokenTree::Group(group) if is_brackets(group) && other(&group.stream()));
        if is_punct(kept.last(), '#') && (is_attribute_on(&token) || is_other) {
            kept.pop();
        } else {
            kept.push(token);
        }
    }
    kept.into_iter().collect()
}

fn is_brackets(group: &Group) -> bool {
    group.delimiter() == Delimiter::Bracket
}

/// Whether the token is the brackets of an `#[on(..)]`, also in a `cfg_attr`.
fn is_attribute_on(token: &TokenTree) -> bool {
    let TokenTree::Group(group) = token else {
        return false;
    };
    is_brackets(group) && (is_on(&group.stream()) || is_conditional_on(&group.stream()))
}

/// Whether the attribute is `on`, `on(..)`, or `listener::on(..)`, which is reported.
pub(crate) fn is_on(attribute: &TokenStream) -> bool {
    let mut inside = attribute.clone().into_iter();
    let named = is_word(inside.next().as_ref(), "on") && !is_punct(inside.next().as_ref(), ':');
    named || is_qualified_on(attribute)
}

/// Whether the attribute is a path to `on` in this library.
pub(crate) fn is_qualified_on(attribute: &TokenStream) -> bool {
    let path = |input: syn::parse::ParseStream<'_>| {
        let path = syn::Path::parse_mod_style(input)?;
        input.parse::<TokenStream>().map(|_| path)
    };
    let Ok(path) = path.parse2(attribute.clone()) else { return false };
    let named = |segment: Option<&syn::PathSegment>, name: &str| {
        segment.is_some_and(|segment| segment.ident == name)
    };
    named(path.segments.first(), "listener") && named(path.segments.last(), "on")
}

/// What an attribute was meant as, if it is not an attribute: `#[info]` or `#[warning]` as `on(..)` with this
/// priority, `#[On(info)]` or `#[crate::on(info)]` as `on` with this list. `#[warn(..)]` is rustc's own.
pub(crate) fn meant_as(attribute: &TokenStream) -> Option<String> {
    let path = |input: syn::parse::ParseStream<'_>| {
        let path = syn::Path::parse_mod_style(input)?;
        Ok((path, input.parse::<TokenStream>()?))
    };
    let (path, rest) = path.parse2(attribute.clone()).ok()?;
    let list = match rest.clone().into_iter().next() {
        Some(TokenTree::Group(group)) => group.stream(),
        _ => TokenStream::new(),
    };
    let first = list.clone().into_iter().next();
    let lists_priority = PRIORITIES.iter().any(|priority| is_word(first.as_ref(), priority));
    let name = path.segments.last()?.ident.unraw().to_string();
    if lists_priority && ["on", "onn", "ons", "on_", "_on"].contains(&name.to_lowercase().as_str())
    {
        return Some(format!("#[on({list})]"));
    }
    let is_bare = path.get_ident().is_some() && (name != "warn" || rest.is_empty());
    let priority = synonym(&name, PRIORITIES, PRIORITY_SYNONYMS).filter(|_| is_bare)?;
    // A filter, or nothing: another list is not one of `on`.
    let is_filter = matches!(first, Some(TokenTree::Ident(_)));
    let filter = if is_filter { format!(", {list}") } else { String::new() };
    Some(format!("#[on({priority}{filter})]"))
}

/// Whether the attribute is `cfg_attr(condition, on(..))`, at any depth: an error, because that `on` would be
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
    let after_comma = |at: usize| is_punct(tokens.get(at), ',');
    (0..tokens.len()).filter(|at| after_comma(*at)).any(|at| {
        let rest: TokenStream = tokens[at + 1..].iter().cloned().collect();
        is_word(tokens.get(at + 1), "on") || is_conditional_on(&rest)
    })
}

#[cfg(test)]
mod tests {
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
    fn attributes_of_this_macro_are_recognized() {
        let attribute = |text: &str| text.parse::<TokenStream>().expect("tokens");
        for on in ["on", "on(info)", "on = 1", "listener::on(info)", "::listener::on"] {
            assert!(is_on(&attribute(on)), "{on}");
        }
        for other in ["on::path", "events::on(error)", "once", "cfg_attr(on, inline)"] {
            assert!(!is_on(&attribute(other)), "{other}");
        }
        assert!(is_conditional_on(&attribute("cfg_attr(a, inline, on(info))")));
        assert!(is_conditional_on(&attribute("cfg_attr(a, cfg_attr(b, on(info)))")));
        assert!(!is_conditional_on(&attribute("cfg_attr(on, cfg_attr(b, inline))")));
        let meant = |text: &str| meant_as(&attribute(text)).unwrap_or_default();
        assert_eq!(meant("info"), "#[on(info)]");
        assert_eq!(meant("Warning"), "#[on(warn)]");
        assert_eq!(meant("error(event_type = \"a\")"), "#[on(error, event_type = \"a\")]");
        assert_eq!(meant("error(\"a\")"), "#[on(error)]");
        assert_eq!(meant("On(info, warn)"), "#[on(info , warn)]");
        assert_eq!(meant("crate::on(info)"), "#[on(info)]");
        for other in ["warn(unused)", "info::path", "informed", "inline", "events::on(a)", "ons(a)"]
        {
            assert_eq!(meant(other), "", "{other}");
        }
    }

    #[test]
    fn reported_attributes_are_removed() {
        let item = quote!(impl B { #[info] #[audit] fn created() {} });
        let expected = quote!(impl B { #[audit] fn created() {} });
        let removed = without_reported(&item, &[], &["info".to_owned()]);
        assert_eq!(removed.to_string(), expected.to_string());
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
        let single = without_reported(&item, &["info".to_owned()], &[]);
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
